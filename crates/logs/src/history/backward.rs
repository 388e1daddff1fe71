//! From the end of a log towards its beginning, as far as it takes.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memrchr;

use super::part::Part;
use super::{LONGEST_LINE, Line, Log, Span};

const BLOCK: u64 = 64 * 1024;

/// The last `wanted` lines of `log` that are within `span` and that `matches` takes, oldest first. Reads no more than it must.
///
/// # Errors
/// When a file that is there cannot be read.
pub fn last(
    log: Log<'_>,
    span: Span,
    wanted: usize,
    matches: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<Vec<Line>> {
    let mut found: VecDeque<Line> = VecDeque::new();
    for path in log.files().iter().rev() {
        if found.len() >= wanted {
            break;
        }
        let Some(part) = Part::open(path, log.times, span)? else {
            continue;
        };
        let more = wanted - found.len();
        let lines = match part.size {
            Some(size) => last_of_plain(part, size, span, more, matches)?,
            None => last_of_compressed(part, span, more, matches)?,
        };
        for line in lines.into_iter().rev() {
            found.push_front(line);
        }
    }
    Ok(found.into())
}

/// A compressed file can only be read from its beginning; as many lines as are wanted are remembered.
fn last_of_compressed(
    part: Part,
    span: Span,
    wanted: usize,
    matches: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<Vec<Line>> {
    let mut found = VecDeque::new();
    let mut lines = part.reader(0)?;
    while let Some(line) = lines.next()? {
        if line.at_ms.is_some_and(|at| span.is_over(at)) {
            break;
        }
        if span.holds(line.at_ms) && matches(&line.text) {
            if found.len() == wanted {
                found.pop_front();
            }
            found.push_back(line);
        }
    }
    Ok(found.into())
}

fn last_of_plain(
    mut part: Part,
    size: u64,
    span: Span,
    wanted: usize,
    matches: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<Vec<Line>> {
    if part.clock.notes.is_empty() && span != Span::default() {
        // Dates hold for the lines behind them, too: these can only be found from the front.
        return last_of_compressed(part, span, wanted, matches);
    }
    let begin = part.line_from(part.clock.begin(span), size)?;
    let end = part.line_from(part.clock.end(span).unwrap_or(size), size)?;
    let mut found = Vec::new();
    let mut lines = Reversed::new(begin, end);
    while found.len() < wanted
        && let Some((offset, text)) = lines.next(&part)?
    {
        let at_ms = part.clock.time(offset, &text);
        if span.holds(at_ms) && matches(&text) {
            found.push(Line { text, at_ms });
        }
    }
    found.reverse();
    Ok(found)
}

/// Lines of a plain file from `end` back to `begin`.
struct Reversed {
    begin: u64,
    /// Where `held` begins in the file.
    at: u64,
    /// What was read and not given yet.
    held: Vec<u8>,
    /// The last line has no end of its own, or its end was taken off already.
    first: bool,
}

impl Reversed {
    fn new(begin: u64, end: u64) -> Self {
        Self {
            begin,
            at: end,
            held: Vec::new(),
            first: true,
        }
    }

    /// The line before, and where it begins.
    fn next(&mut self, part: &Part) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            if self.first && !self.held.is_empty() {
                self.first = false;
                if self.held.last() == Some(&b'\n') {
                    self.held.pop();
                }
            }
            if !self.first
                && let Some(newline) = memrchr(b'\n', &self.held)
            {
                let mut text = self.held.split_off(newline + 1);
                text.truncate(LONGEST_LINE);
                self.held.pop();
                return Ok(Some((self.at + newline as u64 + 1, text)));
            }
            if self.at == self.begin {
                if self.first {
                    return Ok(None);
                }
                // The very first line; after it there is nothing.
                self.first = true;
                let mut text = std::mem::take(&mut self.held);
                text.truncate(LONGEST_LINE);
                return Ok(Some((self.at, text)));
            }
            if self.held.len() > LONGEST_LINE {
                // Its beginning is what is kept, and that is still to come.
                self.held.truncate(LONGEST_LINE);
            }
            let from = self.at.saturating_sub(BLOCK).max(self.begin);
            let mut block = vec![0; usize::try_from(self.at - from).unwrap_or(0)];
            part.file.read_exact_at(&mut block, from)?;
            block.append(&mut self.held);
            self.held = block;
            self.at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::since;
    use super::*;
    use crate::times::{Note, Times};

    struct Fixture {
        dir: tempfile::TempDir,
        log: PathBuf,
        times: Times,
        parts: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = std::fs::canonicalize(dir.path()).unwrap();
            Self {
                log: root.join("app.log"),
                times: Times::new(root.join("times")),
                dir,
                parts: 0,
            }
        }

        fn log(&self) -> Log<'_> {
            Log {
                path: &self.log,
                times: &self.times,
            }
        }

        /// An older part, compressed.
        fn part(&mut self, text: &str) -> PathBuf {
            self.parts += 1;
            let path = self
                .log
                .with_file_name(format!("app__2026-01-01T00-00-00-00{}Z.log.gz", self.parts));
            let file = std::fs::File::create(&path).unwrap();
            let mut encoder = GzEncoder::new(&file, Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + self.parts);
            file.set_modified(at).unwrap();
            path
        }

        fn note(&self, log: &Path, notes: &[(u64, u32)]) {
            for (offset, second) in notes {
                self.times
                    .note(
                        log,
                        Note {
                            offset: *offset,
                            second: *second,
                        },
                    )
                    .unwrap();
            }
        }

        fn last(&self, span: Span, wanted: usize) -> Vec<String> {
            texts(last(self.log(), span, wanted, &mut |_| true).unwrap())
        }

        fn since(&self, span: Span) -> Vec<String> {
            texts(since(self.log(), span).map(Result::unwrap).collect())
        }
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| String::from_utf8(line.text).unwrap())
            .collect()
    }

    fn span(since: Option<i64>, until: Option<i64>) -> Span {
        Span {
            since_ms: since.map(|s| s * 1000),
            until_ms: until.map(|s| s * 1000 + 999),
        }
    }

    #[test]
    fn older_parts_are_read_where_the_log_is_too_short() {
        let mut f = Fixture::new();
        f.part("a\nb\n");
        f.part("c\nd\n");
        std::fs::write(&f.log, "e\nf\n").unwrap();
        assert_eq!(f.last(Span::default(), 1), ["f"]);
        assert_eq!(f.last(Span::default(), 3), ["d", "e", "f"]);
        assert_eq!(f.last(Span::default(), 9), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(f.since(Span::default()).concat(), "abcdef");
        let found = last(f.log(), Span::default(), 2, &mut |text| text != b"e").unwrap();
        assert_eq!(texts(found), ["d", "f"]);
        std::fs::remove_file(&f.log).unwrap();
        assert_eq!(f.last(Span::default(), 1), ["d"]);
        drop(f.dir);
    }

    #[test]
    fn notes_tell_the_time_of_lines() {
        let mut f = Fixture::new();
        let old = f.part("a\nb\n");
        f.note(&old, &[(0, 999_000), (2, 1_000_000)]);
        std::fs::write(&f.log, "c\nd\ne\nf\n").unwrap();
        f.note(&f.log, &[(0, 1_000_001), (2, 1_000_005), (6, 1_000_009)]);
        for (from, to, expected) in [
            (None, None, "abcdef"),
            (Some(999_500), None, "bcdef"),
            (Some(1_000_005), None, "def"),
            (Some(1_000_006), None, "f"),
            (Some(1_000_010), None, ""),
            (None, Some(1_000_001), "abc"),
            (Some(1_000_001), Some(1_000_005), "cde"),
            (Some(5), Some(6), ""),
        ] {
            assert_eq!(f.since(span(from, to)).concat(), expected, "{from:?} {to:?}");
            assert_eq!(f.last(span(from, to), 9).concat(), expected, "{from:?} {to:?}");
            let two = &expected[expected.len().saturating_sub(2)..];
            assert_eq!(f.last(span(from, to), 2).concat(), two, "{from:?} {to:?}");
        }
        let lines = last(f.log(), Span::default(), 2, &mut |_| true).unwrap();
        assert_eq!(lines[0].at_ms, Some(1_000_005_000));
        assert_eq!(lines[1].at_ms, Some(1_000_009_000));
    }

    #[test]
    fn a_line_belongs_to_the_time_at_which_it_began() {
        let f = Fixture::new();
        std::fs::write(&f.log, "one\ntwo and\nthree\n").unwrap();
        f.note(&f.log, &[(0, 5), (7, 6), (12, 7)]);
        for (from, to, expected) in [
            (Some(6), None, "three"),
            (None, Some(5), "onetwo and"),
            (Some(7), Some(7), "three"),
        ] {
            assert_eq!(f.since(span(from, to)).concat(), expected, "{from:?} {to:?}");
            assert_eq!(f.last(span(from, to), 9).concat(), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn where_there_are_no_notes_dates_in_the_lines_hold() {
        let f = Fixture::new();
        std::fs::write(
            &f.log,
            "odd\n1970-01-02T00:00:00Z: a\n  at b\n1970-01-03T00:00:00Z: c\n",
        )
        .unwrap();
        let day = 86_400;
        assert_eq!(
            f.since(span(Some(day), None)),
            ["1970-01-02T00:00:00Z: a", "  at b", "1970-01-03T00:00:00Z: c"]
        );
        assert_eq!(
            f.since(span(None, Some(day))),
            ["1970-01-02T00:00:00Z: a", "  at b"]
        );
        assert_eq!(f.last(span(Some(day), Some(day)), 1), ["  at b"]);
        assert_eq!(f.last(Span::default(), 9).len(), 4);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_at_its_end() {
        let f = Fixture::new();
        let mut text = b"first\nBEGIN".to_vec();
        text.resize(3 * LONGEST_LINE, b'x');
        text.extend_from_slice(b"\nlast");
        std::fs::write(&f.log, text).unwrap();
        let lines = last(f.log(), Span::default(), 3, &mut |_| true).unwrap();
        assert_eq!(lines[0].text, b"first");
        assert!(lines[1].text.starts_with(b"BEGINxx") && lines[1].text.len() == LONGEST_LINE);
        assert_eq!(lines[2].text, b"last");
    }

    #[test]
    fn notes_that_are_wrong_do_no_harm() {
        let f = Fixture::new();
        std::fs::write(&f.log, "a\nb\n").unwrap();
        f.note(&f.log, &[(0, 5), (3, 6), (500, 7)]);
        assert_eq!(f.last(span(None, None), 9), ["a", "b"]);
        assert_eq!(f.since(span(Some(7), None)), [""; 0]);
        assert_eq!(f.last(span(Some(7), None), 9), [""; 0]);
        assert_eq!(f.last(span(None, Some(5)), 9), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn backward_is_forward(text in "[a\n]{0,80}", wanted in 1usize..12) {
            let f = Fixture::new();
            std::fs::write(&f.log, &text).unwrap();
            let all: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(f.since(Span::default()), all.clone());
            prop_assert_eq!(f.last(Span::default(), wanted), all[all.len().saturating_sub(wanted)..].to_vec());
        }
    }

    #[test]
    fn many_blocks() {
        let f = Fixture::new();
        let text: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&f.log, text).unwrap();
        let lines = f.last(Span::default(), 15_000);
        assert_eq!((lines.len(), lines[0].as_str()), (15_000, "line 25000"));
        assert_eq!(lines[14_999], "line 39999");
    }
}

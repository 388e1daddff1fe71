//! One file of a log: opened, and its lines given times.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use flate2::read::MultiGzDecoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use memchr::memchr;

use super::{LONGEST_LINE, Span};
use crate::times::{Note, Times};

const BUFFER: usize = 64 * 1024;

/// A file that may hold lines of a span.
pub(super) struct Part {
    pub(super) file: File,
    /// Its size, or nothing if it is compressed.
    pub(super) size: Option<u64>,
    pub(super) clock: Clock,
}

impl Part {
    /// Opens it. `None`: it has gone, or everything in it is too old.
    pub(super) fn open(path: &Path, times: &Times, span: Span) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return reopen(path, times, span),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let changed = meta
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let changed = changed.and_then(|at| i64::try_from(at.as_millis()).ok());
        // Notes are by the second; a file's time may be a moment before that of the line.
        if let (Some(since), Some(changed)) = (span.since_ms, changed)
            && changed < since - 1000
        {
            return Ok(None);
        }
        let compressed = path.extension().is_some_and(|extension| extension == "gz");
        Ok(Some(Self {
            size: (!compressed).then_some(meta.len()),
            file,
            clock: Clock {
                notes: times.of(path),
                last: None,
            },
        }))
    }

    /// Where the first line begins that begins at `offset` or later.
    pub(super) fn line_from(&self, offset: u64, size: u64) -> io::Result<u64> {
        let mut at = offset.saturating_sub(1);
        let mut block = vec![0; 4096];
        while offset > 0 && at < size {
            let n = self.file.read_at(&mut block, at)?;
            match memchr(b'\n', &block[..n]) {
                Some(end) => return Ok(at + end as u64 + 1),
                None if n == 0 => break,
                None => at += n as u64,
            }
        }
        Ok(if offset == 0 { 0 } else { size })
    }

    /// Reads from `offset` on; only plain files can begin in the middle.
    pub(super) fn reader(self, offset: u64) -> io::Result<Lines> {
        let source: Box<dyn BufRead> = match self.size {
            Some(_) => {
                let mut file = self.file;
                io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
            None => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(self.file))),
        };
        Ok(Lines {
            source,
            offset,
            clock: self.clock,
        })
    }
}

/// It may have been compressed since somebody looked.
fn reopen(path: &Path, times: &Times, span: Span) -> io::Result<Option<Part>> {
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(None);
    }
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    Part::open(Path::new(&compressed), times, span)
}

/// Tells the time of lines, by their offset or by what they say.
pub(super) struct Clock {
    pub(super) notes: Vec<Note>,
    last: Option<i64>,
}

impl Clock {
    pub(super) fn time(&mut self, offset: u64, text: &[u8]) -> Option<i64> {
        if self.notes.is_empty() {
            self.last = date(text).or(self.last);
            return self.last;
        }
        let after = self.notes.partition_point(|note| note.offset <= offset);
        let note = self.notes.get(after.checked_sub(1)?)?;
        Some(i64::from(note.second) * 1000)
    }

    /// Where the first line of the span is, at the earliest.
    pub(super) fn begin(&self, span: Span) -> u64 {
        let since = span.since_ms.unwrap_or(i64::MIN).div_euclid(1000);
        let first = self.notes.partition_point(|note| i64::from(note.second) < since);
        match span.since_ms {
            Some(_) if !self.notes.is_empty() => {
                // What is behind the last note was written at its time.
                self.notes.get(first).map_or(u64::MAX, |note| note.offset)
            }
            _ => 0,
        }
    }

    /// Where the first line after the span is, at the latest.
    pub(super) fn end(&self, span: Span) -> Option<u64> {
        let until = span.until_ms?.div_euclid(1000);
        let after = self.notes.partition_point(|note| i64::from(note.second) <= until);
        Some(self.notes.get(after)?.offset)
    }
}

/// Lines from front to end.
pub(super) struct Lines {
    source: Box<dyn BufRead>,
    offset: u64,
    clock: Clock,
}

impl Lines {
    /// The next line and its time.
    pub(super) fn next(&mut self) -> io::Result<Option<super::Line>> {
        let begin = self.offset;
        let mut text = Vec::new();
        let limit = LONGEST_LINE as u64 + 1;
        let n = (&mut self.source).take(limit).read_until(b'\n', &mut text)?;
        if n == 0 {
            return Ok(None);
        }
        self.offset += n as u64;
        if text.ends_with(b"\n") {
            text.pop();
        } else if n as u64 == limit {
            text.pop();
            self.skip_line()?;
        }
        let at_ms = self.clock.time(begin, &text);
        Ok(Some(super::Line { text, at_ms }))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let block = self.source.fill_buf()?;
            let (n, ended) = match memchr(b'\n', block) {
                Some(end) => (end + 1, true),
                None => (block.len(), block.is_empty()),
            };
            self.source.consume(n);
            self.offset += n as u64;
            if ended {
                return Ok(());
            }
        }
    }
}

/// The date at the beginning of a line, or the timestamp of a JSON line; without a zone it is local.
fn date(line: &[u8]) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Stamped {
        timestamp: String,
    }
    if line.first() == Some(&b'{') {
        let stamped: Stamped = serde_json::from_slice(line).ok()?;
        return written_date(&stamped.timestamp);
    }
    let head = &line[..line.len().min(48)];
    written_date(&String::from_utf8_lossy(head))
}

/// `2026-11-23T01:47:33`, with a blank for the `T`, with a fraction, with a zone, and then anything.
fn written_date(text: &str) -> Option<i64> {
    let day = text.get(..10)?;
    let time = text.get(11..19)?;
    if !matches!(text.as_bytes().get(10)?, b'T' | b' ') {
        return None;
    }
    let moment: DateTime = format!("{day}T{time}").parse().ok()?;
    let rest = text.get(19..)?;
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let second = match offset(rest.trim_start()) {
        Some(offset) => moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() - offset,
        None => moment.to_zoned(TimeZone::system()).ok()?.timestamp().as_second(),
    };
    Some(second * 1000 + ms)
}

/// `Z`, `+02:00` or `+0200`, in seconds.
fn offset(text: &str) -> Option<i64> {
    if text.starts_with('Z') {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..]
        .chars()
        .filter(|c| *c != ':')
        .take_while(char::is_ascii_digit)
        .take(4)
        .collect();
    if digits.len() != 4 {
        return None;
    }
    let (hours, minutes) = digits.split_at(2);
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_lines() {
        let utc = 1_795_398_453_000;
        for (line, expected) in [
            ("2026-11-23T01:47:33Z: hello", Some(utc)),
            ("2026-11-23 01:47:33.250 +00:00: hello", Some(utc + 250)),
            ("2026-11-23T03:47:33,5+0200 x", Some(utc + 500)),
            (
                r#"{"message":"x","timestamp":"2026-11-23T01:47:33.001Z"}"#,
                Some(utc + 1),
            ),
            ("hello 2026-11-23T01:47:33Z", None),
            ("2026-13-23T01:47:33Z", None),
            ("2026-11-23", None),
            ("", None),
            (r#"{"message":"x"}"#, None),
        ] {
            assert_eq!(date(line.as_bytes()), expected, "{line}");
        }
        let local: DateTime = "2026-11-23T01:47:33".parse().unwrap();
        let local = local
            .to_zoned(TimeZone::system())
            .unwrap()
            .timestamp()
            .as_millisecond();
        assert_eq!(date(b"2026-11-23T01:47:33: PM2 log: x"), Some(local));
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut text = vec![b'x'; LONGEST_LINE * 2];
        text.extend_from_slice(b"\nnext\n");
        std::fs::write(&path, text).unwrap();
        let times = Times::new(dir.path().join("times"));
        let part = Part::open(&path, &times, Span::default()).unwrap().unwrap();
        let mut lines = part.reader(0).unwrap();
        assert_eq!(lines.next().unwrap().unwrap().text.len(), LONGEST_LINE);
        assert_eq!(lines.next().unwrap().unwrap().text, b"next");
        assert_eq!(lines.next().unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = date(&line);
        }

        #[test]
        fn anything_like_a_date_is_survived(line in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}[.,]?[0-9é]{0,3}.{0,8}") {
            let _ = date(line.as_bytes());
        }
    }
}

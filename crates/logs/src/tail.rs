//! The end of a log file, without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memrchr_iter;

const BLOCK: u64 = 64 * 1024;
/// At most this much of a file is looked at, however long its lines are.
const AT_MOST: u64 = 64 * 1024 * 1024;

/// The last `lines` lines of a file, oldest first, without their line ends; a last line without an end counts.
///
/// # Errors
/// When the file cannot be read.
pub fn last_lines(path: &Path, lines: usize) -> io::Result<Vec<Vec<u8>>> {
    if lines == 0 {
        return Ok(Vec::new());
    }
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let bottom = end.saturating_sub(AT_MOST);
    let mut text: Vec<u8> = Vec::new();
    let mut start = end;
    while start > bottom {
        let from = start.saturating_sub(BLOCK).max(bottom);
        let mut block = vec![0; usize::try_from(start - from).unwrap_or(0)];
        file.read_exact_at(&mut block, from)?;
        block.extend_from_slice(&text);
        text = block;
        start = from;
        if begin_of(&text, lines).is_some() {
            break;
        }
    }
    let begin = begin_of(&text, lines).unwrap_or(0);
    Ok(split(&text[begin..]))
}

/// Where the last `lines` lines begin, if so many line ends are there.
fn begin_of(text: &[u8], lines: usize) -> Option<usize> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    memrchr_iter(b'\n', body).nth(lines - 1).map(|at| at + 1)
}

fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    if body.is_empty() && text.is_empty() {
        return Vec::new();
    }
    body.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tail(text: &[u8], lines: usize) -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, text).unwrap();
        last_lines(&path, lines).unwrap()
    }

    #[test]
    fn small_files() {
        assert!(tail(b"", 5).is_empty());
        assert_eq!(tail(b"\n", 5), [b""]);
        assert_eq!(tail(b"a\nb\nc\n", 2), [b"b", b"c"]);
        assert_eq!(tail(b"a\nb\nc", 2), [b"b", b"c"]);
        assert_eq!(tail(b"a\nb\n", 9), [b"a", b"b"]);
        assert!(tail(b"a\n", 0).is_empty());
    }

    #[test]
    fn a_file_of_many_blocks() {
        let text: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
        let lines = tail(text.as_bytes(), 15_000);
        assert_eq!(lines.len(), 15_000);
        assert_eq!(lines[0], b"line 25000");
        assert_eq!(lines[14_999], b"line 39999");
    }

    proptest! {
        #[test]
        fn the_same_as_reading_all(text in "[a\n]{0,60}", lines in 1usize..10) {
            let all: Vec<Vec<u8>> = text.lines().map(|l| l.as_bytes().to_vec()).collect();
            let expected = all[all.len().saturating_sub(lines)..].to_vec();
            prop_assert_eq!(tail(text.as_bytes(), lines), expected);
        }
    }
}

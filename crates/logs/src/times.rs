//! When what stands in a log was written.
//!
//! Most apps print no dates, and what they print is moved without being looked at. So that one can ask for the last ten minutes all
//! the same, the pump notes once a second in which it wrote how long the file was before: twelve bytes, in a file of its own beside
//! the others in `$PM2_HOME`. It is a help, not a truth: a note that is missing or makes no sense is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Offset, u64, and seconds since the epoch, u32, little endian.
const NOTE: u64 = 12;
/// At most so much of a file of notes is read: two years of one note a second.
const AT_MOST: u64 = 64_000_000 * NOTE;

/// The folder of the notes.
#[derive(Clone, Debug)]
pub struct Times {
    folder: PathBuf,
}

/// One note: from this byte on, what stands there was written at this second or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Bytes from the start of the log.
    pub offset: u64,
    /// Seconds since the epoch.
    pub second: u32,
}

impl Times {
    /// The notes in this folder, which need not be there.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Notes that `log` is about to be written at `offset`.
    pub(crate) fn note(&self, log: &Path, note: Note) -> io::Result<()> {
        let path = self.path(log);
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                open()?
            }
            other => other?,
        };
        let len = file.metadata()?.len();
        let mut end = len - len % NOTE;
        // A log that has become shorter was emptied, or is another one.
        if last(&file, end).is_some_and(|last| last.offset > note.offset) {
            file.set_len(0)?;
            end = 0;
        }
        file.seek(SeekFrom::Start(end))?;
        let mut bytes = [0; NOTE as usize];
        bytes[..8].copy_from_slice(&note.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&note.second.to_le_bytes());
        file.write_all(&bytes)
    }

    /// All notes of a log, or of an older part of it, compressed or not; in order of both offset and time.
    #[must_use]
    pub fn of(&self, log: &Path) -> Vec<Note> {
        let mut bytes = Vec::new();
        let read = File::open(self.path(log)).and_then(|file| file.take(AT_MOST).read_to_end(&mut bytes));
        if read.is_err() {
            return Vec::new();
        }
        let mut notes: Vec<Note> = Vec::with_capacity(bytes.len() / NOTE as usize);
        for bytes in bytes.chunks_exact(NOTE as usize) {
            let Some(note) = parse(bytes) else { continue };
            // Where the clock was put back, the later of two times holds.
            let second = notes.last().map_or(0, |last| last.second).max(note.second);
            if notes.last().is_none_or(|last| last.offset <= note.offset) {
                notes.push(Note { second, ..note });
            }
        }
        notes
    }

    /// The notes of a log that is named by any path of it.
    #[must_use]
    pub fn of_log(&self, log: &Path) -> Vec<Note> {
        self.of(&fs::canonicalize(log).unwrap_or_else(|_| log.to_owned()))
    }

    /// The log goes by another name now.
    pub(crate) fn renamed(&self, from: &Path, to: &Path) {
        // Without notes, lines have no time; that is all.
        let _ = fs::rename(self.path(from), self.path(to));
    }

    /// The log has gone.
    pub(crate) fn forget(&self, log: &Path) {
        let _ = fs::remove_file(self.path(log));
    }

    /// Whatever a log is called and wherever it is, its notes have one name. A compressed part has those of the plain one.
    fn path(&self, log: &Path) -> PathBuf {
        let bytes = log.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b".gz").unwrap_or(bytes);
        // FNV-1a: it must be the same in every release.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.folder.join(format!("{hash:016x}"))
    }
}

fn last(file: &File, end: u64) -> Option<Note> {
    let mut bytes = [0; NOTE as usize];
    file.read_exact_at(&mut bytes, end.checked_sub(NOTE)?).ok()?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Note> {
    let (offset, second) = bytes.split_at_checked(8)?;
    Some(Note {
        offset: u64::from_le_bytes(offset.try_into().ok()?),
        second: u32::from_le_bytes(second.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(offset: u64, second: u32) -> Note {
        Note { offset, second }
    }

    #[test]
    fn notes_are_kept_in_order_and_follow_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let times = Times::new(dir.path().join("deep/times"));
        let log = Path::new("/l/app.log");
        assert!(times.of(log).is_empty());
        for n in [note(0, 10), note(5, 11), note(9, 8), note(9, 12)] {
            times.note(log, n).unwrap();
        }
        let expected = [note(0, 10), note(5, 11), note(9, 11), note(9, 12)];
        assert_eq!(times.of(log), expected);
        times.renamed(log, Path::new("/l/older.log"));
        assert!(times.of(log).is_empty());
        assert_eq!(times.of(Path::new("/l/older.log.gz")), expected);
        // It was emptied.
        times.note(Path::new("/l/older.log"), note(2, 20)).unwrap();
        assert_eq!(times.of(Path::new("/l/older.log")), [note(2, 20)]);
        times.forget(Path::new("/l/older.log.gz"));
        assert!(times.of(Path::new("/l/older.log")).is_empty());
    }

    #[test]
    fn torn_and_senseless_notes_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let times = Times::new(dir.path().to_owned());
        let log = Path::new("/l/app.log");
        times.note(log, note(0, 10)).unwrap();
        times.note(log, note(50, 20)).unwrap();
        let path = times.path(log);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"torn");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(times.of(log).len(), 2);
        times.note(log, note(60, 21)).unwrap();
        assert_eq!(times.of(log), [note(0, 10), note(50, 20), note(60, 21)]);
        fs::write(&path, [0xff; 30]).unwrap();
        assert_eq!(times.of(log).len(), 2);
    }
}

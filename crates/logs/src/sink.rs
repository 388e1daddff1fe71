//! Log files by path: each is open once, however many streams write to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, SeekFrom};

/// How long a file that could not be opened is left alone.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// All files that are written to.
#[derive(Default)]
pub(crate) struct Sinks {
    files: BTreeMap<PathBuf, State>,
}

enum State {
    Open(File),
    Failed { again: Instant },
}

impl Sinks {
    /// The file of `path`, placed at its end. Opened, with its folder, when it is not open yet.
    ///
    /// The position is set each time: the file may have been truncated, or written by somebody else. `O_APPEND` would do that by
    /// itself, but the kernel refuses to splice into such a file.
    pub(crate) fn at_end(&mut self, path: &Path, now: Instant) -> io::Result<&mut File> {
        let state = match self.files.get(path) {
            Some(State::Open(_)) => None,
            Some(State::Failed { again }) if now < *again => {
                return Err(io::Error::other("tried a moment ago"));
            }
            _ => Some(open(path)),
        };
        match state {
            None => {}
            Some(Ok(file)) => {
                self.files.insert(path.to_owned(), State::Open(file));
            }
            Some(Err(error)) => {
                let again = now + OPEN_AGAIN;
                self.files.insert(path.to_owned(), State::Failed { again });
                return Err(error);
            }
        }
        match self.files.get_mut(path) {
            Some(State::Open(file)) => {
                match rustix::fs::seek(&*file, SeekFrom::End(0)) {
                    // A terminal or a named pipe in the place of a file has only an end.
                    Ok(_) | Err(rustix::io::Errno::SPIPE) => Ok(file),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Err(io::Error::other("not open")),
        }
    }

    /// Closes everything: the next write opens by path again.
    pub(crate) fn reopen(&mut self) {
        self.files.clear();
    }

    /// Closes the files that no stream uses any more.
    pub(crate) fn keep(&mut self, used: &BTreeSet<&PathBuf>) {
        self.files.retain(|path, _| used.contains(path));
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mode = Mode::from_raw_mode(0o644);
    let opened = match rustix::fs::open(path, flags, mode) {
        Err(rustix::io::Errno::NOENT) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            rustix::fs::open(path, flags, mode)
        }
        other => other,
    };
    Ok(File::from(opened?))
}

/// Writes all of `bytes`; on an error tells how many were written.
pub(crate) fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Moves up to `len` bytes from a pipe into a file or another pipe, inside the kernel.
pub(crate) fn splice(from: BorrowedFd<'_>, to: impl AsFd, len: usize) -> io::Result<usize> {
    let flags = rustix::pipe::SpliceFlags::MOVE | rustix::pipe::SpliceFlags::NONBLOCK;
    loop {
        match rustix::pipe::splice(from, None, &to, None, len, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

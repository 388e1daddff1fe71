//! Log files by path: each is open once, however many streams write to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, SeekFrom};

use crate::rotation::{self, Aside, Housekeeper, Rotation};
use crate::stream::Now;
use crate::times::{Note, Times};

/// How long a file that could not be opened is left alone.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How long a file that could not be put aside just grows.
const ASIDE_AGAIN: Duration = Duration::from_secs(60);

/// All files that are written to.
pub(crate) struct Sinks {
    files: BTreeMap<PathBuf, State>,
    rules: BTreeMap<PathBuf, Rotation>,
    times: Option<Times>,
    housekeeper: Housekeeper,
    /// The time in the last name that was given, ms since the epoch.
    last_mark: i64,
    /// Failures to put a file aside, to be told.
    failures: Vec<(PathBuf, io::Error)>,
}

enum State {
    Open(Open),
    Failed { again: Instant },
}

struct Open {
    file: File,
    /// Its path with all links followed.
    real: PathBuf,
    /// A device or a named pipe has no size, and is never put aside.
    is_file: bool,
    /// Where it ended when it was looked at last.
    end: u64,
    /// The second that was noted last.
    noted: u32,
    /// It is to be put aside at the next end of a line, however large it is.
    due: bool,
    /// It could not be put aside; not before this time again.
    not_before: Option<Instant>,
}

/// How much a file may take before it is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many bytes.
    Bytes(u64),
    /// The rest of the line that it ends in: then it is put aside.
    RestOfLine,
}

impl Sinks {
    pub(crate) fn new(times: Option<Times>, housekeeper: Housekeeper) -> Self {
        Self {
            files: BTreeMap::new(),
            rules: BTreeMap::new(),
            times,
            housekeeper,
            last_mark: 0,
            failures: Vec::new(),
        }
    }

    /// When the file of `path` is put aside from now on.
    pub(crate) fn set_rotation(&mut self, path: &Path, rules: Option<Rotation>) {
        match rules {
            Some(rules) => self.rules.insert(path.to_owned(), rules),
            None => self.rules.remove(path),
        };
    }

    /// The file of `path`, placed at its end. Opened, with its folder, when it is not open yet.
    ///
    /// The position is set each time: the file may have been truncated, or written by somebody else. `O_APPEND` would do that by
    /// itself, but the kernel refuses to splice into such a file.
    pub(crate) fn at_end(&mut self, path: &Path, now: Instant) -> io::Result<&mut File> {
        let open = self.open(path, now)?;
        match rustix::fs::seek(&open.file, SeekFrom::End(0)) {
            Ok(end) => {
                if end < open.end {
                    open.noted = 0;
                }
                open.end = end;
                Ok(&mut open.file)
            }
            // A terminal or a named pipe in the place of a file has only an end.
            Err(rustix::io::Errno::SPIPE) => Ok(&mut open.file),
            Err(error) => Err(error.into()),
        }
    }

    /// The file of `path` as [`Sinks::make_ready`] has left it.
    pub(crate) fn placed(&mut self, path: &Path) -> io::Result<&mut File> {
        match self.files.get_mut(path) {
            Some(State::Open(open)) => Ok(&mut open.file),
            _ => Err(io::Error::other("not open")),
        }
    }

    fn open(&mut self, path: &Path, now: Instant) -> io::Result<&mut Open> {
        let state = match self.files.get(path) {
            Some(State::Open(_)) => None,
            Some(State::Failed { again }) if now < *again => {
                return Err(io::Error::other("tried a moment ago"));
            }
            _ => Some(open(path)),
        };
        match state {
            None => {}
            Some(Ok(open)) => {
                self.files.insert(path.to_owned(), State::Open(open));
            }
            Some(Err(error)) => {
                let again = now + OPEN_AGAIN;
                self.files.insert(path.to_owned(), State::Failed { again });
                return Err(error);
            }
        }
        match self.files.get_mut(path) {
            Some(State::Open(open)) => Ok(open),
            _ => Err(io::Error::other("not open")),
        }
    }

    /// Makes the file of `path` ready for more: puts it aside if its time has come and a line has just ended, and places it at its
    /// end. Says how much it may take.
    pub(crate) fn make_ready(&mut self, path: &Path, now: Now) -> io::Result<Room> {
        self.at_end(path, now.mono)?;
        let Some(State::Open(open)) = self.files.get_mut(path) else {
            return Err(io::Error::other("not open"));
        };
        let rules = self.rules.get(path);
        let room = rules.map_or(Some(u64::MAX), |rules| rules.room(open.end));
        let waits = !open.is_file || open.not_before.is_some_and(|at| now.mono < at);
        match room {
            Some(room) if waits || !open.due => return Ok(Room::Bytes(room)),
            None if waits => return Ok(Room::Bytes(u64::MAX)),
            _ => {}
        }
        let overdue = rules.is_some_and(|rules| rules.is_overdue(open.end));
        if open.end > 0 && !overdue && !ends_a_line(&open.file, open.end) {
            return Ok(Room::RestOfLine);
        }
        open.due = false;
        if open.end > 0 {
            self.set_aside(path, now);
            self.at_end(path, now.mono)?;
        }
        let size = match self.files.get(path) {
            Some(State::Open(open)) if open.not_before.is_none() => open.end,
            _ => 0,
        };
        let room = self.rules.get(path).and_then(|rules| rules.room(size));
        Ok(Room::Bytes(room.unwrap_or(u64::MAX)))
    }

    /// Puts a file aside now, or as soon as the line that it ends in has ended.
    pub(crate) fn set_aside_soon(&mut self, path: &Path, now: Now) {
        let known = self.rules.contains_key(path) && self.at_end(path, now.mono).is_ok();
        if let Some(State::Open(open)) = self.files.get_mut(path).filter(|_| known) {
            open.due = open.end > 0;
            // What cannot be done now is told, and tried when there is more to write.
            let _ = self.make_ready(path, now);
        }
    }

    /// Names sort by age also among files that are put aside within one ms, where the name of one that was removed is free again.
    fn mark(&self, wall_ms: i64) -> i64 {
        match self.last_mark - wall_ms {
            // The clock may have been set back further: then it is believed.
            0..1000 => self.last_mark + 1,
            _ => wall_ms,
        }
    }

    fn set_aside(&mut self, path: &Path, now: Now) {
        let mark = self.mark(now.wall_ms);
        let Some(State::Open(open)) = self.files.get_mut(path) else {
            return;
        };
        match rotation::set_aside(path, &open.file, mark) {
            Ok(Aside::Elsewhere) => {
                self.files.remove(path);
            }
            Ok(Aside::Moved { from, to }) => {
                let given = to.file_name().and_then(|name| rotation::rotated_at(&from, name));
                self.last_mark = given.unwrap_or(mark);
                if let Some(times) = &self.times {
                    times.renamed(&from, &to);
                }
                // The same file may be open by another path, too.
                self.files
                    .retain(|_, state| !matches!(state, State::Open(open) if open.real == from));
                match open_as(path, &to) {
                    Ok(open) => {
                        self.files.insert(path.to_owned(), State::Open(open));
                    }
                    // It is tried, and told, when there is something to write.
                    Err(_) => {
                        self.files.remove(path);
                    }
                }
                if let Some(rules) = self.rules.get(path) {
                    self.housekeeper.tidy(from, rules.clone());
                }
            }
            Err(error) => {
                open.not_before = Some(now.mono + ASIDE_AGAIN);
                self.failures.push((path.to_owned(), error));
            }
        }
    }

    /// Something was written into the file of `path` since it was placed at its end.
    pub(crate) fn wrote(&mut self, path: &Path, now: Now) {
        let Some(State::Open(open)) = self.files.get_mut(path) else {
            return;
        };
        let second = u32::try_from(now.wall_ms / 1000).unwrap_or(u32::MAX);
        if !open.is_file || open.noted == second {
            return;
        }
        open.noted = second;
        if let Some(times) = &self.times {
            let offset = open.end;
            // Without notes, lines have no time; that is all.
            let _ = times.note(&open.real, Note { offset, second });
        }
        // Removed or moved away, perhaps with its folder: what comes next is written where it can be found.
        if path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            self.files.remove(path);
        }
    }

    /// What could not be put aside since this was asked last.
    pub(crate) fn failures(&mut self) -> Vec<(PathBuf, io::Error)> {
        std::mem::take(&mut self.failures)
    }

    /// Closes everything: the next write opens by path again.
    pub(crate) fn reopen(&mut self) {
        self.files.clear();
    }

    /// Closes the files that no stream uses any more.
    pub(crate) fn keep(&mut self, used: &BTreeSet<&PathBuf>) {
        self.files.retain(|path, _| used.contains(path));
        self.rules.retain(|path, _| used.contains(path));
    }
}

/// Is the last byte of a file of this size the end of a line? What cannot be read is not waited for.
fn ends_a_line(file: &File, end: u64) -> bool {
    let Ok(reader) = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return true;
    };
    let mut last = [b'\n'];
    reader.read_exact_at(&mut last, end.saturating_sub(1)).is_err() || last == [b'\n']
}

/// Opens the file that comes in the place of one that was put aside: with its mode, and with its owner where that can be.
fn open_as(path: &Path, former: &Path) -> io::Result<Open> {
    let open = open(path)?;
    if let Ok(meta) = former.metadata() {
        let _ = open.file.set_permissions(meta.permissions());
        let _ = std::os::unix::fs::fchown(&open.file, Some(meta.uid()), Some(meta.gid()));
    }
    Ok(open)
}

fn open(path: &Path) -> io::Result<Open> {
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
    let file = File::from(opened?);
    Ok(Open {
        is_file: file.metadata()?.is_file(),
        real: real_path(&file, path),
        file,
        end: 0,
        noted: 0,
        due: false,
        not_before: None,
    })
}

/// Its path with all links followed. The kernel knows it, and tells it at once; but not of a file that has just been removed.
fn real_path(file: &File, path: &Path) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .ok()
        .filter(|real| real.is_absolute() && real.exists())
        .or_else(|| std::fs::canonicalize(path).ok())
        .unwrap_or_else(|| path.to_owned())
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

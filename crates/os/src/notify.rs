//! Changes in folders, as the kernel tells them (inotify).
//!
//! One [`Notifier`] watches many folders, each for its own entries only: what lies deeper is another folder to be watched. Which
//! folders these are is the caller's choice, so nothing that it ignores costs a watch.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Events that are read at once: some hundreds.
const BUFFER: usize = 32 * 1024;

/// A watched folder. The number is the kernel's: the same folder has the same one, by whatever path it is reached, and a number is
/// not used again before [`Kind::Over`] was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(i32);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry was made here, or moved here.
    Appeared {
        /// It is a folder.
        folder: bool,
    },
    /// An entry was removed, or moved away.
    Vanished {
        /// It was a folder.
        folder: bool,
    },
    /// The content of an entry was changed.
    Changed,
    /// Dates, rights or owner of an entry were changed.
    Attributes,
    /// The folder is not watched any more: it has gone, or was let go.
    Over,
    /// There was more than the kernel keeps: anything may have happened anywhere.
    Lost,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// In which folder; `None` for [`Kind::Lost`].
    pub place: Option<Place>,
    /// What.
    pub kind: Kind,
    /// The entry of the folder, if it is about one.
    pub name: Option<&'a OsStr>,
}

/// Watches folders. Readable when there is something to read.
#[derive(Debug)]
pub struct Notifier {
    fd: OwnedFd,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Notifier {
    /// A notifier that watches nothing yet.
    ///
    /// # Errors
    /// `EMFILE` when the user has as many as `fs.inotify.max_user_instances` allows.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?,
            buffer: vec![MaybeUninit::uninit(); BUFFER].into_boxed_slice(),
        })
    }

    /// Watches the entries of a folder. Links are followed.
    ///
    /// # Errors
    /// `ENOSPC` when the user watches as many as `fs.inotify.max_user_watches` allows; `ENOTDIR`, `ENOENT`, `EACCES` as with any path.
    pub fn watch(&self, folder: &Path) -> io::Result<Place> {
        let wanted = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        Ok(Place(inotify::add_watch(&self.fd, folder, wanted)?))
    }

    /// Lets go of a folder. [`Kind::Over`] follows.
    pub fn forget(&self, place: Place) {
        // It fails only when the folder has gone by itself.
        let _ = inotify::remove_watch(&self.fd, place.0);
    }

    /// Takes everything there is to tell. Does not wait.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn read(&mut self, mut tell: impl FnMut(Notice<'_>)) -> io::Result<()> {
        let mut reader = inotify::Reader::new(self.fd.as_fd(), &mut self.buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(kind) = kind_of(event.events()) {
                tell(Notice {
                    place: (kind != Kind::Lost).then_some(Place(event.wd())),
                    kind,
                    name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())),
                });
            }
        }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn kind_of(flags: ReadFlags) -> Option<Kind> {
    let folder = flags.contains(ReadFlags::ISDIR);
    let any = |wanted: ReadFlags| flags.intersects(wanted);
    if any(ReadFlags::QUEUE_OVERFLOW) {
        Some(Kind::Lost)
    } else if any(ReadFlags::IGNORED) {
        Some(Kind::Over)
    } else if any(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        Some(Kind::Appeared { folder })
    } else if any(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        Some(Kind::Vanished { folder })
    } else if any(ReadFlags::MODIFY) {
        Some(Kind::Changed)
    } else if any(ReadFlags::ATTRIB) {
        Some(Kind::Attributes)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is there to be read after an operation; the kernel has queued it when the operation returns.
    fn told(notifier: &mut Notifier) -> Vec<(Kind, String)> {
        let mut all = Vec::new();
        notifier
            .read(|notice| {
                let name = notice
                    .name
                    .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                all.push((notice.kind, name));
            })
            .unwrap();
        all
    }

    #[test]
    fn what_happens_in_a_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut notifier = Notifier::new().unwrap();
        let place = notifier.watch(dir.path()).unwrap();
        assert_eq!(told(&mut notifier), []);
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/deeper"), "not told").unwrap();
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::remove_dir_all(dir.path().join("d")).unwrap();
        let name = |name: &str| name.to_owned();
        assert_eq!(
            told(&mut notifier),
            [
                (Kind::Appeared { folder: false }, name("a")),
                (Kind::Changed, name("a")),
                (Kind::Appeared { folder: true }, name("d")),
                (Kind::Vanished { folder: false }, name("a")),
                (Kind::Appeared { folder: false }, name("b")),
                (Kind::Vanished { folder: true }, name("d")),
            ]
        );
        notifier.forget(place);
        assert_eq!(told(&mut notifier), [(Kind::Over, String::new())]);
        fs::write(dir.path().join("b"), "2").unwrap();
        assert_eq!(told(&mut notifier), []);
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let notifier = Notifier::new().unwrap();
        let error = notifier.watch(file.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            notifier.watch(dir.path()).unwrap(),
            notifier
                .watch(&dir.path().join("../").join(dir.path().file_name().unwrap()))
                .unwrap(),
            "one folder, one place"
        );
    }
}

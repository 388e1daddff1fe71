//! Log files that have grown are put aside, compressed, and after a while removed.
//!
//! The pump puts a file aside between two lines ([`set_aside`]): one `rename`, so a death leaves either the old state or the new
//! one. Everything slow (compressing, counting, removing) is the [`Housekeeper`]'s, on a thread that exists only while there is
//! something to do. A compressed file appears under its name only when it is whole and on the disk, and only then the plain one goes:
//! whatever was interrupted is done again the next time.
//!
//! Others may rotate the same files (logrotate, the module pm2-logrotate): a file that is no longer at its path is not put aside
//! again, and only files that carry our own mark in their names are ever removed.

mod aside;
mod name;
mod tidy;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use aside::{Aside, set_aside};
pub use name::{family, rotated_at};
pub use tidy::{Complain, Housekeeper};

/// The least size at which a file may be put aside: below it, more is renamed than written.
pub const MIN_SIZE: u64 = 1024;

/// A file may be so much larger than its limit, or twice its limit if that is more, before a line that does not end is cut.
const LONGEST_LINE: u64 = 1024 * 1024;

/// When a log file is put aside, and what becomes of those that were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// At this size; `None`: however large. At least [`MIN_SIZE`].
    pub max_size: Option<u64>,
    /// How many older files are kept; `None`: all.
    pub retain: Option<usize>,
    /// Older files are removed after this time.
    pub max_age: Option<Duration>,
    /// Older files are compressed, to `.gz`.
    pub compress: bool,
}

impl Rotation {
    /// How much a file of this size may still take. `None`: its time has come.
    pub(crate) fn room(&self, size: u64) -> Option<u64> {
        match self.max_size {
            None => Some(u64::MAX),
            Some(max) => max.max(MIN_SIZE).checked_sub(size).filter(|room| *room > 0),
        }
    }

    /// Has a file of this size grown so far over its limit that even a line that does not end is cut?
    pub(crate) fn is_overdue(&self, size: u64) -> bool {
        self.max_size
            .is_some_and(|max| size >= max.saturating_add(max.max(LONGEST_LINE)))
    }
}

/// Puts the file that `log` names aside now, if `file` is that file. Gives the log's real path if it did: the writer opens it anew, and
/// tells a [`Housekeeper`].
///
/// # Errors
/// When it cannot be renamed.
pub fn put_aside(log: &Path, file: &File) -> io::Result<Option<PathBuf>> {
    match set_aside(log, file, crate::clock::wall_ms())? {
        Aside::Moved { from, .. } => Ok(Some(from)),
        Aside::Elsewhere => Ok(None),
    }
}

//! Whether a file changed since it was looked at, without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What is told of a file without reading it; `None` of one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamped {
    /// Inode, size, and the kernel's own date of the last change, seconds and nanoseconds.
    File(u64, u64, i64, i64),
    /// It is there and cannot be looked at.
    Unknown,
}

impl Stamped {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match std::fs::metadata(path) {
            Ok(meta) => Some(Self::File(
                meta.ino(),
                meta.size(),
                meta.ctime(),
                meta.ctime_nsec(),
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => Some(Self::Unknown),
        }
    }
}

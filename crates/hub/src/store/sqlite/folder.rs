//! The data folder, and the lock that makes one hub its only user.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::database::{Sql, io};
use crate::store::StoreError;

/// A data folder held by this process until dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder when missing (mode 0700) and takes it.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another hub has it.
    pub fn hold(path: &Path) -> Sql<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| io("create the data folder", path, source))?;
        let lock_path = path.join("hub.lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| io("open", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &mut lock)),
            Err(TryLockError::Error(source)) => return Err(io("lock", &lock_path, source)),
        }
        // Only said, to name the holder in an error; the lock itself is the system's.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn held(path: &Path, lock: &mut File) -> StoreError {
    let mut pid = String::new();
    let _ = lock.take(20).read_to_string(&mut pid);
    let holder = pid
        .trim()
        .parse::<u32>()
        .map_or(String::new(), |pid| format!(" (pid {pid})"));
    StoreError::Held {
        folder: path.display().to_string(),
        holder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        let first = DataFolder::hold(&path).unwrap();
        let refused = DataFolder::hold(&path).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "cannot use the data folder {}: another hub (pid {}) holds it; stop that hub or give another --data",
                path.display(),
                std::process::id()
            )
        );
        drop(first);
        DataFolder::hold(&path).unwrap();
    }

    #[test]
    fn strangers_cannot_look_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let _held = DataFolder::hold(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(
            std::fs::metadata(path.join("hub.lock"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }
}

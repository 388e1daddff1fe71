//! One rename, and the care around it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::name;

/// So many names are tried, one ms apart.
const TRIES: i64 = 1000;

/// What became of a file that was to be put aside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// It has this name now, and its place is free.
    Moved {
        /// The log's real path, links followed.
        from: PathBuf,
        /// Where it is now.
        to: PathBuf,
    },
    /// Somebody else has moved it, or put another one in its place.
    Elsewhere,
}

/// Puts the file that `log` names aside, if `file` is still that file. No name is ever used twice.
pub(crate) fn set_aside(log: &Path, file: &File, at_ms: i64) -> io::Result<Aside> {
    let ours = file.metadata()?;
    // Links stay, and go on pointing at the place where the log is.
    let real = match fs::canonicalize(log) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Aside::Elsewhere),
        Err(error) => return Err(error),
    };
    let there = fs::metadata(&real)?;
    if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
        return Ok(Aside::Elsewhere);
    }
    for at in at_ms..at_ms.saturating_add(TRIES) {
        let to = name::aside(&real, at);
        if name::compressed(&to).symlink_metadata().is_ok() {
            continue;
        }
        match rename(&real, &to) {
            Ok(()) => return Ok(Aside::Moved { from: real, to }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Aside::Elsewhere),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames without replacing anything.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems know no such flag. Nobody else makes files of these names.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_what_it_was_given_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        let link = dir.path().join("link.log");
        fs::write(&log, "one").unwrap();
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let file = File::open(&log).unwrap();
        let Aside::Moved { to, .. } = set_aside(&link, &file, 5).unwrap() else {
            panic!("not moved");
        };
        assert_eq!(
            to,
            name::aside(&fs::canonicalize(dir.path()).unwrap().join("app.log"), 5)
        );
        assert!(link.symlink_metadata().unwrap().is_symlink());
        // It has gone from there, and then another file is there.
        assert_eq!(set_aside(&log, &file, 6).unwrap(), Aside::Elsewhere);
        fs::write(&log, "two").unwrap();
        assert_eq!(set_aside(&log, &file, 6).unwrap(), Aside::Elsewhere);
        assert_eq!(fs::read_to_string(&log).unwrap(), "two");
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        fs::write(name::aside(&log, 7), "older").unwrap();
        fs::write(name::compressed(&name::aside(&log, 8)), "older").unwrap();
        fs::write(&log, "new").unwrap();
        let file = File::open(&log).unwrap();
        let Aside::Moved { to, .. } = set_aside(&log, &file, 7).unwrap() else {
            panic!("not moved");
        };
        assert!(to.to_string_lossy().ends_with("009Z.log"), "{}", to.display());
        assert_eq!(fs::read_to_string(name::aside(&log, 7)).unwrap(), "older");
    }
}

//! Folders of modules: made ready beside the others, put in place by one rename, and brought back if that was a mistake.

use crate::failure::Failure;
use pm2::home::Home;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of an installed module.
pub(super) fn folder(home: &Home, name: &str) -> PathBuf {
    home.module_dir.join(name)
}

/// A folder that is being made ready. Removed again if nobody takes it.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    taken: bool,
}

impl Staging {
    /// An empty one, on the same disk as the modules.
    pub(super) fn new(home: &Home) -> Result<Staging, Failure> {
        let path = home.module_dir.join(format!(".new-{}", std::process::id()));
        let make = || {
            remove(&path)?;
            fs::create_dir_all(&path)
        };
        make().map_err(Failure::file("making the folder", &path))?;
        Ok(Staging { path, taken: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in the place of the module; what was there is kept.
    pub(super) fn take_place(mut self, home: &Home, name: &str) -> Result<Placed, Failure> {
        let folder = folder(home, name);
        let backup = home
            .module_dir
            .join(format!(".old-{}-{}", std::process::id(), name.replace('/', "+")));
        let moving =
            |from: &Path, to: &Path| fs::rename(from, to).map_err(Failure::file("moving into place", from));
        if let Some(scope) = folder.parent() {
            fs::create_dir_all(scope).map_err(Failure::file("making the folder", scope))?;
        }
        let had = folder.symlink_metadata().is_ok();
        if had {
            remove(&backup).map_err(Failure::file("removing", &backup))?;
            moving(&folder, &backup)?;
        }
        let placed = Placed {
            folder: folder.clone(),
            backup: had.then_some(backup),
        };
        if let Err(failure) = moving(&self.path, &folder) {
            placed.undo()?;
            return Err(failure);
        }
        self.taken = true;
        Ok(placed)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.taken {
            // A left-over is overwritten by the next one of this number.
            let _ = remove(&self.path);
        }
    }
}

/// A module in its place, and what was there before.
#[derive(Debug)]
pub(super) struct Placed {
    folder: PathBuf,
    backup: Option<PathBuf>,
}

impl Placed {
    /// There was one before.
    pub(super) fn has_former(&self) -> bool {
        self.backup.is_some()
    }

    /// It is good: what was before can go.
    pub(super) fn keep(self) -> Result<(), Failure> {
        match &self.backup {
            Some(backup) => remove(backup).map_err(Failure::file("removing", backup)),
            None => Ok(()),
        }
    }

    /// It is not: what was before comes back.
    pub(super) fn undo(self) -> Result<(), Failure> {
        remove(&self.folder).map_err(Failure::file("removing", &self.folder))?;
        match &self.backup {
            Some(backup) => fs::rename(backup, &self.folder).map_err(Failure::file("bringing back", backup)),
            None => Ok(()),
        }
    }
}

/// Removes a file, link or folder; nothing there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(home: &Home, text: &str) -> Staging {
        let staging = Staging::new(home).unwrap();
        fs::write(staging.path().join("v"), text).unwrap();
        staging
    }

    #[test]
    fn a_new_one_takes_the_place_and_the_old_one_can_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path(), |_| None);
        let text = || fs::read_to_string(folder(&home, "@s/mod").join("v")).unwrap();
        let left = || fs::read_dir(&home.module_dir).unwrap().count();
        let placed = staged(&home, "1").take_place(&home, "@s/mod").unwrap();
        assert!(!placed.has_former());
        placed.keep().unwrap();
        let placed = staged(&home, "2").take_place(&home, "@s/mod").unwrap();
        assert!(placed.has_former() && text() == "2");
        placed.undo().unwrap();
        assert_eq!((text().as_str(), left()), ("1", 1));
        staged(&home, "3")
            .take_place(&home, "@s/mod")
            .unwrap()
            .keep()
            .unwrap();
        assert_eq!((text().as_str(), left()), ("3", 1));
        drop(staged(&home, "4"));
        assert_eq!((text().as_str(), left()), ("3", 1));
    }
}

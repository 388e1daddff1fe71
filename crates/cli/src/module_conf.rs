//! `module_conf.json` as a file: read, and changed by one command at a time.

use crate::failure::Failure;
use crate::home::write_atomically;
use os::lock::FileLock;
use pm2::home::Home;
use pm2::module_conf::ModuleConf;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Larger ones are nobody's configuration.
const MAX_BYTES: u64 = 8 << 20;
/// Only the owner may read it: people keep keys and passwords there.
const MODE: u32 = 0o600;
/// Another command holds the file for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// What is stored; a file that is not there is empty.
pub(crate) fn read(home: &Home) -> Result<ModuleConf, Failure> {
    let path = &home.module_conf_file;
    let text = match text_of(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ModuleConf::default()),
        Err(error) => return Err(Failure::file("reading", path)(error)),
    };
    ModuleConf::parse(&text).map_err(|error| {
        Failure::Error(format!(
            "reading {}: {error}; mend it, or move it away to begin anew",
            path.display()
        ))
    })
}

/// Changes what is stored: read, changed and written as a whole, while no other command does. A broken file is left as it is.
pub(crate) fn update<T>(
    home: &Home,
    change: impl FnOnce(&mut ModuleConf) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = &home.module_conf_file;
    let _lock = lock(path)?;
    let mut conf = read(home)?;
    let before = conf.clone();
    let result = change(&mut conf)?;
    if conf != before {
        write_atomically(path, conf.to_text().as_bytes(), MODE).map_err(Failure::file("writing", path))?;
    }
    Ok(result)
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The file itself is replaced as a whole, so the lock is on one beside it.
fn lock(path: &Path) -> Result<FileLock, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    let give_up = Instant::now() + PATIENCE;
    loop {
        match FileLock::try_exclusive(&beside) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < give_up => std::thread::sleep(AGAIN),
            Ok(None) => {
                return Err(Failure::Error(format!(
                    "changing {}: another command has held {} for {} s",
                    path.display(),
                    beside.display(),
                    PATIENCE.as_secs()
                )));
            }
            Err(error) => return Err(Failure::file("locking", beside)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_of_many_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path(), |_| None);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let home = &home;
                scope.spawn(move || {
                    for n in 0..10 {
                        let set = |conf: &mut ModuleConf| {
                            conf.set(&format!("w{writer}:k{n}"), "1")
                                .map_err(|error| Failure::Error(error.to_string()))
                        };
                        update(home, set).unwrap();
                    }
                });
            }
        });
        let conf = read(&home).unwrap();
        assert_eq!(conf.as_object().len(), 4);
        assert!((0..4).all(|w| conf.section(&format!("w{w}")).is_some_and(|s| s.len() == 10)));
    }

    #[test]
    fn a_broken_file_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path(), |_| None);
        assert_eq!(read(&home).unwrap(), ModuleConf::default());
        std::fs::write(&home.module_conf_file, "{ oops").unwrap();
        let change = |conf: &mut ModuleConf| {
            conf.clear();
            Ok(())
        };
        let told = update(&home, change).unwrap_err().to_string();
        assert!(
            told.contains("module_conf.json") && told.contains("line 1"),
            "{told}"
        );
        assert_eq!(std::fs::read_to_string(&home.module_conf_file).unwrap(), "{ oops");
        // A change that fails writes nothing.
        std::fs::write(&home.module_conf_file, r#"{"a":{"b":"1"}}"#).unwrap();
        let refused = update(&home, |conf| -> Result<(), Failure> {
            conf.clear();
            Err(Failure::Told)
        });
        assert!(refused.is_err());
        assert_eq!(read(&home).unwrap().get("a:b").unwrap(), Some(&json!("1")));
    }
}

//! What becomes of files that were put aside: compressed, counted, removed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Rotation, name};
use crate::clock::wall_ms;
use crate::times::Times;

/// What a file is called while it is being compressed.
const PART: &str = ".part";
const BLOCK: usize = 64 * 1024;
/// Apps come first.
const NICE: i32 = 19;

/// Where failures are told: which log, and why.
pub type Complain = Box<dyn Fn(&Path, &io::Error) + Send + Sync>;

/// Tidies after logs on a thread of its own, which ends when there is nothing to do.
pub struct Housekeeper(Arc<Shared>);

impl std::fmt::Debug for Housekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Housekeeper")
    }
}

struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    times: Option<Times>,
    complain: Complain,
}

#[derive(Default)]
struct State {
    /// One entry a log, so it is bounded by what is attached.
    waiting: BTreeMap<PathBuf, Rotation>,
    works: bool,
}

impl Housekeeper {
    /// One that forgets the notes of what it removes in `times`, and tells `complain` what it cannot do.
    #[must_use]
    pub fn new(times: Option<Times>, complain: Complain) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            ended: AtomicBool::new(false),
            times,
            complain,
        }))
    }

    /// Tidy after this log, soon.
    pub fn tidy(&self, log: PathBuf, rules: Rotation) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(log.clone(), rules);
        if state.works {
            return;
        }
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new()
            .name("log tidy".into())
            .spawn(move || {
                // On Linux this is the priority of the calling thread alone.
                let _ = rustix::process::setpriority_process(None, NICE);
                shared.work();
            });
        match thread {
            Ok(_) => state.works = true,
            // It is tried again when the next file is put aside.
            Err(error) => (self.0.complain)(&log, &error),
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let (log, rules) = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match state.waiting.pop_first() {
                    Some(next) if !self.ended.load(Ordering::Relaxed) => next,
                    _ => {
                        state.works = false;
                        return;
                    }
                }
            };
            if let Err(error) = tidy(&log, &rules, self.times.as_ref(), &self.ended) {
                (self.complain)(&log, &error);
            }
        }
    }
}

/// Removes the older parts of `log` that are too many or too old, and compresses the others; stops in between when `ended` is set.
/// Only files that were put aside by us are touched.
///
/// Gives the first failure; what else could be done is done all the same.
fn tidy(log: &Path, rules: &Rotation, times: Option<&Times>, ended: &AtomicBool) -> io::Result<()> {
    let mut failed = Ok(());
    let mut note = |outcome: io::Result<()>| {
        if failed.is_ok() {
            failed = outcome;
        }
    };
    let mut parts = parts(log)?;
    let oldest = rules.max_age.map(|age| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        wall_ms().saturating_sub(age)
    });
    while let Some((&at, _)) = parts.first_key_value() {
        let too_many = rules.retain.is_some_and(|retain| parts.len() > retain);
        if !too_many && oldest.is_none_or(|oldest| at >= oldest) {
            break;
        }
        for path in parts.pop_first().into_iter().flat_map(|(_, paths)| paths) {
            note(remove(&path));
            if let Some(times) = times {
                times.forget(&path);
            }
        }
    }
    if rules.compress {
        for path in parts.into_values().flatten() {
            if !is_compressed(&path) && !ended.load(Ordering::Relaxed) {
                note(compress(&path, ended));
            }
        }
    }
    failed
}

/// Our older parts of a log by their time; what an interrupted compression left is removed.
fn parts(log: &Path) -> io::Result<BTreeMap<i64, Vec<PathBuf>>> {
    let mut parts: BTreeMap<i64, Vec<PathBuf>> = BTreeMap::new();
    let folder = log.parent().filter(|p| !p.as_os_str().is_empty());
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let file = entry?.file_name();
        let path = log.with_file_name(&file);
        if let Some(at) = name::rotated_at(log, &file) {
            parts.entry(at).or_default().push(path);
        } else if let Some(whole) = file.as_bytes().strip_suffix(PART.as_bytes())
            && name::rotated_at(log, OsStr::from_bytes(whole)).is_some()
        {
            remove(&path)?;
        }
    }
    Ok(parts)
}

fn is_compressed(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(name::COMPRESSED.as_bytes())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn compress(path: &Path, ended: &AtomicBool) -> io::Result<()> {
    let whole = name::compressed(path);
    let mut part = whole.clone().into_os_string();
    part.push(PART);
    let part = PathBuf::from(part);
    let done = write_compressed(path, &part, ended).and_then(|()| fs::rename(&part, &whole));
    match done {
        Ok(()) => remove(path),
        Err(error) => {
            let _ = remove(&part);
            // The daemon ends; the next one does it.
            if error.kind() == io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

fn write_compressed(path: &Path, part: &Path, ended: &AtomicBool) -> io::Result<()> {
    let mut source = File::open(path)?;
    let meta = source.metadata()?;
    let mut target = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(meta.permissions().mode() & 0o777)
        .open(part)?;
    let mut done = add_member(&mut source, &mut target, ended)?;
    // Somebody may still have written into the old file: then another member follows, and readers see one text.
    while source.metadata()?.len() > done {
        match add_member(&mut source, &mut target, ended)? {
            0 => break,
            more => done += more,
        }
    }
    target.set_modified(meta.modified()?)?;
    target.sync_data()
}

/// Compresses what is left of `source`, and says how much that was.
fn add_member(source: &mut File, target: &mut File, ended: &AtomicBool) -> io::Result<u64> {
    let mut encoder = GzEncoder::new(target, Compression::default());
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    loop {
        if ended.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match source.read(&mut block)? {
            0 => break,
            n => {
                encoder.write_all(&block[..n])?;
                done += n as u64;
            }
        }
    }
    encoder.finish()?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flate2::read::MultiGzDecoder;

    use super::*;

    const RULES: Rotation = Rotation {
        max_size: None,
        retain: Some(3),
        max_age: None,
        compress: true,
    };

    struct Fixture {
        dir: tempfile::TempDir,
        log: PathBuf,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("app.log");
            Self { dir, log }
        }

        fn put(&self, at: i64, text: &str) -> PathBuf {
            let path = name::aside(&self.log, at);
            fs::write(&path, text).unwrap();
            path
        }

        fn tidy(&self, rules: &Rotation) -> io::Result<()> {
            tidy(&self.log, rules, None, &AtomicBool::new(false))
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn unpacked(path: &Path) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    #[test]
    fn the_newest_are_kept_and_compressed() {
        let f = Fixture::new();
        fs::write(&f.log, "now").unwrap();
        fs::write(f.dir.path().join("app__2020-01-01_00-00-00.log"), "not ours").unwrap();
        let paths: Vec<PathBuf> = (0..5).map(|n| f.put(n * 1000, &format!("text {n}\n"))).collect();
        fs::set_permissions(&paths[4], fs::Permissions::from_mode(0o600)).unwrap();
        f.tidy(&RULES).unwrap();
        assert_eq!(
            f.names(),
            [
                "app.log",
                "app__1970-01-01T00-00-02-000Z.log.gz",
                "app__1970-01-01T00-00-03-000Z.log.gz",
                "app__1970-01-01T00-00-04-000Z.log.gz",
                "app__2020-01-01_00-00-00.log",
            ]
        );
        let newest = name::compressed(&paths[4]);
        assert_eq!(unpacked(&newest), "text 4\n");
        assert_eq!(newest.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        f.tidy(&RULES).unwrap();
        assert_eq!(f.names().len(), 5, "a second time changes nothing");
    }

    #[test]
    fn the_old_go_and_all_go_where_none_is_to_be_kept() {
        let f = Fixture::new();
        f.put(1000, "long ago");
        let fresh = f.put(wall_ms(), "just now");
        let rules = Rotation {
            max_age: Some(Duration::from_secs(3600)),
            compress: false,
            retain: None,
            ..RULES
        };
        f.tidy(&rules).unwrap();
        assert_eq!(f.names(), [fresh.file_name().unwrap().to_str().unwrap()]);
        let rules = Rotation {
            retain: Some(0),
            ..RULES
        };
        f.tidy(&rules).unwrap();
        assert_eq!(f.names(), [""; 0]);
    }

    #[test]
    fn what_was_interrupted_is_done_again() {
        let f = Fixture::new();
        // Killed while compressing, and killed between the rename and the removal.
        let first = f.put(1000, "first");
        let second = f.put(2000, "second");
        fs::write(format!("{}.gz.part", first.display()), "rubbish").unwrap();
        compress(&second, &AtomicBool::new(false)).unwrap();
        fs::write(&second, "second").unwrap();
        f.tidy(&RULES).unwrap();
        assert_eq!(f.names().len(), 2);
        assert_eq!(unpacked(&name::compressed(&first)), "first");
        assert_eq!(unpacked(&name::compressed(&second)), "second");
    }

    #[test]
    fn an_ending_daemon_leaves_the_plain_file() {
        let f = Fixture::new();
        let path = f.put(1000, "text");
        compress(&path, &AtomicBool::new(true)).unwrap();
        assert_eq!(f.names(), [path.file_name().unwrap().to_str().unwrap()]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let f = Fixture::new();
        let path = f.put(1000, "text");
        // A folder in the way of the compressed file.
        fs::create_dir(format!("{}.gz.part", path.display())).unwrap();
        assert!(f.tidy(&RULES).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }
}

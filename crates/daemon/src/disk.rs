//! The thread that writes small files, so that a slow or full disk never holds up the owner loop.
//!
//! Jobs are done in the order in which they were given. The queue is bounded; what does not fit is dropped and counted.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use logs::Rotation;

use crate::host_metrics::HostMetrics;
use crate::own_log::OwnLog;

/// Jobs that may wait.
const QUEUE: usize = 8192;

/// Something to write.
#[derive(Debug)]
enum Job {
    Write {
        path: PathBuf,
        content: Vec<u8>,
        mode: u32,
    },
    Remove {
        path: PathBuf,
    },
    /// To the daemon's own log, which is its standard output.
    Log {
        line: String,
    },
    /// Figures of the host, which a slow file system may hold up.
    Host {
        figures: HostMetrics,
    },
    /// When that log is put aside from now on.
    LogRules(Option<Rotation>),
    /// That log is put aside now.
    RotateLog,
    /// Somebody may have moved that log away.
    ReopenLog,
    Barrier {
        done: SyncSender<()>,
    },
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    // Bounded by `waiting`: a bounded channel would hold the memory of a full queue from the start.
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Disk {
    /// Start the thread; `log` is where the daemon's own log belongs.
    pub(crate) fn start(log: &Path) -> io::Result<Self> {
        let (jobs, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        std::thread::Builder::new()
            .name("disk".into())
            .stack_size(1024 * 1024)
            .spawn({
                let mut log = OwnLog::new(log.to_owned());
                let waiting = Arc::clone(&waiting);
                move || work(&inbox, &waiting, &mut log)
            })?;
        Ok(Self {
            jobs,
            waiting,
            dropped: Arc::default(),
        })
    }

    /// Replace the file as a whole: readers see the old content or the new one.
    pub(crate) fn write(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, mode: u32) {
        self.give(Job::Write {
            path: path.into(),
            content: content.into(),
            mode,
        });
    }

    /// Remove the file if it is there.
    pub(crate) fn remove(&self, path: impl Into<PathBuf>) {
        self.give(Job::Remove { path: path.into() });
    }

    /// A line (or several) for the daemon's log, with its newline.
    pub(crate) fn log(&self, line: String) {
        self.give(Job::Log { line });
    }

    /// Take the figures of the host.
    pub(crate) fn look_at_host(&self, figures: HostMetrics) {
        self.give(Job::Host { figures });
    }

    /// When the daemon's log is put aside from now on; `None`: never.
    pub(crate) fn rotate_log(&self, rules: Option<Rotation>) {
        self.give(Job::LogRules(rules));
    }

    /// Put the daemon's log aside now, if it is put aside at all.
    pub(crate) fn rotate_log_now(&self) {
        self.give(Job::RotateLog);
    }

    /// Go on in the file at the log's path.
    pub(crate) fn reopen_log(&self) {
        self.give(Job::ReopenLog);
    }

    /// Wait until everything given so far is on disk. For the end of the daemon only: it blocks.
    pub(crate) fn finish(&self) {
        let (done, wait) = sync_channel(1);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.jobs.send(Job::Barrier { done }).is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_secs(5));
        }
    }

    /// Jobs that were dropped because the disk was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn give(&self, job: Job) {
        let full = self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE;
        if full {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if full || self.jobs.send(job).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn work(inbox: &Receiver<Job>, waiting: &AtomicUsize, log: &mut OwnLog) {
    while let Ok(job) = inbox.recv() {
        waiting.fetch_sub(1, Ordering::Relaxed);
        match job {
            Job::Write { path, content, mode } => {
                if let Err(error) = replace(&path, &content, mode) {
                    log.say(&format!("writing {}: {error}\n", path.display()));
                }
            }
            Job::Remove { path } => match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => log.say(&format!("removing {}: {error}\n", path.display())),
            },
            Job::Host { figures } => figures.take(),
            Job::Log { line } => log.say(&line),
            Job::LogRules(rules) => log.set_rules(rules),
            Job::RotateLog => log.rotate(),
            Job::ReopenLog => {
                if let Err(error) = log.reopen() {
                    log.say(&format!("opening the daemon's log again: {error}\n"));
                }
            }
            Job::Barrier { done } => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Write beside the file and rename over it.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pids/a.pid");
        let disk = Disk::start(&dir.path().join("own.log")).unwrap();
        disk.write(&path, "12", 0o644);
        disk.finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), "12");
        // A folder in the place of the file: the write fails, nothing is left beside it.
        let folder = dir.path().join("taken");
        fs::create_dir_all(folder.join("x")).unwrap();
        assert!(replace(&folder, b"1", 0o644).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        disk.remove(&path);
        disk.remove(&path);
        disk.finish();
        assert!(!path.exists());
        assert_eq!(disk.dropped(), 0);
    }
}

//! The thread that writes small files, so that a slow or full disk never holds up the owner loop.
//!
//! Jobs are done in the order in which they were given, but of those that wait for the same file only the last is done, in the place of
//! the first: a process that starts is noted twice within a millisecond. The queue is bounded; what does not fit is dropped and counted.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use logs::Rotation;

use crate::host_metrics::HostMetrics;
use crate::leftovers;
use crate::own_log::OwnLog;

/// Jobs that may wait.
const QUEUE: usize = 8192;
/// After what it did, the thread gathers new jobs for so long before it does them: who starts a hundred processes does not wake it
/// hundreds of times, and what is noted twice is written once.
const GATHER: Duration = Duration::from_millis(2);
/// A file of states that would become larger than this is begun anew, bytes.
const MAX_STATES: u64 = 32 * 1024;

/// Something to write.
#[derive(Debug)]
enum Job {
    Write {
        path: PathBuf,
        content: Vec<u8>,
        mode: u32,
    },
    /// The next state of a file that is read from its end.
    State {
        path: PathBuf,
        content: Vec<u8>,
        mode: u32,
    },
    Remove {
        path: PathBuf,
    },
    /// What others were writing in this folder when they were killed.
    Sweep {
        folder: PathBuf,
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
    thread: Thread,
}

impl Disk {
    /// Start the thread; `log` is where the daemon's own log belongs.
    pub(crate) fn start(log: &Path) -> io::Result<Self> {
        let (jobs, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::Builder::new()
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
            thread: thread.thread().clone(),
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

    /// Put a state behind those that the file has, or begin it anew with this one. Its readers take the last state that is whole: one
    /// that is being written in the moment of our death counts for nothing, and the one before it holds.
    pub(crate) fn note(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, mode: u32) {
        self.give(Job::State {
            path: path.into(),
            content: content.into(),
            mode,
        });
    }

    /// Remove the file if it is there.
    pub(crate) fn remove(&self, path: impl Into<PathBuf>) {
        self.give(Job::Remove { path: path.into() });
    }

    /// Remove what processes that were killed have left unfinished in a folder.
    pub(crate) fn sweep(&self, folder: impl Into<PathBuf>) {
        self.give(Job::Sweep {
            folder: folder.into(),
        });
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
            // It is not to gather any more.
            self.thread.unpark();
            let _ = wait.recv_timeout(Duration::from_secs(5));
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

impl Job {
    /// The file whose state is all that counts of this job.
    fn path(&self) -> Option<&Path> {
        match self {
            Job::Write { path, .. } | Job::State { path, .. } | Job::Remove { path } => Some(path),
            _ => None,
        }
    }
}

/// Jobs in the order in which they are done.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// How many jobs were taken out, which makes the numbers of `files` places.
    done: usize,
    /// For each file that something waits for: the number of its job.
    files: HashMap<PathBuf, usize>,
}

impl Queue {
    /// Add a job. Says whether one that waited gave way to it.
    fn add(&mut self, job: Job) -> bool {
        if let Some(path) = job.path() {
            let waits = self
                .files
                .get(path)
                .and_then(|number| number.checked_sub(self.done));
            if let Some(before) = waits.and_then(|place| self.jobs.get_mut(place)) {
                *before = job;
                return true;
            }
            self.files.insert(path.to_owned(), self.done + self.jobs.len());
        }
        self.jobs.push_back(job);
        false
    }

    /// Take the next job out.
    fn next(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.done += 1;
        if let Some(path) = job.path() {
            self.files.remove(path);
        }
        Some(job)
    }
}

/// The next job, once all that has come is in the queue; `None` when nobody can give any more.
fn next_job(inbox: &Receiver<Job>, queue: &mut Queue, waiting: &AtomicUsize) -> Option<Job> {
    if queue.jobs.is_empty() {
        std::thread::park_timeout(GATHER);
        let job = inbox.try_recv().or_else(|_| inbox.recv());
        queue.add(job.ok()?);
    }
    for job in inbox.try_iter() {
        if queue.add(job) {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
    waiting.fetch_sub(1, Ordering::Relaxed);
    queue.next()
}

fn work(inbox: &Receiver<Job>, waiting: &AtomicUsize, log: &mut OwnLog) {
    let mut queue = Queue::default();
    let mut states = States::default();
    while let Some(job) = next_job(inbox, &mut queue, waiting) {
        match job {
            Job::Write { path, content, mode } => {
                if let Err(error) = replace(&path, &content, mode) {
                    log.say(&format!("writing {}: {error}\n", path.display()));
                }
            }
            Job::State { path, content, mode } => {
                if let Err(error) = states.note(&path, &content, mode) {
                    log.say(&format!("writing {}: {error}\n", path.display()));
                }
            }
            Job::Remove { path } => {
                states.forget(&path);
                match fs::remove_file(&path) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => log.say(&format!("removing {}: {error}\n", path.display())),
                }
            }
            Job::Sweep { folder } => leftovers::sweep(&folder),
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

/// Files of states that were written here, whole, with their sizes. What a former daemon left may end in half a state: nothing is put
/// behind that.
///
/// A file that grows costs a write. One that is renamed over costs an inode, and makes some file systems write at once.
#[derive(Debug, Default)]
struct States {
    sizes: HashMap<PathBuf, u64>,
}

impl States {
    fn note(&mut self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let size = self.sizes.remove(path).unwrap_or(MAX_STATES) + content.len() as u64;
        let grown = size <= MAX_STATES
            && fs::OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(content))
                .is_ok();
        if !grown {
            replace(path, content, mode)?;
        }
        let size = if grown { size } else { content.len() as u64 };
        self.sizes.insert(path.to_owned(), size);
        Ok(())
    }

    fn forget(&mut self, path: &Path) {
        self.sizes.remove(path);
    }
}

/// Write beside the file and rename over it. Its folder is made if it is not there.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let opened = match (options.open(&beside), path.parent()) {
        // Looked for only now: it is nearly always there.
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            options.open(&beside)
        }
        (opened, _) => opened,
    };
    let written = opened
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

    fn write(path: &str, content: &str) -> Job {
        Job::Write {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
        }
    }

    fn told(job: &Job) -> String {
        match job {
            Job::Write { path, content, .. } => {
                format!("{}={}", path.display(), String::from_utf8_lossy(content))
            }
            Job::Remove { path } => format!("-{}", path.display()),
            Job::Log { line } => line.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn of_a_file_only_the_last_state_is_written_in_the_place_of_the_first() {
        let mut queue = Queue::default();
        let line = |line: &str| Job::Log { line: line.into() };
        let remove = |path: &str| Job::Remove { path: path.into() };
        let gave_way = [
            write("a", "0"),
            write("b", "1"),
            line("x"),
            write("a", "2"),
            line("x"),
            remove("b"),
            write("c", "3"),
        ]
        .map(|job| queue.add(job));
        assert_eq!(gave_way, [false, false, false, true, false, true, false]);
        assert_eq!(queue.next().as_ref().map(told).as_deref(), Some("a=2"));
        // What comes when the former is done is a job of its own.
        assert!(!queue.add(write("a", "4")));
        assert!(queue.add(write("b", "5")));
        let rest: Vec<_> = std::iter::from_fn(|| queue.next())
            .map(|job| told(&job))
            .collect();
        assert_eq!(rest, ["b=5", "x", "x", "c=3", "a=4"]);
        assert!(queue.files.is_empty());
    }

    #[test]
    fn states_are_put_behind_each_other_only_where_all_before_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger/7");
        let text = || fs::read_to_string(&path).unwrap();
        let mut states = States::default();
        states.note(&path, b"one\n", 0o600).unwrap();
        states.note(&path, b"two\n", 0o600).unwrap();
        assert_eq!(text(), "one\ntwo\n");
        // Somebody else may have left half a state.
        let mut states = States::default();
        states.note(&path, b"three\n", 0o600).unwrap();
        assert_eq!(text(), "three\n");
        // It is begun anew once it is large, when it has gone, and after it was removed here.
        let large = vec![b'x'; MAX_STATES as usize - 6];
        states.note(&path, &large, 0o600).unwrap();
        assert_eq!(text().len() as u64, MAX_STATES);
        states.note(&path, b"four\n", 0o600).unwrap();
        assert_eq!(text(), "four\n");
        fs::remove_file(&path).unwrap();
        states.note(&path, b"five\n", 0o600).unwrap();
        states.forget(&path);
        states.note(&path, b"six\n", 0o600).unwrap();
        assert_eq!(text(), "six\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

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

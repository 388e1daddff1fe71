//! Sampling `/proc`: many processes, often, with one buffer and one open directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};

/// No more of an environment is looked at, bytes.
const MAX_ENVIRONMENT: u64 = 4 << 20;

/// One reading of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Process id.
    pub pid: u32,
    /// Parent's id; 0 for the first process and kernel threads.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// The letter of `/proc/<pid>/stat`: R, S, D, Z, T …
    pub state: u8,
    /// CPU time since its start, user and kernel, in clock ticks.
    pub cpu_ticks: u64,
    /// Start in clock ticks since boot. Together with the pid it names a process for ever (until reboot).
    pub start_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
}

/// Reads samples. Keep one: it holds the open `/proc` and the buffer.
#[derive(Debug)]
pub struct Sampler {
    proc: OwnedFd,
    name: Vec<u8>,
    buffer: Vec<u8>,
    page_bytes: u64,
}

impl Sampler {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// When it is not mounted.
    pub fn new() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            proc: rustix::fs::open("/proc", flags, Mode::empty())?,
            name: Vec::with_capacity(32),
            buffer: vec![0; 2048],
            page_bytes: rustix::param::page_size() as u64,
        })
    }

    /// One process now; `None` when it is gone. A zombie has a sample (state `Z`).
    pub fn sample(&mut self, pid: u32) -> Option<Sample> {
        self.name.clear();
        write!(self.name, "{pid}/stat").ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.proc, self.name.as_slice(), flags, Mode::empty()).ok()?;
        let length =
            rustix::io::retry_on_intr(|| rustix::io::read(&file, self.buffer.as_mut_slice())).ok()?;
        parse_stat(&self.buffer[..length], self.page_bytes)
    }

    /// All processes now, by one pass over the directory, into `all` (cleared first; reuse it).
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn sample_all(&mut self, all: &mut Vec<Sample>) -> io::Result<()> {
        all.clear();
        let mut pids = Vec::with_capacity(256);
        for entry in Dir::read_from(&self.proc)? {
            if let Some(pid) = entry?
                .file_name()
                .to_str()
                .ok()
                .and_then(|name| name.parse().ok())
            {
                pids.push(pid);
            }
        }
        all.extend(pids.into_iter().filter_map(|pid| self.sample(pid)));
        Ok(())
    }

    /// All living descendants of `root`, children before their parents (the order to signal them in), without `root`.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn descendants(&mut self, root: u32) -> io::Result<Vec<Sample>> {
        let mut all = Vec::new();
        self.sample_all(&mut all)?;
        Ok(descendants_of(&all, root))
    }
}

/// When a process began, ms since the machine was started.
#[must_use]
pub fn started_ms(sample: &Sample) -> Option<u64> {
    let ticks = rustix::param::clock_ticks_per_second();
    sample.start_ticks.checked_mul(1000)?.checked_div(ticks)
}

/// Descendants of `root` in a list of samples, children before their parents, without `root` and zombies.
#[must_use]
pub fn descendants_of(all: &[Sample], root: u32) -> Vec<Sample> {
    let mut children: HashMap<u32, Vec<&Sample>> = HashMap::new();
    for sample in all {
        children.entry(sample.ppid).or_default().push(sample);
    }
    let mut order = Vec::new();
    // A pid reused while the list was taken could close a circle: each parent's list is taken out once.
    let mut stack = children.remove(&root).unwrap_or_default();
    while let Some(sample) = stack.pop() {
        order.push(*sample);
        stack.extend(children.remove(&sample.pid).unwrap_or_default());
    }
    order.reverse();
    order.retain(|sample| sample.state != b'Z' && sample.pid != root);
    order
}

/// The name may hold anything, parentheses and spaces too, so fields count from the last `)`.
fn parse_stat(text: &[u8], page_bytes: u64) -> Option<Sample> {
    let open = memchr::memchr(b' ', text)?;
    let pid = number(&text[..open])?;
    let close = memchr::memrchr(b')', text)?;
    let mut fields = text.get(close + 2..)?.split(|&b| b == b' ');
    let state = *fields.next()?.first()?;
    let mut take = |skip: usize| fields.nth(skip).and_then(signed);
    let ppid = take(0)?;
    let pgid = take(0)?;
    let sid = take(0)?;
    let user = take(7)?;
    let system = take(0)?;
    let threads = take(4)?;
    let start_ticks = take(1)?;
    let virtual_bytes = take(0)?;
    let rss_pages = take(0)?;
    Some(Sample {
        pid: u32::try_from(pid).ok()?,
        ppid: u32::try_from(ppid).ok()?,
        pgid: u32::try_from(pgid).ok()?,
        sid: u32::try_from(sid).ok()?,
        state,
        cpu_ticks: user + system,
        start_ticks,
        threads: u32::try_from(threads).ok()?,
        rss_bytes: rss_pages * page_bytes,
        virtual_bytes,
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Kernel threads have -1 here and there.
fn signed(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'-') {
        Some(0)
    } else {
        number(text)
    }
}

/// Clock ticks in a second, the unit of [`Sample::cpu_ticks`] and [`Sample::start_ticks`].
#[must_use]
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Share of one CPU used between two samples of the same process `elapsed_ms` apart, in percent (250 = two and a half
/// CPUs). 0 when the second is of another process with that pid, or no time has passed.
#[must_use]
pub fn cpu_percent(before: &Sample, after: &Sample, elapsed_ms: u64) -> f64 {
    if before.pid != after.pid || before.start_ticks != after.start_ticks || elapsed_ms == 0 {
        return 0.0;
    }
    let ticks = after.cpu_ticks.saturating_sub(before.cpu_ticks);
    ticks as f64 * 100_000.0 / (ticks_per_second() as f64 * elapsed_ms as f64)
}

/// Proportional set size in bytes: memory with shared pages divided among their users. Slow (walks the page tables): on
/// demand only. `None` when the process is gone or not ours to look into.
#[must_use]
pub fn proportional_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kilobytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))?
        .trim()
        .strip_suffix(" kB")?
        .parse()
        .ok()?;
    Some(kilobytes * 1024)
}

/// What a process's resident memory consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Its own: heap and stacks.
    pub anonymous_bytes: u64,
    /// Mapped files: code and libraries.
    pub file_bytes: u64,
    /// Shared memory and memfds.
    pub shared_bytes: u64,
}

/// Reads it; `None` when the process is gone.
#[must_use]
pub fn memory_of(pid: u32) -> Option<MemoryUse> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(MemoryUse {
        anonymous_bytes: field("RssAnon:")?,
        file_bytes: field("RssFile:")?,
        shared_bytes: field("RssShmem:")?,
    })
}

/// Names of this process's threads, and how long each was on a CPU, ns. Threads of one name are added up.
#[must_use]
pub fn thread_times() -> Vec<(String, u64)> {
    let mut times: Vec<(String, u64)> = Vec::new();
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    for thread in threads {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).ok();
        let (Some(name), Some(times_text)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let on_cpu: u64 = times_text
            .split_ascii_whitespace()
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or(0);
        let name = name.trim();
        match times.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += on_cpu,
            None => times.push((name.to_owned(), on_cpu)),
        }
    }
    times
}

/// The descriptors a process has open; `None` when it is gone or not ours to look into.
#[must_use]
pub fn open_descriptors(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// Number of the pipe behind a descriptor of ours; `None` if it is no pipe.
#[must_use]
pub fn pipe_number(fd: impl AsFd) -> Option<u64> {
    let stat = rustix::fs::fstat(fd).ok()?;
    (rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo).then_some(stat.st_ino)
}

/// The other end of a pipe that another process has open: for reading what it writes, or for writing what it reads. `number` is what
/// [`pipe_number`] said of it before. Non-blocking, close-on-exec. `None` if the process has that pipe there no more, or is not ours
/// to look into.
#[must_use]
pub fn open_pipe_of(pid: u32, descriptor: u32, number: u64, for_writing: bool) -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let path = format!("/proc/{pid}/fd/{descriptor}");
    // Nothing else is opened, not even to look at it: that could have an effect.
    if std::fs::read_link(&path).ok()?.as_os_str().to_str() != Some(&format!("pipe:[{number}]")) {
        return None;
    }
    let way = if for_writing {
        OFlags::WRONLY
    } else {
        OFlags::RDONLY
    };
    let fd = rustix::fs::open(path, way | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    (pipe_number(&fd) == Some(number)).then_some(fd)
}

/// Names this run of the machine: pids and times of start mean something within it only.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Processes that were started with all of these variables (`NAME=value`), as far as they are ours to look into. Slow: on demand only.
#[must_use]
pub fn started_with(variables: &[String]) -> Vec<u32> {
    use std::io::Read;
    let has_all = |pid: &u32| {
        let mut bytes = Vec::new();
        let read = File::open(format!("/proc/{pid}/environ"))
            .and_then(|file| file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes));
        let has = |variable: &String| {
            bytes
                .split(|byte| *byte == 0)
                .any(|one| one == variable.as_bytes())
        };
        read.is_ok() && variables.iter().all(has)
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(has_all)
        .collect()
}

/// The command line, arguments separated by spaces; `None` when the process is gone.
#[must_use]
pub fn command_line(pid: u32) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))
        .ok()?
        .take(64 * 1024)
        .read_to_end(&mut bytes)
        .ok()?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_anything_in_them() {
        let text = b"42 (a b) (c) S 1 42 40 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 3 0 9999 1048576 250 18446744073709551615 1";
        let sample = parse_stat(text, 4096).unwrap();
        assert_eq!(
            sample,
            Sample {
                pid: 42,
                ppid: 1,
                pgid: 42,
                sid: 40,
                state: b'S',
                cpu_ticks: 12,
                start_ticks: 9999,
                threads: 3,
                rss_bytes: 250 * 4096,
                virtual_bytes: 1_048_576
            }
        );
        for cut in 0..60 {
            assert_eq!(parse_stat(&text[..cut], 4096), None, "cut at {cut}");
        }
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let mut sampler = Sampler::new().unwrap();
        let me = sampler.sample(std::process::id()).unwrap();
        assert_eq!(me.ppid, std::os::unix::process::parent_id());
        assert!(me.rss_bytes > 100_000 && me.threads >= 1);
        let mut all = Vec::new();
        sampler.sample_all(&mut all).unwrap();
        assert!(all.iter().any(|sample| sample.pid == me.pid));
        assert_eq!(sampler.sample(u32::MAX), None);
    }

    #[test]
    fn memory_and_threads_of_this_process_are_told() {
        let memory = memory_of(std::process::id()).unwrap();
        assert!(memory.anonymous_bytes > 0 && memory.file_bytes > 0);
        assert!(memory_of(u32::MAX).is_none());
        let worker = std::thread::Builder::new().name("a-worker".into());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let worker = worker.spawn(move || wait.recv()).unwrap();
        assert!(
            thread_times()
                .iter()
                .any(|(name, _)| name == "a-worker" || !name.is_empty())
        );
        drop(done);
        let _ = worker.join();
    }

    #[test]
    fn descendants_come_before_their_parents_and_circles_end() {
        let sample = |pid, ppid| Sample {
            pid,
            ppid,
            pgid: 1,
            sid: 1,
            state: b'S',
            cpu_ticks: 0,
            start_ticks: 0,
            threads: 1,
            rss_bytes: 0,
            virtual_bytes: 0,
        };
        let all = [
            sample(2, 1),
            sample(3, 2),
            sample(4, 3),
            sample(5, 2),
            sample(9, 8),
            sample(1, 4),
        ];
        let order: Vec<_> = descendants_of(&all, 2).iter().map(|sample| sample.pid).collect();
        let position = |pid| order.iter().position(|&p| p == pid).unwrap();
        assert!(position(4) < position(3));
        assert!(order.contains(&5) && !order.contains(&9) && !order.contains(&2));
    }

    #[test]
    fn cpu_is_of_the_same_process_only() {
        let mut sampler = Sampler::new().unwrap();
        let before = sampler.sample(std::process::id()).unwrap();
        let after = Sample {
            cpu_ticks: before.cpu_ticks + ticks_per_second(),
            ..before
        };
        assert!((cpu_percent(&before, &after, 2000) - 50.0).abs() < 1e-9);
        let other = Sample {
            start_ticks: before.start_ticks + 1,
            ..after
        };
        assert!(cpu_percent(&before, &other, 2000) == 0.0);
    }
}

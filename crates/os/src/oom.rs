//! Whether the kernel killed for want of memory: its counters, and its own words.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Records of the kernel's log that are looked at, at most.
const RECORDS: usize = 100_000;
const CGROUPS: &str = "/sys/fs/cgroup";

/// The cgroup of a process as a folder, where the memory controller counts; `None`: it is gone, or nothing counts.
#[must_use]
pub fn cgroup_of(pid: u32) -> Option<PathBuf> {
    folder(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Version 2 has one line, `0::/path`; version 1 one for each controller, `4:memory:/path`.
fn folder(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let root = if controllers.is_empty() {
            PathBuf::from(CGROUPS)
        } else if controllers.split(',').any(|name| name == "memory") {
            Path::new(CGROUPS).join("memory")
        } else {
            return None;
        };
        Some(root.join(path.trim_start_matches('/')))
    })
}

/// How many processes of a cgroup were killed for want of memory.
#[must_use]
pub fn killed_in(cgroup: &Path) -> Option<u64> {
    ["memory.events", "memory.oom_control"]
        .iter()
        .find_map(|file| count(&fs::read_to_string(cgroup.join(file)).ok()?))
}

/// The same on the whole machine since it was booted.
#[must_use]
pub fn killed_on_host() -> Option<u64> {
    count(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn count(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// What the kernel's log says of having killed this process; `None`: nothing, or it may not be read. It blocks for a moment.
#[must_use]
pub fn words_of_kernel(pid: u32) -> Option<String> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let mut log = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open("/dev/kmsg")
        .ok()?;
    let mut found = None;
    let mut record = vec![0; 8192];
    for _ in 0..RECORDS {
        match log.read(&mut record) {
            Ok(n) if n > 0 => {
                let text = String::from_utf8_lossy(&record[..n]);
                if let Some(words) = killed(&text, pid) {
                    found = Some(words.to_owned());
                }
            }
            // Overwritten while it was read: the next one is there.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
            Ok(_) | Err(_) => break,
        }
    }
    found
}

/// `6,1234,5678,-;Out of memory: Killed process 4711 (node) total-vm:…`
fn killed(record: &str, pid: u32) -> Option<&str> {
    let words = record.split_once(';')?.1.lines().next()?;
    let rest = words.split_once("Killed process ")?.1;
    let (number, _) = rest.split_once(' ')?;
    (number.parse() == Ok(pid)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_both_versions() {
        let v2 = "0::/user.slice/app.service\n";
        assert_eq!(folder(v2), Some("/sys/fs/cgroup/user.slice/app.service".into()));
        let v1 = "5:cpu,cpuacct:/a\n4:memory:/docker/x\n0::/ignored\n";
        assert_eq!(folder(v1), Some("/sys/fs/cgroup/memory/docker/x".into()));
        assert_eq!(folder(""), None);
        assert_eq!(folder("nonsense"), None);
    }

    #[test]
    fn counters() {
        assert_eq!(count("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("under_oom 0\n"), None);
        // Whatever this machine has, asking does no harm.
        let _ = (
            cgroup_of(std::process::id()).and_then(|cgroup| killed_in(&cgroup)),
            killed_on_host(),
        );
    }

    #[test]
    fn the_kernels_words() {
        let record = "3,99,12345,-;Memory cgroup out of memory: Killed process 4711 (node) total-vm:1kB\n SUBSYSTEM=x\n";
        assert_eq!(
            killed(record, 4711),
            Some("Memory cgroup out of memory: Killed process 4711 (node) total-vm:1kB")
        );
        assert_eq!(killed(record, 471), None);
        assert_eq!(killed("6,1,1,-;hello", 1), None);
        let _ = words_of_kernel(1);
    }
}

//! Facts about the machine.

use std::io;
use std::path::Path;

/// What stays while the machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Kernel name, `Linux`.
    pub system: String,
    /// Kernel release.
    pub release: String,
    /// Architecture as `uname -m` says it.
    pub machine: String,
    /// Logical CPUs online.
    pub cpus: usize,
    /// Model of the first CPU, empty if the kernel does not say.
    pub cpu_model: String,
    /// Changes with each boot; empty if the kernel does not say.
    pub boot_id: String,
    /// Installed memory in bytes.
    pub total_memory_bytes: u64,
}

impl Host {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        let names = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu_model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(':'))
            .map_or_else(String::new, |(_, model)| model.trim().to_owned());
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            hostname: text(names.nodename()),
            system: text(names.sysname()),
            release: text(names.release()),
            machine: text(names.machine()),
            cpus: cpus(),
            cpu_model,
            boot_id: boot_id.trim().to_owned(),
            total_memory_bytes: memory().map_or(0, |memory| memory.total_bytes),
        }
    }
}

/// Logical CPUs that are online, of the whole machine (not cut by affinity or cgroup, as Node's `os.cpus().length`).
#[must_use]
pub fn cpus() -> usize {
    std::fs::read_to_string("/sys/devices/system/cpu/online")
        .ok()
        .and_then(|text| count_ranges(text.trim()))
        .or_else(|| {
            std::thread::available_parallelism()
                .ok()
                .map(std::num::NonZero::get)
        })
        .unwrap_or(1)
}

/// Random bytes of the kernel's, fit for keys.
///
/// # Errors
/// None that a running machine has; on one that has just been started it waits until there is enough to draw from.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the kernel writes at most as many bytes as `rest` has.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(bytes)
}

/// Counts a list such as `0-3,7`.
fn count_ranges(text: &str) -> Option<usize> {
    let mut count: usize = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Memory now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Installed.
    pub total_bytes: u64,
    /// Unused by anything (what Node's `os.freemem` reports is `available_bytes`).
    pub free_bytes: u64,
    /// Could be used without swapping.
    pub available_bytes: u64,
}

/// Reads `/proc/meminfo`.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn memory() -> io::Result<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes * 1024)
    };
    Ok(Memory {
        total_bytes: field("MemTotal:"),
        free_bytes: field("MemFree:"),
        available_bytes: field("MemAvailable:"),
    })
}

/// Load over 1, 5 and 15 minutes.
#[must_use]
pub fn load_average() -> [f64; 3] {
    // The kernel's fixed point has 16 bits behind the point.
    rustix::system::sysinfo().loads.map(|load| load as f64 / 65_536.0)
}

/// Seconds since boot.
#[must_use]
pub fn uptime_seconds() -> u64 {
    u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0)
}

/// CPU time of the whole machine since boot, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// All states together.
    pub total_ticks: u64,
    /// Idle and waiting for disks.
    pub idle_ticks: u64,
}

impl CpuTimes {
    /// Percent of all CPUs busy since `before`, 0 to 100.
    #[must_use]
    pub fn busy_percent_since(&self, before: &Self) -> f64 {
        let total = self.total_ticks.saturating_sub(before.total_ticks);
        let idle = self.idle_ticks.saturating_sub(before.idle_ticks).min(total);
        if total == 0 {
            0.0
        } else {
            (total - idle) as f64 * 100.0 / total as f64
        }
    }
}

/// Reads the first line of `/proc/stat`.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn cpu_times() -> io::Result<CpuTimes> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8) // guest time is already part of user time
        .filter_map(|field| field.parse().ok())
        .collect();
    let at = |index: usize| fields.get(index).copied().unwrap_or(0);
    Ok(CpuTimes {
        total_ticks: fields.iter().sum(),
        idle_ticks: at(3) + at(4),
    })
}

/// Bytes through all network interfaces except loopback since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkCounters {
    /// Received.
    pub received_bytes: u64,
    /// Sent.
    pub sent_bytes: u64,
}

/// Reads `/proc/net/dev`.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn network_counters() -> io::Result<NetworkCounters> {
    Ok(sum_interfaces(&std::fs::read_to_string("/proc/net/dev")?))
}

fn sum_interfaces(text: &str) -> NetworkCounters {
    let mut sum = NetworkCounters::default();
    for (name, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let mut fields = rest
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0));
        sum.received_bytes += fields.next().unwrap_or(0);
        sum.sent_bytes += fields.nth(7).unwrap_or(0);
    }
    sum
}

/// Space of the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskSpace {
    /// Its size.
    pub total_bytes: u64,
    /// Free for ordinary users.
    pub available_bytes: u64,
}

/// Asks the file system.
///
/// # Errors
/// When the path does not exist.
pub fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        for (text, count) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-1,4,6-7", Some(5)),
            ("3-1", None),
            ("", None),
        ] {
            assert_eq!(count_ranges(text), count, "{text}");
        }
    }

    #[test]
    fn interfaces_without_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n  lo: 5 1 0 0 0 0 0 0 6 1 0\n eth0:100 2 0 0 0 0 0 0 200 2 0\n eth1: 1 0 0 0 0 0 0 0 2 0 0\n";
        assert_eq!(
            sum_interfaces(text),
            NetworkCounters {
                received_bytes: 101,
                sent_bytes: 202
            }
        );
    }

    #[test]
    fn this_host_is_plausible() {
        let host = Host::read();
        assert!(host.cpus >= 1 && !host.hostname.is_empty() && host.boot_id.len() == 36);
        let memory = memory().unwrap();
        assert!(memory.total_bytes >= memory.available_bytes && memory.available_bytes > 0);
        assert!(uptime_seconds() > 0 && load_average()[0] >= 0.0);
        assert!(disk_space(Path::new("/")).unwrap().total_bytes > 0);
        let times = cpu_times().unwrap();
        assert!(times.total_ticks > times.idle_ticks);
    }
}

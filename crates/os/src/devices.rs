//! What the machine's devices have moved since boot, how full its file systems are, and how warm it is.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A machine with thousands of container interfaces or mounts is told by its first ones.
const MAX_DEVICES: usize = 64;
/// The flag of an interface that is up, as the kernel has it in `linux/if.h`.
const IFF_UP: u32 = 1;

/// What went through one network interface since boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received with an error.
    pub receive_errors: u64,
    /// Received packets that were dropped.
    pub receive_dropped: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets not sent because of an error.
    pub send_errors: u64,
    /// Packets dropped instead of sent.
    pub send_dropped: u64,
}

/// Reads `/proc/net/dev`, loopback included. Those that are down are left out.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = parse_interfaces(&std::fs::read_to_string("/proc/net/dev")?);
    found.retain(|interface| is_up(&interface.name));
    found.truncate(MAX_DEVICES);
    Ok(found)
}

/// What can't be looked up counts as up.
fn is_up(name: &str) -> bool {
    let flags = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("flags"));
    let flags = flags
        .ok()
        .and_then(|text| u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok());
    flags.is_none_or(|flags| flags & IFF_UP != 0)
}

fn parse_interfaces(text: &str) -> Vec<Interface> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, rest)| {
            let fields: Vec<u64> = rest
                .split_ascii_whitespace()
                .map(|field| field.parse().unwrap_or(0))
                .collect();
            let at = |index: usize| fields.get(index).copied().unwrap_or(0);
            Interface {
                name: name.trim().to_owned(),
                received_bytes: at(0),
                receive_errors: at(2),
                receive_dropped: at(3),
                sent_bytes: at(8),
                send_errors: at(10),
                send_dropped: at(11),
            }
        })
        .collect()
}

/// What all disks together have moved since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Reads `/proc/diskstats`. Whole disks only: what is built upon them (partitions, loop, RAID, mapper) would count twice.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn disks() -> io::Result<DiskCounters> {
    let text = std::fs::read_to_string("/proc/diskstats")?;
    let is_disk = |name: &str| Path::new("/sys/block").join(name.replace('/', "!")).exists();
    Ok(sum_disks(&text, is_disk))
}

fn sum_disks(text: &str, is_disk: impl Fn(&str) -> bool) -> DiskCounters {
    /// The kernel counts in these, whatever the disk does.
    const SECTOR: u64 = 512;
    const BUILT_UPON_OTHERS: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "sr"];
    let mut sum = DiskCounters::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(name) = fields.get(2) else { continue };
        if BUILT_UPON_OTHERS.iter().any(|prefix| name.starts_with(prefix)) || !is_disk(name) {
            continue;
        }
        let sectors = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        sum.read_bytes += sectors(5).unwrap_or(0).saturating_mul(SECTOR);
        sum.written_bytes += sectors(9).unwrap_or(0).saturating_mul(SECTOR);
    }
    sum
}

/// How full a mounted file system is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its size.
    pub total_bytes: u64,
    /// In use.
    pub used_bytes: u64,
    /// Free for ordinary users.
    pub available_bytes: u64,
}

/// Asks every file system on a device under `/dev`, each device once. **May block** where a device does not answer.
///
/// # Errors
/// When `/proc` is not there or unreadable.
pub fn file_systems() -> io::Result<Vec<FileSystem>> {
    let mut found: Vec<FileSystem> = Vec::new();
    for mount in parse_mounts(&std::fs::read_to_string("/proc/self/mounts")?) {
        // It may have been unmounted meanwhile.
        let Ok(stat) = rustix::fs::statvfs(&mount) else {
            continue;
        };
        if stat.f_blocks > 0 {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            found.push(FileSystem {
                mount,
                total_bytes: bytes(stat.f_blocks),
                used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
                available_bytes: bytes(stat.f_bavail),
            });
        }
    }
    Ok(found)
}

/// Mount points of devices, the first of each device.
fn parse_mounts(text: &str) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let mut mounts = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(mount)) = (words.next(), words.next()) else {
            continue;
        };
        if device.starts_with("/dev/") && !device.starts_with("/dev/loop") && !seen.contains(&device) {
            seen.push(device);
            mounts.push(unescaped(mount));
        }
    }
    mounts.truncate(MAX_DEVICES);
    mounts
}

/// The kernel writes blanks in paths as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) => {
                let value = digits
                    .iter()
                    .fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
                bytes.push(u8::try_from(value).unwrap_or(b'?'));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The warmest of the CPU's thermal zones in degrees Celsius; `None` where the machine does not say.
#[must_use]
pub fn cpu_temperature() -> Option<f64> {
    let zones = std::fs::read_dir("/sys/class/thermal").ok()?;
    let warmest = zones
        .flatten()
        .filter(|zone| zone.file_name().as_encoded_bytes().starts_with(b"thermal_zone"))
        .filter_map(|zone| std::fs::read_to_string(zone.path().join("temp")).ok())
        .filter_map(|text| text.trim().parse::<i64>().ok())
        .max()?;
    Some(warmest as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_by_column() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n  lo: 5 1 0 0 0 0 0 0 6 1 0 0\n eth0:100 2 3 4 0 0 0 0 200 2 5 6 0 0 0 0\n bad:x\n";
        let found = parse_interfaces(text);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].sent_bytes, 6);
        assert_eq!(
            found[1],
            Interface {
                name: "eth0".into(),
                received_bytes: 100,
                receive_errors: 3,
                receive_dropped: 4,
                sent_bytes: 200,
                send_errors: 5,
                send_dropped: 6
            }
        );
    }

    #[test]
    fn partitions_and_mapped_disks_are_not_counted_again() {
        let line = |name: &str| format!("   8 0 {name} 10 0 2 0 10 0 4 0 0 0 0\n");
        let text = ["sda", "sda1", "dm-0", "loop0", "nvme0n1"].map(line).concat() + "short\n";
        let sum = sum_disks(&text, |name| ["sda", "dm-0", "nvme0n1"].contains(&name));
        assert_eq!(
            sum,
            DiskCounters {
                read_bytes: 2048,
                written_bytes: 4096
            }
        );
    }

    #[test]
    fn each_device_is_asked_once_and_blanks_are_read() {
        let text = "proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vda /again ext4 rw 0 0\n/dev/vdb /my\\040disk\\134 ext4 rw 0 0\n/dev/loop1 /snap squashfs ro 0 0\nodd\n";
        assert_eq!(
            parse_mounts(text),
            [PathBuf::from("/"), PathBuf::from("/my disk\\")]
        );
        assert_eq!(unescaped("\\04"), PathBuf::from("\\04"));
    }

    #[test]
    fn this_machine_answers() {
        let found = interfaces().unwrap();
        assert!(found.iter().any(|device| device.name == "lo"));
        assert!(found.iter().all(|device| is_up(&device.name)));
        assert!(is_up("no such interface"));
        disks().unwrap();
        for found in file_systems().unwrap() {
            assert!(found.total_bytes >= found.used_bytes);
        }
        assert!(cpu_temperature().is_none_or(|degrees| degrees < 200.0));
    }
}

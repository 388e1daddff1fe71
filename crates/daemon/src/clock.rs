//! The two clocks, read in one place.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pm2::dates::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use supervisor::{Mono, Now};

/// Both clocks. The monotonic one is the machine's, so its values mean the same to the next daemon.
pub(crate) fn now() -> Now {
    Now {
        mono: mono(),
        wall_ms: wall_ms(),
    }
}

/// Milliseconds since the machine was started.
pub(crate) fn mono() -> Mono {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Mono(seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long until then; zero if it has passed.
pub(crate) fn until(at: Mono) -> Duration {
    at.since(mono())
}

/// The zone of the host. Looked up when a date is to be written or a pattern is to be rung for: most daemons never need it.
pub(crate) fn zone() -> &'static TimeZone {
    static ZONE: LazyLock<TimeZone> = LazyLock::new(|| host_zone().unwrap_or_else(TimeZone::system));
    &ZONE
}

/// The host's own zone by its rules alone. To find out its name too, all names of zones would be read, and held.
fn host_zone() -> Option<TimeZone> {
    if std::env::var_os("TZ").is_some() {
        return None;
    }
    let rules = std::fs::read("/etc/localtime").ok()?;
    TimeZone::tzif("Local", &rules).ok()
}

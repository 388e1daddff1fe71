//! The two clocks, read in one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

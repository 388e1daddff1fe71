//! Wall-clock time, as a part that tests can hold still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall-clock time in milliseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `at_ms` until it is moved with [`Clock::set`].
    pub fn held(at_ms: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at_ms))))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Some(held) => held.load(Ordering::Relaxed),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// Moves a held clock, and all its clones; the machine's clock is not moved.
    pub fn set(&self, at_ms: i64) {
        if let Some(held) = &self.0 {
            held.store(at_ms, Ordering::Relaxed);
        }
    }
}

/// `at_ms` as ISO 8601 in UTC with milliseconds, the form of PM2's API.
pub fn iso(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => String::from("1970-01-01T00:00:00.000Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_has_milliseconds_always() {
        assert_eq!(iso(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(iso(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
    }
}

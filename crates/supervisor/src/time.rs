//! The supervisor's own time: told, never read.

use std::time::Duration;

/// Milliseconds on a clock that never goes back (the shell uses the machine's monotonic clock, so that
/// a value kept over a restart of the shell stays meaningful).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The moment `wait` after this one; saturates.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks. Waiting is done on `mono`; `wall_ms` (Unix epoch, ms) is for display alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub mono: Mono,
    /// For showing: milliseconds since the Unix epoch. May jump.
    pub wall_ms: i64,
}

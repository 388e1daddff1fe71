//! The wall clock, as files and formats want it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, ms since the epoch.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

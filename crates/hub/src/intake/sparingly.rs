//! Keeps the log readable, and the disk free, whatever strangers do at the doors.

use std::sync::{Mutex, PoisonError};

use crate::live::model::Millis;

/// Lines in one minute about one thing.
const A_MINUTE: u32 = 20;
const MINUTE: Millis = 60_000;

/// What anybody can bring about, and is worth a line in the log, but not ten thousand.
#[derive(Debug, Default)]
pub(super) struct Sparingly(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Millis,
    count: u32,
}

impl Sparingly {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Window { since: 0, count: 0 }))
    }

    /// Whether it is to be written down this time, and if so, how many were not in the minute before.
    pub(super) fn note(&self, now: Millis) -> Option<u32> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins anew, too.
        let mut left_out = 0;
        if !(window.since..window.since.saturating_add(MINUTE)).contains(&now) {
            left_out = window.count.saturating_sub(A_MINUTE);
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        (window.count <= A_MINUTE).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_a_few_lines_and_then_a_number() {
        let notes = Sparingly::new();
        let written = (0..1000).filter(|n| notes.note(5_000 + n).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(notes.note(5_000 + MINUTE), Some(980));
        assert_eq!(notes.note(5_001 + MINUTE), Some(0));
        assert_eq!(notes.note(0), Some(0), "the clock was set back");
    }
}

//! When to start the daemon again: at once, unless it keeps dying right after its start. Pure.

use std::time::Duration;

/// A daemon that lived this long was well.
const WELL_AFTER: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// With no app to care for, give up after so many quick deaths in a row…
const GIVE_UP_AFTER: u32 = 10;
/// …and sooner when no daemon has ever worked: the reason is then in the machine or the home, and someone is waiting.
const GIVE_UP_AT_START_AFTER: u32 = 3;

/// What to do after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    RestartAfter(Duration),
    GiveUp { deaths: u32 },
}

/// Counts quick deaths.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    quick_deaths: u32,
}

impl Restarts {
    /// The daemon died after having `lived`. `has_worked`: some daemon of this keeper has made a request;
    /// `has_children`: apps depend on it.
    pub(crate) fn died(&mut self, lived: Duration, has_worked: bool, has_children: bool) -> Verdict {
        if lived >= WELL_AFTER {
            self.quick_deaths = 0;
            return Verdict::RestartAfter(Duration::ZERO);
        }
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        let patience = if has_worked {
            GIVE_UP_AFTER
        } else {
            GIVE_UP_AT_START_AFTER
        };
        if !has_children && self.quick_deaths >= patience {
            return Verdict::GiveUp {
                deaths: self.quick_deaths,
            };
        }
        let pause = match self.quick_deaths {
            1 => Duration::ZERO,
            n => FIRST_PAUSE
                .saturating_mul(1 << (n - 2).min(16))
                .min(LONGEST_PAUSE),
        };
        Verdict::RestartAfter(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(5);

    fn pause(ms: u64) -> Verdict {
        Verdict::RestartAfter(Duration::from_millis(ms))
    }

    #[test]
    fn the_first_death_costs_no_time_and_repeated_ones_more_and_more() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> = (0..10).map(|_| restarts.died(QUICK, true, true)).collect();
        let expected = [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(pause);
        assert_eq!(pauses, expected);
        assert_eq!(restarts.died(WELL_AFTER, true, true), pause(0));
        assert_eq!(restarts.died(QUICK, true, true), pause(0));
    }

    #[test]
    fn it_never_gives_up_apps() {
        let mut restarts = Restarts::default();
        assert!((0..1000).all(|_| matches!(restarts.died(QUICK, false, true), Verdict::RestartAfter(_))));
    }

    #[test]
    fn without_apps_it_gives_up_and_soonest_at_the_start() {
        let mut never_worked = Restarts::default();
        assert_eq!(never_worked.died(QUICK, false, false), pause(0));
        assert_eq!(never_worked.died(QUICK, false, false), pause(100));
        assert_eq!(
            never_worked.died(QUICK, false, false),
            Verdict::GiveUp { deaths: 3 }
        );
        let mut worked = Restarts::default();
        assert_eq!(
            (0..9)
                .filter(|_| matches!(worked.died(QUICK, true, false), Verdict::GiveUp { .. }))
                .count(),
            0
        );
        assert_eq!(worked.died(QUICK, true, false), Verdict::GiveUp { deaths: 10 });
    }
}

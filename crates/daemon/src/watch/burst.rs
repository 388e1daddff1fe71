//! From changes to restarts. Pure: it is told the time.
//!
//! Many changes at once (an editor that writes beside and renames, a checkout, a build) are one reason to restart, so a restart waits until
//! nothing has changed for a moment. It does not wait for ever: what goes on changing is restarted now and then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pm2::env::WatchTiming;
use supervisor::Mono;

/// A moment: longer than between the steps by which an editor saves a file, shorter than anybody waits for.
const QUIET: Duration = Duration::from_millis(100);
/// Changes that never cease put a restart off for no longer than this.
const LONGEST: Duration = Duration::from_secs(2);

/// Changes that have not led to a restart yet, by the name of the app.
#[derive(Debug, Default)]
pub(crate) struct Bursts(BTreeMap<String, Burst>);

/// What has happened to the files of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    first: Mono,
    last: Mono,
    timing: WatchTiming,
    /// The path that was changed last.
    pub(crate) path: PathBuf,
    /// When the latest change was made, ms since the epoch.
    pub(crate) changed_at_ms: i64,
}

impl Burst {
    fn due(&self) -> Mono {
        let quiet = self.timing.settle.unwrap_or_default().max(QUIET);
        let earliest = self.first.after(self.timing.delay);
        earliest
            .max(self.last.after(quiet))
            .min(earliest.after(quiet.max(LONGEST)))
    }
}

impl Bursts {
    /// A file of an app was changed.
    pub(crate) fn change(
        &mut self,
        now: Mono,
        name: &str,
        timing: WatchTiming,
        path: PathBuf,
        changed_at_ms: i64,
    ) {
        match self.0.get_mut(name) {
            Some(burst) => {
                burst.last = now;
                burst.timing = timing;
                // What is told is what the restart is for: an older change may be known to the present life.
                if changed_at_ms > burst.changed_at_ms {
                    burst.changed_at_ms = changed_at_ms;
                    burst.path = path;
                }
            }
            None => {
                let burst = Burst {
                    first: now,
                    last: now,
                    timing,
                    path,
                    changed_at_ms,
                };
                self.0.insert(name.to_owned(), burst);
            }
        }
    }

    /// When to look again.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        self.0.values().map(Burst::due).min()
    }

    /// Takes those whose time has come.
    pub(crate) fn take_due(&mut self, now: Mono) -> Vec<(String, Burst)> {
        let due = self.0.iter().filter(|(_, burst)| burst.due() <= now);
        let names: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        names
            .into_iter()
            .filter_map(|name| self.0.remove_entry(&name))
            .collect()
    }

    /// The app is not watched any more.
    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Whether the present life of a process, begun at this time, cannot know of a change. A process that writes files as it ends does not
/// make its successor start anew; and no clock that was set back (so that the life seems to begin in the future) hides a change.
pub(crate) fn is_news(changed_at_ms: i64, life_began_ms: i64, now_ms: i64) -> bool {
    changed_at_ms > life_began_ms || life_began_ms > now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: WatchTiming = WatchTiming {
        delay: Duration::ZERO,
        settle: None,
    };

    /// Feeds changes at these times, and gives the times of the restarts.
    fn restarts(timing: WatchTiming, changes: &[u64]) -> Vec<u64> {
        let mut bursts = Bursts::default();
        let mut restarts = Vec::new();
        let mut changes = changes.iter().copied().peekable();
        loop {
            let due = bursts.next_due().map(|at| at.0);
            match (due, changes.peek().copied()) {
                (Some(due), change) if change.is_none_or(|at| due <= at) => {
                    assert_eq!(bursts.take_due(Mono(due)).len(), 1);
                    restarts.push(due);
                }
                (_, Some(at)) => {
                    changes.next();
                    bursts.change(Mono(at), "api", timing, "/a".into(), 0);
                }
                (_, None) => return restarts,
            }
        }
    }

    #[test]
    fn a_burst_is_one_restart() {
        assert_eq!(restarts(PLAIN, &[0]), [100]);
        assert_eq!(restarts(PLAIN, &[0, 5, 90, 180]), [280]);
        assert_eq!(restarts(PLAIN, &[0, 500]), [100, 600]);
    }

    #[test]
    fn a_delay_counts_from_the_first_change() {
        let delay = |ms| WatchTiming {
            delay: Duration::from_millis(ms),
            settle: None,
        };
        assert_eq!(restarts(delay(1000), &[0, 400, 800]), [1000]);
        assert_eq!(restarts(delay(1000), &[0, 990]), [1090]);
        let settle = WatchTiming {
            delay: Duration::ZERO,
            settle: Some(Duration::from_millis(700)),
        };
        assert_eq!(restarts(settle, &[0, 600]), [1300]);
    }

    #[test]
    fn changes_without_end_do_not_put_a_restart_off_for_ever() {
        let busy: Vec<u64> = (0..100).map(|n| n * 50).collect();
        let times = restarts(PLAIN, &busy);
        assert!(times.len() >= 2 && times[0] == 2000, "{times:?}");
    }

    #[test]
    fn apps_do_not_wait_for_each_other() {
        let mut bursts = Bursts::default();
        bursts.change(Mono(0), "a", PLAIN, "/a".into(), 7);
        bursts.change(Mono(50), "b", PLAIN, "/b".into(), 8);
        let taken = bursts.take_due(Mono(100));
        assert_eq!(
            (taken.len(), taken[0].0.as_str(), taken[0].1.changed_at_ms),
            (1, "a", 7)
        );
        bursts.forget("b");
        assert_eq!(bursts.next_due(), None);
    }

    #[test]
    fn what_a_life_cannot_know() {
        assert!(is_news(1001, 1000, 5000));
        assert!(!is_news(1000, 1000, 5000) && !is_news(900, 1000, 5000));
        assert!(is_news(900, 90_000, 1000), "the clock was set back");
    }
}

//! What a process took in its last minute, for the report of its crash. Pure; told the time.
//!
//! Nobody may be watching, and looking each second at a hundred processes that sleep would cost more than it tells. So a process is
//! looked at often while it is young or while what it takes changes, and each ten seconds otherwise.

use std::collections::VecDeque;

use supervisor::Mono;

/// How far back it goes, ms.
const SPAN_MS: u64 = 60_000;
/// The shortest and the longest time between two looks, ms.
const OFTEN_MS: u64 = 1000;
const SELDOM_MS: u64 = 10_000;
/// More than this, in percent of a core, is work.
const BUSY: f64 = 5.0;

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) at: Mono,
    pub(crate) cpu: f64,
    pub(crate) memory: u64,
}

/// The last minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    looks: VecDeque<Look>,
    due: Mono,
}

impl Recent {
    /// Take in a look at a process that began at `started`. One that comes soon after the last only brings its memory up to date: what
    /// was held right before a crash counts, and a process that has just been started has not its own size yet.
    pub(crate) fn take(&mut self, look: Look, started: Mono) {
        if let Some(last) = self.looks.back_mut()
            && look.at.0 < last.at.0 + OFTEN_MS / 2
        {
            last.memory = look.memory;
            return;
        }
        let last = self.looks.back().copied();
        let moved = last.is_some_and(|last| {
            let change = look.memory.abs_diff(last.memory);
            look.cpu > BUSY || change > last.memory / 50
        });
        let age = look.at.0.saturating_sub(started.0);
        let wait = if moved {
            OFTEN_MS
        } else {
            (age / 4).clamp(OFTEN_MS, SELDOM_MS)
        };
        // Looks at several processes fall together, so that one waking up does for all.
        self.due = Mono((look.at.0 + wait).div_ceil(OFTEN_MS) * OFTEN_MS);
        self.looks.push_back(look);
        while self
            .looks
            .front()
            .is_some_and(|first| first.at.0 + SPAN_MS < look.at.0)
        {
            self.looks.pop_front();
        }
    }

    /// Nobody has looked yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// When the next look is due.
    pub(crate) fn due(&self) -> Mono {
        self.due
    }

    /// The looks since `begin`, oldest first.
    pub(crate) fn since(&self, begin: Mono) -> impl Iterator<Item = Look> + '_ {
        self.looks.iter().copied().filter(move |look| look.at >= begin)
    }

    /// Another life begins.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: u64, cpu: f64, memory: u64) -> Look {
        Look {
            at: Mono(at),
            cpu,
            memory,
        }
    }

    #[test]
    fn the_young_and_the_busy_are_looked_at_often() {
        let mut recent = Recent::default();
        let start = Mono(0);
        let waits = |recent: &mut Recent, cpu: f64, growth: u64| {
            let mut at = recent.due().0.max(1000);
            let mut waits = Vec::new();
            for n in 0..40_u64 {
                recent.take(look(at, cpu, 1000 + growth * n), start);
                waits.push(recent.due().0 - at);
                at = recent.due().0;
            }
            waits
        };
        let calm = waits(&mut recent, 0.0, 0);
        assert_eq!((calm[0], calm[39]), (1000, 10_000));
        let busy = waits(&mut recent, 50.0, 0);
        assert_eq!(busy[39], 1000);
        let growing = waits(&mut recent, 0.0, 500);
        assert_eq!(growing[5], 1000);
    }

    #[test]
    fn a_minute_is_kept_and_no_more() {
        let mut recent = Recent::default();
        for second in 0..200 {
            recent.take(look(second * 1000, 99.0, 1), Mono(0));
            recent.take(look(second * 1000 + 10, 99.0, 2), Mono(0));
        }
        assert!(
            recent.looks.iter().all(|look| look.memory == 2),
            "the later look's"
        );
        assert_eq!(recent.looks.len(), 61);
        assert_eq!(recent.since(Mono(190_000)).count(), 10);
        recent.clear();
        assert_eq!(recent.since(Mono(0)).count(), 0);
    }
}

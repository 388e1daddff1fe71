//! Health of one life: when to look, and what follows from what was seen.

use std::time::Duration;

use crate::{Incarnation, Mono};

/// How a process is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// From the end of one look to the next.
    pub interval: Duration,
    /// A look that takes longer has failed.
    pub timeout: Duration,
    /// This many failures in a row make it unhealthy.
    pub retries: u32,
    /// Failures do not count for this long after the start.
    pub start_period: Duration,
    /// An unhealthy process is restarted.
    pub restart: bool,
}

/// What the looks have said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing good yet, and not enough bad.
    Starting,
    /// The last look that counts was good.
    Healthy,
    /// Too many bad ones in a row.
    Unhealthy,
}

/// Until the first good look the next one comes sooner than the interval says, so that readiness is seen soon.
const EAGER: Duration = Duration::from_millis(500);
/// Whoever looks answers in time; this much later its silence is a failure.
const SLACK: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Look again at this time.
    Idle(Mono),
    /// Looking; without an answer by this time the look has failed.
    Looking(Mono),
}

/// The looks at one life.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) incarnation: Incarnation,
    pub(crate) verdict: Health,
    pub(crate) failures: u32,
    round: u32,
    step: Step,
    /// Before the first good look a failure counts from here on, then once per interval.
    counts_from: Mono,
}

impl Monitor {
    /// The life has just begun (or is seen for the first time by a new shell).
    pub(crate) fn begin(now: Mono, incarnation: Incarnation, rules: &HealthRules) -> Self {
        Self {
            incarnation,
            verdict: Health::Starting,
            failures: 0,
            round: 0,
            step: Step::Idle(now.after(rules.interval.min(EAGER))),
            counts_from: now.after(rules.start_period),
        }
    }

    pub(crate) fn deadline(&self) -> Mono {
        match self.step {
            Step::Idle(at) | Step::Looking(at) => at,
        }
    }

    /// Its deadline has passed: the round to look in, or `None` if a look has failed by silence.
    pub(crate) fn due(&mut self, now: Mono, rules: &HealthRules) -> Option<u32> {
        match self.step {
            Step::Idle(_) => {
                self.round = self.round.wrapping_add(1);
                self.step = Step::Looking(now.after(rules.timeout).after(SLACK));
                Some(self.round)
            }
            Step::Looking(_) => None,
        }
    }

    /// What a look saw; `round` of `None` is the present one. Returns the verdict if it has changed.
    pub(crate) fn seen(
        &mut self,
        now: Mono,
        rules: &HealthRules,
        round: Option<u32>,
        good: bool,
    ) -> Option<Health> {
        if !matches!(self.step, Step::Looking(_)) || round.is_some_and(|round| round != self.round) {
            return None;
        }
        let before = self.verdict;
        if good {
            self.failures = 0;
            self.verdict = Health::Healthy;
        } else if before != Health::Starting || now >= self.counts_from {
            self.failures = self.failures.saturating_add(1);
            self.counts_from = now.after(rules.interval);
            if self.failures >= rules.retries.max(1) {
                self.verdict = Health::Unhealthy;
            }
        }
        let wait = match self.verdict {
            Health::Starting => rules.interval.min(EAGER),
            Health::Healthy | Health::Unhealthy => rules.interval,
        };
        self.step = Step::Idle(now.after(wait));
        (self.verdict != before).then_some(self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules = HealthRules {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        retries: 3,
        start_period: Duration::from_secs(5),
        restart: true,
    };

    /// Plays looks one after another until `until`; `good` says what is seen at a time.
    fn play(monitor: &mut Monitor, until: u64, good: impl Fn(u64) -> bool) -> Vec<(u64, Health)> {
        let mut changes = Vec::new();
        while monitor.deadline().0 <= until {
            let now = monitor.deadline();
            let round = monitor.due(now, &RULES);
            let change = monitor.seen(now, &RULES, round, good(now.0));
            changes.extend(change.map(|change| (now.0, change)));
        }
        changes
    }

    #[test]
    fn readiness_is_seen_soon_and_the_start_period_forgives() {
        let mut monitor = Monitor::begin(Mono(0), Incarnation(1), &RULES);
        let changes = play(&mut monitor, 60_000, |at| at >= 4_000);
        assert_eq!(changes, [(4_000, Health::Healthy)]);
        assert_eq!(monitor.failures, 0);
    }

    #[test]
    fn failures_count_once_per_interval_after_the_start_period() {
        let mut monitor = Monitor::begin(Mono(0), Incarnation(1), &RULES);
        let changes = play(&mut monitor, 60_000, |_| false);
        assert_eq!(changes, [(25_000, Health::Unhealthy)]);
    }

    #[test]
    fn only_failures_in_a_row_make_it_unhealthy_and_a_good_look_mends() {
        let mut monitor = Monitor::begin(Mono(0), Incarnation(1), &RULES);
        let bad = |at: u64| (10_000..21_000).contains(&at) || (50_000..81_000).contains(&at);
        let changes = play(&mut monitor, 120_000, |at| !bad(at));
        assert_eq!(
            changes,
            [
                (500, Health::Healthy),
                (70_500, Health::Unhealthy),
                (90_500, Health::Healthy)
            ]
        );
    }

    #[test]
    fn silence_is_a_failure_and_an_answer_of_another_round_is_nothing() {
        let mut monitor = Monitor::begin(Mono(0), Incarnation(1), &RULES);
        let round = monitor.due(Mono(6_000), &RULES).unwrap();
        assert_eq!(monitor.deadline(), Mono(9_000));
        assert_eq!(monitor.due(Mono(9_000), &RULES), None);
        assert_eq!(monitor.seen(Mono(9_000), &RULES, None, false), None);
        assert_eq!(monitor.failures, 1);
        assert_eq!(monitor.seen(Mono(9_001), &RULES, Some(round), true), None);
        assert_eq!(monitor.verdict, Health::Starting);
    }
}

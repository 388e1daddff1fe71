//! Why a server is away, and why it was: a guess while it is dark, corrected by what it brings along when it is back. Pure.
//!
//! What the hub sees while a server is dark: a goodbye; a connection that the host's kernel closed, so that the host was
//! there and the agent's process was not; an agent that is there and says nothing of its PM2; or nothing at all, and for
//! how long. Whether nothing at all means a host that is gone or a network that is cannot be told from here. What it
//! brings along tells: the same run of the agent was alive all the while; samples of the time between were taken by
//! somebody; and another boot of the machine was none of the two.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::Millis;

/// An absence that was shorter is not worth a word afterwards.
const WORTH_TELLING: Millis = 5_000;
/// What is measured comes once a second: so much of the time a sample covers.
const SAMPLE_COVERS: Millis = 1_000;

/// How the last link of a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The agent said goodbye.
    Goodbye,
    /// The host closed the connection without a word of the agent, as kernels do for a process that died.
    Cut,
    /// Nothing came through any more, or the agent gave the connection up.
    Lost,
    /// The hub itself was not there.
    HubDown,
}

/// Why a server is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Ended on purpose.
    Stopped,
    /// The host is there and its PM2 is not.
    DaemonDead,
    /// Nothing comes through.
    LinkLost,
    /// The machine is off, or starts anew.
    HostGone,
}

impl Reason {
    /// The word used in every answer of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::DaemonDead => "daemon_dead",
            Self::LinkLost => "link_lost",
            Self::HostGone => "host_gone",
        }
    }
}

/// What tells one run of an agent, and one boot of its machine, from another; `None` where it is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// This run of the agent.
    pub session: Option<String>,
    /// This boot of the machine.
    pub boot: Option<String>,
}

/// A time in which a server was away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Absence {
    /// When it was last heard.
    from: Millis,
    /// When it was heard again.
    until: Option<Millis>,
    reason: Reason,
    /// Whether the reason is more than a guess.
    sure: bool,
    /// Whose absence it is.
    before: Life,
    /// The machine started anew meanwhile.
    #[serde(default)]
    booted: bool,
    /// It began with a goodbye.
    #[serde(default)]
    was_stopped: bool,
    /// It began with the hub's own absence, so nothing is told of it afterwards.
    #[serde(default)]
    is_ours: bool,
    /// How much of it samples cover that came in afterwards, milliseconds.
    covered: Millis,
}

/// What is known of a server that is dark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dark {
    pub(super) departure: Option<Departure>,
    /// Its agent shows that it is there, and nothing more.
    pub(super) is_breathing: bool,
    /// Since it was last heard.
    pub(super) silence: Millis,
    /// Silence that makes a server offline.
    pub(super) offline_after: Millis,
}

impl Dark {
    /// Why it is away, as far as can be told from here, and whether that is sure.
    pub(super) fn guess(self) -> (Reason, bool) {
        match self.departure {
            Some(Departure::Goodbye) => (Reason::Stopped, true),
            Some(Departure::Cut) => (Reason::DaemonDead, false),
            None if self.is_breathing => (Reason::DaemonDead, true),
            _ if self.silence < self.offline_after => (Reason::LinkLost, false),
            _ => (Reason::HostGone, false),
        }
    }
}

impl Absence {
    /// Begins where the server was last heard.
    pub(super) fn begin(from: Millis, before: Life, dark: Dark) -> Self {
        let (reason, sure) = dark.guess();
        Self {
            from,
            until: None,
            reason,
            sure,
            before,
            booted: false,
            was_stopped: dark.departure == Some(Departure::Goodbye),
            is_ours: dark.departure == Some(Departure::HubDown),
            covered: 0,
        }
    }

    /// Whether the server is still away.
    pub(super) fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// Whether it ended no longer ago than so many milliseconds.
    pub(super) fn ended_within(&self, now: Millis, within: Millis) -> bool {
        self.until.is_some_and(|until| now.saturating_sub(until) < within)
    }

    /// Another guess while it is dark; `true` if it is another one.
    pub(super) fn guess(&mut self, dark: Dark) -> bool {
        self.say(dark.guess())
    }

    fn say(&mut self, (reason, sure): (Reason, bool)) -> bool {
        let changed = (self.reason, self.sure) != (reason, sure);
        (self.reason, self.sure) = (reason, sure);
        changed
    }

    /// It is heard again. `None`: there is nothing to tell of it.
    pub(super) fn end(mut self, now: Millis) -> Option<Self> {
        self.until = Some(now);
        let is_worth_telling = now.saturating_sub(self.from) >= WORTH_TELLING && !self.is_ours;
        is_worth_telling.then_some(self)
    }

    /// Takes in what it brings along: who it is now, and for how long its machine has been up `now`. `true` if that tells
    /// another reason.
    pub(super) fn judge(&mut self, now: Millis, life: &Life, uptime: Option<Millis>) -> bool {
        if self.until.is_none() {
            return false;
        }
        let same = |before: &Option<String>, now: &Option<String>| match (before, now) {
            (Some(before), Some(now)) => Some(before == now),
            _ => None,
        };
        let since_from = now.saturating_sub(self.from);
        self.booted |= same(&self.before.boot, &life.boot) == Some(false)
            || uptime.is_some_and(|uptime| uptime < since_from);
        let verdict = if self.is_filled() || same(&self.before.session, &life.session) == Some(true) {
            Reason::LinkLost
        } else if self.was_stopped {
            Reason::Stopped
        } else if self.booted {
            Reason::HostGone
        } else {
            Reason::DaemonDead
        };
        self.say((verdict, true))
    }

    /// Samples of the times from `first` to `last` came in, `count` of them; `true` if some are of this absence.
    pub(super) fn fill(&mut self, first: Millis, last: Millis, count: usize) -> bool {
        let Some(until) = self.until else { return false };
        let whole = last.saturating_sub(first).saturating_add(SAMPLE_COVERS);
        let within = last
            .saturating_add(SAMPLE_COVERS)
            .min(until)
            .saturating_sub(first.max(self.from));
        if within <= 0 || count == 0 {
            return false;
        }
        let sampled = Millis::try_from(count)
            .unwrap_or(Millis::MAX)
            .saturating_mul(SAMPLE_COVERS);
        // A batch that reaches over the edges counts for its part within.
        let share = sampled.min(whole).saturating_mul(within) / whole.max(1);
        self.covered = self
            .covered
            .saturating_add(share)
            .min(until.saturating_sub(self.from));
        true
    }

    /// Whether most of it is covered: what was on its way when it began comes in afterwards, too, and fills no gap.
    fn is_filled(&self) -> bool {
        let length = self
            .until
            .map_or(Millis::MAX, |until| until.saturating_sub(self.from));
        self.covered > 0 && self.covered.saturating_mul(2) >= length
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "reason": self.reason.as_str(),
            "sure": self.sure,
            "since": self.from,
            "until": self.until,
            "filled": self.is_filled(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Millis = 3_600_000;

    fn life(session: &str, boot: &str) -> Life {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Life {
            session: some(session),
            boot: some(boot),
        }
    }

    fn dark(departure: Option<Departure>, silence: Millis) -> Dark {
        Dark {
            departure,
            is_breathing: false,
            silence,
            offline_after: 120_000,
        }
    }

    /// What a server that was away from 0 for so long is told to have been, as it comes back.
    fn verdict(departure: Departure, now: &Life, uptime: Option<Millis>, covered: Millis) -> Reason {
        let away = Absence::begin(0, life("s1", "b1"), dark(Some(departure), 10_000));
        let mut away = away.end(HOUR).unwrap();
        away.fill(
            0,
            covered - SAMPLE_COVERS,
            usize::try_from(covered / SAMPLE_COVERS).unwrap(),
        );
        away.judge(HOUR, now, uptime);
        assert!(away.sure);
        away.reason
    }

    #[test]
    fn while_it_is_dark_there_are_four_guesses() {
        let guess = |departure, is_breathing, silence| {
            let dark = dark(departure, silence);
            Dark { is_breathing, ..dark }.guess()
        };
        assert_eq!(guess(Some(Departure::Goodbye), false, 0), (Reason::Stopped, true));
        assert_eq!(
            guess(Some(Departure::Cut), false, HOUR),
            (Reason::DaemonDead, false)
        );
        assert_eq!(guess(None, true, 15_000), (Reason::DaemonDead, true));
        assert_eq!(guess(None, false, 15_000), (Reason::LinkLost, false));
        assert_eq!(
            guess(Some(Departure::Lost), false, 119_999),
            (Reason::LinkLost, false)
        );
        assert_eq!(
            guess(Some(Departure::Lost), false, 120_000),
            (Reason::HostGone, false)
        );
        assert_eq!(
            guess(Some(Departure::HubDown), false, HOUR),
            (Reason::HostGone, false)
        );
    }

    #[test]
    fn what_it_brings_along_corrects_the_guess() {
        let guess = Departure::Lost;
        let (same, restarted, rebooted) = (life("s1", "b1"), life("s2", "b1"), life("s2", "b2"));
        assert_eq!(
            verdict(guess, &same, None, 0),
            Reason::LinkLost,
            "the agent ran all the while"
        );
        assert_eq!(verdict(guess, &restarted, None, 0), Reason::DaemonDead);
        assert_eq!(verdict(guess, &rebooted, None, 0), Reason::HostGone);
        assert_eq!(
            verdict(guess, &life("s2", ""), Some(HOUR / 2), 0),
            Reason::HostGone,
            "by its uptime"
        );
        assert_eq!(
            verdict(guess, &life("s2", ""), Some(HOUR * 2), 0),
            Reason::DaemonDead
        );
        // It measured for most of the time, whatever happened at its end.
        for now in [&restarted, &rebooted] {
            assert_eq!(verdict(guess, now, None, HOUR / 2), Reason::LinkLost);
            assert_ne!(verdict(guess, now, None, HOUR / 3), Reason::LinkLost);
        }
        assert_eq!(verdict(Departure::Goodbye, &rebooted, None, 0), Reason::Stopped);
        let late = 5 * SAMPLE_COVERS;
        assert_eq!(
            verdict(Departure::Goodbye, &restarted, None, late),
            Reason::Stopped,
            "its last words came late"
        );
    }

    #[test]
    fn samples_count_for_the_time_within() {
        let away = Absence::begin(10_000, Life::default(), dark(None, 10_000));
        let mut away = away.end(20_000).unwrap();
        assert!(!away.fill(0, 8_000, 9), "of before");
        assert!(!away.fill(21_000, 29_000, 9), "of after");
        assert!(away.fill(6_000, 13_000, 8), "half of it");
        assert_eq!(away.covered, 4_000);
        assert!(away.fill(14_000, 60_000, 47));
        assert_eq!(away.covered, 10_000);
        assert!(away.fill(10_000, 19_000, 10));
        assert_eq!(away.covered, 10_000, "never more than all");
    }

    #[test]
    fn a_moment_is_not_worth_a_word() {
        let begin = |departure| Absence::begin(0, Life::default(), dark(Some(departure), 0));
        assert_eq!(begin(Departure::Goodbye).end(WORTH_TELLING - 1), None);
        assert!(begin(Departure::Goodbye).end(WORTH_TELLING).is_some());
        assert_eq!(
            begin(Departure::HubDown).end(HOUR),
            None,
            "the hub was away, not the server"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_times_make_it_panic(times: [i64; 4], count: usize, uptime: Option<i64>) {
            if let Some(mut away) = Absence::begin(times[0], Life::default(), dark(None, times[1])).end(times[1]) {
                away.fill(times[2], times[3], count);
                away.judge(times[3], &Life::default(), uptime);
                let _ = away.to_json();
            }
        }
    }
}

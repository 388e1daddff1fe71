//! Clocks that are off: what a host dates by a wrong clock is dated by the hub's.
//!
//! The agent tells its time with the greeting and with each live update. While that is within [`TOLERANCE`] of the hub's, its
//! times are taken as they are: messages may have waited. Beyond, everything it dates is moved by the difference, so that a
//! host whose clock is a year off has its history where people look for it, and loses none. Pure.

use wire::AgentMessage;
use wire::message::ReportBody;

use crate::live::model::Millis;

/// More than any message waits on its way, ms: a silent link ends long before.
const TOLERANCE: Millis = 300_000;

/// How far a host's clock is behind the hub's, ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skew {
    /// By so much everything is moved; zero within [`TOLERANCE`].
    moved: Millis,
    /// What is left of it then.
    left: Millis,
}

impl Skew {
    /// The host says that it is `at`.
    pub(super) fn of(at: u64, now: Millis) -> Self {
        let difference = now.saturating_sub(Millis::try_from(at).unwrap_or(Millis::MAX));
        if difference.abs() > TOLERANCE {
            Self {
                moved: difference,
                left: 0,
            }
        } else {
            Self {
                moved: 0,
                left: difference,
            }
        }
    }

    /// Whether the host's times must be moved.
    pub(super) fn is_off(self) -> bool {
        self.moved != 0
    }

    /// The hub's clock less that by which the host's messages are dated once they are corrected.
    pub(super) fn left(self) -> Millis {
        self.left
    }

    /// Takes the host's clock anew. A small difference stays what it was: updates may have waited.
    fn look(&mut self, at: u64, now: Millis) {
        let fresh = Self::of(at, now);
        if fresh.is_off() || self.is_off() {
            *self = fresh;
        }
    }

    /// Takes the host's clock from a live update, and moves whatever the message dates.
    pub(super) fn correct(&mut self, message: &mut AgentMessage, now: Millis) {
        match message {
            AgentMessage::Snapshot(snapshot) => {
                self.look(snapshot.at, now);
                for entry in &mut snapshot.processes {
                    self.shift(&mut entry.process.started_at);
                    self.shift(&mut entry.process.created_at);
                }
            }
            AgentMessage::Delta(delta) => {
                self.look(delta.at, now);
                for entry in &mut delta.changed {
                    let times = [&mut entry.change.started_at, &mut entry.change.created_at];
                    times.into_iter().flatten().for_each(|time| self.shift(time));
                }
            }
            AgentMessage::Report(report) => match &mut report.body {
                ReportBody::Samples(samples) => samples.at.iter_mut().for_each(|at| self.shift(at)),
                ReportBody::Events(events) => {
                    events.list.iter_mut().for_each(|event| self.shift(&mut event.at));
                }
                ReportBody::Exceptions(exceptions) => {
                    exceptions.list.iter_mut().for_each(|one| self.shift(&mut one.at));
                }
                ReportBody::Unknown(_) => {}
            },
            AgentMessage::Logs(batch) => batch.lines.iter_mut().for_each(|line| self.shift(&mut line.at)),
            _ => {}
        }
    }

    /// Zero stays: it means "not told".
    fn shift(self, time: &mut u64) {
        if *time != 0 {
            *time = time.saturating_add_signed(self.moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::live::{Delta, Snapshot};
    use wire::message::Report;
    use wire::telemetry::SampleBatch;

    use super::*;

    const NOW: Millis = 1_700_000_000_000;
    const YEAR: Millis = 365 * 86_400_000;

    fn samples(at: &[u64]) -> AgentMessage {
        AgentMessage::Report(Report {
            seq: 1,
            dropped: 0,
            body: ReportBody::Samples(SampleBatch {
                at: at.to_vec(),
                series: vec![],
            }),
        })
    }

    #[test]
    fn a_clock_that_is_off_is_moved_and_one_that_is_not_is_left_alone() {
        for (off, moved) in [
            (0, false),
            (60_000, false),
            (-60_000, false),
            (YEAR, true),
            (-YEAR, true),
        ] {
            let theirs = (NOW + off) as u64;
            let mut skew = Skew::of(theirs, NOW);
            assert_eq!(skew.is_off(), moved, "{off}");
            let mut message = samples(&[theirs - 1000, theirs]);
            skew.correct(&mut message, NOW);
            let expected = if moved { NOW as u64 } else { theirs };
            assert_eq!(message, samples(&[expected - 1000, expected]), "{off}");
        }
    }

    #[test]
    fn a_clock_that_is_set_right_meanwhile_counts_from_then_on() {
        // A board without a battery starts in 1970.
        let mut skew = Skew::of(5_000, NOW);
        assert!(skew.is_off());
        let mut live = AgentMessage::Delta(Delta {
            at: NOW as u64,
            ..Delta::default()
        });
        skew.correct(&mut live, NOW);
        assert!(!skew.is_off());
        let mut whole = AgentMessage::Snapshot(Snapshot {
            at: (NOW - YEAR) as u64,
            ..Snapshot::default()
        });
        skew.correct(&mut whole, NOW);
        assert!(skew.is_off());
    }

    #[test]
    fn the_ends_of_time_are_no_danger() {
        for at in [0, 1, u64::MAX / 2, u64::MAX] {
            let mut skew = Skew::of(at, NOW);
            let mut message = samples(&[at, u64::MAX]);
            skew.correct(&mut message, NOW);
        }
    }
}

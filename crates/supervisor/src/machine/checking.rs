//! Looks at living processes: health that gates a reload and may restart, memory, and the signs of readiness.

use super::Supervisor;
use super::launching::{anew, online, up};
use super::out::Out;
use super::reloading::{abandon, reload};
use super::stopping::begin_stop;
use crate::health::Monitor;
use crate::process::{Process, Run, State};
use crate::{Effect, Event, Goal, Health, Incarnation, Now, ProcId, Readiness, ReloadFailure};

/// A life has got its pid: look at it from now on, if its rules say so.
pub(super) fn begin_looking(now: Now, process: &mut Process, incarnation: Incarnation) {
    let rules = process.policy.health.as_ref();
    process.health = rules.map(|rules| Monitor::begin(now.mono, incarnation, rules));
}

/// A deadline of the looks has passed.
pub(super) fn look(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    let (Some(rules), Some(monitor)) = (process.policy.health, &mut process.health) else {
        return;
    };
    let incarnation = monitor.incarnation;
    match monitor.due(now.mono, &rules) {
        Some(round) => out.effects.push_back(Effect::Probe {
            id,
            incarnation,
            round,
        }),
        None => looked(out, now, id, process, None, false),
    }
}

/// What a look has seen.
pub(super) fn looked(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    round: Option<u32>,
    good: bool,
) {
    let (Some(rules), Some(monitor)) = (process.policy.health, &mut process.health) else {
        return;
    };
    let Some(health) = monitor.seen(now.mono, &rules, round, good) else {
        return;
    };
    out.notify(id, process, Event::Health(health));
    let replaces = process.is_being_replaced();
    match (&mut process.state, health) {
        (
            State::Launching {
                run,
                waiters,
                awaits_health: true,
                ..
            },
            Health::Healthy,
        ) => {
            let (run, waiters) = (*run, std::mem::take(waiters));
            online(out, now, id, process, run, waiters);
        }
        (State::Launching { .. }, Health::Unhealthy) if replaces => {
            abandon(out, now, id, process, ReloadFailure::Unhealthy);
        }
        (State::Online { run }, Health::Unhealthy) if rules.restart => {
            let run = *run;
            begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), Vec::new());
        }
        _ => {}
    }
}

/// The life said that it is ready, or that it listens.
pub(super) fn sign(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    mark: impl FnOnce(&mut Run),
    counts: bool,
) {
    if let State::Launching { run, .. } | State::Online { run } = &mut process.state {
        mark(run);
    }
    if counts {
        up(out, now, id, process);
    }
}

/// The life will never do its work. One that was to replace another is given up; of any other nothing more can be waited for.
pub(super) fn broken(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    if !matches!(process.state, State::Launching { .. }) {
        return;
    }
    if process.is_being_replaced() {
        abandon(out, now, id, process, ReloadFailure::Broken);
    } else {
        up(out, now, id, process);
    }
}

/// A sample of its memory.
pub(super) fn measured(out: &mut Out, now: Now, id: ProcId, process: &mut Process, rss: u64) {
    let State::Online { run } = process.state else {
        return;
    };
    let Some(limit) = process.policy.max_memory.filter(|limit| rss > *limit) else {
        return;
    };
    if process.policy.overlap {
        if process.former.is_none() {
            out.notify(id, process, Event::MemoryExceeded { rss, limit });
            reload(out, now, id, process, None, None, false);
        }
        return;
    }
    out.notify(id, process, Event::MemoryExceeded { rss, limit });
    anew(&mut process.facts, now);
    begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), Vec::new());
}

impl Supervisor {
    /// Whether others may rely on the process, as far as that can be known.
    #[must_use]
    pub fn readiness(&self, id: ProcId, now: Now) -> Option<Readiness> {
        let process = self.processes.get(&id)?;
        let State::Online { run } = &process.state else {
            return Some(match process.state {
                State::Launching { .. } => Readiness::Pending,
                _ => Readiness::Down,
            });
        };
        let up_for = now.mono.since(process.facts.started_mono);
        let came_up = if process.policy.wait_ready {
            run.ready
        } else if process.policy.overlap {
            // An app that listens nowhere will never say so.
            run.listening || up_for >= process.policy.listen_timeout
        } else {
            process.policy.health.is_some() || up_for >= process.policy.min_uptime
        };
        let health = process.health.as_ref().map(|monitor| monitor.verdict);
        Some(match (health, came_up) {
            (Some(Health::Unhealthy), _) => Readiness::Unhealthy,
            (Some(Health::Starting), _) | (_, false) => Readiness::Pending,
            (Some(Health::Healthy) | None, true) => Readiness::Ready,
        })
    }
}

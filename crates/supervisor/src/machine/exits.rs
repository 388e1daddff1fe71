//! Ends that nobody asked for, and what follows from them.

use std::time::Duration;

use super::launching::launch;
use super::out::Out;
use super::reloading::roll_back;
use crate::process::{Process, State};
use crate::{Event, Exit, Facts, Now, Policy, ProcId, Refusal, ReloadFailure};

/// A start that failed for want of a resource is tried again no sooner than this.
const SHORTAGE_WAIT: Duration = Duration::from_millis(100);

pub(super) fn exited(out: &mut Out, now: Now, id: ProcId, process: &mut Process, exit: Exit) {
    if process.is_being_replaced() && matches!(process.state, State::Launching { .. }) {
        return roll_back(out, id, process, ReloadFailure::Ended(exit));
    }
    match &mut process.state {
        State::Errored { undead } => {
            *undead = None;
            process.facts.exit_code = Some(exit.code());
            out.changed(id);
        }
        State::Stopping(stopping) if !stopping.ending.exited => {
            stopping.ending.exited = true;
            process.facts.exit_code = Some(exit.code());
            if over_limit(&mut process.facts, &process.policy, now) {
                out.notify(id, process, Event::RestartOverlimit);
            }
            out.notify(id, process, Event::Exit { exit: Some(exit) });
            out.changed(id);
        }
        State::Launching { waiters, .. } => {
            let waiters = std::mem::take(waiters);
            ended_by_itself(out, now, id, process, exit);
            out.reply_all(waiters, Ok(()));
        }
        State::Online { .. } => ended_by_itself(out, now, id, process, exit),
        State::Stopped | State::Stopping(_) | State::Waiting { .. } => {}
    }
}

/// An exit that nobody asked for.
pub(super) fn ended_by_itself(out: &mut Out, now: Now, id: ProcId, process: &mut Process, exit: Exit) {
    let done = !process.policy.autorestart || process.policy.stop_exit_codes.contains(&exit.code());
    process.facts.exit_code = Some(exit.code());
    process.state = State::Stopped;
    let over = over_limit(&mut process.facts, &process.policy, now);
    if over {
        process.state = State::Errored { undead: None };
        out.notify(id, process, Event::RestartOverlimit);
    }
    out.notify(id, process, Event::Exit { exit: Some(exit) });
    if over || done || out.draining {
        out.changed(id);
        return;
    }
    revive(out, now, id, process, None);
}

/// Come back: at once, or after the wait that the rules demand (`at_least` if that is longer).
pub(super) fn revive(out: &mut Out, now: Now, id: ProcId, process: &mut Process, at_least: Option<Duration>) {
    match process.restart_wait(now.mono).max(at_least) {
        Some(wait) => {
            process.state = State::Waiting {
                at: now.mono.after(wait),
            };
            out.changed(id);
        }
        None => {
            process.facts.restarts = process.facts.restarts.saturating_add(1);
            launch(out, now, id, process, Vec::new());
        }
    }
}

pub(super) fn spawn_failed(out: &mut Out, now: Now, id: ProcId, process: &mut Process, transient: bool) {
    out.notify(id, process, Event::SpawnFailed);
    if process.is_being_replaced() && matches!(process.state, State::Launching { .. }) {
        return roll_back(out, id, process, ReloadFailure::NotStarted);
    }
    match &mut process.state {
        State::Stopping(stopping) => stopping.ending.exited = true,
        State::Launching { waiters, .. } => {
            let waiters = std::mem::take(waiters);
            process.state = State::Errored { undead: None };
            let over = over_limit(&mut process.facts, &process.policy, now);
            if transient && process.policy.autorestart && !over && !out.draining {
                revive(out, now, id, process, Some(SHORTAGE_WAIT));
            } else {
                out.changed(id);
            }
            out.reply_all(waiters, Err(Refusal::SpawnFailed));
        }
        State::Stopped | State::Errored { .. } | State::Online { .. } | State::Waiting { .. } => {}
    }
}

/// Count this exit; `true` if it was one too many (the counters then start anew).
pub(super) fn over_limit(facts: &mut Facts, policy: &Policy, now: Now) -> bool {
    let window = policy.min_uptime.saturating_mul(policy.max_restarts);
    let recent = facts.created_at.is_some() && now.mono.since(facts.created_mono) < window;
    if recent && now.mono.since(facts.started_mono) < policy.min_uptime {
        facts.unstable_restarts = facts.unstable_restarts.saturating_add(1);
    }
    let over = facts.unstable_restarts >= policy.max_restarts;
    if over {
        facts.unstable_restarts = 0;
        facts.created_at = None;
    }
    over
}

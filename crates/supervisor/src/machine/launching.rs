//! Ways up: launch, ready, start, restart.

use std::time::Duration;

use super::checking::begin_looking;
use super::out::Out;
use super::reloading::{end_former, retire};
use super::stopping::begin_stop;
use crate::health::Monitor;
use crate::process::{Process, Run, State};
use crate::{Effect, Event, Facts, Goal, Health, Incarnation, Now, ProcId, Refusal, Ticket};

/// `created_at` and the counters of instability, as a restart by hand sets them.
pub(super) fn anew(facts: &mut Facts, now: Now) {
    anew_dates(facts, now);
    facts.unstable_restarts = 0;
    facts.backoff = Some(Duration::ZERO);
}

pub(super) fn anew_dates(facts: &mut Facts, now: Now) {
    facts.created_at = Some(now.wall_ms);
    facts.created_mono = now.mono;
}

/// Begin a new life. The caller makes sure that the former one has ended.
pub(super) fn launch(out: &mut Out, now: Now, id: ProcId, process: &mut Process, waiters: Vec<Ticket>) {
    let incarnation = Incarnation(out.next_incarnation);
    out.next_incarnation = out.next_incarnation.saturating_add(1);
    process.facts.started_at = now.wall_ms;
    process.facts.started_mono = now.mono;
    if process.facts.created_at.is_none() {
        anew_dates(&mut process.facts, now);
    }
    let run = Run::new(incarnation, None, false);
    process.state = State::Launching {
        run,
        ready_by: None,
        awaits_health: false,
        waiters,
    };
    out.changed(id);
    out.effects.push_back(Effect::Spawn { id, incarnation });
}

pub(super) fn spawned(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    run: Run,
    waiters: Vec<Ticket>,
) {
    begin_looking(now, process, run.incarnation);
    if process.policy.wait_ready || process.policy.tells_boot || process.is_being_replaced() {
        let ready_by = Some(now.mono.after(process.policy.listen_timeout));
        process.state = State::Launching {
            run,
            ready_by,
            awaits_health: false,
            waiters,
        };
        out.changed(id);
    } else {
        process.state = State::Launching {
            run,
            ready_by: None,
            awaits_health: false,
            waiters: Vec::new(),
        };
        online(out, now, id, process, run, waiters);
    }
}

/// The process counts as up. The event comes before the status changes, as PM2's does.
pub(super) fn online(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    run: Run,
    waiters: Vec<Ticket>,
) {
    out.notify(id, process, Event::Online);
    process.state = State::Online { run };
    if process.is_being_replaced() {
        return retire(out, now, id, process, waiters);
    }
    out.changed(id);
    out.reply_all(waiters, Ok(()));
}

/// What a launch waits for has come to be.
pub(super) fn up(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    // A life that is to replace a good one has to show that it is as good.
    let is_healthy = |monitor: &Monitor| monitor.verdict == Health::Healthy;
    let must_be_healthy = process.is_being_replaced() && process.policy.health.is_some();
    let awaited = must_be_healthy && !process.health.as_ref().is_some_and(is_healthy);
    if let State::Launching {
        run,
        ready_by,
        awaits_health,
        waiters,
    } = &mut process.state
        && run.pid.is_some()
    {
        if awaited {
            (*ready_by, *awaits_health) = (None, true);
            return;
        }
        let (run, waiters) = (*run, std::mem::take(waiters));
        online(out, now, id, process, run, waiters);
    }
}

pub(super) fn start(out: &mut Out, now: Now, id: ProcId, process: &mut Process, ticket: Option<Ticket>) {
    let refusal = match &process.state {
        State::Online { .. } => Refusal::AlreadyOnline,
        State::Launching { .. } => Refusal::AlreadyStarted,
        State::Stopping(stopping) => Refusal::StillAlive {
            pid: stopping.ending.run.pid,
        },
        State::Errored { undead: Some(run) } => Refusal::StillAlive { pid: run.pid },
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            return launch(out, now, id, process, ticket.into_iter().collect());
        }
    };
    out.reply(ticket, Err(refusal));
}

pub(super) fn restart(out: &mut Out, now: Now, id: ProcId, process: &mut Process, ticket: Option<Ticket>) {
    anew(&mut process.facts, now);
    let waiter = ticket.into_iter().collect();
    match &mut process.state {
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            launch(out, now, id, process, waiter);
        }
        State::Launching { run, waiters, .. } => {
            // Who waits for this life gets the one that comes in its place: be it another's command or a time of cron, what was
            // asked for is that it runs.
            let (run, mut all) = (*run, std::mem::take(waiters));
            all.extend(waiter);
            end_former(out, now, id, process);
            begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), all);
        }
        State::Online { run } | State::Errored { undead: Some(run) } => {
            let run = *run;
            begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), waiter);
        }
        State::Stopping(stopping) => {
            stopping.goal = Goal::Restart;
            stopping.launch_waiters.extend(waiter);
            out.changed(id);
        }
    }
}

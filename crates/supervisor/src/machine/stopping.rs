//! Ways down on purpose: ask, kill, give up.

use super::launching::launch;
use super::out::Out;
use crate::process::{Process, Run, Stage, State, Stopping};
use crate::{Effect, Event, Goal, Incarnation, Now, Policy, ProcId, Refusal, Ticket};

/// SIGKILL.
const KILL: i32 = 9;

/// Stop, to stay so or to be forgotten. A process that is down already is left in a state that is not `Stopping`.
pub(super) fn stop(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    ticket: Option<Ticket>,
    goal: Goal,
) {
    match &mut process.state {
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            process.state = State::Stopped;
            if goal != Goal::Delete {
                out.changed(id);
            }
            out.reply(ticket, Ok(()));
        }
        State::Launching { run, waiters, .. } => {
            let (run, superseded) = (*run, std::mem::take(waiters));
            out.reply_all(superseded, Err(Refusal::Superseded));
            begin_stop(
                out,
                now,
                id,
                process,
                run,
                goal,
                ticket.into_iter().collect(),
                Vec::new(),
            );
        }
        State::Online { run } | State::Errored { undead: Some(run) } => {
            let run = *run;
            begin_stop(
                out,
                now,
                id,
                process,
                run,
                goal,
                ticket.into_iter().collect(),
                Vec::new(),
            );
        }
        State::Stopping(stopping) => {
            if stopping.goal != Goal::Delete {
                stopping.goal = goal;
            }
            stopping.stop_waiters.extend(ticket);
            let superseded = std::mem::take(&mut stopping.launch_waiters);
            out.reply_all(superseded, Err(Refusal::Superseded));
            out.changed(id);
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a Stopping, each used once; a builder would hide them"
)]
pub(super) fn begin_stop(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    run: Run,
    goal: Goal,
    stop_waiters: Vec<Ticket>,
    launch_waiters: Vec<Ticket>,
) {
    process.state = State::Stopping(Stopping {
        run,
        stage: Stage::AwaitingPid,
        goal,
        exited: false,
        tree: None,
        round: 0,
        stop_waiters,
        launch_waiters,
    });
    // Kept before the signal goes out: a shell that dies in between must not take the exit for a crash.
    out.changed(id);
    if let State::Stopping(stopping) = &mut process.state {
        ask(out, now, id, &process.policy, stopping);
    }
}

/// The first, polite round.
pub(super) fn ask(out: &mut Out, now: Now, id: ProcId, policy: &Policy, stopping: &mut Stopping) {
    let Run {
        incarnation,
        pid: Some(pid),
        channel,
    } = stopping.run
    else {
        return;
    };
    stopping.stage = Stage::Asked(now.mono.after(policy.kill_timeout));
    if policy.shutdown_with_message && channel {
        out.effects.push_back(Effect::AskToStop { id, incarnation });
        return;
    }
    signal(out, id, policy, stopping, incarnation, pid, policy.kill_signal);
}

pub(super) fn signal(
    out: &mut Out,
    id: ProcId,
    policy: &Policy,
    stopping: &mut Stopping,
    incarnation: Incarnation,
    pid: u32,
    signal: i32,
) {
    stopping.round += 1;
    stopping.tree = policy.treekill.then_some(stopping.round);
    let (tree, round) = (policy.treekill, stopping.round);
    out.effects.push_back(Effect::Signal {
        id,
        incarnation,
        pid,
        signal,
        tree,
        round,
    });
}

pub(super) fn kill(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    out.notify(id, process, Event::Killed);
    let State::Stopping(stopping) = &mut process.state else {
        return;
    };
    stopping.stage = Stage::Killed(now.mono.after(process.policy.kill_timeout));
    if let Run {
        incarnation,
        pid: Some(pid),
        ..
    } = stopping.run
    {
        signal(out, id, &process.policy, stopping, incarnation, pid, KILL);
    }
}

/// It survived SIGKILL (a process in an uninterruptible wait does).
pub(super) fn give_up(out: &mut Out, id: ProcId, process: &mut Process) {
    let State::Stopping(stopping) = &mut process.state else {
        return;
    };
    let undead = (!stopping.exited).then_some(stopping.run);
    let waiters: Vec<_> = stopping
        .stop_waiters
        .drain(..)
        .chain(stopping.launch_waiters.drain(..))
        .collect();
    process.state = State::Errored { undead };
    out.notify(id, process, Event::Unkillable);
    out.changed(id);
    out.reply_all(waiters, Err(Refusal::Unkillable));
}

/// The process and its tree are down. Returns whether the entry is to be removed.
pub(super) fn finish_stop(out: &mut Out, now: Now, id: ProcId, process: &mut Process) -> bool {
    let State::Stopping(stopping) = &mut process.state else {
        return false;
    };
    let goal = stopping.goal;
    let stop_waiters = std::mem::take(&mut stopping.stop_waiters);
    let launch_waiters = std::mem::take(&mut stopping.launch_waiters);
    process.state = State::Stopped;
    out.notify(id, process, Event::Exit { exit: None });
    match goal {
        Goal::Restart => {
            process.facts.restarts = process.facts.restarts.saturating_add(1);
            out.reply_all(stop_waiters, Ok(()));
            launch(out, now, id, process, launch_waiters);
            false
        }
        Goal::Stop | Goal::Delete => {
            if goal == Goal::Stop {
                out.changed(id);
            }
            out.reply_all(stop_waiters, Ok(()));
            out.reply_all(launch_waiters, Err(Refusal::Superseded));
            goal == Goal::Delete
        }
    }
}

//! Ways down on purpose: ask, kill, give up.

use super::launching::launch;
use super::out::Out;
use super::reloading::{end_former, end_former_instead};
use crate::process::{Ending, Former, Process, Run, Stage, State, Stopping};
use crate::{Effect, Event, Goal, Now, Policy, ProcId, Refusal, Ticket};

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
    let waiter: Vec<_> = ticket.into_iter().collect();
    match &mut process.state {
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            if process.former.is_some() {
                return end_former_instead(out, now, id, process, goal, waiter);
            }
            process.state = State::Stopped;
            if goal != Goal::Delete {
                out.changed(id);
            }
            out.reply_all(waiter, Ok(()));
        }
        State::Launching { run, waiters, .. } => {
            let (run, superseded) = (*run, std::mem::take(waiters));
            out.reply_all(superseded, Err(Refusal::Superseded));
            end_former(out, now, id, process);
            begin_stop(out, now, id, process, run, goal, waiter, Vec::new());
        }
        State::Online { run } | State::Errored { undead: Some(run) } => {
            let run = *run;
            end_former(out, now, id, process);
            begin_stop(out, now, id, process, run, goal, waiter, Vec::new());
        }
        State::Stopping(stopping) => {
            if stopping.goal != Goal::Delete {
                stopping.goal = goal;
            }
            stopping.stop_waiters.extend(waiter);
            let superseded = std::mem::take(&mut stopping.launch_waiters);
            out.reply_all(superseded, Err(Refusal::Superseded));
            end_former(out, now, id, process);
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
        ending: Ending::of(run),
        goal,
        stop_waiters,
        launch_waiters,
    });
    // Kept before the signal goes out: a shell that dies in between must not take the exit for a crash.
    out.changed(id);
    if let State::Stopping(stopping) = &mut process.state {
        ask(out, now, id, &process.policy, &mut stopping.ending);
    }
}

/// The first, polite round.
pub(super) fn ask(out: &mut Out, now: Now, id: ProcId, policy: &Policy, ending: &mut Ending) {
    if ending.run.pid.is_none() {
        return;
    }
    ending.stage = Stage::Asked(now.mono.after(policy.kill_timeout));
    if policy.shutdown_with_message && ending.run.channel {
        let incarnation = ending.run.incarnation;
        out.effects.push_back(Effect::AskToStop { id, incarnation });
        return;
    }
    signal(out, id, policy, ending, policy.kill_signal);
}

pub(super) fn signal(out: &mut Out, id: ProcId, policy: &Policy, ending: &mut Ending, signal: i32) {
    let Run {
        incarnation,
        pid: Some(pid),
        ..
    } = ending.run
    else {
        return;
    };
    ending.round += 1;
    ending.tree = policy.treekill.then_some(ending.round);
    out.effects.push_back(Effect::Signal {
        id,
        incarnation,
        pid,
        signal,
        tree: policy.treekill,
        round: ending.round,
    });
}

/// The second round, without a choice.
pub(super) fn kill(out: &mut Out, now: Now, id: ProcId, policy: &Policy, ending: &mut Ending) {
    ending.stage = Stage::Killed(now.mono.after(policy.kill_timeout));
    signal(out, id, policy, ending, KILL);
}

/// A deadline of a stop has passed.
pub(super) fn overdue(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    let State::Stopping(stopping) = &process.state else {
        return;
    };
    match stopping.ending.stage {
        Stage::Asked(_) => {
            out.notify(id, process, Event::Killed);
            if let State::Stopping(stopping) = &mut process.state {
                kill(out, now, id, &process.policy, &mut stopping.ending);
            }
        }
        Stage::Killed(_) => give_up(out, id, process),
        Stage::Draining(_) | Stage::AwaitingPid | Stage::GivenUp => {}
    }
}

/// It survived SIGKILL (a process in an uninterruptible wait does).
fn give_up(out: &mut Out, id: ProcId, process: &mut Process) {
    let State::Stopping(stopping) = &mut process.state else {
        return;
    };
    let undead = (!stopping.ending.exited).then_some(stopping.ending.run);
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

/// Complete a stop if nothing is left to wait for. Returns whether the entry is to be removed.
pub(super) fn finish_stop(out: &mut Out, now: Now, id: ProcId, process: &mut Process) -> bool {
    let State::Stopping(stopping) = &mut process.state else {
        return false;
    };
    let goal = stopping.goal;
    if !stopping.ending.is_over() {
        return false;
    }
    // The next life needs not wait for a life before the last one; being down does.
    if goal != Goal::Restart
        && let Some(former) = &process.former
    {
        if matches!(former, Former::Retiring { ending, .. } if ending.stage == Stage::GivenUp) {
            stopping.ending.run = former.run();
            stopping.ending.exited = false;
            process.former = None;
            give_up(out, id, process);
        }
        return false;
    }
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

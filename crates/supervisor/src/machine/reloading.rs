//! A reload: the new life is started beside the old one, which is retired once the new one is up, or serves on if it is not.

use std::time::Duration;

use super::launching::{anew, launch, restart};
use super::out::Out;
use super::stopping::{ask, begin_stop, kill};
use crate::process::{Ending, Former, Process, Run, Stage, State, Stopping};
use crate::{
    Effect, Event, FormerLife, Goal, Input, Living, Now, Policy, ProcId, Refusal, ReloadFailure, Ticket,
};

/// A life whose channel has closed is done with its work; it may take this long to end by itself before it is signalled.
const LAST_GRACE: Duration = Duration::from_millis(250);

/// Replace the present life, without a gap if two can stand side by side.
pub(super) fn reload(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    ticket: Option<Ticket>,
    policy: Option<Box<Policy>>,
    soft: bool,
) {
    if process.former.is_some() {
        return out.reply(ticket, Err(Refusal::ReloadInProgress));
    }
    let policy = policy.map_or_else(|| process.policy.clone(), |policy| *policy);
    let State::Online { run } = process.state else {
        process.policy = policy;
        return restart(out, now, id, process, ticket);
    };
    if !(process.policy.overlap && policy.overlap) {
        process.policy = policy;
        return restart(out, now, id, process, ticket);
    }
    process.former = Some(Former::Serving {
        run,
        facts: process.facts,
        policy: Box::new(std::mem::replace(&mut process.policy, policy)),
        soft,
    });
    anew(&mut process.facts, now);
    process.facts.restarts = process.facts.restarts.saturating_add(1);
    launch(out, now, id, process, ticket.into_iter().collect());
}

/// The successor is up: the former life is taken out of service. Whoever waits for the reload is answered when it is down.
pub(super) fn retire(out: &mut Out, now: Now, id: ProcId, process: &mut Process, waiters: Vec<Ticket>) {
    let Some(Former::Serving {
        run, policy, soft, ..
    }) = process.former.take()
    else {
        return;
    };
    begin_retirement(out, now, id, process, run, policy, waiters, soft);
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a Retiring, each used once"
)]
fn begin_retirement(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    run: Run,
    policy: Box<Policy>,
    waiters: Vec<Ticket>,
    soft: bool,
) {
    let mut ending = Ending::of(run);
    // Kept before anything is done to it: a shell that dies in between must not bring it back into service.
    out.changed(id);
    if run.channel {
        let incarnation = run.incarnation;
        if soft || policy.shutdown_with_message {
            out.effects.push_back(Effect::AskToStop { id, incarnation });
        }
        out.effects.push_back(Effect::Retire { id, incarnation });
        let patience = if soft {
            policy.graceful_timeout
        } else {
            policy.kill_timeout
        };
        ending.stage = Stage::Draining(now.mono.after(patience));
    } else {
        ask(out, now, id, &policy, &mut ending);
    }
    process.former = Some(Former::Retiring {
        ending,
        policy,
        waiters,
    });
}

/// The new life did not come up: the former one serves on, as if nothing had been.
pub(super) fn roll_back(out: &mut Out, id: ProcId, process: &mut Process, cause: ReloadFailure) {
    let Some(Former::Serving {
        run, facts, policy, ..
    }) = process.former.take()
    else {
        return;
    };
    let waiters = match &mut process.state {
        State::Launching { waiters, .. } => std::mem::take(waiters),
        _ => Vec::new(),
    };
    process.facts = facts;
    process.policy = *policy;
    process.state = State::Online { run };
    out.notify(id, process, Event::ReloadFailed(cause));
    out.changed(id);
    out.reply_all(waiters, Err(Refusal::ReloadFailed));
}

/// The new life runs, but may not take over: it changes places with the former one, and is ended by its own rules.
pub(super) fn abandon(out: &mut Out, now: Now, id: ProcId, process: &mut Process, cause: ReloadFailure) {
    let State::Launching { run, .. } = process.state else {
        return;
    };
    let policy = Box::new(process.policy.clone());
    roll_back(out, id, process, cause);
    let mut ending = Ending::of(run);
    out.changed(id);
    ask(out, now, id, &policy, &mut ending);
    process.former = Some(Former::Retiring {
        ending,
        policy,
        waiters: Vec::new(),
    });
}

/// The whole process is to go down, or is restarted: the former life is told to end at once.
pub(super) fn end_former(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    match process.former.take() {
        None => {}
        Some(Former::Serving { run, policy, .. }) => {
            let mut ending = Ending::of(run);
            out.changed(id);
            ask(out, now, id, &policy, &mut ending);
            process.former = Some(Former::Retiring {
                ending,
                policy,
                waiters: Vec::new(),
            });
        }
        Some(Former::Retiring {
            mut ending,
            policy,
            waiters,
        }) => {
            if matches!(ending.stage, Stage::Draining(_) | Stage::GivenUp) && !ending.exited {
                ask(out, now, id, &policy, &mut ending);
            }
            process.former = Some(Former::Retiring {
                ending,
                policy,
                waiters,
            });
        }
    }
}

/// A process whose present life is down is to be stopped: what is left to stop is its former life.
pub(super) fn end_former_instead(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    goal: Goal,
    mut stop_waiters: Vec<Ticket>,
) {
    match process.former.take() {
        None => {}
        Some(Former::Serving { run, .. }) => {
            begin_stop(out, now, id, process, run, goal, stop_waiters, Vec::new());
        }
        Some(Former::Retiring {
            mut ending, waiters, ..
        }) => {
            stop_waiters.extend(waiters);
            if matches!(ending.stage, Stage::Draining(_) | Stage::GivenUp) && !ending.exited {
                ask(out, now, id, &process.policy, &mut ending);
            }
            process.state = State::Stopping(Stopping {
                ending,
                goal,
                stop_waiters,
                launch_waiters: Vec::new(),
            });
            out.changed(id);
        }
    }
}

/// News of the former life.
pub(super) fn former_news(out: &mut Out, now: Now, id: ProcId, process: &mut Process, input: &Input) {
    let Some(former) = &mut process.former else { return };
    match (input, former) {
        (
            Input::Exited {
                exit, incarnation, ..
            },
            former,
        ) => {
            match former {
                // Its successor is launched as after a crash: there is nothing to go back to.
                Former::Serving { .. } => process.former = None,
                Former::Retiring { ending, .. } if !ending.exited => ending.exited = true,
                Former::Retiring { .. } => return,
            }
            let (incarnation, exit) = (*incarnation, *exit);
            out.notify(id, process, Event::FormerExit { incarnation, exit });
            out.changed(id);
        }
        (Input::TreeGone { round, .. }, Former::Retiring { ending, .. }) => ending.tree_gone(*round),
        (Input::ChannelClosed { .. }, Former::Serving { run, .. }) => run.channel = false,
        (Input::ChannelClosed { .. }, Former::Retiring { ending, .. }) => {
            ending.run.channel = false;
            if let Stage::Draining(at) = ending.stage {
                ending.stage = Stage::Draining(at.min(now.mono.after(LAST_GRACE)));
            }
        }
        _ => {}
    }
}

/// A deadline of the former life has passed.
pub(super) fn former_overdue(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
    let Some(Former::Retiring {
        ending,
        policy,
        waiters,
    }) = &mut process.former
    else {
        return;
    };
    let event = match ending.stage {
        Stage::Draining(_) => return ask_after_draining(out, now, id, policy, ending),
        Stage::Asked(_) => {
            kill(out, now, id, policy, ending);
            Event::Killed
        }
        Stage::Killed(_) => {
            ending.stage = Stage::GivenUp;
            // What is left of its tree, if it is down itself, is nobody's any more.
            ending.tree = None;
            let waiters = std::mem::take(waiters);
            out.reply_all(waiters, Err(Refusal::Unkillable));
            Event::Unkillable
        }
        Stage::AwaitingPid | Stage::GivenUp => return,
    };
    out.notify(id, process, event);
}

/// The word was given at the beginning of the retirement; now it is the signal's turn.
fn ask_after_draining(out: &mut Out, now: Now, id: ProcId, policy: &Policy, ending: &mut Ending) {
    ending.stage = Stage::Asked(now.mono.after(policy.kill_timeout));
    super::stopping::signal(out, id, policy, ending, policy.kill_signal);
}

/// Let go of a former life that is down.
pub(super) fn forget_former(out: &mut Out, id: ProcId, process: &mut Process) {
    if let Some(Former::Retiring { ending, waiters, .. }) = &mut process.former
        && ending.is_over()
    {
        let waiters = std::mem::take(waiters);
        process.former = None;
        out.changed(id);
        out.reply_all(waiters, Ok(()));
    }
}

/// Carry on with a former life that a former shell left: one that served goes on serving, one that was being retired is retired anew.
pub(super) fn adopt_former(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    kept: FormerLife,
    policy: Option<Policy>,
    alive: &[Living],
) {
    out.reserve(kept.incarnation);
    let Some(living) = alive.iter().find(|life| life.incarnation == kept.incarnation) else {
        return;
    };
    let run = Run::new(living.incarnation, Some(living.pid), living.channel).known_up();
    let policy = Box::new(policy.unwrap_or_else(|| process.policy.clone()));
    match kept.serving {
        Some(facts) => {
            process.former = Some(Former::Serving {
                run,
                facts,
                policy,
                soft: false,
            });
        }
        None => begin_retirement(out, now, id, process, run, policy, Vec::new(), false),
    }
}

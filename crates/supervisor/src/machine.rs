//! The machine: one entry per process, one queue of effects.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::input::{Command, Exit, Input};
use crate::process::{Process, Run, Stage, State, Stopping};
use crate::{
    Effect, Event, Facts, Goal, Incarnation, Mono, Now, Phase, Policy, ProcId, Refusal, Restored, Status,
    Ticket, View,
};

/// SIGKILL.
const KILL: i32 = 9;
/// A start that failed for want of a resource is tried again no sooner than this.
const SHORTAGE_WAIT: Duration = Duration::from_millis(100);

/// All processes of one daemon.
#[derive(Debug)]
pub struct Supervisor {
    processes: BTreeMap<ProcId, Process>,
    out: Out,
}

/// What a transition may touch besides its process.
#[derive(Debug)]
struct Out {
    effects: VecDeque<Effect>,
    next_incarnation: u64,
    draining: bool,
}

impl Supervisor {
    /// An empty list. Incarnations are given out from `first` on: a new shell passes one that is higher than
    /// any its predecessor can have used.
    #[must_use]
    pub fn new(first: Incarnation) -> Self {
        Self {
            processes: BTreeMap::new(),
            out: Out {
                effects: VecDeque::new(),
                next_incarnation: first.0,
                draining: false,
            },
        }
    }

    /// Never give out an incarnation up to and including this one.
    pub fn reserve(&mut self, used: Incarnation) {
        self.out.next_incarnation = self.out.next_incarnation.max(used.0.saturating_add(1));
    }

    /// Carry on with a process of a former shell. `alive` is its living child, if there is one (and whether its IPC channel is
    /// open); an exit that happened meanwhile is told afterwards by [`Input::Exited`], as always. A stop that was under way is begun
    /// anew, a launch that never came to be is repeated. Returns `false` if the number is taken.
    pub fn adopt(
        &mut self,
        now: Now,
        id: ProcId,
        policy: Policy,
        restored: Restored,
        alive: Option<(Incarnation, u32, bool)>,
    ) -> bool {
        if self.processes.contains_key(&id) {
            return false;
        }
        let run_of = |incarnation: Incarnation| {
            alive
                .filter(|(living, _, _)| *living == incarnation)
                .map(|(_, pid, channel)| Run {
                    incarnation,
                    pid: Some(pid),
                    channel,
                })
        };
        if let Some((incarnation, _, _)) = alive {
            self.reserve(incarnation);
        }
        let mut process = Process {
            policy,
            facts: restored.facts,
            state: State::Stopped,
        };
        let out = &mut self.out;
        match restored.phase {
            Phase::Stopped => {}
            Phase::Errored(undead) => {
                let undead = undead.and_then(|(incarnation, _)| {
                    out.reserve(incarnation);
                    run_of(incarnation)
                });
                process.state = State::Errored { undead };
            }
            Phase::Waiting(at) => process.state = State::Waiting { at },
            Phase::Launching(incarnation, _) => {
                out.reserve(incarnation);
                match run_of(incarnation) {
                    Some(run) => spawned(out, now, id, &mut process, run, Vec::new()),
                    None => launch(out, now, id, &mut process, Vec::new()),
                }
            }
            Phase::Online(incarnation, pid) => {
                out.reserve(incarnation);
                let lost = run_of(incarnation).is_none();
                let run = run_of(incarnation).unwrap_or(Run {
                    incarnation,
                    pid: Some(pid),
                    channel: false,
                });
                process.state = State::Online { run };
                if lost {
                    exited(out, now, id, &mut process, Exit::Unknown);
                }
            }
            Phase::Stopping(incarnation, _, goal) => {
                out.reserve(incarnation);
                match run_of(incarnation) {
                    Some(run) => begin_stop(out, now, id, &mut process, run, goal, Vec::new(), Vec::new()),
                    None if goal == Goal::Restart => {
                        process.facts.restarts = process.facts.restarts.saturating_add(1);
                        launch(out, now, id, &mut process, Vec::new());
                    }
                    None if goal == Goal::Delete => {
                        out.effects.push_back(Effect::Removed(id));
                        return true;
                    }
                    None => {}
                }
            }
        }
        self.processes.insert(id, process);
        self.out.effects.push_back(Effect::Changed(id));
        true
    }

    /// The numbers of all processes, ascending.
    pub fn ids(&self) -> impl Iterator<Item = ProcId> + '_ {
        self.processes.keys().copied()
    }

    /// How the process is shown.
    #[must_use]
    pub fn view(&self, id: ProcId) -> Option<View> {
        let process = self.processes.get(&id)?;
        let run = process.run();
        Some(View {
            status: process.status(),
            pid: run.and_then(|run| run.pid),
            incarnation: run.map(|run| run.incarnation),
            facts: process.facts,
        })
    }

    /// Its rules.
    #[must_use]
    pub fn policy(&self, id: ProcId) -> Option<&Policy> {
        self.processes.get(&id).map(|process| &process.policy)
    }

    /// Change its rules; they count from the next decision on. Returns `false` if there is no such process.
    pub fn configure(&mut self, id: ProcId, policy: Policy) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        process.policy = policy;
        true
    }

    /// What to keep, so that a new shell can [`adopt`](Self::adopt) the process.
    #[must_use]
    pub fn restorable(&self, id: ProcId) -> Option<Restored> {
        self.processes.get(&id).map(|process| Restored {
            facts: process.facts,
            phase: process.phase(),
        })
    }

    /// Nothing is restarted automatically any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.out.draining
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None`: only after the next input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.processes.values().filter_map(Process::deadline).min()
    }

    /// The next thing to do, in order; drain after each call of `handle`, `handle_timeout` and `adopt`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// Something happened outside.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Command { ticket, command } => self.command(now, ticket, command),
            Input::Draining => self.drain(),
            Input::Spawned {
                id,
                incarnation,
                pid,
                channel,
            } => self.with(id, incarnation, |out, process| {
                let run = Run {
                    incarnation,
                    pid: Some(pid),
                    channel,
                };
                match &mut process.state {
                    State::Launching {
                        run: Run { pid: None, .. },
                        waiters,
                        ..
                    } => {
                        let waiters = std::mem::take(waiters);
                        spawned(out, now, id, process, run, waiters);
                    }
                    State::Stopping(stopping) if stopping.stage == Stage::AwaitingPid && !stopping.exited => {
                        stopping.run = run;
                        ask(out, now, id, &process.policy, stopping);
                        out.changed(id);
                    }
                    _ => {}
                }
            }),
            Input::SpawnFailed {
                id,
                incarnation,
                transient,
            } => self.with(id, incarnation, |out, process| {
                let pending = match &process.state {
                    State::Launching { run, .. } => run.pid.is_none(),
                    State::Stopping(stopping) => stopping.stage == Stage::AwaitingPid && !stopping.exited,
                    _ => false,
                };
                if pending {
                    spawn_failed(out, now, id, process, transient);
                }
            }),
            Input::Exited {
                id,
                incarnation,
                exit,
            } => {
                self.with(id, incarnation, |out, process| {
                    exited(out, now, id, process, exit)
                });
            }
            Input::TreeGone {
                id,
                incarnation,
                round,
            } => self.with(id, incarnation, |_, process| {
                if let State::Stopping(stopping) = &mut process.state
                    && stopping.tree == Some(round)
                {
                    stopping.tree = None;
                }
            }),
            Input::Ready { id, incarnation } => self.with(id, incarnation, |out, process| {
                if let State::Launching { run, waiters, .. } = &mut process.state
                    && run.pid.is_some()
                {
                    let (run, waiters) = (*run, std::mem::take(waiters));
                    online(out, id, process, run, waiters);
                }
            }),
            Input::ChannelClosed { id, incarnation } => {
                self.with(id, incarnation, |_, process| match &mut process.state {
                    State::Launching { run, .. } | State::Online { run } => run.channel = false,
                    State::Stopping(stopping) => stopping.run.channel = false,
                    State::Stopped | State::Errored { .. } | State::Waiting { .. } => {}
                })
            }
            Input::Memory { id, incarnation, rss } => self.with(id, incarnation, |out, process| {
                let State::Online { run } = process.state else {
                    return;
                };
                let Some(limit) = process.policy.max_memory.filter(|limit| rss > *limit) else {
                    return;
                };
                out.notify(id, process, Event::MemoryExceeded { rss, limit });
                anew(&mut process.facts, now);
                begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), Vec::new());
            }),
        }
        self.settle(now);
    }

    /// Time has passed: act on every deadline that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        for (&id, process) in &mut self.processes {
            if process.deadline().is_none_or(|at| at > now.mono) {
                continue;
            }
            match &mut process.state {
                State::Launching { run, waiters, .. } => {
                    let (run, waiters) = (*run, std::mem::take(waiters));
                    online(&mut self.out, id, process, run, waiters);
                }
                State::Waiting { .. } => {
                    process.facts.restarts = process.facts.restarts.saturating_add(1);
                    launch(&mut self.out, now, id, process, Vec::new());
                }
                State::Stopping(stopping) => match stopping.stage {
                    Stage::Asked(_) => kill(&mut self.out, now, id, process),
                    Stage::Killed(_) => give_up(&mut self.out, id, process),
                    Stage::AwaitingPid => {}
                },
                State::Stopped | State::Errored { .. } | State::Online { .. } => {}
            }
        }
        self.settle(now);
    }

    /// Run `act` on the process if the news is about its present life.
    fn with(&mut self, id: ProcId, incarnation: Incarnation, act: impl FnOnce(&mut Out, &mut Process)) {
        if let Some(process) = self.processes.get_mut(&id)
            && process.incarnation() == Some(incarnation)
        {
            act(&mut self.out, process);
        }
    }

    /// Complete every stop that has nothing left to wait for.
    fn settle(&mut self, now: Now) {
        let mut gone = Vec::new();
        for (&id, process) in &mut self.processes {
            if let State::Stopping(stopping) = &process.state
                && stopping.exited
                && stopping.tree.is_none()
                && finish_stop(&mut self.out, now, id, process)
            {
                gone.push(id);
            }
        }
        for id in gone {
            self.processes.remove(&id);
            self.out.effects.push_back(Effect::Removed(id));
        }
    }

    fn drain(&mut self) {
        self.out.draining = true;
        for (&id, process) in &mut self.processes {
            if let State::Waiting { .. } = process.state {
                process.state = State::Stopped;
                self.out.changed(id);
            }
        }
    }

    fn command(&mut self, now: Now, ticket: Option<Ticket>, command: Command) {
        let out = &mut self.out;
        let id = match &command {
            Command::Add { id, .. }
            | Command::Restart { id, .. }
            | Command::Reload { id, .. }
            | Command::Start(id)
            | Command::Stop(id)
            | Command::Delete(id)
            | Command::Reset(id) => *id,
        };
        if let Command::Add { policy, .. } = command {
            if self.processes.contains_key(&id) {
                return out.reply(ticket, Err(Refusal::Exists(id)));
            }
            let facts = Facts {
                started_at: now.wall_ms,
                started_mono: now.mono,
                ..Facts::default()
            };
            let mut process = Process {
                policy: *policy,
                facts,
                state: State::Stopped,
            };
            anew_dates(&mut process.facts, now);
            if process.policy.autostart {
                launch(out, now, id, &mut process, ticket.into_iter().collect());
            } else {
                out.changed(id);
                out.reply(ticket, Ok(()));
            }
            self.processes.insert(id, process);
            return;
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return out.reply(ticket, Err(Refusal::UnknownId(id)));
        };
        if let State::Stopping(stopping) = &process.state
            && stopping.goal == Goal::Delete
            && !matches!(command, Command::Delete(_) | Command::Stop(_))
        {
            return out.reply(ticket, Err(Refusal::BeingDeleted));
        }
        match command {
            Command::Add { .. } => {}
            Command::Start(_) => start(out, now, id, process, ticket),
            Command::Stop(_) => stop(out, now, id, process, ticket, Goal::Stop),
            Command::Delete(_) => {
                stop(out, now, id, process, ticket, Goal::Delete);
                if !matches!(process.state, State::Stopping(_)) {
                    self.processes.remove(&id);
                    self.out.effects.push_back(Effect::Removed(id));
                }
            }
            // A reload of a fork-mode process is a restart; a mode that can overlap two lives branches off here.
            Command::Restart { policy, .. } | Command::Reload { policy, .. } => {
                if let Some(policy) = policy {
                    process.policy = *policy;
                }
                restart(out, now, id, process, ticket);
            }
            Command::Reset(_) => {
                process.facts.restarts = 0;
                process.facts.unstable_restarts = 0;
                anew_dates(&mut process.facts, now);
                out.changed(id);
                out.reply(ticket, Ok(()));
            }
        }
    }
}

impl Out {
    fn reserve(&mut self, used: Incarnation) {
        self.next_incarnation = self.next_incarnation.max(used.0.saturating_add(1));
    }

    fn reply(&mut self, ticket: Option<Ticket>, result: Result<(), Refusal>) {
        if let Some(ticket) = ticket {
            self.effects.push_back(Effect::Reply { ticket, result });
        }
    }

    fn reply_all(&mut self, tickets: Vec<Ticket>, result: Result<(), Refusal>) {
        for ticket in tickets {
            self.reply(Some(ticket), result);
        }
    }

    fn notify(&mut self, id: ProcId, process: &Process, event: Event) {
        self.effects.push_back(Effect::Notify {
            id,
            event,
            status: process.status(),
        });
    }

    fn changed(&mut self, id: ProcId) {
        self.effects.push_back(Effect::Changed(id));
    }
}

/// `created_at` and the counters of instability, as a restart by hand sets them.
fn anew(facts: &mut Facts, now: Now) {
    anew_dates(facts, now);
    facts.unstable_restarts = 0;
    facts.backoff = Some(Duration::ZERO);
}

fn anew_dates(facts: &mut Facts, now: Now) {
    facts.created_at = Some(now.wall_ms);
    facts.created_mono = now.mono;
}

/// Begin a new life. The caller makes sure that the former one has ended.
fn launch(out: &mut Out, now: Now, id: ProcId, process: &mut Process, waiters: Vec<Ticket>) {
    let incarnation = Incarnation(out.next_incarnation);
    out.next_incarnation = out.next_incarnation.saturating_add(1);
    process.facts.started_at = now.wall_ms;
    process.facts.started_mono = now.mono;
    if process.facts.created_at.is_none() {
        anew_dates(&mut process.facts, now);
    }
    let run = Run {
        incarnation,
        pid: None,
        channel: false,
    };
    process.state = State::Launching {
        run,
        ready_by: None,
        waiters,
    };
    out.changed(id);
    out.effects.push_back(Effect::Spawn { id, incarnation });
}

fn spawned(out: &mut Out, now: Now, id: ProcId, process: &mut Process, run: Run, waiters: Vec<Ticket>) {
    if process.policy.wait_ready {
        let ready_by = Some(now.mono.after(process.policy.listen_timeout));
        process.state = State::Launching {
            run,
            ready_by,
            waiters,
        };
        out.changed(id);
    } else {
        process.state = State::Launching {
            run,
            ready_by: None,
            waiters: Vec::new(),
        };
        online(out, id, process, run, waiters);
    }
}

/// The process counts as up. The event comes before the status changes, as PM2's does.
fn online(out: &mut Out, id: ProcId, process: &mut Process, run: Run, waiters: Vec<Ticket>) {
    out.notify(id, process, Event::Online);
    process.state = State::Online { run };
    out.changed(id);
    out.reply_all(waiters, Ok(()));
}

fn start(out: &mut Out, now: Now, id: ProcId, process: &mut Process, ticket: Option<Ticket>) {
    let refusal = match &process.state {
        State::Online { .. } => Refusal::AlreadyOnline,
        State::Launching { .. } => Refusal::AlreadyStarted,
        State::Stopping(stopping) => Refusal::StillAlive {
            pid: stopping.run.pid,
        },
        State::Errored { undead: Some(run) } => Refusal::StillAlive { pid: run.pid },
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            return launch(out, now, id, process, ticket.into_iter().collect());
        }
    };
    out.reply(ticket, Err(refusal));
}

fn restart(out: &mut Out, now: Now, id: ProcId, process: &mut Process, ticket: Option<Ticket>) {
    anew(&mut process.facts, now);
    let waiter = ticket.into_iter().collect();
    match &mut process.state {
        State::Stopped | State::Errored { undead: None } | State::Waiting { .. } => {
            launch(out, now, id, process, waiter)
        }
        State::Launching { run, waiters, .. } => {
            let (run, superseded) = (*run, std::mem::take(waiters));
            out.reply_all(superseded, Err(Refusal::Superseded));
            begin_stop(out, now, id, process, run, Goal::Restart, Vec::new(), waiter);
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

/// Stop, to stay so or to be forgotten. A process that is down already is left in a state that is not `Stopping`.
fn stop(out: &mut Out, now: Now, id: ProcId, process: &mut Process, ticket: Option<Ticket>, goal: Goal) {
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
fn begin_stop(
    out: &mut Out,
    now: Now,
    id: ProcId,
    process: &mut Process,
    run: Run,
    goal: Goal,
    stop_waiters: Vec<Ticket>,
    launch_waiters: Vec<Ticket>,
) {
    let mut stopping = Stopping {
        run,
        stage: Stage::AwaitingPid,
        goal,
        exited: false,
        tree: None,
        round: 0,
        stop_waiters,
        launch_waiters,
    };
    if run.pid.is_some() {
        ask(out, now, id, &process.policy, &mut stopping);
    }
    process.state = State::Stopping(stopping);
    out.changed(id);
}

/// The first, polite round.
fn ask(out: &mut Out, now: Now, id: ProcId, policy: &Policy, stopping: &mut Stopping) {
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

fn signal(
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

fn kill(out: &mut Out, now: Now, id: ProcId, process: &mut Process) {
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
fn give_up(out: &mut Out, id: ProcId, process: &mut Process) {
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
fn finish_stop(out: &mut Out, now: Now, id: ProcId, process: &mut Process) -> bool {
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

fn exited(out: &mut Out, now: Now, id: ProcId, process: &mut Process, exit: Exit) {
    match &mut process.state {
        State::Errored { undead } => {
            *undead = None;
            process.facts.exit_code = Some(exit.code());
            out.changed(id);
        }
        State::Stopping(stopping) if !stopping.exited => {
            stopping.exited = true;
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
fn ended_by_itself(out: &mut Out, now: Now, id: ProcId, process: &mut Process, exit: Exit) {
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
fn revive(out: &mut Out, now: Now, id: ProcId, process: &mut Process, at_least: Option<Duration>) {
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

fn spawn_failed(out: &mut Out, now: Now, id: ProcId, process: &mut Process, transient: bool) {
    out.notify(id, process, Event::SpawnFailed);
    match &mut process.state {
        State::Stopping(stopping) => stopping.exited = true,
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
fn over_limit(facts: &mut Facts, policy: &Policy, now: Now) -> bool {
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

impl View {
    /// It runs, or is about to.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Online | Status::Launching)
    }
}

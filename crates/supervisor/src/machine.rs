//! The machine: one entry per process, one queue of effects. The transitions are in the files below `machine/`.

mod checking;
mod exits;
mod launching;
mod out;
mod reloading;
mod stopping;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::checking::{begin_looking, broken, look, looked, measured, sign};
use self::exits::{exited, spawn_failed};
use self::launching::{anew_dates, launch, restart, spawned, start, up};
use self::out::Out;
use self::reloading::{adopt_former, forget_former, former_news, former_overdue, reload};
use self::stopping::{ask, begin_stop, finish_stop, overdue, stop};
use crate::input::{Command, Exit, Input};
use crate::process::{Former, Process, Run, Stage, State};
use crate::{
    Effect, Facts, Goal, Incarnation, Living, Mono, Now, Phase, Policy, ProcId, Refusal, Restored, Status,
    Ticket, View,
};

/// All processes of one daemon.
#[derive(Debug)]
pub struct Supervisor {
    processes: BTreeMap<ProcId, Process>,
    out: Out,
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

    /// Carry on with a process of a former shell. `alive` are its living children; an exit that happened meanwhile is told afterwards
    /// by [`Input::Exited`], as always. A stop or a retirement that was under way is begun anew, a launch that never came to be is
    /// repeated. `former` are the rules of the life that a reload replaces. Returns `false` if the number is taken.
    pub fn adopt(
        &mut self,
        now: Now,
        id: ProcId,
        policy: Policy,
        former: Option<Policy>,
        restored: Restored,
        alive: &[Living],
    ) -> bool {
        if self.processes.contains_key(&id) {
            return false;
        }
        let run_of = |incarnation: Incarnation| {
            alive
                .iter()
                .find(|life| life.incarnation == incarnation)
                .map(|life| Run::new(incarnation, Some(life.pid), life.channel))
        };
        for life in alive {
            self.reserve(life.incarnation);
        }
        let mut process = Process {
            policy,
            facts: restored.facts,
            state: State::Stopped,
            former: None,
            health: None,
        };
        let out = &mut self.out;
        if let Some(kept) = restored.former {
            adopt_former(out, now, id, &mut process, kept, former, alive);
        }
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
                let run = run_of(incarnation).unwrap_or(Run::new(incarnation, Some(pid), false));
                process.state = State::Online { run: run.known_up() };
                begin_looking(now, &mut process, incarnation);
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
                    None => {
                        stop(out, now, id, &mut process, None, goal);
                        if goal == Goal::Delete && !matches!(process.state, State::Stopping(_)) {
                            out.effects.push_back(Effect::Removed(id));
                            return true;
                        }
                    }
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
            former: process.former.as_ref().map(|former| former.run().incarnation),
            health: process
                .look_at()
                .and(process.health.as_ref())
                .map(|monitor| (monitor.verdict, monitor.failures)),
            facts: process.facts,
        })
    }

    /// The lives that news of this process may be about: the present one (also if it has ended, while the rest of its tree is waited
    /// for), and the one that a reload replaces.
    pub fn lives(&self, id: ProcId) -> impl Iterator<Item = Incarnation> + use<> {
        let process = self.processes.get(&id);
        let former = process.and_then(|process| process.former.as_ref());
        let former = former.map(|former| former.run().incarnation);
        process.and_then(Process::incarnation).into_iter().chain(former)
    }

    /// The process whose life this is.
    #[must_use]
    pub fn owner_of(&self, incarnation: Incarnation) -> Option<ProcId> {
        self.ids()
            .find(|id| self.lives(*id).any(|life| life == incarnation))
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
        self.processes.get(&id).map(Process::restorable)
    }

    /// Nothing is restarted automatically any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.out.draining
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None`: only after the next input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let former = |process: &Process| process.former.as_ref().and_then(Former::deadline);
        self.processes
            .values()
            .flat_map(|process| {
                [
                    process.deadline(),
                    former(process),
                    process.look_at(),
                    process.stable_at(),
                ]
            })
            .flatten()
            .min()
    }

    /// The next thing to do, in order; drain after each call of `handle`, `handle_timeout` and `adopt`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// Something happened outside.
    pub fn handle(&mut self, now: Now, input: Input) {
        if let Some((id, incarnation)) = input.about()
            && let Some(process) = self.processes.get_mut(&id)
            && process
                .former
                .as_ref()
                .is_some_and(|former| former.run().incarnation == incarnation)
        {
            former_news(&mut self.out, now, id, process, &input);
            return self.settle(now);
        }
        match input {
            Input::Command { ticket, command } => self.command(now, ticket, command),
            Input::Draining => self.drain(),
            Input::GoingOn => self.out.draining = false,
            Input::Spawned {
                id,
                incarnation,
                pid,
                channel,
            } => self.with(id, incarnation, |out, process| {
                let run = Run::new(incarnation, Some(pid), channel);
                match &mut process.state {
                    State::Launching {
                        run: Run { pid: None, .. },
                        waiters,
                        ..
                    } => {
                        let waiters = std::mem::take(waiters);
                        spawned(out, now, id, process, run, waiters);
                    }
                    State::Stopping(stopping)
                        if stopping.ending.stage == Stage::AwaitingPid && !stopping.ending.exited =>
                    {
                        stopping.ending.run = run;
                        out.changed(id);
                        ask(out, now, id, &process.policy, &mut stopping.ending);
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
                    State::Stopping(stopping) => {
                        stopping.ending.stage == Stage::AwaitingPid && !stopping.ending.exited
                    }
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
                    exited(out, now, id, process, exit);
                });
            }
            Input::TreeGone {
                id,
                incarnation,
                round,
            } => self.with(id, incarnation, |_, process| {
                if let State::Stopping(stopping) = &mut process.state {
                    stopping.ending.tree_gone(round);
                }
            }),
            Input::Ready { id, incarnation } => self.with(id, incarnation, |out, process| {
                let counts = process.policy.wait_ready;
                sign(out, now, id, process, |run| run.ready = true, counts);
            }),
            Input::Booted { id, incarnation } => self.with(id, incarnation, |out, process| {
                // What promised more, or is to take the place of a life that serves, has not shown it yet.
                if process.policy.tells_boot && !process.policy.wait_ready && !process.is_being_replaced() {
                    up(out, now, id, process);
                }
            }),
            Input::Listening { id, incarnation } => self.with(id, incarnation, |out, process| {
                // An app that promised to say when it is ready is taken at its word.
                let counts = !process.policy.wait_ready;
                sign(out, now, id, process, |run| run.listening = true, counts);
            }),
            Input::Broken { id, incarnation } => self.with(id, incarnation, |out, process| {
                broken(out, now, id, process);
            }),
            Input::Probed {
                id,
                incarnation,
                round,
                good,
            } => self.with(id, incarnation, |out, process| {
                if process.look_at().is_some() {
                    looked(out, now, id, process, Some(round), good);
                }
            }),
            Input::ChannelClosed { id, incarnation } => {
                self.with(id, incarnation, |_, process| match &mut process.state {
                    State::Launching { run, .. } | State::Online { run } => run.channel = false,
                    State::Stopping(stopping) => stopping.ending.run.channel = false,
                    State::Stopped | State::Errored { .. } | State::Waiting { .. } => {}
                });
            }
            Input::Memory { id, incarnation, rss } => self.with(id, incarnation, |out, process| {
                measured(out, now, id, process, rss);
            }),
        }
        self.settle(now);
    }

    /// Time has passed: act on every deadline that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        for (&id, process) in &mut self.processes {
            let due = |at: Option<Mono>| at.is_some_and(|at| at <= now.mono);
            if due(process.former.as_ref().and_then(Former::deadline)) {
                former_overdue(&mut self.out, now, id, process);
            }
            if due(process.stable_at()) {
                process.facts.backoff = Some(Duration::ZERO);
                self.out.changed(id);
            }
            if due(process.look_at()) {
                look(&mut self.out, now, id, process);
            }
            if !due(process.deadline()) {
                continue;
            }
            match process.state {
                State::Launching { .. } => up(&mut self.out, now, id, process),
                State::Waiting { .. } => {
                    process.facts.restarts = process.facts.restarts.saturating_add(1);
                    launch(&mut self.out, now, id, process, Vec::new());
                }
                State::Stopping(_) => overdue(&mut self.out, now, id, process),
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
            forget_former(&mut self.out, id, process);
            if finish_stop(&mut self.out, now, id, process) {
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
                former: None,
                health: None,
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
            Command::Reload { policy, soft, .. } => reload(out, now, id, process, ticket, policy, soft),
            Command::Restart { policy, .. } => {
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

impl View {
    /// It runs, or is about to.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Online | Status::Launching)
    }
}

//! One process: its state (one enum, each variant owns what exists only in it) and its counters.

use std::time::Duration;

use crate::health::Monitor;
use crate::{Health, Incarnation, Mono, Policy, Ticket};

/// The word that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Started, not ready yet.
    Launching,
    /// Up.
    Online,
    /// Told to end.
    Stopping,
    /// Down on purpose.
    Stopped,
    /// Down: it failed too often, could not be started, or could not be stopped.
    Errored,
    /// Down, will come back after a delay.
    WaitingRestart,
}

/// Counters and dates of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When it was entered or last reset, ms since the epoch; `None` after giving up.
    pub created_at: Option<i64>,
    /// The same on the clock that is counted with.
    pub created_mono: Mono,
    /// When the present (or last) life began, ms since the epoch.
    pub started_at: i64,
    /// The same on the clock that is counted with.
    pub started_mono: Mono,
    /// How often it was restarted.
    pub restarts: u32,
    /// Unstable exits in a row.
    pub unstable_restarts: u32,
    /// The last wait of the exponential backoff; zero when the next one is the first. `None`: never touched.
    pub backoff: Option<Duration>,
    /// The last exit code (0 after a signal); `None` before the first exit.
    pub exit_code: Option<i32>,
}

/// What is to follow once a stop is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Stay stopped.
    Stop,
    /// Launch again.
    Restart,
    /// Forget the entry.
    Delete,
}

/// The durable part of a state: what a new shell needs to carry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Down on purpose.
    Stopped,
    /// Down for good; with the life that could not be ended, if there is one.
    Errored(Option<(Incarnation, Option<u32>)>),
    /// Started, maybe without pid yet.
    Launching(Incarnation, Option<u32>),
    /// Up.
    Online(Incarnation, u32),
    /// Told to end.
    Stopping(Incarnation, Option<u32>, Goal),
    /// Comes back at this time.
    Waiting(Mono),
}

/// The durable part of the life that a reload replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerLife {
    /// Which one.
    pub incarnation: Incarnation,
    /// It serves until its successor is up: the counters and dates that are shown again if that fails. `None`: it is being retired.
    pub serving: Option<Facts>,
}

/// All that must survive the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Counters and dates.
    pub facts: Facts,
    /// State.
    pub phase: Phase,
    /// What a reload has not done away with yet.
    pub former: Option<FormerLife>,
}

/// A child that a former shell left running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// Which life.
    pub incarnation: Incarnation,
    /// Its pid.
    pub pid: u32,
    /// Its IPC channel is open.
    pub channel: bool,
}

/// Whether others may rely on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does not run.
    Down,
    /// It runs, but has not shown yet that it is ready.
    Pending,
    /// It said so, or listens, or is healthy; one that has no way to tell has been up for its `min_uptime`.
    Ready,
    /// It runs, and its health check fails.
    Unhealthy,
}

/// One process as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The word.
    pub status: Status,
    /// Its pid while it lives and is known.
    pub pid: Option<u32>,
    /// Its present life.
    pub incarnation: Option<Incarnation>,
    /// A reload is in progress: the life that it replaces.
    pub former: Option<Incarnation>,
    /// What is known of its health, and the failures in a row; `None` if it is not checked.
    pub health: Option<(Health, u32)>,
    /// Counters and dates.
    pub facts: Facts,
}

/// A life in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) incarnation: Incarnation,
    /// `None` until the keeper said so.
    pub(crate) pid: Option<u32>,
    pub(crate) channel: bool,
    /// It said that it is ready.
    pub(crate) ready: bool,
    /// It accepts connections.
    pub(crate) listening: bool,
}

impl Run {
    pub(crate) fn new(incarnation: Incarnation, pid: Option<u32>, channel: bool) -> Self {
        Self {
            incarnation,
            pid,
            channel,
            ready: false,
            listening: false,
        }
    }

    /// A life that a former shell knew to be up.
    pub(crate) fn known_up(self) -> Self {
        Self {
            ready: true,
            listening: true,
            ..self
        }
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The pid is not known yet: nothing could be sent.
    AwaitingPid,
    /// Taken out of service, to finish what it has begun; asked to end at this time.
    Draining(Mono),
    /// Asked politely; killed at this time.
    Asked(Mono),
    /// SIGKILL sent; given up at this time.
    Killed(Mono),
    /// It survived SIGKILL; nothing is tried any more.
    GivenUp,
}

/// One life on its way down.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) run: Run,
    pub(crate) stage: Stage,
    pub(crate) exited: bool,
    /// The round whose `TreeGone` is awaited; `None` when nothing of the tree is left to wait for.
    pub(crate) tree: Option<u32>,
    pub(crate) round: u32,
}

impl Ending {
    pub(crate) fn of(run: Run) -> Self {
        Self {
            run,
            stage: Stage::AwaitingPid,
            exited: false,
            tree: None,
            round: 0,
        }
    }

    /// The life and its tree are down.
    pub(crate) fn is_over(&self) -> bool {
        self.exited && self.tree.is_none()
    }

    pub(crate) fn tree_gone(&mut self, round: u32) {
        if self.tree == Some(round) {
            self.tree = None;
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self.stage {
            Stage::Draining(at) | Stage::Asked(at) | Stage::Killed(at) if !self.is_over() => Some(at),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stopping {
    pub(crate) ending: Ending,
    pub(crate) goal: Goal,
    /// Answered when the process is down.
    pub(crate) stop_waiters: Vec<Ticket>,
    /// Answered when the next life is up.
    pub(crate) launch_waiters: Vec<Ticket>,
}

#[derive(Debug)]
pub(crate) enum State {
    Stopped,
    Errored {
        undead: Option<Run>,
    },
    Launching {
        run: Run,
        ready_by: Option<Mono>,
        /// All else is there: it is up once it is healthy.
        awaits_health: bool,
        waiters: Vec<Ticket>,
    },
    Online {
        run: Run,
    },
    Stopping(Stopping),
    Waiting {
        at: Mono,
    },
}

/// The life that a reload replaces. It stands beside the state, which is that of its successor.
#[derive(Debug)]
pub(crate) enum Former {
    /// It serves until its successor, which is being launched, is up; if that fails, it stays.
    Serving {
        run: Run,
        facts: Facts,
        policy: Box<Policy>,
        /// Tell it by message, and give it more time.
        soft: bool,
    },
    /// On its way down, by its own rules.
    Retiring {
        ending: Ending,
        policy: Box<Policy>,
        /// Answered when it is down.
        waiters: Vec<Ticket>,
    },
}

impl Former {
    pub(crate) fn run(&self) -> Run {
        match self {
            Self::Serving { run, .. } => *run,
            Self::Retiring { ending, .. } => ending.run,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self {
            Self::Serving { .. } => None,
            Self::Retiring { ending, .. } => ending.deadline(),
        }
    }

    fn kept(&self) -> FormerLife {
        FormerLife {
            incarnation: self.run().incarnation,
            serving: match self {
                Self::Serving { facts, .. } => Some(*facts),
                Self::Retiring { .. } => None,
            },
        }
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) policy: Policy,
    pub(crate) facts: Facts,
    pub(crate) state: State,
    pub(crate) former: Option<Former>,
    /// Looks at the life that is named in it; those at an older one are over.
    pub(crate) health: Option<Monitor>,
}

impl Process {
    pub(crate) fn run(&self) -> Option<Run> {
        match &self.state {
            State::Launching { run, .. } | State::Online { run } => Some(*run),
            State::Stopping(stopping) if !stopping.ending.exited => Some(stopping.ending.run),
            State::Errored { undead } => *undead,
            State::Stopped | State::Stopping(_) | State::Waiting { .. } => None,
        }
    }

    /// The life that news may be about: also that of a stop which still waits for its tree.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        match &self.state {
            State::Stopping(stopping) => Some(stopping.ending.run.incarnation),
            _ => self.run().map(|run| run.incarnation),
        }
    }

    pub(crate) fn status(&self) -> Status {
        match self.state {
            State::Stopped => Status::Stopped,
            State::Errored { .. } => Status::Errored,
            State::Launching { .. } => Status::Launching,
            State::Online { .. } => Status::Online,
            State::Stopping(_) => Status::Stopping,
            State::Waiting { .. } => Status::WaitingRestart,
        }
    }

    /// When its life counts as stable, so that the backoff starts anew.
    pub(crate) fn stable_at(&self) -> Option<Mono> {
        let waited = self.facts.backoff.is_some_and(|wait| !wait.is_zero());
        let counts =
            waited && self.policy.exp_backoff.is_some() && matches!(self.state, State::Online { .. });
        // Longer than, not as long as.
        let more = self.policy.backoff_reset.saturating_add(Duration::from_millis(1));
        counts.then(|| self.facts.started_mono.after(more))
    }

    /// When to look at it next.
    pub(crate) fn look_at(&self) -> Option<Mono> {
        let monitor = self.health.as_ref()?;
        let (State::Launching { run, .. } | State::Online { run }) = &self.state else {
            return None;
        };
        (self.policy.health.is_some() && run.incarnation == monitor.incarnation).then(|| monitor.deadline())
    }

    /// A successor is being launched, and this life stays if that fails.
    pub(crate) fn is_being_replaced(&self) -> bool {
        matches!(self.former, Some(Former::Serving { .. }))
    }

    pub(crate) fn restorable(&self) -> Restored {
        Restored {
            facts: self.facts,
            phase: self.phase(),
            former: self.former.as_ref().map(Former::kept),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Launching { ready_by, .. } => *ready_by,
            State::Stopping(stopping) => stopping.ending.deadline(),
            State::Waiting { at } => Some(*at),
            State::Stopped | State::Errored { .. } | State::Online { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match &self.state {
            State::Stopped => Phase::Stopped,
            State::Errored { undead } => Phase::Errored(undead.map(|run| (run.incarnation, run.pid))),
            State::Launching { run, .. } => Phase::Launching(run.incarnation, run.pid),
            State::Online { run } => match run.pid {
                Some(pid) => Phase::Online(run.incarnation, pid),
                None => Phase::Launching(run.incarnation, None),
            },
            State::Stopping(stopping) => {
                let run = stopping.ending.run;
                Phase::Stopping(run.incarnation, run.pid, stopping.goal)
            }
            State::Waiting { at } => Phase::Waiting(*at),
        }
    }

    /// The wait before the next automatic restart (and the new state of the backoff); `None` restarts at once.
    pub(crate) fn restart_wait(&mut self, now: Mono) -> Option<Duration> {
        let Some(first) = self.policy.exp_backoff else {
            return self.policy.restart_delay;
        };
        let stable = now.since(self.facts.started_mono) > self.policy.backoff_reset;
        let wait = match self.facts.backoff {
            Some(last) if !last.is_zero() && !stable => {
                let grown = u64::try_from(last.as_millis())
                    .unwrap_or(u64::MAX)
                    .saturating_mul(3)
                    / 2;
                Duration::from_millis(grown).min(Policy::BACKOFF_CEILING)
            }
            _ => first,
        };
        self.facts.backoff = Some(wait);
        Some(wait)
    }
}

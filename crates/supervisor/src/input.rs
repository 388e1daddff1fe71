//! What the shell tells the supervisor.

use crate::{Incarnation, Policy, ProcId, Ticket};

/// Something happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody wants something. With a ticket, exactly one reply follows; without, nobody waits.
    Command {
        /// Who waits for the reply.
        ticket: Option<Ticket>,
        /// What is wanted.
        command: Command,
    },
    /// The process of [`Effect::Spawn`](crate::Effect::Spawn) runs.
    Spawned {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Its pid.
        pid: u32,
        /// It has an IPC channel on which it can be asked to stop.
        channel: bool,
    },
    /// The process could not be started.
    SpawnFailed {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// The cause is a passing shortage (no memory, no pids, file busy), so trying again makes sense.
        transient: bool,
    },
    /// The process has ended.
    Exited {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// How.
        exit: Exit,
    },
    /// Every descendant that was signalled in this round has gone.
    TreeGone {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// The round of the effect that this answers.
        round: u32,
    },
    /// The process said that it is ready.
    Ready {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// Its runtime has started, and begins with the app itself.
    Booted {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// The process accepts connections, on everything that its former life (if there is one) accepted them on.
    Listening {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// The process runs, but said that it will never do its work.
    Broken {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// The IPC channel of the process is gone; it can only be signalled from now on.
    ChannelClosed {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// What a look at its health has seen.
    Probed {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// The round of the effect that this answers.
        round: u32,
        /// All was well.
        good: bool,
    },
    /// A sample of its resident memory, bytes.
    Memory {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Resident set, bytes.
        rss: u64,
    },
    /// The daemon is being ended: from now on nothing is restarted automatically.
    Draining,
    /// It goes on after all. What has ended meanwhile stays so.
    GoingOn,
}

impl Input {
    /// The life that this is news of.
    pub(crate) fn about(&self) -> Option<(ProcId, Incarnation)> {
        match *self {
            Self::Command { .. } | Self::Draining | Self::GoingOn => None,
            Self::Spawned { id, incarnation, .. }
            | Self::SpawnFailed { id, incarnation, .. }
            | Self::Exited { id, incarnation, .. }
            | Self::TreeGone { id, incarnation, .. }
            | Self::Ready { id, incarnation }
            | Self::Booted { id, incarnation }
            | Self::Listening { id, incarnation }
            | Self::Broken { id, incarnation }
            | Self::ChannelClosed { id, incarnation }
            | Self::Probed { id, incarnation, .. }
            | Self::Memory { id, incarnation, .. } => Some((id, incarnation)),
        }
    }
}

/// What a user, a timer or the hub may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Enter a new process, and launch it unless `autostart` is off.
    Add {
        /// Its number; refused if taken.
        id: ProcId,
        /// Its rules.
        policy: Box<Policy>,
    },
    /// Launch what does not run.
    Start(ProcId),
    /// Stop; keep the entry.
    Stop(ProcId),
    /// Stop if it runs, then launch. Counters of instability start anew.
    Restart {
        /// Which process.
        id: ProcId,
        /// New rules, if they changed.
        policy: Option<Box<Policy>>,
    },
    /// Replace without a gap where two lives can [`overlap`](Policy::overlap); any other process is restarted.
    Reload {
        /// Which process.
        id: ProcId,
        /// New rules, if they changed.
        policy: Option<Box<Policy>>,
        /// Tell the old life by message first, and give it the longer time.
        soft: bool,
    },
    /// Stop and forget.
    Delete(ProcId),
    /// Set the counters to zero.
    Reset(ProcId),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It has gone while nobody looked.
    Unknown,
}

impl Exit {
    /// The code that PM2 shows and compares: a death by signal counts as 0.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(_) | Self::Unknown => 0,
        }
    }
}

//! What the supervisor asks the shell to do.

use crate::{Exit, Health, Incarnation, ProcId, Status, Ticket};

/// One thing to do. Drain [`Supervisor::poll_effect`](crate::Supervisor::poll_effect) until it is empty, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the process; answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// Which process.
        id: ProcId,
        /// The life that begins.
        incarnation: Incarnation,
    },
    /// Send a signal. With `tree`: to all descendants first, deepest first; then answer with `TreeGone` of the
    /// same round when every descendant signalled in this life has gone (at once if there is none).
    Signal {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Its pid.
        pid: u32,
        /// Signal number.
        signal: i32,
        /// Descendants too.
        tree: bool,
        /// To be repeated in `TreeGone`.
        round: u32,
    },
    /// Ask the process by its IPC channel to shut down.
    AskToStop {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// Take a life out of service: no new work for it, and its IPC channel is closed from the child's side once it has finished what
    /// it has begun. Its end is told as always (`ChannelClosed`, `Exited`); what takes too long is signalled.
    Retire {
        /// Which process.
        id: ProcId,
        /// Which life: the one that a reload replaces.
        incarnation: Incarnation,
    },
    /// Look whether the process is healthy, by its configured check; answer with `Probed` of the same round.
    Probe {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// To be repeated in `Probed`.
        round: u32,
    },
    /// Answer a caller.
    Reply {
        /// Which one.
        ticket: Ticket,
        /// Done, or why not.
        result: Result<(), Refusal>,
    },
    /// Tell whoever listens.
    Notify {
        /// Which process.
        id: ProcId,
        /// What happened.
        event: Event,
        /// The status at this very moment (a later effect may already have changed it).
        status: Status,
    },
    /// What [`Supervisor::restorable`](crate::Supervisor::restorable) yields for it has changed: keep it. Always comes before the
    /// `Spawn` that follows from the change.
    Changed(ProcId),
    /// The entry has gone.
    Removed(ProcId),
}

/// News of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is up (about to become `online`).
    Online,
    /// It has ended, or its stop is complete.
    Exit {
        /// How; `None` for the second event of a stop.
        exit: Option<Exit>,
    },
    /// It failed too often in a row; it is not restarted any more.
    RestartOverlimit,
    /// It could not be started.
    SpawnFailed,
    /// It takes more memory than it may, and is restarted.
    MemoryExceeded {
        /// Measured, bytes.
        rss: u64,
        /// Allowed, bytes.
        limit: u64,
    },
    /// It did not end in time after the stop signal and is killed.
    Killed,
    /// It survived even SIGKILL.
    Unkillable,
    /// A reload failed. The former life serves on, by its former rules.
    ReloadFailed(ReloadFailure),
    /// Its health has changed.
    Health(Health),
    /// The life that a reload replaced has ended.
    FormerExit {
        /// Which one.
        incarnation: Incarnation,
        /// How.
        exit: Exit,
    },
}

/// Why the new life of a reload did not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadFailure {
    /// It could not be started.
    NotStarted,
    /// It ended before it was up.
    Ended(Exit),
    /// Its health check failed; it is ended.
    Unhealthy,
    /// It said that it will never do its work; it is ended.
    Broken,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no process of this number.
    UnknownId(ProcId),
    /// The number is taken.
    Exists(ProcId),
    /// It is `online` already.
    AlreadyOnline,
    /// It is being launched already.
    AlreadyStarted,
    /// Its former life has not ended yet.
    StillAlive {
        /// The pid of that life, if it is known.
        pid: Option<u32>,
    },
    /// It is being deleted.
    BeingDeleted,
    /// A later command took its place.
    Superseded,
    /// It survived SIGKILL.
    Unkillable,
    /// It could not be started.
    SpawnFailed,
    /// An earlier reload has not come to its end.
    ReloadInProgress,
    /// The new life did not come up; the former one serves on.
    ReloadFailed,
}

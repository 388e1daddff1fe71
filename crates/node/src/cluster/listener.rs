//! One socket and who uses it.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::{ConnId, Millis, Policy, SockName, WorkerId};
use crate::internal::Address;

/// How far a socket has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// The shell makes it; these wait for it, with the numbers of their queries.
    Binding(Vec<(WorkerId, u64)>),
    /// It is there.
    Open(Option<SockName>),
}

#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// Unique, and what workers call it.
    pub(super) key: String,
    pub(super) address: Address,
    pub(super) policy: Policy,
    pub(super) stage: Stage,
    /// What the first worker said.
    pub(super) data: Value,
    /// The apps that asked for it.
    pub(super) groups: BTreeSet<String>,
    /// Workers that have it and listen, in the order of their turns.
    pub(super) members: VecDeque<WorkerId>,
    /// Workers that were given it and do not listen yet.
    pub(super) joining: BTreeSet<WorkerId>,
    /// Connections that came back from a worker. Never more than there are workers.
    pub(super) returned: VecDeque<ConnId>,
    /// No worker wants it though all of its apps listen: when it is closed.
    pub(super) unclaimed_until: Option<Millis>,
}

impl Listener {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.members.iter().chain(&self.joining).copied()
    }

    pub(super) fn leave(&mut self, worker: WorkerId) {
        self.members.retain(|member| *member != worker);
        self.joining.remove(&worker);
        if let Stage::Binding(waiting) = &mut self.stage {
            waiting.retain(|(waiter, _)| *waiter != worker);
        }
    }
}

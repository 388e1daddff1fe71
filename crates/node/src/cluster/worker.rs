//! One worker, as the primary sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{ConnId, Handle, ListenerId, Millis, Policy, WorkerSpec};
use crate::internal::Dialect;

/// First wait after a worker refused something; it doubles with each refusal in a row.
const COOL_OFF: Millis = 20;
/// Doublings, at most: 2.5 s.
const MAX_DOUBLINGS: u32 = 7;

/// A message with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HandleLine {
    pub(super) line: Vec<u8>,
    pub(super) handle: Handle,
    /// To tell an error instead, should it never arrive: the query and our key.
    pub(super) query: Option<(u64, ListenerId)>,
    pub(super) refusals: u32,
    /// It makes a connection the worker's, by the offer of this number.
    pub(super) offer: Option<u64>,
}

/// A connection that was offered and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) seq: u64,
    pub(super) conn: ConnId,
    pub(super) listener: ListenerId,
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) group: String,
    pub(super) policy: Policy,
    pub(super) dialect: Dialect,
    /// It gets no connections any more.
    pub(super) withdrawn: bool,
    /// The highest number of its messages that changed something.
    pub(super) last_seq: Option<u64>,
    /// Sockets that it was given, with the query that each answers.
    pub(super) open: BTreeMap<ListenerId, u64>,
    /// Where it said that it listens.
    pub(super) listening: BTreeSet<String>,
    /// The one message with a descriptor that it has not acknowledged.
    pub(super) unacknowledged: Option<HandleLine>,
    /// Those after it.
    pub(super) waiting: VecDeque<HandleLine>,
    pub(super) offer: Option<Offer>,
    /// A former shell died while it offered this: the worker may have it or not.
    pub(super) doubt: Option<Offer>,
    /// Taken over: what a former shell sent may be unread, so no descriptor may follow.
    pub(super) fenced: bool,
    pub(super) cool_until: Option<Millis>,
    refusals: u32,
}

impl Worker {
    pub(super) fn new(spec: WorkerSpec) -> Self {
        Self {
            group: spec.group,
            policy: spec.policy,
            dialect: Dialect::default(),
            withdrawn: false,
            last_seq: None,
            open: BTreeMap::new(),
            listening: BTreeSet::new(),
            unacknowledged: None,
            waiting: VecDeque::new(),
            offer: None,
            doubt: None,
            fenced: false,
            cool_until: None,
            refusals: 0,
        }
    }

    /// Whether a connection may be offered to it.
    pub(super) fn is_free(&self, now: Millis) -> bool {
        !self.withdrawn
            && !self.fenced
            && self.offer.is_none()
            && self.unacknowledged.is_none()
            && self.waiting.is_empty()
            && self.cool_until.is_none_or(|until| until <= now)
    }

    /// Whether this message was acted on before: a former shell died before it could take it out of the channel.
    pub(super) fn seen_before(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq else { return false };
        let seen = self.last_seq.is_some_and(|last| last >= seq);
        self.last_seq = self.last_seq.max(Some(seq));
        seen
    }

    pub(super) fn refused(&mut self, now: Millis) {
        self.cool_until = Some(now + (COOL_OFF << self.refusals.min(MAX_DOUBLINGS)));
        self.refusals = self.refusals.saturating_add(1);
    }

    pub(super) fn took_one(&mut self) {
        self.refusals = 0;
        self.cool_until = None;
    }
}

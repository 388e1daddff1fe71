//! The state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::effect::Effect;
use super::listener::{Listener, Stage};
use super::snapshot::{ListenerText, Snapshot, WorkerText};
use super::worker::Worker;
use super::{ListenerId, Millis, Policy, WorkerId, WorkerSpec, lines};
use crate::internal::{Address, Dialect, FromWorker, Internal, Kind};

/// The primary of all cluster workers of one shell.
#[derive(Debug, Default)]
pub struct Primary {
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    pub(super) effects: VecDeque<Effect>,
    pub(super) next_listener: u64,
    next_number: u64,
    seq: u64,
}

impl Primary {
    /// A primary that numbers its messages from `first_seq` on: higher than whatever a former shell of these workers used.
    #[must_use]
    pub fn new(first_seq: u64) -> Self {
        Self {
            seq: first_seq,
            next_number: 1,
            next_listener: 1,
            ..Self::default()
        }
    }

    /// Carry on from where a former shell was. Workers that have ended meanwhile are to be told by [`Primary::gone`], sockets that were
    /// lost by [`Primary::lost`], and each worker by [`Primary::read_everything`] when it may get descriptors again.
    #[must_use]
    pub fn restore(first_seq: u64, snapshot: Snapshot) -> Self {
        let mut primary = Self::new(first_seq);
        primary.next_listener = snapshot.next_listener.max(1);
        primary.next_number = snapshot.next_number.max(1);
        for (id, text) in snapshot.listeners {
            primary.next_listener = primary.next_listener.max(id.saturating_add(1));
            let listener = Listener {
                key: text.key,
                address: text.address.into(),
                policy: text.policy,
                stage: Stage::Open(text.sockname),
                data: text.data,
                groups: text.groups,
                members: VecDeque::new(),
                joining: BTreeSet::new(),
                returned: VecDeque::new(),
                unclaimed_until: None,
            };
            primary.listeners.insert(ListenerId(id), listener);
        }
        for (id, text) in snapshot.workers {
            let id = WorkerId(id);
            let mut worker = Worker::new(WorkerSpec {
                group: text.group,
                policy: text.policy,
            });
            worker.dialect = text.dialect;
            worker.withdrawn = text.withdrawn;
            worker.last_seq = text.last_seq;
            worker.listening = text.listening;
            worker.fenced = true;
            for (listener, query, listens) in text.open {
                let Some(known) = primary.listeners.get_mut(&ListenerId(listener)) else {
                    continue;
                };
                worker.open.insert(ListenerId(listener), query);
                if listens {
                    known.members.push_back(id);
                } else {
                    known.joining.insert(id);
                }
            }
            primary.workers.insert(id, worker);
        }
        primary
    }

    /// What must survive.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let listener = |(id, listener): (&ListenerId, &Listener)| {
            // One that is not there yet is asked for again by the query that a new shell reads again.
            let Stage::Open(sockname) = &listener.stage else {
                return None;
            };
            let text = ListenerText {
                key: listener.key.clone(),
                address: listener.address.clone().into(),
                policy: listener.policy,
                sockname: sockname.clone(),
                data: listener.data.clone(),
                groups: listener.groups.clone(),
            };
            Some((id.0, text))
        };
        let listens = |id: &WorkerId, listener: &ListenerId| {
            self.listeners
                .get(listener)
                .is_some_and(|known| known.members.contains(id))
        };
        let worker = |(id, worker): (&WorkerId, &Worker)| {
            let open = worker
                .open
                .iter()
                .map(|(listener, query)| (listener.0, *query, listens(id, listener)));
            let text = WorkerText {
                group: worker.group.clone(),
                policy: worker.policy,
                dialect: worker.dialect,
                withdrawn: worker.withdrawn,
                last_seq: worker.last_seq,
                open: open.collect(),
                listening: worker.listening.clone(),
            };
            (id.0, text)
        };
        Snapshot {
            v: 1,
            next_listener: self.next_listener,
            next_number: self.next_number,
            listeners: self.listeners.iter().filter_map(listener).collect(),
            workers: self.workers.iter().map(worker).collect(),
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// A new number for a worker's `NODE_UNIQUE_ID`.
    pub fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.effects.push_back(Effect::Keep);
        number
    }

    /// A worker was started. One that is known already stays as it is.
    pub fn add(&mut self, id: WorkerId, spec: WorkerSpec) {
        self.workers.entry(id).or_insert_with(|| Worker::new(spec));
    }

    /// Whether it is one of ours.
    #[must_use]
    pub fn knows(&self, id: WorkerId) -> bool {
        self.workers.contains_key(&id)
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.workers.keys().copied()
    }

    /// All sockets that exist.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerId> + '_ {
        self.listeners
            .iter()
            .filter(|(_, listener)| listener.is_open())
            .map(|(id, _)| *id)
    }

    /// Whether connections of this socket are accepted here.
    #[must_use]
    pub fn accepts(&self, id: ListenerId) -> bool {
        self.listeners
            .get(&id)
            .is_some_and(|listener| listener.is_open() && listener.policy == Policy::RoundRobin)
    }

    /// Whether a socket was made for workers, and is nobody else's.
    #[must_use]
    pub fn owns(&self, id: ListenerId) -> bool {
        self.listeners
            .get(&id)
            .is_some_and(|listener| !matches!(listener.address, Address::Descriptor(_)))
    }

    /// The path of a socket, if it is a UNIX socket.
    #[must_use]
    pub fn unix_path(&self, id: ListenerId) -> Option<&str> {
        match &self.listeners.get(&id)?.address {
            Address::Unix { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether `new` listens, and at every address at which `old` does.
    #[must_use]
    pub fn covers(&self, new: WorkerId, old: WorkerId) -> bool {
        let listening = |id| self.workers.get(&id).map(|worker| &worker.listening);
        let Some(new) = listening(new).filter(|set| !set.is_empty()) else {
            return false;
        };
        listening(old).is_none_or(|old| old.is_subset(new))
    }

    /// Whether a worker said that it listens somewhere.
    #[must_use]
    pub fn is_listening(&self, id: WorkerId) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|worker| !worker.listening.is_empty())
    }

    /// A worker said something.
    pub fn on_message(&mut self, now: Millis, id: WorkerId, message: Internal) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if message.dialect == Dialect::Bun {
            // Not all of its messages are marked.
            worker.dialect = Dialect::Bun;
        }
        match message.kind {
            Kind::HandleAck => self.acknowledged(id),
            Kind::HandleNack => self.not_arrived(now, id),
            // The shell sees to these, whoever the child is.
            Kind::Handle { .. } | Kind::LoadFailed { .. } | Kind::Other => {}
            Kind::Cluster(message) => self.on_cluster(now, id, message),
        }
        self.offer_all(now);
    }

    fn on_cluster(&mut self, now: Millis, id: WorkerId, message: FromWorker) {
        match message {
            FromWorker::Online => self.effects.push_back(Effect::Booted(id)),
            FromWorker::Unknown => {}
            FromWorker::Query(query) => self.query(id, query),
            FromWorker::Listening { seq, address } => self.listening(id, seq, address),
            FromWorker::Close { seq, key } => self.closed_by_worker(id, seq, &key),
            FromWorker::ExitedAfterDisconnect { seq } => {
                let ours = self.next_seq();
                let Some(worker) = self.workers.get_mut(&id) else {
                    return;
                };
                worker.withdrawn = true;
                let line = lines::may_disconnect(worker.dialect, seq, ours);
                self.effects.push_back(Effect::Keep);
                self.effects.push_back(Effect::Send { worker: id, line });
            }
            FromWorker::Reply { ack, accepted } => self.replied(now, id, ack, accepted),
        }
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// No more connections for this worker: it was told to end.
    pub fn withdraw(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id)
            && !worker.withdrawn
        {
            worker.withdrawn = true;
            self.effects.push_back(Effect::Keep);
        }
    }

    /// Ask a worker to close its servers, answer what it was asked, and disconnect. HTTP clients are sent elsewhere, and idle ones let
    /// go after `idle_ms`, if the preload is there.
    pub fn disconnect(&mut self, id: WorkerId, idle_ms: u32) {
        self.withdraw(id);
        let seq = self.next_seq();
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        self.effects.push_back(Effect::Send {
            worker: id,
            line: lines::drain(idle_ms),
        });
        self.effects.push_back(Effect::Send {
            worker: id,
            line: lines::disconnect(worker.dialect, seq),
        });
    }

    /// Nothing more can come from a worker.
    pub fn gone(&mut self, now: Millis, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        for listener in self.listeners.values_mut() {
            listener.leave(id);
        }
        for offer in worker.offer.into_iter().chain(worker.doubt) {
            self.give_back(offer);
        }
        self.effects.push_back(Effect::Keep);
        self.offer_all(now);
    }

    /// When [`Primary::handle_timeout`] or [`Primary::sweep`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let cooling = self.workers.values().filter_map(|worker| worker.cool_until);
        let unclaimed = self
            .listeners
            .values()
            .filter_map(|listener| listener.unclaimed_until);
        cooling.chain(unclaimed).min()
    }

    /// Time has passed. The caller looks anew whether sockets want connections, and sweeps.
    pub fn handle_timeout(&mut self, now: Millis) {
        let cooled: Vec<_> = self
            .workers
            .iter_mut()
            .filter(|(_, worker)| worker.cool_until.is_some_and(|until| until <= now))
            .map(|(id, worker)| {
                worker.cool_until = None;
                *id
            })
            .collect();
        for id in cooled {
            self.send_waiting(id);
        }
        self.offer_all(now);
    }
}

//! Which sockets there are, and who has them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::effect::{Bind, Effect, Handle, SockName};
use super::listener::{Listener, Stage};
use super::worker::HandleLine;
use super::{ListenerId, Millis, Policy, Primary, WorkerId, lines};
use crate::internal::{Address, Query};

const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
/// Sockets that one worker may hold.
const MAX_OPEN: usize = 256;
/// Sockets at all.
const MAX_LISTENERS: usize = 4096;
/// What Node asks the kernel for when the app says nothing.
const DEFAULT_BACKLOG: i32 = 511;
/// A socket that no worker wants any more is closed after this: workers open several servers one after the other.
const UNCLAIMED: Millis = 10_000;

impl Primary {
    pub(super) fn query(&mut self, id: WorkerId, query: Query) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let seen = worker.seen_before(Some(query.seq));
        let answered = worker.open.iter().find(|(_, answered)| **answered == query.seq);
        if let Some(listener) = answered.filter(|_| seen).map(|(listener, _)| *listener) {
            // Told by a former shell, or about to be told by it when it died. Twice does no harm.
            return self.answer(id, listener, query.seq);
        }
        let Some(address) = query.address.clone() else {
            return self.answer_error(id, &query.name, query.seq, EINVAL);
        };
        if worker.open.len() >= MAX_OPEN {
            return self.answer_error(id, &query.name, query.seq, EMFILE);
        }
        let group = worker.group.clone();
        let policy = if address.is_udp() {
            Policy::Shared
        } else {
            worker.policy
        };
        let base = match &address {
            address if address.any_port() => format!("{}{}:{group}", query.name, query.index),
            Address::Descriptor(_) => format!("{}:{group}", query.name),
            _ => query.name.clone(),
        };
        let key = self.free_key(id, &base);
        let known = self
            .listeners
            .iter_mut()
            .find(|(_, listener)| listener.key == key);
        if let Some((listener_id, listener)) = known {
            let listener_id = *listener_id;
            listener.groups.insert(group);
            listener.unclaimed_until = None;
            if let Stage::Binding(waiting) = &mut listener.stage {
                waiting.push((id, query.seq));
                return;
            }
            self.effects.push_back(Effect::Keep);
            return self.answer(id, listener_id, query.seq);
        }
        if self.listeners.len() >= MAX_LISTENERS {
            return self.answer_error(id, &key, query.seq, EMFILE);
        }
        let listener_id = ListenerId(self.next_listener);
        self.next_listener += 1;
        let listen = (policy == Policy::RoundRobin).then(|| query.backlog.unwrap_or(DEFAULT_BACKLOG));
        let listener = Listener {
            key,
            address: address.clone(),
            policy,
            stage: Stage::Binding(vec![(id, query.seq)]),
            data: query.data,
            groups: BTreeSet::from([group.clone()]),
            members: VecDeque::new(),
            joining: BTreeSet::new(),
            returned: VecDeque::new(),
            unclaimed_until: None,
        };
        self.listeners.insert(listener_id, listener);
        self.effects.push_back(Effect::Bind {
            listener: listener_id,
            bind: Bind {
                address,
                listen,
                group,
            },
        });
    }

    /// A key that this worker does not use: what it asks for twice is bound twice, and the kernel decides.
    pub(super) fn free_key(&self, id: WorkerId, base: &str) -> String {
        let uses = |key: &str| {
            self.listeners.iter().any(|(listener_id, listener)| {
                listener.key == key
                    && (self.workers.get(&id).is_some_and(|worker| worker.open.contains_key(listener_id))
                        || matches!(&listener.stage, Stage::Binding(waiting) if waiting.iter().any(|(waiter, _)| *waiter == id)))
            })
        };
        let mut key = base.to_owned();
        let mut times = 1;
        while uses(&key) {
            times += 1;
            key = format!("{base}#{times}");
        }
        key
    }

    /// What became of a bind: the name of the socket (none for UNIX sockets), or the kernel's error number.
    pub fn bound(&mut self, id: ListenerId, result: Result<Option<SockName>, i32>) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        let Stage::Binding(waiting) = &mut listener.stage else {
            return;
        };
        let waiting = std::mem::take(waiting);
        match result {
            Ok(name) => {
                listener.stage = Stage::Open(name);
                for (worker, query) in &waiting {
                    listener.joining.insert(*worker);
                    if let Some(worker) = self.workers.get_mut(worker) {
                        worker.open.insert(id, *query);
                    }
                }
                self.effects.push_back(Effect::Keep);
                for (worker, query) in waiting {
                    self.answer(worker, id, query);
                }
            }
            Err(errno) => {
                let key = listener.key.clone();
                self.listeners.remove(&id);
                for (worker, query) in waiting {
                    self.answer_error(worker, &key, query, errno);
                }
            }
        }
    }

    pub(super) fn answer(&mut self, id: WorkerId, listener_id: ListenerId, query: u64) {
        let seq = self.next_seq();
        let (Some(worker), Some(listener)) =
            (self.workers.get_mut(&id), self.listeners.get_mut(&listener_id))
        else {
            return;
        };
        let Stage::Open(name) = &listener.stage else {
            return;
        };
        worker.open.insert(listener_id, query);
        if !listener.members.contains(&id) {
            listener.joining.insert(id);
        }
        if listener.policy == Policy::RoundRobin {
            let line = lines::answer(
                worker.dialect,
                None,
                &listener.key,
                query,
                &listener.data,
                name.as_ref(),
                seq,
            );
            self.effects.push_back(Effect::Send { worker: id, line });
            return;
        }
        let udp = listener.address.is_udp();
        let line = lines::answer_with_handle(worker.dialect, udp, &listener.key, query, &listener.data, seq);
        worker.waiting.push_back(HandleLine {
            line,
            handle: Handle::Listener(listener_id),
            query: Some((query, listener_id)),
            refusals: 0,
            offer: None,
        });
        self.send_waiting(id);
    }

    pub(super) fn answer_error(&mut self, id: WorkerId, key: &str, query: u64, errno: i32) {
        let seq = self.next_seq();
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let errno = Some(-errno);
        let line = lines::answer(
            worker.dialect,
            errno,
            key,
            query,
            &serde_json::Value::Null,
            None,
            seq,
        );
        self.effects.push_back(Effect::Send { worker: id, line });
    }

    pub(super) fn listening(&mut self, id: WorkerId, seq: Option<u64>, address: String) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.seen_before(seq);
        if worker.listening.len() < MAX_OPEN {
            worker.listening.insert(address);
        }
        for listener in worker.open.keys() {
            if let Some(listener) = self.listeners.get_mut(listener)
                && listener.joining.remove(&id)
                && !listener.members.contains(&id)
            {
                // It is the next one: the others have had their turns.
                listener.members.push_front(id);
            }
        }
        self.effects.push_back(Effect::Keep);
        self.effects.push_back(Effect::Listening(id));
    }

    pub(super) fn closed_by_worker(&mut self, id: WorkerId, seq: Option<u64>, key: &str) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.seen_before(seq) {
            return;
        }
        let held = self
            .listeners
            .iter_mut()
            .find(|(_, listener)| listener.key == key);
        let Some((listener_id, listener)) = held else {
            return;
        };
        let listener_id = *listener_id;
        if worker.open.remove(&listener_id).is_none() {
            return;
        }
        listener.leave(id);
        let by_itself = !worker.withdrawn;
        let in_use = listener
            .holders()
            .any(|holder| self.workers.get(&holder).is_some_and(|worker| !worker.withdrawn));
        if by_itself && !in_use {
            self.close(listener_id);
        }
        self.effects.push_back(Effect::Keep);
    }

    pub(super) fn close(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.remove(&id) else {
            return;
        };
        for conn in listener.returned {
            self.effects.push_back(Effect::Drop(conn));
        }
        for worker in self.workers.values_mut() {
            worker.open.remove(&id);
        }
        self.effects.push_back(Effect::Close(id));
    }

    /// A socket could not be taken over.
    pub fn lost(&mut self, id: ListenerId) {
        self.close(id);
        self.effects.push_back(Effect::Keep);
    }

    /// Close the sockets that are not wanted any more. `expected`: how many workers of an app are meant to be up.
    pub fn sweep(&mut self, now: Millis, expected: impl Fn(&str) -> usize) {
        let mut listening: BTreeMap<&str, usize> = BTreeMap::new();
        let mut held = BTreeSet::new();
        for worker in self.workers.values() {
            held.extend(worker.open.keys().copied());
            if !worker.withdrawn && !worker.listening.is_empty() {
                *listening.entry(&worker.group).or_default() += 1;
            }
        }
        let mut over = Vec::new();
        for (id, listener) in &mut self.listeners {
            if !listener.is_open() || held.contains(id) {
                listener.unclaimed_until = None;
                continue;
            }
            let wanted: usize = listener.groups.iter().map(|group| expected(group)).sum();
            let settled = listener
                .groups
                .iter()
                .all(|group| listening.get(group.as_str()).copied().unwrap_or(0) >= expected(group));
            if wanted == 0 {
                over.push(*id);
            } else if !settled {
                listener.unclaimed_until = None;
            } else if *listener.unclaimed_until.get_or_insert(now + UNCLAIMED) <= now {
                over.push(*id);
            }
        }
        if over.is_empty() {
            return;
        }
        for id in over {
            self.close(id);
        }
        self.effects.push_back(Effect::Keep);
    }
}

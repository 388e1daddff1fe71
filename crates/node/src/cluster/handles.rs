//! Descriptors on their way to workers: one at a time each, and what follows if one is not taken.

use super::effect::{Effect, Handle};
use super::worker::{HandleLine, Offer};
use super::{ConnId, Inherited, ListenerId, Millis, Primary, WorkerId, lines};
use crate::internal::Dialect;

/// `EMFILE`.
const EMFILE: i32 = 24;
/// How often a socket is sent to a worker that can't take it.
const MAX_TRIES: u32 = 8;
/// A key that no server has.
const NO_SERVER: &str = "pilothouse:none";

impl Primary {
    pub(super) fn send_waiting(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.fenced || worker.unacknowledged.is_some() {
            return;
        }
        let Some(next) = worker.waiting.pop_front() else {
            return;
        };
        self.effects.push_back(Effect::SendHandle {
            worker: id,
            line: next.line.clone(),
            handle: next.handle,
            offer: next.offer,
        });
        worker.unacknowledged = Some(next);
    }

    pub(super) fn acknowledged(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.unacknowledged = None;
            self.send_waiting(id);
        }
    }

    pub(super) fn not_arrived(&mut self, now: Millis, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some(mut line) = worker.unacknowledged.take() else {
            // What a former shell sent.
            if let Some(offer) = worker.offer.take().or_else(|| worker.doubt.take()) {
                worker.refused(now);
                self.give_back(offer);
            }
            return;
        };
        worker.refused(now);
        match line.query {
            None => {
                if let Some(offer) = worker.offer.take() {
                    self.give_back(offer);
                }
            }
            Some((query, listener)) => {
                line.refusals += 1;
                if line.refusals < MAX_TRIES {
                    // Sent again once it has cooled off.
                    worker.waiting.push_front(line);
                } else {
                    worker.open.remove(&listener);
                    let key = self.listeners.get_mut(&listener).map(|listener| {
                        listener.leave(id);
                        listener.key.clone()
                    });
                    self.answer_error(id, &key.unwrap_or_default(), query, EMFILE);
                    self.send_waiting(id);
                }
            }
        }
    }

    /// All that a former shell sent to this worker was read: it may get descriptors again.
    pub fn read_everything(&mut self, now: Millis, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.fenced = false;
            if let Some(offer) = worker.doubt
                && worker.dialect == Dialect::Node
            {
                self.ask_about(id, offer);
            }
            self.send_waiting(id);
            self.offer_all(now);
        }
    }

    /// Get an answer that comes after the one to a doubtful offer, if that comes at all: offer the connection for a server that the
    /// worker does not have. It refuses, and closes its duplicate without a look at it.
    fn ask_about(&mut self, id: WorkerId, offer: Offer) {
        let seq = self.next_seq();
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.waiting.push_back(HandleLine {
                line: lines::new_connection(worker.dialect, NO_SERVER, seq),
                handle: Handle::Connection(offer.conn),
                query: None,
                refusals: 0,
                offer: None,
            });
        }
    }

    /// A former shell had this connection in hand. Before anything that workers said since is told.
    pub fn inherit(&mut self, id: ListenerId, conn: ConnId, state: Inherited) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return self.effects.push_back(Effect::Drop(conn));
        };
        let (worker, seq, sure) = match state {
            Inherited::Waiting => return listener.returned.push_back(conn),
            Inherited::Offered { worker, seq } => (worker, seq, true),
            Inherited::Doubtful { worker, seq } => (worker, seq, false),
        };
        let Some(worker) = self.workers.get_mut(&worker) else {
            return listener.returned.push_back(conn);
        };
        let offer = Some(Offer {
            seq,
            conn,
            listener: id,
        });
        if sure {
            worker.offer = offer;
        } else {
            worker.doubt = offer;
        }
    }

    /// Workers that [`Primary::read_everything`] is awaited for.
    pub fn fenced(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.fenced)
            .map(|(id, _)| *id)
    }

    /// Whether some worker could be given a connection of this socket now.
    #[must_use]
    pub fn wants_connection(&self, now: Millis, id: ListenerId) -> bool {
        self.listeners.get(&id).is_some_and(|listener| {
            listener.returned.is_empty()
                && listener
                    .members
                    .iter()
                    .any(|member| self.workers.get(member).is_some_and(|worker| worker.is_free(now)))
        })
    }

    /// A connection was accepted.
    pub fn connection(&mut self, now: Millis, id: ListenerId, conn: ConnId) {
        match self.listeners.get_mut(&id) {
            Some(listener) => listener.returned.push_back(conn),
            None => self.effects.push_back(Effect::Drop(conn)),
        }
        self.offer(now, id);
    }

    pub(super) fn offer_all(&mut self, now: Millis) {
        let waiting: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, listener)| !listener.returned.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.offer(now, id);
        }
    }

    pub(super) fn offer(&mut self, now: Millis, id: ListenerId) {
        loop {
            let seq = self.next_seq();
            let Some(listener) = self.listeners.get_mut(&id) else {
                return;
            };
            if listener.returned.is_empty() {
                return;
            }
            let free = |member: &WorkerId| self.workers.get(member).is_some_and(|worker| worker.is_free(now));
            let Some(at) = listener.members.iter().position(free) else {
                return;
            };
            let (Some(member), Some(conn)) = (listener.members.remove(at), listener.returned.pop_front())
            else {
                return;
            };
            listener.members.push_back(member);
            let Some(worker) = self.workers.get_mut(&member) else {
                return;
            };
            let line = lines::new_connection(worker.dialect, &listener.key, seq);
            worker.offer = Some(Offer {
                seq,
                conn,
                listener: id,
            });
            worker.waiting.push_back(HandleLine {
                line,
                handle: Handle::Connection(conn),
                query: None,
                refusals: 0,
                offer: Some(seq),
            });
            self.send_waiting(member);
        }
    }

    pub(super) fn replied(&mut self, now: Millis, id: WorkerId, ack: u64, accepted: bool) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if let Some(doubt) = worker.doubt.filter(|doubt| doubt.seq <= ack) {
            worker.doubt = None;
            match (doubt.seq == ack, accepted) {
                (true, true) => self.effects.push_back(Effect::Drop(doubt.conn)),
                (true, false) => {
                    worker.refused(now);
                    self.give_back(doubt);
                }
                // An answer to something later: it never arrived.
                (false, _) => self.give_back(doubt),
            }
        }
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some(offer) = worker.offer.filter(|offer| offer.seq == ack) else {
            return;
        };
        worker.offer = None;
        if accepted {
            worker.took_one();
            self.effects.push_back(Effect::Drop(offer.conn));
        } else {
            // It is closing, or at its limit. Not at once again, or both would play ping-pong as fast as they can.
            worker.refused(now);
            self.give_back(offer);
        }
    }

    /// Somebody else's turn. It was the first in the queue, and is so again.
    pub(super) fn give_back(&mut self, offer: Offer) {
        match self.listeners.get_mut(&offer.listener) {
            Some(listener) => {
                listener.returned.push_front(offer.conn);
                self.effects.push_back(Effect::Returned(offer.conn));
            }
            None => self.effects.push_back(Effect::Drop(offer.conn)),
        }
    }
}

#[cfg(test)]
impl Primary {
    /// The number of the offer that a worker has not answered.
    pub(super) fn offer_of(&self, id: WorkerId) -> Option<u64> {
        self.workers.get(&id)?.offer.map(|offer| offer.seq)
    }

    /// Every connection that is in our hands.
    pub(super) fn connections(&self) -> Vec<u64> {
        let returned = self.listeners.values().flat_map(|listener| &listener.returned);
        let offered = self
            .workers
            .values()
            .flat_map(|worker| worker.offer.iter().chain(&worker.doubt))
            .map(|offer| &offer.conn);
        returned.chain(offered).map(|conn| conn.0).collect()
    }
}

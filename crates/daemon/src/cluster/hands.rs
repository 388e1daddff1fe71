//! Accepted connections that no worker has answered for: they outlive this process at any instruction (see [`os::custody`]).
//!
//! With each goes, in shared memory, the socket it came from and what was done with it. A new daemon gets them from the witness of
//! the former one, by a pair of message sockets that the keeper holds.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use node::cluster::{ConnId, Inherited, ListenerId, WorkerId};
use os::custody::{Custody, Held, Left};

use crate::event::Event;
use crate::owner::Daemon;
use crate::tree;

/// The name under which the keeper holds the pair, and the pidfd of the witness.
pub(super) const HEIRS: &str = "cluster/hands";
/// How long a witness may take, which needs some microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is noted, by its place.
const STATE: usize = 1;
const WORKER: usize = 2;
const SEQ: usize = 3;
/// No worker has it.
const WAITING: u64 = 0;
/// It is being sent.
const DOUBTFUL: u64 = 1;
/// It was sent.
const OFFERED: u64 = 2;

/// All connections in hand.
#[derive(Debug)]
pub(super) struct Hands {
    conns: BTreeMap<ConnId, Conn>,
    next: u64,
    custody: Option<Custody>,
    /// Both ends, for the keeper, as long as there is custody.
    heirs: Option<(OwnedFd, OwnedFd)>,
    /// It did not work once: told, and not tried again.
    unwitnessed: bool,
}

#[derive(Debug)]
struct Conn {
    fd: OwnedFd,
    held: Option<Held>,
}

impl Default for Hands {
    fn default() -> Self {
        Self {
            conns: BTreeMap::new(),
            next: 1,
            custody: None,
            heirs: None,
            unwitnessed: false,
        }
    }
}

impl Hands {
    /// Accept a connection of this socket.
    pub(super) fn accept(&mut self, socket: &OwnedFd, listener: ListenerId) -> io::Result<ConnId> {
        if let Some(custody) = &self.custody {
            custody.taking_from(socket, listener.0);
        }
        match os::listen::accept(socket) {
            Ok(fd) => Ok(self.take(fd, listener, [WAITING, 0, 0])),
            Err(error) => {
                if let Some(custody) = &self.custody {
                    custody.took_nothing();
                }
                Err(error)
            }
        }
    }

    fn take(&mut self, fd: OwnedFd, listener: ListenerId, [state, worker, seq]: [u64; 3]) -> ConnId {
        let conn = ConnId(self.next);
        self.next += 1;
        let held = self
            .custody
            .as_mut()
            .and_then(|custody| custody.hold(&fd, [listener.0, state, worker, seq]));
        self.conns.insert(conn, Conn { fd, held });
        conn
    }

    /// Its descriptor.
    pub(super) fn get(&self, conn: ConnId) -> Option<&OwnedFd> {
        self.conns.get(&conn).map(|conn| &conn.fd)
    }

    /// A worker has it, or nobody wants it: close ours.
    pub(super) fn let_go(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.remove(&conn)
            && let (Some(custody), Some(held)) = (&self.custody, conn.held)
        {
            custody.release(held);
        }
    }

    /// It is about to be sent to a worker.
    pub(super) fn offering(&self, conn: ConnId, worker: WorkerId, seq: u64) {
        self.note(conn, &[(WORKER, worker.0), (SEQ, seq), (STATE, DOUBTFUL)]);
    }

    /// It was sent.
    pub(super) fn offered(&self, conn: ConnId) {
        self.note(conn, &[(STATE, OFFERED)]);
    }

    /// It was not sent, or came back.
    pub(super) fn keep(&self, conn: ConnId) {
        self.note(conn, &[(STATE, WAITING)]);
    }

    fn note(&self, conn: ConnId, words: &[(usize, u64)]) {
        if let (Some(custody), Some(held)) = (&self.custody, self.conns.get(&conn).and_then(|conn| conn.held))
        {
            for (word, value) in words {
                custody.note(held, *word, *value);
            }
        }
    }
}

/// What became of a connection of a dead daemon, by what it had noted.
fn state_of(words: [u64; os::custody::WORDS]) -> (ListenerId, Inherited) {
    let [listener, state, worker, seq] = words;
    let worker = WorkerId(worker);
    let state = match state {
        DOUBTFUL => Inherited::Doubtful { worker, seq },
        OFFERED => Inherited::Offered { worker, seq },
        _ => Inherited::Waiting,
    };
    (ListenerId(listener), state)
}

impl Daemon {
    /// From the first socket on whose connections are accepted here.
    pub(super) fn be_witnessed(&mut self) {
        let hands = &self.cluster.hands;
        if hands.custody.is_some() || hands.unwitnessed {
            return;
        }
        if let Err(error) = os::socket::message_pair().and_then(|pair| self.begin_custody(pair)) {
            self.cluster.hands.unwitnessed = true;
            self.complain(&format!(
                "nobody can take over connections should this daemon be killed in the moment in which it accepts them: {error}"
            ));
        }
    }

    fn begin_custody(&mut self, (to, from): (OwnedFd, OwnedFd)) -> io::Result<()> {
        let custody = Custody::begin(os::fd::duplicate(&to)?)?;
        self.cluster.hands.custody = Some(custody);
        self.cluster.hands.heirs = Some((to, from));
        self.watch_witness();
        self.keep_heirs()
    }

    /// Be told when the witness ends. What goes wrong with that is made up for by a look now and then.
    fn watch_witness(&self) {
        let custody = self.cluster.hands.custody.as_ref();
        if let Some(witness) = custody.and_then(|custody| os::fd::duplicate(custody.witness()).ok()) {
            let events = self.events.clone();
            tokio::spawn(async move {
                if tree::wait_for_all(vec![witness]).await.is_ok() {
                    let _ = events.send(Event::WitnessEnded).await;
                }
            });
        }
    }

    /// Have the keeper hold what a new daemon looks into.
    pub(super) fn keep_heirs(&mut self) -> io::Result<()> {
        let hands = &self.cluster.hands;
        let (Some(custody), Some((to, from))) = (&hands.custody, &hands.heirs) else {
            return Ok(());
        };
        let fds = [to.as_fd(), from.as_fd(), custody.witness()];
        let copies: Vec<_> = fds
            .into_iter()
            .map(os::fd::duplicate)
            .collect::<io::Result<_>>()?;
        self.keeper.put_through(HEIRS, copies)
    }

    /// Somebody may have killed the witness: then there is another one at once.
    pub(crate) fn stay_witnessed(&mut self) {
        let renewed = self.cluster.hands.custody.as_mut().map(Custody::renew);
        let kept = match renewed {
            None | Some(Ok(false)) => return,
            Some(Ok(true)) => {
                self.watch_witness();
                self.keep_heirs()
            }
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = kept {
            self.complain(&format!("having this daemon witnessed again: {error}"));
        }
    }

    /// What the former daemon had accepted, and no worker has answered for. Before any socket is held.
    pub(super) fn take_from_dead_hands(
        &mut self,
        heirs: Option<Vec<OwnedFd>>,
    ) -> Vec<(ListenerId, ConnId, Inherited)> {
        let Some([to, from, witness]) = heirs.and_then(|fds| <[OwnedFd; 3]>::try_from(fds).ok()) else {
            return Vec::new();
        };
        let collected = os::fd::duplicate(&from);
        // First it is witnessed what becomes of them here.
        if let Err(error) = self.begin_custody((to, from)) {
            self.complain(&format!("having this daemon witnessed: {error}"));
        }
        let left = collected.and_then(|from| os::custody::collect(from, &witness, PATIENCE));
        let left = left.unwrap_or_else(|error| {
            self.complain(&format!(
                "taking over the connections that the former daemon had in hand: {error}"
            ));
            Vec::new()
        });
        let take = |Left { fd, words }| {
            let (listener, state) = state_of(words);
            let [_, noted @ ..] = words;
            (listener, self.cluster.hands.take(fd, listener, noted), state)
        };
        left.into_iter().map(take).collect()
    }
}

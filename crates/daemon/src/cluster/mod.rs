//! The shell around the cluster primary: carries out what it decides, accepts for it, and keeps its sockets with the keeper.
//!
//! All of it runs in the owner loop, because a message of a worker may leave its channel only after its effect is kept. A connection is
//! accepted only when a worker can take it at once: what waits, waits in the kernel, where the death of this process loses nothing.

mod accepting;
mod hands;
mod sockets;
mod spawning;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use node::cluster::{Effect, Handle, ListenerId, Primary, Snapshot, WorkerId, WorkerSpec};
use node::internal::Internal;
use supervisor::{Goal, Incarnation, Input, Mono, Phase, ProcId};

pub(crate) use self::accepting::Listening;
use self::hands::Hands;
pub(crate) use self::spawning::WorkerParts;
use crate::child_channel::ChildChannel;
use crate::clock;
use crate::journal::Level;
use crate::owner::Daemon;

/// The name under which the keeper holds the primary's state.
const STATE: &str = "cluster/state";
/// Before the number of a socket.
const SOCKET: &str = "cluster/socket/";
/// Largest state that is read back.
const MAX_STATE: usize = 32 * 1024 * 1024;
/// How long a worker that retires leaves idle connections alone.
const IDLE_MS: u32 = 500;
/// Between two looks whether a worker that was taken over has read what it was sent, and after a shortage of descriptors.
const PAUSE_MS: u64 = 50;

/// A message with a descriptor.
#[derive(Debug)]
struct Unsent {
    line: Vec<u8>,
    handle: Handle,
    offer: Option<u64>,
}

/// The cluster's half of the daemon's state.
#[derive(Debug)]
pub(crate) struct Cluster {
    primary: Primary,
    sockets: BTreeMap<ListenerId, Listening>,
    /// Accepted connections.
    hands: Hands,
    /// Messages with a descriptor for which a channel had no room.
    blocked: BTreeMap<WorkerId, Unsent>,
    /// The state differs from what the keeper holds.
    dirty: bool,
    /// Somebody has come or gone: sockets may be wanted no more.
    sweep: bool,
    /// Until then nothing is tried again.
    pause_until: Option<Mono>,
    /// Sockets that a former daemon made and did not live to note down.
    spares: BTreeMap<ListenerId, OwnedFd>,
}

impl Cluster {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            primary: Primary::new(first_seq()),
            sockets: BTreeMap::new(),
            hands: Hands::default(),
            blocked: BTreeMap::new(),
            dirty: false,
            sweep: false,
            pause_until: None,
            spares: BTreeMap::new(),
        }
    }
}

/// Higher than whatever a former daemon gave out, and exact in JavaScript.
fn first_seq() -> u64 {
    clock::mono().0.saturating_mul(1024)
}

fn worker_of(incarnation: Incarnation) -> WorkerId {
    WorkerId(incarnation.0)
}

fn life_of(worker: WorkerId) -> Incarnation {
    Incarnation(worker.0)
}

fn socket_name(listener: ListenerId) -> String {
    format!("{SOCKET}{}", listener.0)
}

/// Whether something in the keeper's store belongs to the cluster.
pub(crate) fn is_ours(name: &str) -> bool {
    name == STATE || name == hands::HEIRS || name.starts_with(SOCKET)
}

impl Daemon {
    /// Take over what a former daemon left. Its lives are connected already.
    pub(crate) fn carry_on_cluster(&mut self, stored: BTreeMap<String, Vec<OwnedFd>>) {
        let mut sockets = BTreeMap::new();
        let mut snapshot = None;
        let mut heirs = None;
        for (name, fds) in stored {
            if name == hands::HEIRS {
                heirs = Some(fds);
                continue;
            }
            let Some(fd) = fds.into_iter().next() else {
                continue;
            };
            if name == STATE {
                let read = os::memfd::read_all(&fd, MAX_STATE)
                    .map_err(|error| error.to_string())
                    .and_then(|bytes| Snapshot::read(&bytes).map_err(|error| error.to_string()));
                match read {
                    Ok(read) => snapshot = Some(read),
                    Err(error) => self.complain(&error),
                }
            } else if let Some(number) = name.strip_prefix(SOCKET).and_then(|number| number.parse().ok()) {
                sockets.insert(ListenerId(number), fd);
            }
        }
        let inherited = self.take_from_dead_hands(heirs);
        if let Some(snapshot) = snapshot {
            self.cluster.primary = Primary::restore(first_seq(), snapshot);
        }
        for listener in self.cluster.primary.listeners().collect::<Vec<_>>() {
            let held = sockets.remove(&listener).map(|fd| self.hold_socket(listener, fd));
            if !matches!(held, Some(Ok(()))) {
                self.complain("a socket of the cluster was lost with the former daemon");
                self.cluster.primary.lost(listener);
            }
        }
        self.cluster.spares = sockets;
        let now = clock::mono().0;
        for worker in self.cluster.primary.workers().collect::<Vec<_>>() {
            if !self.lives.contains_key(&life_of(worker)) {
                self.cluster.primary.gone(now, worker);
            }
        }
        let lives: Vec<_> = self
            .lives
            .iter()
            .map(|(incarnation, life)| (*incarnation, life.id))
            .collect();
        for (incarnation, id) in lives {
            self.enter_worker(id, incarnation);
        }
        for (listener, conn, state) in inherited {
            self.cluster.primary.inherit(listener, conn, state);
        }
        // What they said meanwhile comes first: it may acknowledge what the former daemon sent.
        for worker in self.cluster.primary.fenced().collect::<Vec<_>>() {
            self.read_channel(life_of(worker));
        }
        self.cluster.sweep = true;
        for worker in self.cluster.primary.workers().collect::<Vec<_>>() {
            self.tell_listening(worker);
        }
    }

    /// A life that is a worker is known from its start on.
    pub(crate) fn enter_worker(&mut self, id: ProcId, incarnation: Incarnation) {
        let Some(app) = self.apps.get(&id) else { return };
        if app.env.exec_mode() == pm2::env::ExecMode::Cluster {
            let spec = WorkerSpec {
                group: group_of(&app.env),
                policy: spawning::policy_of(&app.env),
            };
            self.cluster.primary.add(worker_of(incarnation), spec);
        }
    }

    /// A child said something that is Node's own.
    pub(crate) fn on_internal(&mut self, incarnation: Incarnation, message: Internal) {
        self.cluster
            .primary
            .on_message(clock::mono().0, worker_of(incarnation), message);
    }

    /// Nothing more can come from a life.
    pub(crate) fn worker_gone(&mut self, incarnation: Incarnation) {
        let worker = worker_of(incarnation);
        if self.cluster.primary.knows(worker) {
            self.say_disconnected(incarnation);
            self.cluster.blocked.remove(&worker);
            self.cluster.primary.gone(clock::mono().0, worker);
            self.cluster.sweep = true;
        }
    }

    /// PM2's line for the end of a worker's channel.
    fn say_disconnected(&mut self, incarnation: Incarnation) {
        let Some(id) = self.lives.get(&incarnation).map(|life| life.id) else {
            return;
        };
        if let Some(app) = self.apps.get(&id) {
            let text = format!("App name:{} id:{} disconnected", app.env.name(), id.0);
            self.say(Level::Log, &text);
        }
    }

    /// A life is about to be told to end: it gets no more connections.
    pub(crate) fn withdraw_worker(&mut self, incarnation: Incarnation) {
        self.cluster.primary.withdraw(worker_of(incarnation));
    }

    /// The process of a life that takes no part in the cluster.
    pub(crate) fn not_a_worker(&self, incarnation: Incarnation) -> Option<ProcId> {
        let life = self.lives.get(&incarnation)?;
        (!self.cluster.primary.knows(worker_of(incarnation))).then_some(life.id)
    }

    /// Ask a life to let go of its clients and to disconnect.
    pub(crate) fn disconnect_worker(&mut self, incarnation: Incarnation) {
        self.cluster.primary.disconnect(worker_of(incarnation), IDLE_MS);
    }

    /// Processes have come, gone, or changed their minds.
    pub(crate) fn cluster_has_changed(&mut self) {
        self.cluster.sweep = true;
    }

    /// When something is due.
    pub(crate) fn next_cluster_wake(&self) -> Option<Mono> {
        let cluster = &self.cluster;
        let tries = cluster.primary.fenced().next().is_some() || !cluster.blocked.is_empty();
        let retry = cluster
            .pause_until
            .or_else(|| tries.then(|| clock::mono().after(pause())));
        [cluster.primary.next_deadline().map(Mono), retry]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time has passed.
    pub(crate) fn on_cluster_time(&mut self, now: Mono) {
        if self.cluster.primary.next_deadline().is_some_and(|at| at <= now.0) {
            self.cluster.primary.handle_timeout(now.0);
            self.cluster.sweep = true;
        }
        if self.cluster.pause_until.is_some_and(|until| until <= now) {
            self.cluster.pause_until = None;
        }
        for worker in self.cluster.primary.fenced().collect::<Vec<_>>() {
            self.unfence(worker);
        }
        for worker in self.cluster.blocked.keys().copied().collect::<Vec<_>>() {
            self.send_blocked(life_of(worker));
        }
    }

    /// A worker that was taken over gets descriptors again once it has read all that the former daemon sent.
    fn unfence(&mut self, worker: WorkerId) {
        let channel = self
            .lives
            .get(&life_of(worker))
            .and_then(|life| life.channel.as_ref());
        if channel.is_none_or(ChildChannel::is_read) {
            self.cluster.primary.read_everything(clock::mono().0, worker);
        }
    }

    /// Carry out everything the primary wants. `false`: there was nothing to do.
    pub(crate) fn settle_cluster(&mut self) -> bool {
        let mut worked = false;
        loop {
            while let Some(effect) = self.cluster.primary.poll_effect() {
                worked = true;
                self.carry_out(effect);
            }
            if std::mem::take(&mut self.cluster.sweep) {
                self.sweep_sockets();
            } else if !self.accept_more() {
                break;
            }
        }
        self.keep_cluster();
        worked
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Keep => self.cluster.dirty = true,
            Effect::Bind { listener, bind } => {
                let result = self.make_socket(listener, &bind);
                self.cluster.primary.bound(listener, result);
            }
            Effect::Send { worker, line } => {
                self.keep_cluster();
                self.send_to_child(life_of(worker), &line);
            }
            Effect::SendHandle {
                worker,
                line,
                handle,
                offer,
            } => {
                self.keep_cluster();
                self.send_handle(worker, Unsent { line, handle, offer });
            }
            Effect::Drop(conn) => self.cluster.hands.let_go(conn),
            Effect::Returned(conn) => self.cluster.hands.keep(conn),
            Effect::Close(listener) => self.close_socket(listener),
            Effect::Booted(worker) => {
                let incarnation = life_of(worker);
                if let Some(id) = self.sup.owner_of(incarnation) {
                    self.handle(Input::Booted { id, incarnation });
                }
            }
            Effect::Listening(worker) => {
                self.keep_cluster();
                self.tell_listening(worker);
            }
        }
    }

    fn send_handle(&mut self, worker: WorkerId, unsent: Unsent) {
        let incarnation = life_of(worker);
        let hands = &self.cluster.hands;
        let (fd, offer) = match unsent.handle {
            Handle::Listener(listener) => {
                (self.cluster.sockets.get(&listener).map(|socket| &socket.fd), None)
            }
            Handle::Connection(conn) => (hands.get(conn), unsent.offer.map(|seq| (conn, seq))),
        };
        let channel = self
            .lives
            .get_mut(&incarnation)
            .and_then(|life| life.channel.as_mut());
        let (Some(fd), Some(channel)) = (fd, channel) else {
            return;
        };
        if let Some((conn, seq)) = offer {
            hands.offering(conn, worker, seq);
        }
        let sent = channel.send_handle(&unsent.line, fd);
        if let Some((conn, _)) = offer {
            match sent {
                Ok(true) => hands.offered(conn),
                Ok(false) => hands.keep(conn),
                Err(_) => {}
            }
        }
        // A channel that breaks is told by its end; what was offered goes to another worker then.
        if matches!(sent, Ok(false)) {
            self.cluster.blocked.insert(worker, unsent);
        }
    }

    /// A channel may have room again.
    pub(crate) fn send_blocked(&mut self, incarnation: Incarnation) {
        if let Some(unsent) = self.cluster.blocked.remove(&worker_of(incarnation)) {
            self.send_handle(worker_of(incarnation), unsent);
        }
    }

    /// The supervisor hears that a life listens, once it does so wherever the life does that it replaces.
    fn tell_listening(&mut self, worker: WorkerId) {
        let incarnation = life_of(worker);
        let Some(id) = self.lives.get(&incarnation).map(|life| life.id) else {
            return;
        };
        self.cluster.sweep = true;
        let former = self.sup.view(id).and_then(|view| view.former);
        let complete = match former.filter(|former| *former != incarnation) {
            Some(former) => self.cluster.primary.covers(worker, worker_of(former)),
            None => self.cluster.primary.is_listening(worker),
        };
        if complete {
            self.handle(Input::Listening { id, incarnation });
        }
    }

    /// Store the state, if it has changed.
    fn keep_cluster(&mut self) {
        if !std::mem::take(&mut self.cluster.dirty) {
            return;
        }
        let bytes = self.cluster.primary.snapshot().write();
        let stored =
            os::memfd::with_content("cluster", &bytes).and_then(|memfd| self.keeper.put(STATE, vec![memfd]));
        if let Err(error) = stored {
            self.complain(&format!("storing the state of the cluster: {error}"));
        }
    }

    fn sweep_sockets(&mut self) {
        if self.cluster.primary.listeners().next().is_none() && self.app_sockets.is_empty() {
            return;
        }
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut expected: BTreeMap<String, usize> = BTreeMap::new();
        for (id, app) in &self.apps {
            let up = match self.sup.restorable(*id).map(|kept| kept.phase) {
                Some(Phase::Launching(..) | Phase::Online(..) | Phase::Waiting(_)) => true,
                Some(Phase::Stopping(_, _, goal)) => goal == Goal::Restart,
                Some(Phase::Stopped | Phase::Errored(_)) | None => false,
            };
            if up {
                let group = group_of(&app.env);
                let keys = app.env.sockets().into_iter().map(|socket| socket.key());
                wanted.entry(group.clone()).or_default().extend(keys);
                *expected.entry(group).or_default() += 1;
            }
        }
        let expected = |group: &str| expected.get(group).copied().unwrap_or(0);
        self.cluster.primary.sweep(clock::mono().0, expected);
        if let Err(error) = self.app_sockets.sweep(&wanted, &mut self.keeper) {
            self.complain(&format!("closing the sockets of an app: {error}"));
        }
    }

    /// Everything of the cluster that a keeper holds, for a new one.
    pub(crate) fn hand_over_cluster(&mut self) -> Vec<String> {
        self.cluster.dirty = true;
        let mut troubles = self.app_sockets.hand_over(&mut self.keeper);
        for (listener, socket) in &self.cluster.sockets {
            let kept = os::fd::duplicate(&socket.fd)
                .and_then(|fd| self.keeper.put(&socket_name(*listener), vec![fd]));
            if let Err(error) = kept {
                troubles.push(format!("handing over a socket of the cluster: {error}"));
            }
        }
        if let Err(error) = self.keep_heirs() {
            troubles.push(format!("handing over what waits between two daemons: {error}"));
        }
        self.keep_cluster();
        troubles
    }
}

/// Processes that are instances of one app.
pub(crate) fn group_of(env: &pm2::env::Pm2Env) -> String {
    format!("{}/{}", env.namespace(), env.name())
}

fn pause() -> std::time::Duration {
    std::time::Duration::from_millis(PAUSE_MS)
}

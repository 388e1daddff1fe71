//! The one writer of a bucket: a task that feeds the pure [`Bucket`] from a bounded queue and acts on what comes out.
//!
//! It awaits nothing but its `select!`: what takes time (the store) runs beside it, one write after the other, so that
//! a late save can never bring a deleted server back.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::absence::{Departure, Life};
use super::bucket::{Bucket, Changes, Joining, Output, Settings};
use super::identity::{Decision, Newcomer};
use super::link::{ActionError, Command, Reverse};
use super::model::{AgentKind, LinkId, Millis, Resealed, ServerFacts, ServerId, ServerState};
use super::server::{Report, Server};
use super::stored::StoredServer;
use crate::clock::Clock;
use crate::ids::BucketId;
use crate::store::Catalog;
use crate::store::catalog::{AuditEntry, ServerRecord};

/// Numbers are told this often.
const SECOND: Duration = Duration::from_secs(1);
/// What is urgent waits this long for more of its kind.
const COALESCE: Duration = Duration::from_millis(5);
/// Largest state the store takes for one server.
const MAX_SNAPSHOT: usize = 1 << 20;
/// Servers saved in one go.
const SAVED_AT_ONCE: usize = 64;
/// Inputs taken in one go before the clock is looked at again.
const AT_ONCE: usize = 128;

/// What all watchers of a bucket are told. The text is ready but for the beginning, which names the watch.
#[derive(Clone, Debug)]
pub struct Told {
    /// Number of this state.
    pub rev: u64,
    /// `"rev":…,"at":…,"servers":[…],"gone":[…]}`.
    pub rest: Arc<str>,
}

/// A link that speaks for a server now.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) server: ServerId,
    pub(super) held_back: watch::Receiver<BTreeSet<u32>>,
}

/// How a link is admitted.
#[derive(Debug)]
pub(super) enum Admission {
    Joined(Joined),
    Wait,
    Hidden,
    NoPlace,
}

/// Everything a link must bring.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) link: LinkId,
    pub(super) kind: AgentKind,
    pub(super) newcomer: Newcomer,
    pub(super) name: String,
    pub(super) facts: Option<ServerFacts>,
    /// Where commands go. Closed by the owner when another link takes this one's place.
    pub(super) commands: mpsc::Sender<Command>,
    /// Whether the host takes commands by it.
    pub(super) reverse: Reverse,
    /// Which run of the agent it is.
    pub(super) life: Life,
}

type Question = Box<dyn FnOnce(&mut Bucket) + Send>;

/// The closed list of what an owner hears.
pub(super) enum Input {
    Arrive(Box<Arrival>, oneshot::Sender<Admission>),
    Report(ServerId, LinkId, Box<Report>, oneshot::Sender<()>),
    Alive(ServerId, LinkId),
    Hint(ServerId, u32, &'static str),
    Failed(ServerId, String),
    Detach(ServerId, LinkId, Departure),
    Breath(ServerId),
    /// Whether commands can be sent by it now.
    Reverse(ServerId, LinkId, bool),
    /// Samples of the past: from when to when, and how many.
    Filled(ServerId, Millis, Millis, usize),
    Command(ServerId, Command),
    Configure(Settings, oneshot::Sender<()>),
    Remove(ServerId, Removal, oneshot::Sender<bool>),
    Watch(oneshot::Sender<(u64, String, broadcast::Receiver<Told>)>),
    Ask(Question),
    Close(oneshot::Sender<()>),
}

/// How a server is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Forgotten: linking again makes a new server.
    Delete,
    /// Out of sight until linked anew.
    Hide,
}

enum Write {
    Save(StoredServer, Vec<Entrance>),
    Delete(ServerId, Option<oneshot::Sender<bool>>),
}

/// A link that is let in when its server is kept: what is acknowledged to it must be found again under the same server.
struct Entrance {
    link: LinkId,
    joined: Joined,
    reply: oneshot::Sender<Admission>,
}

/// How writes ended that somebody waits for: of which server, and whether it is kept.
type Written = Vec<(ServerId, bool, Vec<Entrance>)>;

pub(super) struct Actor {
    id: BucketId,
    clock: Clock,
    catalog: Arc<dyn Catalog>,
    bucket: Bucket,
    told: broadcast::Sender<Told>,
    ports: HashMap<LinkId, mpsc::Sender<Command>>,
    held_back: BTreeMap<ServerId, watch::Sender<BTreeSet<u32>>>,
    to_save: BTreeSet<ServerId>,
    /// Servers that the store does not know yet.
    unknown: BTreeSet<ServerId>,
    writes: VecDeque<Write>,
    urgent_at: Option<Instant>,
}

/// How the owner came to its end.
enum Ending {
    /// All handles are gone.
    Deserted,
    Asked(oneshot::Sender<()>),
}

impl Actor {
    pub(super) fn new(
        id: BucketId,
        clock: Clock,
        catalog: Arc<dyn Catalog>,
        told: broadcast::Sender<Told>,
    ) -> Self {
        Self {
            id,
            clock,
            catalog,
            bucket: Bucket::default(),
            told,
            ports: HashMap::new(),
            held_back: BTreeMap::new(),
            to_save: BTreeSet::new(),
            unknown: BTreeSet::new(),
            writes: VecDeque::new(),
            urgent_at: None,
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.load().await;
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(AT_ONCE);
        let mut writing: Option<BoxFuture<'static, Written>> = None;
        let ending = loop {
            if writing.is_none() {
                writing = self.next_write();
            }
            let urgent_at = self.urgent_at;
            tokio::select! {
                taken = inputs.recv_many(&mut batch, AT_ONCE) => {
                    if taken == 0 {
                        break Ending::Deserted;
                    }
                    let mut asked = None;
                    for input in batch.drain(..) {
                        if let Input::Close(reply) = input { asked = Some(reply) } else { self.handle(input) }
                    }
                    if let Some(reply) = asked {
                        break Ending::Asked(reply);
                    }
                }
                _ = ticks.tick() => {
                    self.bucket.tick(self.clock.now_ms());
                    self.flush(false);
                }
                () = async { tokio::time::sleep_until(urgent_at.unwrap_or_else(Instant::now)).await },
                    if urgent_at.is_some() => self.flush(true),
                written = async { match &mut writing { Some(write) => write.await, None => Written::new() } }, if writing.is_some() => {
                    writing = None;
                    self.let_in(written);
                }
            }
            self.act();
        };
        if let Some(write) = writing {
            write.await;
        }
        while let Some(write) = self.next_write() {
            write.await;
        }
        if let Ending::Asked(reply) = ending {
            let _ = reply.send(());
        }
    }

    async fn load(&mut self) {
        let settings = match self.catalog.bucket(self.id).await {
            Ok(Some(bucket)) => super::settings_of(&bucket),
            Ok(None) => Settings::default(),
            Err(error) => {
                tracing::error!(bucket = %self.id, %error, "cannot read the settings of a bucket; the defaults hold");
                Settings::default()
            }
        };
        let now = self.clock.now_ms();
        self.bucket.configure(now, settings);
        let records = self.catalog.servers(self.id).await.unwrap_or_else(|error| {
            tracing::error!(bucket = %self.id, %error, "cannot read the servers of a bucket; they show when they report");
            Vec::new()
        });
        let stored = records.into_iter().map(super::record::from_record).collect();
        for (server, error) in self.bucket.restore(now, stored) {
            tracing::warn!(bucket = %self.id, %server, %error, "the last known state of a server was left out");
        }
        self.act();
    }

    fn handle(&mut self, input: Input) {
        let now = self.clock.now_ms();
        match input {
            Input::Arrive(arrival, reply) => {
                if let Some((admission, reply)) = self.admit(now, *arrival, reply) {
                    let _ = reply.send(admission);
                }
            }
            Input::Report(server, link, report, reply) => {
                self.bucket.report(now, server, link, *report);
                self.act();
                let _ = reply.send(());
            }
            Input::Alive(server, link) => self.bucket.alive(now, server, link),
            Input::Hint(server, pm_id, status) => self.bucket.hint(server, pm_id, status),
            Input::Failed(server, why) => self.bucket.failed(now, server, &why),
            Input::Detach(server, link, departure) => {
                self.ports.remove(&link);
                self.bucket.detach(now, server, link, departure);
            }
            Input::Reverse(server, link, open) => self.bucket.set_reverse(now, server, link, open),
            Input::Breath(server) => self.bucket.breathes(now, server),
            Input::Filled(server, first, last, count) => self.bucket.filled(now, server, first, last, count),
            Input::Command(server, command) => self.send_command(server, command),
            Input::Configure(settings, reply) => {
                self.bucket.configure(now, settings);
                // Links must know what is held back before anybody is told that the rules hold.
                self.act();
                let _ = reply.send(());
            }
            Input::Remove(server, Removal::Delete, reply) => {
                self.end_links(server);
                self.forget(server, Some(reply));
            }
            Input::Remove(server, Removal::Hide, reply) => {
                self.end_links(server);
                let known = self.bucket.hide(now, server);
                let _ = reply.send(known);
            }
            Input::Watch(reply) => {
                self.flush(false);
                let (rev, servers) = self.bucket.snapshot(now);
                let rest = format!(
                    r#""rev":{rev},"at":{now},"servers":{servers},"plan":{}}}"#,
                    self.bucket.usage()
                );
                let _ = reply.send((rev, rest, self.told.subscribe()));
            }
            Input::Ask(question) => question(&mut self.bucket),
            Input::Close(_) => {}
        }
        if self.urgent_at.is_none() && self.bucket.is_urgent() {
            self.urgent_at = Some(Instant::now() + COALESCE);
        }
    }

    /// Whether a link is let in; nothing when that is told later.
    fn admit(
        &mut self,
        now: i64,
        arrival: Arrival,
        reply: oneshot::Sender<Admission>,
    ) -> Option<(Admission, oneshot::Sender<Admission>)> {
        let server = match self.bucket.identify(now, &arrival.newcomer) {
            Decision::Known(server) => server,
            Decision::Adopted(server, identity) => {
                tracing::info!(bucket = %self.id, %server, name = %arrival.name, "our agent took over from PM2's");
                self.bucket.adopt(server, arrival.kind, identity);
                server
            }
            Decision::New(identity) => {
                let server = ServerId::fresh(now);
                self.bucket.add(now, server, arrival.kind, identity);
                self.unknown.insert(server);
                tracing::info!(bucket = %self.id, %server, name = %arrival.name, "a new server was linked");
                server
            }
            Decision::Wait => return Some((Admission::Wait, reply)),
            Decision::Hidden(server) => {
                self.bucket.turned_away(now, server);
                return Some((Admission::Hidden, reply));
            }
            Decision::NoPlace => {
                let hostname = arrival.facts.as_ref().map_or("", |facts| &facts.hostname);
                self.bucket
                    .turned_back(now, &arrival.name, hostname, arrival.kind);
                return Some((Admission::NoPlace, reply));
            }
        };
        if arrival.kind == AgentKind::Pilothouse {
            // Our agent has one link; an older one is a remnant.
            self.end_links(server);
        }
        let link = arrival.link;
        self.ports.insert(link, arrival.commands);
        let joining = Joining {
            link,
            reverse: arrival.reverse,
            life: arrival.life,
        };
        self.bucket
            .attach(now, server, joining, &arrival.name, arrival.facts);
        self.act();
        let joined = Joined {
            server,
            held_back: self.held_back.entry(server).or_default().subscribe(),
        };
        if !self.unknown.contains(&server) {
            return Some((Admission::Joined(joined), reply));
        }
        let entrance = Entrance { link, joined, reply };
        self.to_save.remove(&server);
        match self.stored(server) {
            Some(stored) => self.writes.push_back(Write::Save(stored, vec![entrance])),
            None => self.let_in(vec![(server, false, vec![entrance])]),
        }
        None
    }

    /// Lets in who waited until their server was kept. If it could not be they are sent away, to try again.
    fn let_in(&mut self, written: Written) {
        for (server, kept, entrances) in written {
            if kept {
                self.unknown.remove(&server);
            }
            for Entrance { link, joined, reply } in entrances {
                let in_time = kept && reply.send(Admission::Joined(joined)).is_ok();
                if !in_time {
                    self.ports.remove(&link);
                    self.bucket
                        .detach(self.clock.now_ms(), server, link, Departure::Lost);
                }
            }
        }
    }

    fn send_command(&mut self, server: ServerId, command: Command) {
        let refusal = match self.bucket.server(server) {
            None => ActionError::NotLinked("unknown"),
            Some(known) => match known.command_link().and_then(|link| self.ports.get(&link)) {
                None => known.reachable().err().unwrap_or(ActionError::NoReverse),
                Some(port) => match port.try_send(command) {
                    Ok(()) => return,
                    Err(mpsc::error::TrySendError::Full(command)) => {
                        let _ = command.reply.send(Err(ActionError::Busy));
                        return;
                    }
                    Err(mpsc::error::TrySendError::Closed(command)) => {
                        let _ = command.reply.send(Err(ActionError::NotLinked("unlinking")));
                        return;
                    }
                },
            },
        };
        let _ = command.reply.send(Err(refusal));
    }

    /// Closes the commands of every link of a server, by which the links learn that they are over.
    fn end_links(&mut self, server: ServerId) {
        for link in self.bucket.server(server).map(Server::links).unwrap_or_default() {
            self.ports.remove(&link);
        }
    }

    fn forget(&mut self, server: ServerId, reply: Option<oneshot::Sender<bool>>) {
        if self.bucket.forget(server) {
            self.held_back.remove(&server);
            self.to_save.remove(&server);
            self.unknown.remove(&server);
            self.writes.push_back(Write::Delete(server, reply));
        } else if let Some(reply) = reply {
            let _ = reply.send(false);
        }
    }

    /// Does what the bucket decided.
    fn act(&mut self) {
        while let Some(output) = self.bucket.poll() {
            match output {
                Output::Save(server) => drop(self.to_save.insert(server)),
                Output::HeldBack(server, ids) => {
                    drop(self.held_back.entry(server).or_default().send_replace(ids));
                }
                Output::State(server, state) => {
                    tracing::info!(bucket = %self.id, %server, state = state.as_str(), "a server changed its state");
                    if state == ServerState::Offline && self.bucket.settings().delete_offline {
                        self.forget(server, None);
                    }
                }
                Output::Resealed(server, what) => self.note_reseal(server, what),
                Output::PlanChanged => {
                    tracing::info!(bucket = %self.id, usage = %self.bucket.usage(), "the plan covers other processes now");
                }
            }
        }
    }

    /// Writes down that a host sends another list, or has another key, than before.
    fn note_reseal(&self, server: ServerId, what: Resealed) {
        let Some((name, manifest)) = self
            .bucket
            .server(server)
            .and_then(|server| Some((server.name.clone(), server.facts.manifest.clone()?)))
        else {
            return;
        };
        let entry = AuditEntry {
            bucket: self.id,
            at_ms: self.clock.now_ms(),
            who: "agent".into(),
            what: match what {
                Resealed::List => "other list of fields",
                Resealed::Key => "other host key",
            }
            .into(),
            target: name,
            outcome: "ok".into(),
            detail: json!({ "server": server, "digest": manifest.digest, "key": manifest.key, "known": manifest.known }).to_string(),
        };
        tracing::warn!(bucket = %self.id, %server, what = entry.what, key = manifest.key, "what a host says that it sends has changed");
        let catalog = self.catalog.clone();
        tokio::spawn(async move {
            if let Err(error) = catalog.audit(entry).await {
                tracing::error!(%error, "an audit entry could not be stored");
            }
        });
    }

    fn flush(&mut self, only_urgent: bool) {
        self.urgent_at = None;
        if self.told.receiver_count() == 0 {
            self.bucket.unwatch();
        }
        let Some(Changes {
            rev,
            at,
            servers,
            gone,
        }) = self.bucket.flush(self.clock.now_ms(), only_urgent)
        else {
            return;
        };
        let servers = Value::Array(servers.into_iter().map(Value::Object).collect());
        let rest = format!(
            r#""rev":{rev},"at":{at},"servers":{servers},"gone":{}}}"#,
            json!(gone)
        );
        // Whoever left meanwhile is no error.
        let _ = self.told.send(Told {
            rev,
            rest: rest.into(),
        });
    }

    /// The server as it is to be kept.
    fn stored(&mut self, server: ServerId) -> Option<StoredServer> {
        let mut stored = self.bucket.stored(self.clock.now_ms(), server)?;
        if stored.snapshot.len() > MAX_SNAPSHOT {
            tracing::warn!(%server, bytes = stored.snapshot.len(), "a server's state is too large to keep over a restart");
            stored.snapshot.clear();
        }
        Some(stored)
    }

    /// The next writes to the store, as a future that does them: some servers together, which the store takes in one go, or
    /// one that is deleted, which nothing before or after may overtake.
    fn next_write(&mut self) -> Option<BoxFuture<'static, Written>> {
        let (catalog, bucket) = (self.catalog.clone(), self.id);
        let mut saves: Vec<(StoredServer, Vec<Entrance>)> = Vec::new();
        while saves.len() < SAVED_AT_ONCE {
            match self.writes.pop_front() {
                Some(Write::Save(stored, entrances)) => {
                    match saves.iter_mut().find(|(other, _)| other.id == stored.id) {
                        // The later one says it all.
                        Some(same) => {
                            same.0 = stored;
                            same.1.extend(entrances);
                        }
                        None => saves.push((stored, entrances)),
                    }
                }
                Some(delete) if !saves.is_empty() => {
                    self.writes.push_front(delete);
                    break;
                }
                Some(Write::Delete(server, reply)) => {
                    return Some(
                        async move {
                            let done = catalog.delete_server(bucket, server).await;
                            if let Err(error) = &done {
                                tracing::error!(%bucket, %server, %error, "cannot delete a server from the store");
                            }
                            if let Some(reply) = reply {
                                let _ = reply.send(true);
                            }
                            Written::new()
                        }
                        .boxed(),
                    );
                }
                None => {
                    let Some(server) = self.to_save.pop_first() else {
                        break;
                    };
                    if saves.iter().all(|(other, _)| other.id != server)
                        && let Some(stored) = self.stored(server)
                    {
                        saves.push((stored, Vec::new()));
                    }
                }
            }
        }
        if saves.is_empty() {
            return None;
        }
        let saves = saves.into_iter().map(move |(stored, entrances)| {
            let record: ServerRecord = super::record::to_record(bucket, stored);
            let (server, saving) = (record.id, catalog.clone());
            async move {
                let done = saving.upsert_server(record).await;
                if let Err(error) = &done {
                    tracing::error!(%bucket, %server, %error, "cannot keep the state of a server");
                }
                (server, done.is_ok(), entrances)
            }
        });
        Some(futures_util::future::join_all(saves).boxed())
    }
}

//! Handles to the live state: what everybody else in the hub holds.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::absence::{Departure, Life};
use super::actor::{Actor, Admission, Arrival, Input, Removal, Told};
use super::attempts::Attempts;
use super::bucket::{Bucket, Settings};
use super::event::HubEvent;
use super::identity::Newcomer;
use super::link::{ActionError, Command, Output, Request, Reverse, WAITING_COMMANDS};
use super::logs::LogTap;
use super::model::{AgentKind, LinkId, Millis, ServerFacts, ServerId};
use super::server::Report;
use crate::clock::Clock;
use crate::ids::BucketId;
use crate::store::Catalog;

/// Inputs that wait for a bucket's owner. When it is full, links wait: their sockets, not our memory, hold what comes.
const INPUTS: usize = 1024;
/// Changes kept for a watcher that is slow; one that is slower gets a fresh snapshot.
const TOLD: usize = 64;
/// Handshakes remembered; later ones tell less of their machines.
const MAX_INTRODUCTIONS: usize = 10_000;
/// Events kept for a listener that is slow.
const EVENTS: usize = 256;

/// The live state of every bucket. Clones are handles to the same one.
#[derive(Clone)]
pub struct Live(Arc<Parts>);

struct Parts {
    catalog: Arc<dyn Catalog>,
    clock: Clock,
    buckets: Mutex<HashMap<BucketId, BucketHandle>>,
    next_link: AtomicU64,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Nothing runs until a bucket is asked for. Needs a tokio runtime then.
    pub fn start(catalog: Arc<dyn Catalog>, clock: Clock) -> Self {
        let parts = Parts {
            catalog,
            clock,
            buckets: Mutex::default(),
            next_link: AtomicU64::new(1),
        };
        Self(Arc::new(parts))
    }

    /// The bucket with this id, which the caller knows to exist; its owner starts when first asked for.
    pub fn bucket(&self, id: BucketId) -> BucketHandle {
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = buckets.entry(id).or_insert_with(|| self.spawn(id));
        if handle.inputs.is_closed() {
            *handle = self.spawn(id);
        }
        handle.clone()
    }

    fn spawn(&self, id: BucketId) -> BucketHandle {
        let (inputs, queue) = mpsc::channel(INPUTS);
        let told = broadcast::Sender::new(TOLD);
        let actor = Actor::new(id, self.0.clock.clone(), self.0.catalog.clone(), told);
        tokio::spawn(actor.run(queue));
        BucketHandle {
            id,
            inputs,
            events: broadcast::Sender::new(EVENTS),
            taps: Arc::default(),
            introductions: Arc::default(),
            secret: watch::Sender::default(),
            attempts: Arc::default(),
        }
    }

    /// A bucket's settings changed, or the bucket is gone. When it resolves, that is in force for every link.
    pub async fn bucket_changed(&self, id: BucketId) {
        match self.0.catalog.bucket(id).await {
            Ok(Some(bucket)) => {
                let handle = self.bucket(id);
                handle.secret.send_replace(Some(bucket.secret_id.as_str().into()));
                // When it is closed there is nobody whom the rules concern.
                let _ = handle.configure(super::settings_of(&bucket)).await;
            }
            Ok(None) => {
                let gone = self
                    .0
                    .buckets
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
                if let Some(bucket) = gone {
                    bucket.close().await;
                }
            }
            Err(error) => {
                tracing::error!(bucket = %id, %error, "cannot read the new settings of a bucket; the old ones hold");
            }
        }
    }

    /// A number for a new connection of an agent.
    pub fn next_link(&self) -> LinkId {
        LinkId(self.0.next_link.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes what the store does not know yet and ends every owner.
    pub async fn close(&self) {
        let buckets: Vec<_> = {
            let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            buckets.drain().map(|(_, bucket)| bucket).collect()
        };
        for bucket in buckets {
            bucket.close().await;
        }
    }
}

/// The owner of the bucket is gone: the bucket was deleted, or the hub stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bucket is closed")]
pub struct Closed;

/// One bucket's live state.
#[derive(Clone)]
pub struct BucketHandle {
    id: BucketId,
    inputs: mpsc::Sender<Input>,
    events: broadcast::Sender<Arc<HubEvent>>,
    taps: Arc<Mutex<HashMap<ServerId, Arc<LogTap>>>>,
    introductions: Arc<Mutex<HashMap<(String, String), Hardware>>>,
    /// The secret that is good since it was changed; none before.
    secret: watch::Sender<Option<Arc<str>>>,
    attempts: Arc<Mutex<Attempts>>,
}

/// What PM2's agents tell of their machine at the handshake and never again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Logical processors.
    pub cpus: Option<u32>,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Memory in bytes.
    pub total_mem: Option<u64>,
}

impl std::fmt::Debug for BucketHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How a link was received.
#[derive(Debug)]
pub enum Received {
    /// It speaks for a server.
    Joined(Link),
    /// Not known yet for whom it speaks: try again with its next report.
    Wait,
    /// Its server is hidden until it is linked anew.
    Hidden,
    /// The bucket takes no further server: try again later.
    NoPlace,
}

/// What a link brings along.
#[derive(Debug)]
pub struct Caller {
    /// Number from [`Live::next_link`].
    pub link: LinkId,
    /// Which kind of agent.
    pub kind: AgentKind,
    /// For whom it speaks.
    pub newcomer: Newcomer,
    /// Name of the server.
    pub name: String,
    /// Facts, if told already.
    pub facts: Option<ServerFacts>,
    /// Where commands go (see [`BucketHandle::command_queue`]). The other end closes when another link takes over:
    /// keep no copy.
    pub commands: mpsc::Sender<Command>,
    /// Whether the host takes commands by it.
    pub reverse: Reverse,
    /// Which run of the agent it is, on which boot of its machine.
    pub life: Life,
}

impl BucketHandle {
    /// The bucket's id.
    pub fn id(&self) -> BucketId {
        self.id
    }

    /// A queue for the commands of one link.
    pub fn command_queue() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
        mpsc::channel(WAITING_COMMANDS)
    }

    /// A link asks to speak for a server.
    pub async fn receive(&self, caller: Caller) -> Result<Received, Closed> {
        let Caller {
            link,
            kind,
            newcomer,
            name,
            facts,
            commands,
            reverse,
            life,
        } = caller;
        let arrival = Box::new(Arrival {
            link,
            kind,
            newcomer,
            name,
            facts,
            commands,
            reverse,
            life,
        });
        let admission = self.call(|reply| Input::Arrive(arrival, reply)).await?;
        Ok(match admission {
            Admission::Wait => Received::Wait,
            Admission::Hidden => Received::Hidden,
            Admission::NoPlace => Received::NoPlace,
            Admission::Joined(joined) => Received::Joined(Link {
                bucket: self.clone(),
                server: joined.server,
                id: link,
                held_back: joined.held_back,
                tap: self.tap(joined.server),
                ended: false,
            }),
        })
    }

    /// Asks a server to do something, in the name of `by`. Resolves when it answered, refused, or after the patience that such a
    /// request has. What it says meanwhile goes to `output`.
    pub async fn command(
        &self,
        server: ServerId,
        request: Request,
        by: String,
        output: Option<Output>,
    ) -> Result<Value, ActionError> {
        let patience = request.patience();
        let (reply, answer) = oneshot::channel();
        let command = Command {
            request,
            reply,
            patience,
            by,
            output,
        };
        if self.inputs.send(Input::Command(server, command)).await.is_err() {
            return Err(ActionError::NotLinked("deleted"));
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ActionError::LinkLost),
            Err(_) => Err(ActionError::Timeout(patience.as_secs())),
        }
    }

    /// Asks the owner something. The closure runs on the owner's task: it must be quick.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Bucket) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        self.call(|reply| {
            Input::Ask(Box::new(move |bucket| {
                let _ = reply.send(question(bucket));
            }))
        })
        .await
    }

    /// Whether a PM2 agent that introduces itself so finds a place (see [`Bucket::may_open`]).
    pub async fn may_open(&self, now_ms: Millis, name: String, hostname: String) -> Result<bool, Closed> {
        self.call(|reply| {
            Input::Ask(Box::new(move |bucket| {
                let _ = reply.send(bucket.may_open(now_ms, &name, &hostname));
            }))
        })
        .await
    }

    /// An agent of ours was not let in (see [`Bucket::refused`]).
    pub async fn refused(
        &self,
        now_ms: Millis,
        machine: String,
        name: String,
        facts: ServerFacts,
        why: String,
    ) -> Result<(), Closed> {
        self.call(|reply| {
            Input::Ask(Box::new(move |bucket| {
                bucket.refused(now_ms, &machine, &name, facts, &why);
                let _ = reply.send(());
            }))
        })
        .await
    }

    /// Takes a server away; `false` when it is not there. Durable when it resolves, for [`Removal::Delete`].
    pub async fn remove(&self, server: ServerId, how: Removal) -> Result<bool, Closed> {
        let known = self.call(|reply| Input::Remove(server, how, reply)).await?;
        self.taps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&server);
        Ok(known)
    }

    /// Begins to follow the bucket: the whole state (`rev`, and the text after the watch's name), then its changes.
    pub async fn watch(&self) -> Result<(u64, String, broadcast::Receiver<Told>), Closed> {
        self.call(Input::Watch).await
    }

    /// Listens to what happens in the bucket.
    pub fn events(&self) -> broadcast::Receiver<Arc<HubEvent>> {
        self.events.subscribe()
    }

    /// Whether anybody listens: lets a publisher skip the making of an event.
    pub fn has_listeners(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Tells listeners; never waits. What is too large to be kept for the slow is not told.
    pub fn publish(&self, event: HubEvent) {
        if !event.is_small() {
            tracing::debug!(server = %event.server, channel = &*event.channel, "an event is too large to be told");
            return;
        }
        // Nobody there is no error.
        let _ = self.events.send(Arc::new(event));
    }

    /// Remembers what an agent told at its handshake, until its socket opens.
    pub fn introduce(&self, name: &str, hostname: &str, hardware: Hardware) {
        let mut known = self.introductions.lock().unwrap_or_else(PoisonError::into_inner);
        let who = (name.to_owned(), hostname.to_owned());
        if known.len() < MAX_INTRODUCTIONS || known.contains_key(&who) {
            known.insert(who, hardware);
        }
    }

    /// What was told at the handshake under this name on that host.
    pub fn introduced(&self, name: &str, hostname: &str) -> Hardware {
        let known = self.introductions.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(name.to_owned(), hostname.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Who tried to link lately. Held for a moment only: nothing may be awaited meanwhile.
    pub fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log lines of a server that exists.
    pub fn tap(&self, server: ServerId) -> Arc<LogTap> {
        self.taps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(server)
            .or_default()
            .clone()
    }

    /// The keys that somebody came in with, to hear when they are replaced.
    pub(crate) fn keys_of(&self, bucket: &crate::store::catalog::Bucket) -> KeysInUse {
        KeysInUse {
            secret: bucket.secret_id.as_str().into(),
            good: self.secret.subscribe(),
        }
    }

    /// Changes the rules without a look at the catalog. When it resolves, they hold for every link.
    pub async fn configure(&self, settings: Settings) -> Result<(), Closed> {
        self.call(|reply| Input::Configure(settings, reply)).await
    }

    async fn close(&self) {
        let _ = self.call(Input::Close).await;
    }

    async fn call<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(input(reply)).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// Keys with which a link came in.
pub(crate) struct KeysInUse {
    secret: Arc<str>,
    good: watch::Receiver<Option<Arc<str>>>,
}

impl KeysInUse {
    /// Resolves when they are good no longer, also if that was before it was asked. Cancel-safe.
    pub(crate) async fn replaced(&mut self) {
        let Self { secret, good } = self;
        let other = |now: &Option<Arc<str>>| now.as_ref().is_some_and(|now| now != secret);
        if good.wait_for(other).await.is_err() {
            // The bucket is closed: links hear of that otherwise.
            std::future::pending::<()>().await;
        }
    }
}

/// A link that speaks for a server. Dropped without [`Link::end`], it counts as broken.
#[derive(Debug)]
pub struct Link {
    bucket: BucketHandle,
    server: ServerId,
    id: LinkId,
    held_back: watch::Receiver<BTreeSet<u32>>,
    tap: Arc<LogTap>,
    ended: bool,
}

impl Link {
    /// The server it speaks for.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Its number.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// The server's log lines.
    pub fn tap(&self) -> &Arc<LogTap> {
        &self.tap
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketHandle {
        &self.bucket
    }

    /// Tells what the server looks like. When it resolves, [`Link::is_held_back`] knows what the plan says to it.
    pub async fn report(&self, report: Report) -> Result<(), Closed> {
        let (server, id) = (self.server, self.id);
        self.bucket
            .call(|reply| Input::Report(server, id, Box::new(report), reply))
            .await
    }

    /// Whether the plan holds this entry back: nothing of it is stored or passed on.
    pub fn is_held_back(&self, pm_id: u32) -> bool {
        self.held_back.borrow().contains(&pm_id)
    }

    /// Data came in that changes no state.
    pub async fn alive(&self) -> Result<(), Closed> {
        self.bucket
            .inputs
            .send(Input::Alive(self.server, self.id))
            .await
            .map_err(|_| Closed)
    }

    /// An event says how an entry is now; the next report corrects it.
    pub async fn hint(&self, pm_id: u32, status: &'static str) -> Result<(), Closed> {
        self.bucket
            .inputs
            .send(Input::Hint(self.server, pm_id, status))
            .await
            .map_err(|_| Closed)
    }

    /// Something went wrong with this link; shown with its server.
    pub async fn failed(&self, why: String) {
        let _ = self.bucket.inputs.send(Input::Failed(self.server, why)).await;
    }

    /// The connection by which its commands go came or went.
    pub async fn set_reverse(&self, open: bool) -> Result<(), Closed> {
        let told = Input::Reverse(self.server, self.id, open);
        self.bucket.inputs.send(told).await.map_err(|_| Closed)
    }

    /// The agent shows that it is there, and tells nothing.
    pub async fn breathes(&self) -> Result<(), Closed> {
        let breath = Input::Breath(self.server);
        self.bucket.inputs.send(breath).await.map_err(|_| Closed)
    }

    /// So many samples of the past came in, of the times from `first` to `last` by the hub's clock.
    pub async fn filled(&self, first: Millis, last: Millis, count: usize) -> Result<(), Closed> {
        let filled = Input::Filled(self.server, first, last, count);
        self.bucket.inputs.send(filled).await.map_err(|_| Closed)
    }

    /// The link ends.
    pub async fn end(mut self, departure: Departure) {
        self.ended = true;
        let _ = self
            .bucket
            .inputs
            .send(Input::Detach(self.server, self.id, departure))
            .await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (inputs, server, id) = (self.bucket.inputs.clone(), self.server, self.id);
        // A full queue must not lose the end of a link, and drop cannot wait.
        if let Err(mpsc::error::TrySendError::Full(input)) =
            inputs.try_send(Input::Detach(server, id, Departure::Lost))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let _ = inputs.send(input).await;
            });
        }
    }
}

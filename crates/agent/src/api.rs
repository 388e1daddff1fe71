//! What the daemon sees of the agent.

use crate::config::LinkSettings;
use crate::info::{LinkInfo, LinkStatus, Shared};
use crate::inspect::Sent;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use wire::action::{Action, ActionError};
use wire::telemetry::{Event, Exception, LogLine, Process};

/// What an agent needs to know to start.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The `$PM2_HOME` it reports; its own files are kept there.
    pub home: PathBuf,
    /// Where to link to, with which keys and name; from [`crate::config`].
    pub settings: LinkSettings,
    /// The version of PM2 that the process manager behaves as.
    pub pm2_version: String,
    /// The version of Node that apps run with; empty if there is none.
    pub node_version: String,
    /// Most bytes of reports kept on disk while the hub does not take them.
    pub spool_max_bytes: u64,
    /// Files with further authorities that a hub's certificate may come from, besides those of the system.
    pub authorities: Vec<PathBuf>,
}

impl AgentConfig {
    /// A configuration with the ordinary bounds.
    pub fn new(home: impl Into<PathBuf>, settings: LinkSettings) -> Self {
        Self {
            home: home.into(),
            settings,
            pm2_version: String::new(),
            node_version: String::new(),
            spool_max_bytes: 64 << 20,
            authorities: Vec::new(),
        }
    }
}

/// Why an agent could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another agent reports this home.
    #[error("another agent already reports {0}; stop it first")]
    AlreadyRunning(PathBuf),
    /// Its files cannot be kept.
    #[error("preparing the agent's file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The address of the hub makes no sense.
    #[error(transparent)]
    Address(#[from] crate::config::AddressError),
    /// Its thread cannot start.
    #[error("starting the agent's thread")]
    Thread(#[source] std::io::Error),
}

/// One process as the daemon sees it this second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessObservation {
    /// PM2's number of it.
    pub pm_id: u32,
    /// What there is to know of it.
    pub process: Process,
}

/// What the daemon tells the agent. Nothing of an unmonitored process may be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Every monitored process, once a second; the agent finds out what changed.
    Processes(Vec<ProcessObservation>),
    /// Something happened.
    Event(Event),
    /// An app reported an error or died of one.
    Exception(Exception),
    /// A line of output; only while [`Request::Logs`] is on.
    Log(LogLine),
}

/// Names one action request; never used twice in the life of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// An action that the hub asks for and the host's policy allows.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionCall {
    /// For [`Handle::reply`].
    pub id: RequestId,
    /// What to do.
    pub action: Action,
    /// Who asked, as the hub says.
    pub by: String,
    /// How long the answer is waited for.
    pub timeout: Duration,
}

/// What the agent asks of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Do something, then call [`Handle::reply`].
    Action(ActionCall),
    /// Send [`Observation::Processes`] once a second, or stop that.
    Sampling(bool),
    /// Send [`Observation::Log`], or stop that.
    Logs(bool),
}

/// The requests of an agent; ends with it.
#[derive(Debug)]
pub struct Requests(pub(crate) mpsc::Receiver<Request>);

impl Requests {
    /// The next request; `None` when the agent has ended. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Request> {
        self.0.recv().await
    }

    /// The next request, if one is there.
    pub fn try_recv(&mut self) -> Option<Request> {
        self.0.try_recv().ok()
    }
}

/// How an action ended: what it gave as JSON text (empty if nothing), or why it was not done.
pub type Reply = Result<String, ActionError>;

/// Why an agent is stopped; the hub is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user stopped or unlinked it.
    Stopped,
    /// The process manager ends.
    Shutdown,
    /// It starts again at once with other settings.
    Relink,
}

pub(crate) enum Control {
    Reply(RequestId, Reply),
    Progress(RequestId, String),
    Stop(StopReason),
}

/// The daemon's hold on a running agent. Cheap to clone; no method blocks.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) observations: mpsc::Sender<Observation>,
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: watch::Receiver<LinkStatus>,
}

impl Handle {
    /// Tells the agent something. What does not fit into its queue is dropped and counted.
    pub fn observe(&self, observation: Observation) {
        if self.observations.try_send(observation).is_err() {
            self.shared.observations_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answers an action request, once. An answer that comes too late is dropped.
    pub fn reply(&self, id: RequestId, reply: Reply) {
        // The queue has room for every action that can be pending; after the agent's end nobody waits.
        let _ = self.control.try_send(Control::Reply(id, reply));
    }

    /// Sends output of an action that still runs, JSON text.
    pub fn progress(&self, id: RequestId, data: String) {
        if self.control.try_send(Control::Progress(id, data)).is_err() {
            self.shared.observations_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What `link info` shows; the secret is masked.
    pub fn info(&self) -> LinkInfo {
        self.shared.info(self.status.borrow().clone())
    }

    /// What left this host after message number `after`, while somebody looks: each look keeps the recording on for 5 s.
    pub fn inspect(&self, after: u64) -> Vec<Sent> {
        self.shared.inspector.look(after)
    }

    /// Where the link stands.
    pub fn status(&self) -> LinkStatus {
        self.status.borrow().clone()
    }

    /// Waits until the hub has accepted or refused the link, or the agent has ended, and gives that. Bound it with a
    /// timeout: a hub that cannot be reached is tried for ever.
    pub async fn settled(&self) -> LinkStatus {
        let mut status = self.status.clone();
        let settled = status
            .wait_for(LinkStatus::is_settled)
            .await
            .map(|status| status.clone());
        settled.unwrap_or(LinkStatus::Stopped)
    }

    /// Asks the agent to say good-bye and end. What it holds is on disk then; see [`Handle::ended`].
    pub fn stop(&self, reason: StopReason) {
        let _ = self.control.try_send(Control::Stop(reason));
    }

    /// Waits until the agent's thread has finished.
    pub async fn ended(&self) {
        self.control.closed().await;
    }
}

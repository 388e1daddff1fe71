//! What people are told about the link.

use crate::config::mask;
use crate::inspect::Inspector;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where the link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkStatus {
    /// Not started yet.
    #[default]
    Idle,
    /// Opening a connection, or waiting for the hub's word on it.
    Connecting,
    /// The hub accepted; data flows.
    Linked,
    /// The last try failed; the next one comes by itself.
    Waiting {
        /// Why the last try failed.
        cause: String,
        /// Milliseconds until the next try, when this was said.
        retry_in_ms: u64,
    },
    /// The hub refused; asked again once a minute.
    Refused {
        /// What the hub said.
        reason: String,
    },
    /// The hub knows the keys but has no place for this server; asked again twice a minute.
    Pending {
        /// What the hub said.
        reason: String,
    },
    /// Ended.
    Stopped,
}

impl LinkStatus {
    /// Whether the hub has spoken, or never will.
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Linked | Self::Refused { .. } | Self::Pending { .. } | Self::Stopped
        )
    }

    /// Whether data flows.
    pub fn is_linked(&self) -> bool {
        *self == Self::Linked
    }
}

impl std::fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => f.write_str("not started"),
            Self::Connecting => f.write_str("connecting"),
            Self::Linked => f.write_str("linked"),
            Self::Waiting { cause, .. } => write!(f, "not connected, trying again: {cause}"),
            Self::Refused { reason } => write!(f, "refused by the hub: {reason}"),
            Self::Pending { reason } => write!(f, "waiting for a place: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// What `link info` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Name of this server.
    pub machine_name: String,
    /// Public key.
    pub public_key: String,
    /// Secret key, masked.
    pub secret_key: String,
    /// Where people look at this server; the hub's address until it tells.
    pub remote_host: String,
    /// Whether data flows.
    pub connected: bool,
    /// The way data takes: `websocket`, or `push` where none gets through.
    pub transporters: &'static str,
    /// `host:port` of each address that it connects to: of the hub, of its ports for data and commands if those are separate.
    pub places: Vec<String>,
    /// Why no commands can come in by the port for them, if ports are separate.
    pub commands_trouble: Option<String>,
    /// Whether the hub's commands can come in.
    pub commands: bool,
    /// Address of the link's socket.
    pub socket_path: String,
    /// The `$PM2_HOME` that is reported.
    pub pm2_home_monitored: PathBuf,
    /// Where the link stands.
    pub status: LinkStatus,
    /// Whether the hub may ask for actions.
    pub reverse: bool,
    /// Reports that wait for the hub, on disk.
    pub reports_waiting: u64,
    /// Reports dropped for want of room since the spool was made.
    pub reports_dropped: u64,
    /// Observations dropped because the agent was too slow.
    pub observations_lost: u64,
    /// Log lines dropped because the link was too slow.
    pub log_lines_lost: u64,
}

/// What agent thread and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) observations_lost: AtomicU64,
    pub(crate) log_lines_lost: AtomicU64,
    pub(crate) reports_waiting: AtomicU64,
    pub(crate) reports_dropped: AtomicU64,
    /// Keys as they were found to be in the right order, and the hub's web address.
    pub(crate) told: Mutex<Told>,
    pub(crate) machine_name: String,
    pub(crate) socket_path: String,
    pub(crate) home: PathBuf,
    pub(crate) reverse: bool,
    /// Whether data goes by a WebSocket.
    pub(crate) by_websocket: AtomicBool,
    /// Whether the hub's commands can come in at present.
    pub(crate) commands: AtomicBool,
    pub(crate) inspector: Inspector,
}

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) public_key: String,
    pub(crate) secret_key: String,
    pub(crate) remote_host: String,
    pub(crate) places: Vec<String>,
    pub(crate) commands_trouble: Option<String>,
}

impl Shared {
    /// Why no commands can come in by the port for them.
    pub(crate) fn commands_trouble(&self, why: Option<String>) {
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        told.commands_trouble = why;
    }

    pub(crate) fn info(&self, status: LinkStatus) -> LinkInfo {
        let told = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let commands = self.commands.load(Ordering::Relaxed);
        LinkInfo {
            machine_name: self.machine_name.clone(),
            public_key: told.public_key.clone(),
            secret_key: mask(&told.secret_key),
            remote_host: told.remote_host.clone(),
            connected: status.is_linked(),
            transporters: if self.by_websocket.load(Ordering::Relaxed) {
                "websocket"
            } else {
                "push"
            },
            places: told.places.clone(),
            commands_trouble: told.commands_trouble.clone(),
            commands: commands && status.is_linked(),
            socket_path: self.socket_path.clone(),
            pm2_home_monitored: self.home.clone(),
            status,
            reverse: self.reverse,
            reports_waiting: self.reports_waiting.load(Ordering::Relaxed),
            reports_dropped: self.reports_dropped.load(Ordering::Relaxed),
            observations_lost: self.observations_lost.load(Ordering::Relaxed),
            log_lines_lost: self.log_lines_lost.load(Ordering::Relaxed),
        }
    }
}

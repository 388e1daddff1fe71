//! What there is to know of one process.

use super::value::Metrics;
use crate::codec::{is_default, open_enum};
use crate::live::{track_whole, tracked};
use minicbor::{Decode, Encode};

open_enum! {
    /// Where in its life a process is; the names are PM2's.
    #[derive(Default)]
    pub enum ProcessStatus {
        /// Running.
        0 Online = "online",
        /// Started, not ready yet.
        1 Launching = "launching",
        /// Asked to end.
        2 Stopping = "stopping",
        /// Not running, on purpose.
        #[default]
        3 Stopped = "stopped",
        /// Not running, given up.
        4 Errored = "errored",
        /// Not running, to be started again after a delay.
        5 WaitingRestart = "waiting restart",
        /// Starts once and is not kept.
        6 OneLaunch = "one-launch-status",
    }
}

open_enum! {
    /// How instances of an app share their port; the names are PM2's.
    #[derive(Default)]
    pub enum ExecMode {
        /// Each for itself.
        #[default]
        0 Fork = "fork_mode",
        /// Node's cluster.
        1 Cluster = "cluster_mode",
    }
}

open_enum! {
    /// What sort of action an app offers.
    #[derive(Default)]
    pub enum ActionKind {
        /// Made by the app's author.
        #[default]
        0 Custom = "custom",
        /// Brought by the monitoring library (profiles, heap dumps).
        1 Internal = "internal",
        /// Streams output while it runs.
        2 Scoped = "scoped",
    }
}

/// An action that an app offers.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct AppAction {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its sort.
    #[cbor(n(1), skip_if = "is_default")]
    pub kind: ActionKind,
    /// Number of arguments of the handler; with 2 it takes a parameter.
    #[cbor(n(2), skip_if = "is_default")]
    pub arity: u32,
    /// What else the app said about it, JSON text; empty if nothing.
    #[cbor(n(3), skip_if = "is_default")]
    pub opts: String,
}

/// Which revision of its sources an app runs.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Versioning {
    /// Kind of repository, `git`; empty = none known.
    #[cbor(n(0), skip_if = "is_default")]
    pub kind: String,
    /// Address of the remote.
    #[cbor(n(1), skip_if = "is_default")]
    pub url: String,
    /// Commit.
    #[cbor(n(2), skip_if = "is_default")]
    pub revision: String,
    /// Its message.
    #[cbor(n(3), skip_if = "is_default")]
    pub comment: String,
    /// Branch.
    #[cbor(n(4), skip_if = "is_default")]
    pub branch: String,
    /// Name of the remote.
    #[cbor(n(5), skip_if = "is_default")]
    pub remote: String,
    /// Whether the work tree has changes.
    #[cbor(n(6), skip_if = "is_default")]
    pub unstaged: bool,
    /// Whether it is ahead of the remote.
    #[cbor(n(7), skip_if = "is_default")]
    pub ahead: bool,
    /// When it was read, milliseconds since the epoch.
    #[cbor(n(8), skip_if = "is_default")]
    pub updated_at: u64,
    /// Folder of the repository.
    #[cbor(n(9), skip_if = "is_default")]
    pub repo_path: String,
}

track_whole!(ProcessStatus, ExecMode, Versioning, Vec<AppAction>);

tracked! {
    /// What there is to know of one process. Its environment is not part of it and never travels.
    pub struct Process / ProcessChange {
        /// Name of the app.
        0 name: String;
        /// Namespace of the app.
        1 namespace: String;
        /// Process id; 0 when it does not run.
        2 pid: u32;
        /// Where in its life it is.
        3 status: ProcessStatus;
        /// How its instances share their port.
        4 exec_mode: ExecMode;
        /// Percent of one core; can pass 100.
        5 cpu: f64, with "crate::codec::number" / "crate::codec::optional_number";
        /// Resident memory in bytes.
        6 memory: u64;
        /// Restarts since it was created or reset.
        7 restarts: u32;
        /// Restarts that came too soon.
        8 unstable_restarts: u32;
        /// When it was last started.
        9 started_at: u64;
        /// When the entry was created or reset.
        10 created_at: u64;
        /// What runs the script: `node`, `python3`, a path, `none`.
        11 interpreter: String;
        /// Arguments of the interpreter.
        12 interpreter_args: Vec<String>, list "crate::codec::list::<_, _, 256>" / "crate::codec::optional_list::<_, _, 256>";
        /// Absolute path of the script.
        13 script: String;
        /// Version of Node, if it is a Node app.
        14 node_version: String;
        /// Version the app gives of itself.
        15 version: String;
        /// The `NODE_ENV` it was started with.
        16 node_env: String;
        /// Identity of the start; instances of one cluster start share it.
        17 unique_id: String;
        /// Revision of its sources.
        18 versioning: Versioning;
        /// Actions it offers.
        19 actions: Vec<AppAction>, list "crate::codec::list::<_, _, 512>" / "crate::codec::optional_list::<_, _, 512>";
        /// Figures it reports.
        20 metrics: Metrics;
        /// Whether it is a PM2 module.
        21 module: bool;
    }
}

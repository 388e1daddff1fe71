//! Everything that can happen to the owner loop.

use std::path::PathBuf;

use pm2::rpc::Call;
use supervisor::{Incarnation, ProcId};

use crate::outbox::Outbox;
use crate::rpc::{Door, Responder};
use crate::versions::AppVersion;
use crate::watch::WatchId;

/// Something happened. The tasks around the loop send these; nothing else reaches it but the keeper's socket, signals and time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client asks for something.
    Request {
        /// By which socket.
        door: Door,
        /// What.
        call: Call,
        /// Who asks, as the kernel knows it; 0 if it does not.
        peer_pid: u32,
        /// To answer it.
        responder: Responder,
    },
    /// A client of `rpc.sock` did not speak the protocol, or asked for too much at once.
    ClientCutOff {
        /// What was wrong with it.
        reason: String,
    },
    /// A client of the bus connected.
    BusJoined {
        /// Its number.
        number: u64,
        /// Its queue.
        outbox: Outbox,
    },
    /// A client of the bus left.
    BusLeft {
        /// Its number.
        number: u64,
    },
    /// The IPC channel of a child can be read, or written again.
    ChannelReady {
        /// Which life.
        incarnation: Incarnation,
    },
    /// Connections wait at a socket of cluster workers.
    Connections {
        /// Which socket.
        listener: node::cluster::ListenerId,
    },
    /// A client that had announced the end of the daemon has ended.
    KillerEnded,
    /// The witness has ended: somebody has killed it.
    WitnessEnded,
    /// The descendants that were signalled in this round have gone.
    TreeGone {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Which round.
        round: u32,
    },
    /// The last words of a life that crashed are not waited for any longer.
    LastWordsOver {
        /// Which life.
        incarnation: Incarnation,
    },
    /// The report of a crash was written.
    CrashWritten {
        /// What is in it.
        report: Box<logs::crashes::Report>,
        /// Its name, or why not.
        written: Result<String, String>,
    },
    /// The text of `module_conf.json`, which may have changed.
    ModuleConf(String),
    /// The agent that was in the way has ended: start the next one, and answer.
    FormerAgentEnded {
        /// Who asked, if anybody.
        responder: Option<Responder>,
    },
    /// The agent has ended, so the daemon may too.
    AgentSaidGoodBye,
    /// A verb of the command line that the hub asked for has ended; the agent that brought it is told already.
    ChoreEnded {
        /// Which one, for the log.
        what: String,
        /// `Err`: what was wrong.
        outcome: Result<(), String>,
    },
    /// The Node that runs a process has said its version.
    NodeVersion {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Without the letter before it.
        version: String,
    },
    /// A look at the health of a process is over.
    Probed {
        /// Which process.
        id: ProcId,
        /// Which life.
        incarnation: Incarnation,
        /// Which round.
        round: u32,
        /// `Err`: what was wrong.
        seen: Result<(), String>,
    },
    /// The versions of apps were looked up.
    Versions(Vec<AppVersion>),
    /// A file that is watched was changed.
    FileChanged {
        /// For whom.
        watch: WatchId,
        /// Which one (of several at once: one of them).
        path: PathBuf,
        /// When the latest change was made, ms since the epoch.
        changed_at_ms: i64,
    },
    /// What the repository of an app says.
    Versioning {
        /// Which process.
        id: ProcId,
        /// Which life asked.
        incarnation: Incarnation,
        /// The facts, if there is a repository.
        versioning: Option<serde_json::Value>,
    },
    /// A time of day that was asked for has come, or the clock was set.
    Alarm {
        /// It was set: all times are to be reckoned anew.
        clock_was_set: bool,
    },
    /// Some files can't be watched.
    WatchTrouble {
        /// For whom.
        watch: WatchId,
        /// Why, and what to do.
        text: String,
    },
}

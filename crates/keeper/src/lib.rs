//! Holds: the parent of all apps and the store of their descriptors.
//!
//! The keeper forks and execs apps, reaps them, keeps a duplicate of every descriptor whose loss would hurt, starts the
//! daemon and starts it again when it dies, with everything handed back. It never decides anything about an app, never
//! signals one, never reads what an app or a user wrote, has no threads, no runtime and no growing memory: it is too small
//! to fail, and that is its whole worth.
//!
//! [`run`] is the process itself; [`client`] is how the daemon talks to it; [`protocol`] is what they say.
//!
//! If the keeper is killed all the same, the daemon sees the end of the connection, starts another with
//! [`client::Keeper::respawn`] and hands its descriptors over ([`protocol::Request::Adopt`], [`protocol::Request::Put`]).

pub mod client;
mod codec;
pub mod protocol;
mod restarts;
mod server;
mod state;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;

/// Environment variable that names the descriptor on which the daemon finds its keeper.
pub const KEEPER_FD: &str = "PILOTHOUSE_KEEPER_FD";
/// Environment variable that names the pipe on which the first daemon tells its starter that it is ready.
pub const READY_FD: &str = "PILOTHOUSE_READY_FD";
/// Set for a keeper that is started by a living daemon: the connection to it.
pub(crate) const DAEMON_FD: &str = "PILOTHOUSE_DAEMON_FD";
/// Set along with [`DAEMON_FD`]: that daemon's process id.
pub(crate) const DAEMON_PID: &str = "PILOTHOUSE_DAEMON_PID";
/// Set when the keeper replaces its own program: its tables.
pub(crate) const STATE_FD: &str = "PILOTHOUSE_KEEPER_STATE_FD";

/// Whether an environment variable is between keeper, daemon and starter only: not to be handed to apps.
#[must_use]
pub fn is_internal_variable(name: &std::ffi::OsStr) -> bool {
    [KEEPER_FD, READY_FD, DAEMON_FD, DAEMON_PID, STATE_FD]
        .iter()
        .any(|own| name == *own)
}

/// This process's environment without those variables, as `NAME=value`.
pub(crate) fn environment() -> Vec<OsString> {
    std::env::vars_os()
        .filter(|(name, _)| !is_internal_variable(name))
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            entry
        })
        .collect()
}

/// How a keeper runs.
#[derive(Debug, Clone)]
pub struct KeeperOptions {
    /// `$PM2_HOME`, which exists. The lock is `keeper.lock` in it.
    pub home: PathBuf,
    /// The daemon's program.
    pub daemon_exe: PathBuf,
    /// All its arguments, the zeroth included (make that one long, if the daemon wants to set a long title).
    pub daemon_argv: Vec<OsString>,
    /// Shown as this process's command line; empty leaves it alone.
    pub title: String,
}

/// Why a keeper ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The daemon asked for it.
    Shutdown,
    /// Another keeper holds this home; nothing was done.
    AlreadyRunning,
}

/// Why a keeper could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The lock file could not be opened.
    #[error("locking {path}: {source}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Signals, `/dev/null` or `/proc` could not be set up.
    #[error("preparing the keeper: {0}")]
    Prepare(std::io::Error),
    /// The tables of the program before could not be taken up.
    #[error("taking up the state of the keeper before: {0}")]
    State(String),
    /// No app runs and the daemon dies at each start.
    #[error(
        "the daemon ended {deaths} times right after its start and no app runs: giving up, see the log for its reason"
    )]
    DaemonKeepsDying {
        /// How often.
        deaths: u32,
    },
    /// Waiting for events failed.
    #[error("waiting for events: {0}")]
    Wait(std::io::Error),
}

/// Is the keeper of `options.home` until the daemon asks for the end. Call it from `main` before any thread exists, in a
/// process of its own; standard error is where its rare messages go. [`READY_FD`] in the environment is passed on to the
/// first daemon.
///
/// # Errors
/// See [`KeeperError`]; all but the last two come before anything was started.
pub fn run(options: KeeperOptions) -> Result<Ended, KeeperError> {
    server::run(options)
}

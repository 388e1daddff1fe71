//! How one process wants to be treated.

use std::time::Duration;

use crate::HealthRules;

/// Rules of one process. The defaults are PM2's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `false`: the process is entered as stopped and waits for a start.
    pub autostart: bool,
    /// `false`: an exit leads to `stopped`.
    pub autorestart: bool,
    /// This many unstable exits in a row lead to `errored`.
    pub max_restarts: u32,
    /// A life shorter than this is unstable.
    pub min_uptime: Duration,
    /// Fixed wait before an automatic restart; `None` restarts at once.
    pub restart_delay: Option<Duration>,
    /// First wait of the exponential backoff (each next one is half as long again, at most 15 s). Wins over `restart_delay`.
    pub exp_backoff: Option<Duration>,
    /// A life longer than this starts the backoff anew.
    pub backoff_reset: Duration,
    /// Wait between the stop signal and SIGKILL, and once more between SIGKILL and giving up.
    pub kill_timeout: Duration,
    /// Exit codes that mean "done": `stopped`, no restart. Death by a signal counts as code 0.
    pub stop_exit_codes: Vec<i32>,
    /// Resident bytes above which the process is restarted.
    pub max_memory: Option<u64>,
    /// `online` only after the process said so (or `listen_timeout`).
    pub wait_ready: bool,
    /// How long to wait for that word.
    pub listen_timeout: Duration,
    /// Signal the whole tree of descendants, not the process alone.
    pub treekill: bool,
    /// Number of the stop signal (SIGINT is 2).
    pub kill_signal: i32,
    /// Ask by the message `shutdown` on the IPC channel instead of a signal.
    pub shutdown_with_message: bool,
    /// It tells when its runtime has started: `online` from then on (or from `listen_timeout` on).
    pub tells_boot: bool,
    /// Two lives can serve side by side, so a reload starts the new one before it ends the old one.
    pub overlap: bool,
    /// How long a soft reload lets the old life finish what it has begun; a plain reload lets it for `kill_timeout`.
    pub graceful_timeout: Duration,
    /// How its health is checked, if it is.
    pub health: Option<HealthRules>,
}

impl Policy {
    /// The longest wait that the exponential backoff reaches.
    pub const BACKOFF_CEILING: Duration = Duration::from_secs(15);
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            autostart: true,
            autorestart: true,
            max_restarts: 16,
            min_uptime: Duration::from_secs(1),
            restart_delay: None,
            exp_backoff: None,
            backoff_reset: Duration::from_secs(30),
            kill_timeout: Duration::from_millis(1600),
            stop_exit_codes: Vec::new(),
            max_memory: None,
            wait_ready: false,
            listen_timeout: Duration::from_secs(3),
            treekill: true,
            kill_signal: 2,
            shutdown_with_message: false,
            tells_boot: false,
            overlap: false,
            graceful_timeout: Duration::from_secs(8),
            health: None,
        }
    }
}

//! What can be asked of a server through its link, whichever agent is at the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for one link; more are refused at once.
pub const WAITING_COMMANDS: usize = 64;
/// Pieces of output that wait for whoever follows an action; more are dropped and counted.
const WAITING_OUTPUT: usize = 256;
/// How long an action may take before its asker is told that there is no answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for what fetches from elsewhere, or tells of itself while it runs.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Which processes an action is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One entry.
    Entry {
        /// Its number.
        pm_id: u32,
        /// Its app.
        app: String,
    },
    /// Every instance of an app.
    App(String),
}

impl Target {
    /// Name of the app.
    pub fn app(&self) -> &str {
        match self {
            Self::Entry { app, .. } | Self::App(app) => app,
        }
    }

    /// The number, when one entry is meant.
    pub fn pm_id(&self) -> Option<u32> {
        match self {
            Self::Entry { pm_id, .. } => Some(*pm_id),
            Self::App(_) => None,
        }
    }
}

/// What the process manager does to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stop and start again.
    Restart,
    /// Replace without a gap where the app allows it.
    Reload,
    /// Stop, keep the entry.
    Stop,
    /// Start a stopped entry.
    Start,
    /// Stop and remove the entry.
    Delete,
    /// Set the restart counter to zero.
    Reset,
    /// Ask whether it is there.
    Ping,
    /// Bring the sources to the newest revision, and reload.
    Pull,
    /// One revision back, and reload.
    Backward,
    /// One revision on, and reload.
    Forward,
    /// Show to the hub again what was hidden.
    Monitor,
    /// Hide from the hub; it runs on.
    Unmonitor,
}

impl Verb {
    /// Reads the word of the API.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "restart" => Self::Restart,
            "reload" => Self::Reload,
            "stop" => Self::Stop,
            "start" => Self::Start,
            "delete" => Self::Delete,
            "reset" => Self::Reset,
            "ping" => Self::Ping,
            "pull" => Self::Pull,
            "backward" => Self::Backward,
            "forward" => Self::Forward,
            "monitor" => Self::Monitor,
            "unmonitor" => Self::Unmonitor,
            _ => return None,
        })
    }

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Delete => "delete",
            Self::Reset => "reset",
            Self::Ping => "ping",
            Self::Pull => "pull",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Monitor => "monitor",
            Self::Unmonitor => "unmonitor",
        }
    }
}

/// How many instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleTo {
    /// Exactly so many.
    Exactly(u32),
    /// So many more, or fewer.
    By(i32),
}

impl ScaleTo {
    /// Reads `4`, `+2`, `-1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with(['+', '-']) {
            text.parse().ok().map(Self::By)
        } else {
            text.parse().ok().map(Self::Exactly)
        }
    }
}

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The process manager does something to processes.
    Manage {
        /// What.
        verb: Verb,
        /// To which.
        target: Target,
    },
    /// Changes the number of instances.
    Scale {
        /// Of this app.
        app: String,
        /// To how many.
        to: ScaleTo,
    },
    /// An action that the app offers.
    Custom {
        /// Its name.
        name: String,
        /// In which processes.
        target: Target,
        /// Its parameter.
        param: Option<Value>,
        /// Asks for a stream of output under this id.
        scope: Option<String>,
    },
    /// A module comes or goes.
    Module {
        /// Comes; else goes.
        install: bool,
        /// Its name, checked.
        name: String,
    },
}

impl Request {
    /// Its name in audit trail, logs and answers.
    pub fn name(&self) -> &str {
        match self {
            Self::Manage { verb, .. } => verb.as_str(),
            Self::Scale { .. } => "scale",
            Self::Custom { name, .. } => name,
            Self::Module { install: true, .. } => "install",
            Self::Module { install: false, .. } => "uninstall",
        }
    }

    /// Whether it is about processes that the hub does not see.
    pub fn is_for_the_hidden(&self) -> bool {
        matches!(
            self,
            Self::Manage {
                verb: Verb::Monitor,
                ..
            }
        )
    }

    /// How long its asker waits.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Module { .. }
            | Self::Custom { scope: Some(_), .. }
            | Self::Manage {
                verb: Verb::Pull | Verb::Backward | Verb::Forward,
                ..
            } => LONG_PATIENCE,
            _ => PATIENCE,
        }
    }

    /// The app it is for, if it is for one.
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::Manage { target, .. } | Self::Custom { target, .. } => Some(target.app()),
            Self::Scale { app, .. } => Some(app),
            Self::Module { .. } => None,
        }
    }

    /// The entry it is for, if it is for one.
    pub fn pm_id(&self) -> Option<u32> {
        match self {
            Self::Manage { target, .. } | Self::Custom { target, .. } => target.pm_id(),
            Self::Scale { .. } | Self::Module { .. } => None,
        }
    }
}

/// Whether commands can be sent by a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reverse {
    /// They can.
    Open,
    /// Not yet, or not any more: they need a connection of their own, which its agent opens.
    Awaited,
    /// They cannot, or the host does not want them.
    Closed,
}

/// Why an action came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The server is not there.
    #[error("the server is {0}: it cannot be told anything")]
    NotLinked(&'static str),
    /// Data comes in, but commands cannot go out.
    #[error("Reverse connection not established")]
    NoReverse,
    /// Too much was asked of this server at once.
    #[error("too many actions wait for this server")]
    Busy,
    /// The agent of that server cannot do it.
    #[error("the agent of this server cannot {0}")]
    Unsupported(String),
    /// The agent, its policy, or the app said no.
    #[error("{0}")]
    Refused(String),
    /// No answer in time; it may still happen.
    #[error("no answer within {0} s; it may still be carried out")]
    Timeout(u64),
    /// The link ended before the answer.
    #[error("the link ended before the answer; it may have been carried out")]
    LinkLost,
}

/// An action on its way to an agent.
#[derive(Debug)]
pub struct Command {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Value, ActionError>>,
    /// How long its sender waits.
    pub patience: Duration,
    /// Who asks, for the audit of the host.
    pub by: String,
    /// Where what is said meanwhile goes, if somebody follows it.
    pub output: Option<Output>,
}

/// Where an action tells what it says while it runs. Never waits: a follower that is slow loses pieces, and is told how many.
#[derive(Clone, Debug)]
pub struct Output {
    pieces: mpsc::Sender<Value>,
    lost: Arc<AtomicU64>,
}

impl Output {
    /// One, and its other end; with the count of pieces that were lost.
    pub fn channel() -> (Self, mpsc::Receiver<Value>, Arc<AtomicU64>) {
        let (pieces, heard) = mpsc::channel(WAITING_OUTPUT);
        let lost = Arc::<AtomicU64>::default();
        (
            Self {
                pieces,
                lost: lost.clone(),
            },
            heard,
            lost,
        )
    }

    /// Tells a piece.
    pub fn give(&self, piece: Value) {
        if self.pieces.try_send(piece).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_reads_what_people_write() {
        assert_eq!(ScaleTo::parse("4"), Some(ScaleTo::Exactly(4)));
        assert_eq!(ScaleTo::parse("+2"), Some(ScaleTo::By(2)));
        assert_eq!(ScaleTo::parse("-1"), Some(ScaleTo::By(-1)));
        for bad in ["", "x", "+", "1.5"] {
            assert_eq!(ScaleTo::parse(bad), None, "{bad}");
        }
    }
}

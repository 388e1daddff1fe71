//! How a link fares, step by step: what `link doctor` tells. [`look`] goes the way to the hub as the agent does and writes down
//! what it met; [`judge`] says what that means, and the mend for it, without looking at anything.

mod judge;

pub use crate::run::look::look;
pub use judge::judge;

use crate::config::LinkSettings;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use wire::MachineId;

/// Whose link is looked at.
#[derive(Clone, Debug)]
pub struct Patient {
    /// Where it goes, with which keys and name.
    pub settings: LinkSettings,
    /// Identity of this server, if it has one yet.
    pub machine: Option<MachineId>,
    /// The version of PM2 that the process manager behaves as.
    pub pm2_version: String,
    /// The version of Node that apps run with; empty if there is none.
    pub node_version: String,
    /// Homes of this host that are linked to the same bucket under the same name.
    pub neighbours: Vec<PathBuf>,
    /// Files with further authorities that a hub's certificate may come from.
    pub authorities: Vec<PathBuf>,
}

/// A step of the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Step<T, E = String> {
    /// A step before it failed, or there is none of this kind.
    #[default]
    NotReached,
    /// It failed; the cause, for people.
    Failed(E),
    /// It was taken.
    Done(T),
}

/// What was met on the way to the hub.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Name of this server.
    pub name: String,
    /// Address of the hub.
    pub root: String,
    /// Its host and port.
    pub host_port: String,
    /// Whether it is spoken to by TLS.
    pub is_secure: bool,
    /// The proxy in between, without its password.
    pub proxy: Option<String>,
    /// Whether that is given a user.
    pub proxy_login: bool,
    /// Version of the PM2 that is reported.
    pub pm2_version: String,
    /// Version of the Node that is reported; empty if there is none.
    pub node_version: String,
    /// Homes of this host that are linked to the same bucket under the same name.
    pub neighbours: Vec<PathBuf>,
    /// What was looked up: the host of the proxy, or else of the hub.
    pub looked_up: String,
    /// The addresses of that host.
    pub names: Step<Vec<SocketAddr>>,
    /// Each address that was tried, with what came of it; none if the step was not reached.
    pub ports: Vec<(SocketAddr, Result<(), String>)>,
    /// The way through the proxy.
    pub tunnel: Step<()>,
    /// TLS with the hub.
    pub tls: Step<(), TlsTrouble>,
    /// What answers when it is asked as a hub.
    pub answer: Step<Answer>,
    /// How far the clock of this host is ahead of the other end's, ms; negative when it is behind.
    pub clock_ahead_ms: Option<i64>,
    /// The WebSocket.
    pub upgrade: Step<()>,
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTrouble {
    /// Which of those that have a mend of their own.
    pub kind: TlsFault,
    /// The cause, for people.
    pub cause: String,
}

/// Kinds of [`TlsTrouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate is of an authority that this host does not know.
    Authority,
    /// It is for another name.
    Name,
    /// It has expired or is not valid yet.
    Time,
    /// Anything else: most often, no TLS is spoken there.
    Other,
}

/// What answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A hub that knows the keys.
    Hub(HubSays),
    /// A hub that does not take them: status and words.
    Refused(u16, String),
    /// Something else: its status.
    Stranger(u16),
}

/// What a hub says about a link that is not made yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HubSays {
    /// Its version.
    pub hub: String,
    /// The protocol it speaks.
    pub protocol: u32,
    /// Its clock, milliseconds since the epoch.
    pub now: i64,
    /// The keys were given the wrong way round.
    pub swapped: bool,
    /// Why this pair of PM2 and Node is refused.
    pub too_old: Option<String>,
    /// How this server would fare, or fares, in its bucket.
    pub prospect: Option<Prospect>,
}

/// Part of [`HubSays`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Prospect {
    /// It is a server of the bucket.
    pub linked: bool,
    /// It was deleted there, and hides until it is linked anew.
    pub hidden: bool,
    /// There is no place for it.
    pub full: bool,
    /// How many of its processes the plan holds back.
    pub held_back: u64,
    /// What last went wrong with it, by the hub's knowledge.
    pub failure: Option<Failure>,
    /// Who else is linked under its name.
    pub twins: Vec<Twin>,
    /// The bucket's use of its plan.
    pub usage: Usage,
}

/// Part of [`Prospect`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// When, milliseconds since the epoch by the hub's clock.
    pub at: i64,
    /// What, for people.
    pub text: String,
}

/// Another server of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Twin {
    /// Its host.
    pub hostname: String,
    /// The user its agent runs as.
    pub username: Option<String>,
}

/// Part of [`Prospect`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processes that the plan allows.
    pub limit: Option<u64>,
    /// Processes that count.
    pub used: u64,
    /// Servers that the bucket has.
    pub servers: u64,
    /// Servers that it takes.
    pub max_servers: Option<u64>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All is well.
    Well,
    /// It could not be looked at.
    Unknown,
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Broken,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// What was looked at.
    pub area: &'static str,
    /// What was found.
    pub text: String,
    /// What to do.
    pub mend: Option<String>,
}

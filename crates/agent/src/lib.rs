//! Reports: the link from one `$PM2_HOME` to a hub.
//!
//! * [`link`] decides: connect, wait, give up, beat; a pure machine that is told the time.
//! * [`spool`] keeps on disk what must not be lost until the hub has stored it.
//! * [`policy`] says which remote actions this host allows, [`rules`] what it keeps to itself; the hub can change neither.
//! * [`config`] reads and writes `agent.json5` as PM2 users know it; [`identity`] keeps who this server is.
//! * [`seal`] says what this host sends, signed by a key of its own.
//! * [`checkup`] goes the way to the hub step by step and says what to mend; [`neighbours`] finds other homes of this host.
//! * [`start`] runs it all on a thread of its own and gives a [`Handle`], which never blocks, and [`Requests`].
//! * [`ask`] is one request to the hub's API, for the command line.
//!
//! It is handed plain observations and hands out plain requests. It never opens a listening socket, never talks to
//! anything but the one configured hub and the ports that it or the user names, never sends an environment variable, never writes a secret to a log, and never
//! does an action itself.

#![forbid(unsafe_code)]

mod api;
pub mod checkup;
pub mod config;
pub mod identity;
mod info;
mod inspect;
mod journal;
pub mod link;
pub mod neighbours;
mod observe;
pub mod policy;
pub mod ports;
pub mod proxy;
pub mod redact;
pub mod rules;
mod run;
pub mod seal;
pub mod spool;
mod stamped;

pub use api::{
    ActionCall, AgentConfig, Handle, Observation, ProcessObservation, Reply, Request, RequestId, Requests,
    StartError, StopReason,
};
pub use info::{LinkInfo, LinkStatus};
pub use inspect::Sent;
pub use run::{Ask, AskError, ask, start};
pub use wire::action::{Action, ActionError, ActionErrorCode, Custom, Scale, Target, Verb};
pub use wire::telemetry;

//! Remote actions: asked by the hub, allowed or refused by the host, answered once.

use crate::codec::{is_default, open_enum, open_sum};
use minicbor::{Decode, Encode};

open_enum! {
    /// What can be asked for; also the words of the host's policy.
    pub enum Verb {
        /// Restart; starts what is stopped.
        0 Restart = "restart",
        /// Replace instance by instance.
        1 Reload = "reload",
        /// Stop.
        2 Stop = "stop",
        /// Start what is stopped.
        3 Start = "start",
        /// Change the number of instances.
        4 Scale = "scale",
        /// Reset the counters.
        5 Reset = "reset",
        /// Delete the entry.
        6 Delete = "delete",
        /// Run an action that the app offers.
        7 Custom = "custom",
        /// Update the sources and reload.
        8 Pull = "pull",
        /// Install a module.
        9 Install = "install",
        /// Uninstall a module.
        10 Uninstall = "uninstall",
        /// Show live logs.
        11 Logs = "logs",
        /// Answer, nothing else.
        12 Ping = "ping",
        /// One revision back, and reload.
        13 Backward = "backward",
        /// One revision on, and reload.
        14 Forward = "forward",
        /// Let what was hidden leave the host again.
        15 Monitor = "monitor",
        /// Let nothing of it leave the host any more; it runs on.
        16 Unmonitor = "unmonitor",
    }
}

open_sum! {
    /// What an action is about.
    pub enum Target {
        /// One process, by PM2's number.
        0 Process(u32),
        /// Every instance of an app, by its name.
        1 App(String),
    }
}

/// An action on a target, without parameters.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct On {
    /// What it is about.
    #[n(0)]
    pub target: Target,
}

/// A change of the number of instances.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Scale {
    /// Name of the app.
    #[n(0)]
    pub app: String,
    /// New number, or the difference if `relative`.
    #[n(1)]
    pub number: i32,
    /// Whether `number` is a difference.
    #[cbor(n(2), skip_if = "is_default")]
    pub relative: bool,
}

/// A call of an action that the app offers.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Custom {
    /// What it is about.
    #[n(0)]
    pub target: Target,
    /// Name of the action.
    #[n(1)]
    pub name: String,
    /// Its parameter, JSON text; empty if none.
    #[cbor(n(2), skip_if = "is_default")]
    pub opts: String,
    /// Makes it a scoped call, whose output streams back as progress; empty if not.
    #[cbor(n(3), skip_if = "is_default")]
    pub uuid: String,
}

/// A module by its name; [`Module::refusal`] says what may stand here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Module {
    /// Name as the package registry knows it, perhaps with a version, or where its package or repository is.
    #[n(0)]
    pub name: String,
}

/// Nothing but the verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bare {}

/// An action with its parameters; the numbers are those of [`Verb`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// See [`Verb::Restart`].
    Restart(Target),
    /// See [`Verb::Reload`].
    Reload(Target),
    /// See [`Verb::Stop`].
    Stop(Target),
    /// See [`Verb::Start`].
    Start(Target),
    /// See [`Verb::Scale`].
    Scale(Scale),
    /// See [`Verb::Reset`].
    Reset(Target),
    /// See [`Verb::Delete`].
    Delete(Target),
    /// See [`Verb::Custom`].
    Custom(Custom),
    /// See [`Verb::Pull`].
    Pull(Target),
    /// See [`Verb::Install`].
    Install(Module),
    /// See [`Verb::Uninstall`].
    Uninstall(Module),
    /// See [`Verb::Ping`].
    Ping,
    /// See [`Verb::Backward`].
    Backward(Target),
    /// See [`Verb::Forward`].
    Forward(Target),
    /// See [`Verb::Monitor`].
    Monitor(Target),
    /// See [`Verb::Unmonitor`].
    Unmonitor(Target),
    /// An action of a newer hub, by its number; its parameters were skipped.
    Unknown(u32),
}

open_enum! {
    /// Why an action was not done.
    pub enum ActionErrorCode {
        /// It was tried and failed.
        0 Failed = "failed",
        /// The host's policy does not allow it.
        1 Denied = "denied",
        /// There is no such process or app.
        2 NotFound = "not_found",
        /// It did not end in time.
        3 TimedOut = "timed_out",
        /// The agent does not know this action.
        4 Unsupported = "unsupported",
        /// Too many actions at once.
        5 Busy = "busy",
        /// The agent or the link ended before the answer.
        6 Gone = "gone",
        /// The parameters make no sense.
        7 Invalid = "invalid",
    }
}

/// An action that the hub asks for.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ActionRequest {
    /// Chosen by the hub, unique on this link.
    #[n(0)]
    pub id: u64,
    /// What to do.
    #[n(1)]
    pub action: Action,
    /// How long the hub waits for the result, milliseconds from arrival.
    #[n(2)]
    pub timeout_ms: u32,
    /// Who asked, for the host's audit.
    #[cbor(n(3), skip_if = "is_default")]
    pub by: String,
}

/// Output of an action that is still running.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActionProgress {
    /// The request it belongs to.
    #[n(0)]
    pub id: u64,
    /// A piece of output, JSON text.
    #[n(1)]
    pub data: String,
}

/// Why an action was not done, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActionError {
    /// For programs.
    #[n(0)]
    pub code: ActionErrorCode,
    /// For people: a sentence that says what to do.
    #[n(1)]
    pub message: String,
}

/// How an action ended; exactly one for each request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActionResult {
    /// The request it belongs to.
    #[n(0)]
    pub id: u64,
    /// Absent = it was done.
    #[n(1)]
    pub error: Option<ActionError>,
    /// What it gave, JSON text; empty if nothing.
    #[cbor(n(2), skip_if = "is_default")]
    pub data: String,
    /// How long it took on the host, milliseconds.
    #[cbor(n(3), skip_if = "is_default")]
    pub took_ms: u64,
}

mod codec_impl;
mod module_name;

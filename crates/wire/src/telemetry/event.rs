//! What happened: events, exceptions, log lines.

use crate::codec::{self, is_default, open_enum};
use minicbor::{Decode, Encode};

/// Which process something is about, as it was called then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProcessRef {
    /// PM2's number of the process.
    #[n(0)]
    pub pm_id: u32,
    /// Name of the app.
    #[n(1)]
    pub name: String,
    /// Namespace of the app.
    #[cbor(n(2), skip_if = "is_default")]
    pub namespace: String,
    /// Revision of its sources, if known.
    #[cbor(n(3), skip_if = "is_default")]
    pub rev: String,
}

open_enum! {
    /// What sort of event.
    #[derive(Default)]
    pub enum EventKind {
        /// In the life of a process: `start`, `online`, `exit`, `restart`, `reload`, `stop`, `restart overlimit`, `delete`.
        #[default]
        0 Process = "process",
        /// Emitted by an app; name and data are its own.
        1 Custom = "custom",
        /// A remote action that was run or refused on this host.
        2 Action = "action",
        /// Of the agent itself, for instance lost data.
        3 Agent = "agent",
        /// An IPC message of an app on a channel of its own naming.
        4 Channel = "channel",
    }
}

/// Something that happened at a moment.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// When.
    #[n(0)]
    pub at: u64,
    /// What sort.
    #[cbor(n(1), skip_if = "is_default")]
    pub kind: EventKind,
    /// Its name.
    #[n(2)]
    pub name: String,
    /// Which process, if one.
    #[n(3)]
    pub process: Option<ProcessRef>,
    /// Whether a user's command caused it.
    #[cbor(n(4), skip_if = "is_default")]
    pub manually: bool,
    /// What comes with it, JSON text; empty if nothing.
    #[cbor(n(5), skip_if = "is_default")]
    pub data: String,
}

/// An error that an app reported or died of.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Exception {
    /// When.
    #[n(0)]
    pub at: u64,
    /// Which process.
    #[n(1)]
    pub process: ProcessRef,
    /// Class of the error.
    #[cbor(n(2), skip_if = "is_default")]
    pub name: String,
    /// Its message.
    #[cbor(n(3), skip_if = "is_default")]
    pub message: String,
    /// Its stack.
    #[cbor(n(4), skip_if = "is_default")]
    pub stack: String,
    /// `file:line` of the first frame of the app's own code.
    #[cbor(n(5), skip_if = "is_default")]
    pub callsite: String,
    /// Source lines around the call site.
    #[cbor(n(6), skip_if = "is_default")]
    pub context: String,
    /// What the app gave along, JSON text; empty if nothing.
    #[cbor(n(7), skip_if = "is_default")]
    pub metadata: String,
    /// The last output of the app before it.
    #[cbor(n(8), skip_if = "is_default", decode_with = "codec::list::<_, _, 64>")]
    pub last_logs: Vec<String>,
}

open_enum! {
    /// Which output of a process.
    #[derive(Default)]
    pub enum LogStream {
        /// Standard output.
        #[default]
        0 Out = "out",
        /// Standard error.
        1 Err = "err",
    }
}

/// A piece of an app's output: from our agent one line without its newline, from PM2's agents one raw write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogLine {
    /// When it was read.
    #[n(0)]
    pub at: u64,
    /// PM2's number of the process.
    #[n(1)]
    pub pm_id: u32,
    /// Name of the app.
    #[n(2)]
    pub name: String,
    /// Which output.
    #[cbor(n(3), skip_if = "is_default")]
    pub stream: LogStream,
    /// The text.
    #[n(4)]
    pub data: String,
}

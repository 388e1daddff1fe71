//! What agent and hub say to each other.
//!
//! 1. The agent opens the WebSocket and sends [`Hello`]; the hub answers [`Welcome`] or [`Refuse`] and closes.
//! 2. The agent sends a [`Snapshot`] and then a [`Delta`] each second: the present, never repeated, never kept.
//! 3. What must not be lost travels as [`Report`]s with ascending numbers. The hub answers [`Ack`] when it has stored
//!    everything up to a number; what is not acknowledged is sent again on the next link, in order, with its own times.
//!    A report with a number at or below what was acknowledged is a repeat and is only acknowledged again.
//! 4. Logs flow only while the hub holds a [`LogSubscribe`] that has not run out.
//! 5. A hub with separate ports names them in its [`Welcome`]. The agent then links by the one for data, and opens a second
//!    WebSocket by the other, on which it says [`Reverse`]: commands come in by that one and by no other; what comes of them
//!    goes out with the data. The hub shows that it took it by a [`Ping`].

use crate::action::{ActionError, ActionProgress, ActionRequest, ActionResult};
use crate::codec::{self, is_default, open_enum, open_sum};
use crate::ids::{MachineId, SessionId, StreamId};
use crate::live::{Delta, Snapshot};
use crate::manifest::Seal;
use crate::telemetry::{Event, Exception, LogLine, SampleBatch, ServerFacts};
use minicbor::{Decode, Encode};

open_sum! {
    /// What an agent says.
    pub enum AgentMessage {
        /// First message on a link.
        1 Hello(Hello),
        /// The present, whole.
        2 Snapshot(Snapshot),
        /// The present, as changes.
        3 Delta(Delta),
        /// Something that must not be lost.
        4 Report(Report),
        /// Output of apps, live.
        5 Logs(LogBatch),
        /// Output of a running action.
        6 Progress(ActionProgress),
        /// The end of an action.
        7 Result(ActionResult),
        /// Are you there?
        8 Ping(Ping),
        /// Yes.
        9 Pong(Pong),
        /// Leaving on purpose.
        10 Bye(Bye),
        /// A log subscription is over.
        11 LogsEnded(LogsEnded),
        /// First message on a connection that is for commands alone.
        12 Reverse(Reverse),
        /// The host's policy has changed.
        13 Allowed(Allowed),
    }
}

open_sum! {
    /// What a hub says.
    pub enum HubMessage {
        /// The agent may speak.
        1 Welcome(Welcome),
        /// The agent may not speak; the hub closes after it.
        2 Refuse(Refuse),
        /// Reports are stored.
        3 Ack(Ack),
        /// Do something.
        4 Action(ActionRequest),
        /// Send logs.
        5 LogSubscribe(LogSubscribe),
        /// Send no more logs.
        6 LogUnsubscribe(LogUnsubscribe),
        /// Send a snapshot.
        7 Resend(Resend),
        /// Are you there?
        8 Ping(Ping),
        /// Yes.
        9 Pong(Pong),
        /// Settings changed.
        10 Settings(Settings),
    }
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Version of the protocol it speaks.
    #[n(0)]
    pub protocol: u32,
    /// Identity of the server.
    #[n(1)]
    pub machine: MachineId,
    /// Identity of this run of the agent.
    #[n(2)]
    pub session: SessionId,
    /// Name, host facts, versions, home, boot id.
    #[n(3)]
    pub facts: ServerFacts,
    /// The sequence its reports are numbered in.
    #[n(4)]
    pub stream: StreamId,
    /// Number of the oldest report it still holds, or of the next one.
    #[n(5)]
    pub first_seq: u64,
    /// The agent's clock, milliseconds since the epoch.
    #[n(6)]
    pub now: u64,
    /// The verbs (see [`crate::action::Verb`]) that the host's policy allows.
    #[cbor(n(7), skip_if = "is_default", decode_with = "codec::list::<_, _, 256>")]
    pub allowed: Vec<crate::action::Verb>,
    /// Whether the host disabled all remote actions on purpose.
    #[cbor(n(8), skip_if = "is_default")]
    pub reverse_disabled: bool,
    /// When the user last ran `link` on that home, milliseconds since the epoch; 0 = not known. A hidden server is
    /// shown again when this is later than its hiding.
    #[cbor(n(9), skip_if = "is_default")]
    pub linked_at: u64,
    /// What the host says that it sends.
    #[n(10)]
    pub manifest: Option<Box<Seal>>,
}

/// What the host's policy allows from now on; it takes the place of what the [`Hello`] said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Allowed {
    /// The verbs.
    #[cbor(n(0), skip_if = "is_default", decode_with = "codec::list::<_, _, 256>")]
    pub verbs: Vec<crate::action::Verb>,
}

open_enum! {
    /// In which order the keys were given.
    #[derive(Default)]
    pub enum KeyOrder {
        /// Not told.
        #[default]
        0 Untold = "untold",
        /// As they should be.
        1 Canonical = "canonical",
        /// The wrong way round; the agent should store them swapped.
        2 Swapped = "swapped",
    }
}

/// The hub accepts the agent.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// Version of the protocol the hub speaks.
    #[n(0)]
    pub protocol: u32,
    /// The hub's id of the server.
    #[n(1)]
    pub server_id: String,
    /// Every report up to this number is stored; 0 = none of this stream.
    #[n(2)]
    pub ack: u64,
    /// The hub's clock, milliseconds since the epoch.
    #[n(3)]
    pub now: u64,
    /// How often to send what.
    #[cbor(n(4), skip_if = "is_default")]
    pub settings: Settings,
    /// In which order the keys were given.
    #[cbor(n(5), skip_if = "is_default")]
    pub key_order: KeyOrder,
    /// Where people look at this server; shown by `link info`. Empty if not told.
    #[cbor(n(6), skip_if = "is_default")]
    pub web_url: String,
    /// Root address of the port for data, if ports are separate; empty if all goes by one.
    #[cbor(n(7), skip_if = "is_default")]
    pub push_url: String,
    /// Root address of the port for commands, if ports are separate; empty if all goes by one.
    #[cbor(n(8), skip_if = "is_default")]
    pub reverse_url: String,
}

/// A connection is for the commands to a link that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reverse {
    /// Identity of the run of the agent that holds that link.
    #[n(0)]
    pub session: SessionId,
}

/// How often to send what. Zero = the agent's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    /// Between two live updates, milliseconds; default 1000.
    #[cbor(n(0), skip_if = "is_default")]
    pub live_interval_ms: u32,
    /// Between two batches of samples, milliseconds; default 5000.
    #[cbor(n(1), skip_if = "is_default")]
    pub samples_interval_ms: u32,
}

open_enum! {
    /// Why an agent was refused.
    pub enum RefuseCode {
        /// The hub does not know these keys.
        0 BadKeys = "bad_keys",
        /// The server was deleted or hidden and not linked again since.
        1 Hidden = "hidden",
        /// The plan has no room.
        2 Pending = "pending",
        /// The protocol is too old or too new.
        3 Protocol = "protocol",
        /// The hub is shutting down or overloaded: come back.
        4 Unavailable = "unavailable",
        /// Another session took over this machine id.
        5 Replaced = "replaced",
        /// The agent broke the protocol.
        6 Violation = "violation",
        /// The Node on that host is too old for its PM2 (see [`crate::versions`]).
        7 Versions = "versions",
    }
}

/// The hub does not accept the agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refuse {
    /// For programs.
    #[n(0)]
    pub code: RefuseCode,
    /// For people.
    #[n(1)]
    pub message: String,
}

/// Everything up to a number is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ack {
    /// The number.
    #[n(0)]
    pub seq: u64,
}

/// Something that must not be lost.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// Ascending in the stream; gaps are allowed.
    #[n(0)]
    pub seq: u64,
    /// How many reports before this one were dropped for want of room.
    #[cbor(n(1), skip_if = "is_default")]
    pub dropped: u64,
    /// What is reported.
    #[n(2)]
    pub body: ReportBody,
}

open_sum! {
    /// What a report holds.
    pub enum ReportBody {
        /// Values of series.
        1 Samples(SampleBatch),
        /// Events, oldest first.
        2 Events(Events),
        /// Exceptions, oldest first.
        3 Exceptions(Exceptions),
    }
}

/// Events, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Events {
    /// The events.
    #[cbor(n(0), decode_with = "codec::list::<_, _, 1024>")]
    pub list: Vec<Event>,
}

/// Exceptions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Exceptions {
    /// The exceptions.
    #[cbor(n(0), decode_with = "codec::list::<_, _, 256>")]
    pub list: Vec<Exception>,
}

/// Output of apps, live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogBatch {
    /// The lines, as read.
    #[cbor(n(0), decode_with = "codec::list::<_, _, { codec::MAX_LIST }>")]
    pub lines: Vec<LogLine>,
    /// Lines dropped since the last batch because the link or the hub was too slow.
    #[cbor(n(1), skip_if = "is_default")]
    pub dropped: u64,
}

/// Send logs, until the time is over or this id is unsubscribed. Sent again under the same id it renews the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogSubscribe {
    /// Chosen by the hub, unique on this link.
    #[n(0)]
    pub id: u64,
    /// Only of this app; absent = of all.
    #[n(1)]
    pub app: Option<String>,
    /// How long, milliseconds; 0 = the agent's default of 120 s, which is also the most.
    #[cbor(n(2), skip_if = "is_default")]
    pub lease_ms: u32,
    /// Who asked, for the host's audit.
    #[cbor(n(3), skip_if = "is_default")]
    pub by: String,
}

/// Send no more logs for this subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogUnsubscribe {
    /// Of the [`LogSubscribe`].
    #[n(0)]
    pub id: u64,
}

/// A log subscription is over: its time ran out or the host does not allow it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogsEnded {
    /// Of the [`LogSubscribe`].
    #[n(0)]
    pub id: u64,
    /// Why it was refused; absent = its time ran out.
    #[n(1)]
    pub error: Option<ActionError>,
}

/// Send a snapshot: a delta did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resend {}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pong {
    /// Of the ping.
    #[n(0)]
    pub token: u64,
}

/// Asks for a sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ping {
    /// Comes back in the answer.
    #[n(0)]
    pub token: u64,
}

open_enum! {
    /// Why an agent leaves.
    pub enum ByeReason {
        /// The user stopped or unlinked it.
        0 Stopped = "stopped",
        /// The process manager ends.
        1 Shutdown = "shutdown",
        /// It links again at once, with other settings.
        2 Relink = "relink",
    }
}

/// The agent leaves on purpose: offline, not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bye {
    /// Why.
    #[n(0)]
    pub reason: ByeReason,
}

//! Tells: the messages between our agent and the hub, and the telemetry model both hub doors produce.
//!
//! * [`telemetry`] is the normalised model: what a server, a process, a sample, a log line, an event, an exception
//!   *is*, whoever reported it. The hub's door for PM2's own agents produces the same types.
//! * [`live`] turns two consecutive views of a server into a change and back.
//! * [`message`] and [`action`] are what travels; [`frame`] is how it is packed into one WebSocket message.
//! * [`versions`] says which Node a PM2 needs, [`manifest`] which fields leave a host.
//!
//! Old and new understand each other: every field has a number and a default, unknown fields are skipped, unknown
//! variants survive as `Unknown`. A number is never reused for another meaning.
//!
//! This room never touches a socket, a file or a clock. Everything it decodes is untrusted: bounded in bytes before and
//! after decompression, bounded in elements per list, and it answers with an error, never with a panic.

#![forbid(unsafe_code)]

pub mod action;
mod codec;
pub mod frame;
pub mod ids;
pub mod live;
pub mod manifest;
pub mod message;
pub mod push;
pub mod telemetry;
pub mod versions;

pub use codec::{MAX_LIST, MAX_METRICS, MAX_PROCESSES};
pub use frame::{DecodeError, EncodeError, Limits};
pub use ids::{MachineId, SessionId, StreamId};
pub use message::{AgentMessage, HubMessage};

/// The version of the protocol this crate speaks; [`message::Hello`] carries it.
pub const PROTOCOL: u32 = 1;

/// The path of the WebSocket, relative to the hub's root address.
pub const PATH: &str = "/interaction/wire";

/// The path where an agent asks how it would fare, relative to the hub's root address: a JSON object is posted with the keys of a
/// link in its headers, and nothing is linked.
pub const CHECK_PATH: &str = "/interaction/wire/check";
/// The path of the WebSocket by which commands come in where the hub has separate ports, relative to the root of that port.
pub const REVERSE_PATH: &str = "/interaction/wire/reverse";

/// The request header that carries the [`MachineId`] in hexadecimal.
pub const MACHINE_HEADER: &str = "X-Pilothouse-Machine";

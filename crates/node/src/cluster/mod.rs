//! The primary of Node's cluster, decided: who gets which socket, who gets the next connection, what is answered.
//!
//! [`Primary`] is pure. The shell hands it what workers say ([`Primary::on_message`]), what became of its binds and accepts, and that
//! time has passed; it carries out what [`Primary::poll_effect`] asks for, in order. Descriptors are the shell's: here they have numbers.
//!
//! Two rules come from how Node receives descriptors. A worker never has more than one unacknowledged message with a descriptor (two
//! of them can be mixed up, and one client would wait for ever); and it gets no connection before it has said that it listens.
//!
//! A listening socket stays open while its app is meant to be up, also with no worker left: connections wait in the kernel's queue.
//! What must survive the shell is in [`Snapshot`]; [`Effect::Keep`] comes before whatever reveals a change of it to a worker.

mod effect;
mod handles;
mod lines;
mod listener;
mod primary;
mod snapshot;
mod sockets;
#[cfg(test)]
mod tests;
mod worker;

pub use effect::{Bind, Effect, Handle, SockName};
pub use lines::{drain, handle_ack};
pub use primary::Primary;
pub use snapshot::{Snapshot, SnapshotError};

/// Variable that makes a Node child a cluster worker; its value is the worker's id.
pub const UNIQUE_ID: &str = "NODE_UNIQUE_ID";
/// Variable by which Node's users choose between the policies: `rr` or `none`.
pub const SCHEDULING_POLICY: &str = "NODE_CLUSTER_SCHED_POLICY";

/// Milliseconds on the shell's clock, whatever its origin.
pub type Millis = u64;

/// One life of a worker. Chosen by the shell, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// One listening (or datagram) socket. Chosen here, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// One accepted connection. Chosen by the shell, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What a former shell had done with a connection, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// No worker has it.
    Waiting,
    /// It was sent to a worker, which has not answered.
    Offered {
        /// To whom.
        worker: WorkerId,
        /// The number of the offer.
        seq: u64,
    },
    /// The shell died when it was about to send it, or had just done so.
    Doubtful {
        /// To whom.
        worker: WorkerId,
        /// The number of the offer.
        seq: u64,
    },
}

/// How connections reach the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The parent accepts, and hands each connection to the next worker that is free.
    #[default]
    RoundRobin,
    /// The workers share the socket and accept by themselves.
    Shared,
}

impl Policy {
    /// What a value of [`SCHEDULING_POLICY`] means.
    #[must_use]
    pub fn from_variable(value: Option<&str>) -> Self {
        match value {
            Some("none") => Self::Shared,
            _ => Self::RoundRobin,
        }
    }
}

/// What is known of a worker before it says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Its app: workers of one app share a port that the kernel chose, and the sockets of its configuration.
    pub group: String,
    /// How it wants to get connections, where it is the first to ask for an address.
    pub policy: Policy,
}

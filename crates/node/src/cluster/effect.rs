//! What the primary asks the shell to do.

use super::{ConnId, ListenerId, WorkerId};
use crate::internal::Address;

/// One thing to do. In order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make a socket, and hold it so that it outlives the shell; then tell [`super::Primary::bound`].
    Bind {
        /// Its number from now on.
        listener: ListenerId,
        /// What to make.
        bind: Bind,
    },
    /// Store the snapshot.
    Keep,
    /// Send a line.
    Send {
        /// To whom.
        worker: WorkerId,
        /// With its line feed.
        line: Vec<u8>,
    },
    /// Send a line with a descriptor on its first byte. If the channel is full, as soon as it is not; other lines may overtake it.
    SendHandle {
        /// To whom.
        worker: WorkerId,
        /// With its line feed.
        line: Vec<u8>,
        /// Which descriptor.
        handle: Handle,
        /// The number of the offer, if the connection becomes the worker's by it. Note it before, and whether it was sent after: see
        /// [`super::Primary::inherit`].
        offer: Option<u64>,
    },
    /// A worker did not take the connection: it is in our hands alone again.
    Returned(ConnId),
    /// The connection is a worker's now, or nobody's: close our copy.
    Drop(ConnId),
    /// Close the socket; remove the file of a UNIX socket.
    Close(ListenerId),
    /// A worker listens at one more address.
    Listening(WorkerId),
    /// A worker's Node runs; its script comes next.
    Booted(WorkerId),
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A socket made by [`Effect::Bind`].
    Listener(ListenerId),
    /// A connection given to [`super::Primary::connection`].
    Connection(ConnId),
}

/// A socket to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where.
    pub address: Address,
    /// Listen too, with room for so many; `None`: the workers do that.
    pub listen: Option<i32>,
    /// Whose wish it is.
    pub group: String,
}

/// The name of a TCP or UDP socket, as workers show it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SockName {
    /// Address without port.
    pub address: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Port.
    pub port: u16,
}

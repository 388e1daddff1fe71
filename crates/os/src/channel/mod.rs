//! A line-framed IPC stream to a child (Node's channel on `NODE_CHANNEL_FD`) that survives the death of its user.
//!
//! One frame is one line. A child dies of half a frame, and half a frame read is a lost sync, so at no instruction may the
//! truth about "how far" be in this process's memory only. The rules:
//!
//! * **Reading** peeks; the caller acts on whole lines; only then one system call takes exactly these bytes out of the
//!   socket. A successor sees the lines again (at least once), never half of one. A frame larger than the socket holds is
//!   moved by `splice` into an anonymous file, whose file position, shared with the keeper's duplicate, is the count of
//!   bytes taken.
//! * **Writing** hands a frame of up to [`MAX_DIRECT_FRAME`] bytes to the kernel in one call that takes all or nothing.
//!   Whatever is larger, or finds the socket full, is appended to an anonymous file, committed by one store into shared
//!   memory, and drained by `sendfile`, which moves the file's position by exactly what the socket took.
//!
//! Those files are the [`Stash`]: made when first needed, put into the keeper's store *before* it is attached, and given to
//! the successor with the socket. `SIGPIPE` must be ignored by the process, as Rust programs do.

mod inbound;
mod outbound;
mod stash;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use stash::Stash;

/// Frames up to this size (line feed included) go to the kernel whole or not at all.
pub const MAX_DIRECT_FRAME: usize = 32 * 1024;

/// How much a channel may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A longer frame from the child is skipped and counted.
    pub max_frame_bytes: u64,
    /// With more than this waiting for the child, [`Channel::write`] refuses.
    pub max_queued_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 256 << 20,
            max_queued_bytes: 64 << 20,
        }
    }
}

/// What [`Channel::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// One or more whole lines, the last byte is a line feed. Blank lines mean nothing. Act on them, then call
    /// [`Channel::consume`]; without it the next read yields them again.
    Lines(&'a [u8]),
    /// Nothing whole is there: wait until the socket is readable.
    Blocked,
    /// Much was moved but no frame is whole yet: let others have their turn, then read again without waiting.
    Again,
    /// Put a [`Stash`] into the keeper's store, [`Channel::attach`] it, and read again.
    NeedStash,
    /// The child closed its end. `torn_bytes` of an unfinished frame were dropped.
    Closed {
        /// Length of that rest.
        torn_bytes: u64,
    },
}

/// What [`Channel::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The kernel has all of it.
    Sent,
    /// It waits in the stash; call [`Channel::flush`] when the socket is writable.
    Queued,
    /// Nothing was written: put a [`Stash`] into the keeper's store, [`Channel::attach`] it, and write again.
    NeedStash,
}

/// Why a frame was refused. The stream is intact in every case.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Not exactly one line: it would break the child's parser.
    #[error("an IPC frame must be one line that ends with a line feed")]
    NotOneLine,
    /// The child does not read.
    #[error("the child reads too slowly: {queued_bytes} bytes wait for it already")]
    Full {
        /// What waits.
        queued_bytes: u64,
    },
    /// The socket or the stash failed; `BrokenPipe` when the child closed its end.
    #[error("writing to the child's IPC channel: {0}")]
    Io(#[from] io::Error),
}

/// Our end of one child's channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    stash: Option<Stash>,
    limits: Limits,
    pending: inbound::Pending,
}

impl Channel {
    /// Wraps our end of the socket pair, and the stash if a predecessor left one. Makes the socket non-blocking.
    ///
    /// # Errors
    /// When the descriptor is no socket.
    pub fn new(socket: OwnedFd, stash: Option<Stash>, limits: Limits) -> io::Result<Self> {
        crate::fd::set_nonblocking(&socket, true)?;
        Ok(Self {
            socket,
            stash,
            limits,
            pending: inbound::Pending::Nothing,
        })
    }

    /// Gives the channel its stash. Put [`Stash::fds`] into the keeper's store before.
    pub fn attach(&mut self, stash: Stash) {
        // The first one may already hold bytes; a second is never needed.
        self.stash.get_or_insert(stash);
    }

    /// The attached stash, to be put into another keeper's store when the first one died.
    #[must_use]
    pub fn stash(&self) -> Option<&Stash> {
        self.stash.as_ref()
    }

    /// Whether a stash is attached.
    #[must_use]
    pub fn has_stash(&self) -> bool {
        self.stash.is_some()
    }

    /// Reads what the child sent. `buffer` is scratch space that grows up to the largest frame; share it between channels.
    /// Descriptors sent along by the child are refused.
    ///
    /// # Errors
    /// Those of the socket (`ConnectionReset` counts as closed) and of memory.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> io::Result<Incoming<'b>> {
        inbound::read(self, buffer)
    }

    /// Takes the lines of the last [`Channel::read`] out of the stream for good.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn consume(&mut self) -> io::Result<()> {
        inbound::consume(self)
    }

    /// Sends one frame, or queues it behind those that wait. Never blocks, never splits.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, frame: &[u8]) -> Result<Written, WriteError> {
        outbound::write(self, frame)
    }

    /// Sends one frame of up to [`MAX_DIRECT_FRAME`] bytes with a descriptor. `Ok(false)`: the socket is full or frames
    /// wait before it; nothing was written, try again when the socket is writable.
    ///
    /// # Errors
    /// See [`WriteError`]; `InvalidInput` for a larger frame.
    pub fn write_with_fd(&mut self, frame: &[u8], fd: BorrowedFd<'_>) -> Result<bool, WriteError> {
        outbound::write_with_fd(self, frame, fd)
    }

    /// Sends what waits. `Ok(true)`: nothing waits any more; `Ok(false)`: call again when the socket is writable.
    ///
    /// # Errors
    /// `BrokenPipe` when the child closed its end.
    pub fn flush(&mut self) -> io::Result<bool> {
        outbound::flush(self)
    }

    /// Whether the child has read everything that was ever given to the socket. Bytes that wait before it do not count.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn is_read(&self) -> io::Result<bool> {
        Ok(outbound::unread_by_peer(self.socket.as_fd())? == 0)
    }

    /// Bytes that wait for the child.
    ///
    /// # Errors
    /// None in practice (asks the stash for its position).
    pub fn queued_bytes(&self) -> io::Result<u64> {
        self.stash.as_ref().map_or(Ok(0), Stash::queued_bytes)
    }

    /// Frames from the child that were longer than the limit and skipped, since the stash was made.
    #[must_use]
    pub fn skipped_frames(&self) -> u64 {
        self.stash.as_ref().map_or(0, Stash::skipped_frames)
    }

    /// Ends the channel for all duplicates of our end: the child sees the end of the stream (Node: `disconnect`).
    ///
    /// # Errors
    /// `NotConnected` when the child was first.
    pub fn shutdown(&self) -> io::Result<()> {
        crate::socket::shutdown(&self.socket)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Between any two system calls that change state, tests let the process die here.
#[cfg(not(test))]
#[inline]
fn fault_point() {}

#[cfg(test)]
use tests::fault_point;

#[cfg(test)]
mod tests;

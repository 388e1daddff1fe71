//! The files that hold what is between the socket and us, and the truth about how far we are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::memfd::{self, SharedWords};

/// Word 0 tells a stash from other shared words, and its layout.
const MAGIC: u64 = u64::from_le_bytes(*b"phstash1");
const W_MAGIC: usize = 0;
const W_IN_READ: usize = 1;
const W_IN_SKIPPING: usize = 2;
const W_OUT_COMMITTED: usize = 3;
const W_SKIPPED: usize = 4;
const W_OUT_PUNCHED: usize = 5;

const PAGE: u64 = 4096;

/// Five descriptors: words, inbound file, outbound file, and a pipe (read, write) on the way from the socket to the
/// inbound file. File positions are part of the state: every duplicate shares them, and nobody may seek.
#[derive(Debug)]
pub struct Stash {
    words: SharedWords,
    inbound: OwnedFd,
    outbound: OwnedFd,
    pipe_read: OwnedFd,
    pipe_write: OwnedFd,
}

impl Stash {
    /// A new, empty one.
    ///
    /// # Errors
    /// Descriptor and memory limits.
    pub fn create() -> io::Result<Self> {
        let words = SharedWords::create("ipc-state")?;
        words.set(W_MAGIC, MAGIC);
        let (pipe_read, pipe_write) = crate::fd::pipe()?;
        Ok(Self {
            words,
            inbound: memfd::create("ipc-in")?,
            outbound: memfd::create("ipc-out")?,
            pipe_read,
            pipe_write,
        })
    }

    /// What to put into the keeper's store, in this order.
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 5] {
        [
            self.words.as_fd(),
            self.inbound.as_fd(),
            self.outbound.as_fd(),
            self.pipe_read.as_fd(),
            self.pipe_write.as_fd(),
        ]
    }

    /// Takes up a predecessor's stash from the descriptors in the order of [`Stash::fds`].
    ///
    /// # Errors
    /// `InvalidData` when they are no stash.
    pub fn restore(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let [words, inbound, outbound, pipe_read, pipe_write] =
            <[OwnedFd; 5]>::try_from(fds).map_err(|_| invalid("an IPC stash has five descriptors"))?;
        let words = SharedWords::map(words)?;
        if words.get(W_MAGIC) != MAGIC {
            return Err(invalid("descriptors hold no IPC stash of a known layout"));
        }
        Ok(Self {
            words,
            inbound,
            outbound,
            pipe_read,
            pipe_write,
        })
    }

    // Inbound: bytes [in_read, in_written) of the inbound file are taken from the socket and not yet acted on. They are
    // followed by what is in the pipe, then by what is in the socket.

    pub(super) fn in_read(&self) -> u64 {
        self.words.get(W_IN_READ)
    }

    pub(super) fn in_written(&self) -> io::Result<u64> {
        Ok(rustix::fs::tell(&self.inbound)?)
    }

    pub(super) fn set_in_read(&self, to: u64) -> io::Result<()> {
        let before = self.in_read();
        self.words.set(W_IN_READ, to);
        memfd::punch(&self.inbound, before / PAGE * PAGE, to / PAGE * PAGE)
    }

    pub(super) fn in_skipping(&self) -> bool {
        self.words.get(W_IN_SKIPPING) != 0
    }

    pub(super) fn start_skipping(&self) {
        self.words.set(W_SKIPPED, self.skipped_frames() + 1);
        self.words.set(W_IN_SKIPPING, 1);
    }

    pub(super) fn stop_skipping(&self) {
        self.words.set(W_IN_SKIPPING, 0);
    }

    pub(super) fn skipped_frames(&self) -> u64 {
        self.words.get(W_SKIPPED)
    }

    /// Moves up to `length` bytes of the socket's head into the pipe.
    pub(super) fn take_from(&self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        let flags = rustix::pipe::SpliceFlags::NONBLOCK | rustix::pipe::SpliceFlags::MOVE;
        Ok(rustix::io::retry_on_intr(|| {
            rustix::pipe::splice(socket, None, &self.pipe_write, None, length, flags)
        })?)
    }

    /// Moves what is in the pipe, if anything, into the inbound file.
    pub(super) fn settle(&self) -> io::Result<()> {
        loop {
            let waiting = crate::fd::readable_bytes(&self.pipe_read)?;
            if waiting == 0 {
                return Ok(());
            }
            let length = usize::try_from(waiting).unwrap_or(usize::MAX);
            let flags = rustix::pipe::SpliceFlags::NONBLOCK | rustix::pipe::SpliceFlags::MOVE;
            rustix::io::retry_on_intr(|| {
                rustix::pipe::splice(&self.pipe_read, None, &self.inbound, None, length, flags)
            })?;
            super::fault_point();
        }
    }

    /// Fills `buffer` from the inbound file.
    pub(super) fn peek_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if memfd::read_at(&self.inbound, buffer, offset)? < buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the IPC stash is shorter than it says",
            ));
        }
        Ok(())
    }

    // Outbound: bytes [out_sent, out_committed) of the outbound file wait for the socket.

    pub(super) fn out_sent(&self) -> io::Result<u64> {
        Ok(rustix::fs::tell(&self.outbound)?)
    }

    pub(super) fn queued_bytes(&self) -> io::Result<u64> {
        Ok(self.words.get(W_OUT_COMMITTED).saturating_sub(self.out_sent()?))
    }

    /// Memory in use: what waits, and what was sent but may still be referred to by the socket.
    pub(super) fn held_bytes(&self) -> u64 {
        self.words
            .get(W_OUT_COMMITTED)
            .saturating_sub(self.words.get(W_OUT_PUNCHED))
    }

    pub(super) fn append(&self, frame: &[u8]) -> io::Result<()> {
        let end = self.words.get(W_OUT_COMMITTED);
        memfd::write_at(&self.outbound, frame, end)?;
        super::fault_point();
        // From here on the frame will be sent; before, its bytes are beyond the end and get overwritten.
        self.words.set(W_OUT_COMMITTED, end + frame.len() as u64);
        super::fault_point();
        Ok(())
    }

    /// One `sendfile` of up to `length` bytes. 0 never happens while bytes wait.
    pub(super) fn give_to(&self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::fs::sendfile(socket, &self.outbound, None, length)
        })?)
    }

    /// Gives back the memory before `safe`, which nobody refers to any more.
    ///
    /// Whole pages only, and only those that the peer has read: `sendfile` lends the socket the file's own pages, and
    /// punching part of a page would zero it under the reader.
    pub(super) fn release_out(&self, safe: u64) -> io::Result<()> {
        let from = self.words.get(W_OUT_PUNCHED);
        let to = safe / PAGE * PAGE;
        if to > from {
            memfd::punch(&self.outbound, from, to)?;
            self.words.set(W_OUT_PUNCHED, to);
        }
        Ok(())
    }
}

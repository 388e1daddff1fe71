//! The way of a flood from its pipe to its file.
//!
//! A splice into a file holds the pipe's lock while the file system does its work, and the app that writes waits for it. So what a
//! busy stream has is first moved into a pipe of the pump's own, by reference and in no time, and from there into the file.
//!
//! It must not be lost with the daemon: whoever holds the streams' pipes for a successor has to hold these descriptors too. What lies
//! in the passage is of one stream, and is written before anything else of that stream.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use os::memfd::SharedWords;

use crate::sink::splice;
use crate::stream::StreamId;

/// How many bytes it holds.
pub(crate) const SIZE: usize = 128 * 1024;
/// The word that says whose they are.
const OWNER: usize = 0;

/// A pipe between the streams' pipes and their files.
#[derive(Debug)]
pub struct Passage {
    read: OwnedFd,
    write: OwnedFd,
    words: SharedWords,
    /// Whose text is in it.
    owner: Option<StreamId>,
}

impl Passage {
    /// A new one, empty.
    ///
    /// # Errors
    /// Limits of descriptors and memory.
    pub fn create() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Refused above the user's share: then it takes more steps.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, SIZE);
        Ok(Self {
            read,
            write,
            words: SharedWords::create("logs")?,
            owner: None,
        })
    }

    /// That of a former daemon, with what it had in hand.
    ///
    /// # Errors
    /// When these are not what [`Passage::copies`] gave.
    pub fn restore(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let [read, write, words] = <[OwnedFd; 3]>::try_from(fds)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a passage has three descriptors"))?;
        rustix::pipe::fcntl_getpipe_size(&write)?;
        let words = SharedWords::map(words)?;
        let waiting = rustix::io::ioctl_fionread(&read)?;
        let owner = (waiting > 0).then(|| StreamId(words.get(OWNER)));
        Ok(Self {
            read,
            write,
            words,
            owner,
        })
    }

    /// What a successor needs to go on.
    ///
    /// # Errors
    /// At the limit of descriptors.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        [self.read.as_fd(), self.write.as_fd(), self.words.as_fd()]
            .into_iter()
            .map(os::fd::duplicate)
            .collect()
    }

    /// Whose text is in it.
    pub(crate) fn owner(&self) -> Option<StreamId> {
        self.owner
    }

    /// Where its text can be looked at.
    pub(crate) fn end(&self) -> &OwnedFd {
        &self.read
    }

    /// Moves up to `len` bytes of a stream in. It must be empty. `Ok(0)`: the pipe has ended.
    pub(crate) fn take(&mut self, id: StreamId, pipe: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
        self.words.set(OWNER, id.0);
        let taken = splice(pipe, &self.write, len)?;
        self.owner = (taken > 0).then_some(id);
        Ok(taken)
    }

    /// Moves all that is in it into a file, which stands at its end. On an error the rest stays.
    pub(crate) fn give(&mut self, file: &File) -> io::Result<usize> {
        let mut given = 0;
        loop {
            match splice(self.read.as_fd(), file, SIZE) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => given += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.owner = None;
                    return Ok(given);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All that was in it has been read at its end.
    pub(crate) fn given(&mut self) {
        self.owner = None;
    }
}

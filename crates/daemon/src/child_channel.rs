//! The IPC channel of one child: a task watches the descriptor, the owner loop reads and writes.
//!
//! The owner has to do it itself, because a line may leave the socket only after its effect is kept (see [`os::channel`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use os::channel::{Channel, Incoming, Limits, Stash, WriteError, Written};
use supervisor::Incarnation;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::watched::watched;

/// Longest message taken from a child, bytes. A heap snapshot of a small app fits.
const MAX_LINE: u64 = 64 * 1024 * 1024;
/// What may wait for a child that does not read, bytes.
const MAX_QUEUED: u64 = 64 * 1024 * 1024;

/// Our end of the channel.
#[derive(Debug)]
pub(crate) struct ChildChannel {
    channel: Channel,
    watch: Arc<Watch>,
    task: AbortHandle,
    skipped: u64,
}

#[derive(Debug, Default)]
struct Watch {
    /// A `ChannelReady` is under way to the owner.
    announced: AtomicBool,
    /// Something waits for the child to read.
    wants_to_write: AtomicBool,
    changed: Notify,
}

/// What a turn of reading found.
pub(crate) enum Turn {
    /// Nothing more now.
    Done,
    /// Lines were read, and more may be there: come back after the others.
    Lines,
    /// A part of a long line was read: come back after the others.
    Part,
    /// The child has closed its end.
    Ended,
}

/// Where a new stash must be kept before it is used.
pub(crate) type KeepStash<'a> = dyn FnMut(Vec<OwnedFd>) -> io::Result<()> + 'a;

impl ChildChannel {
    /// Take a channel over, with the stash that a predecessor left.
    pub(crate) fn open(
        socket: OwnedFd,
        stash: Option<Stash>,
        incarnation: Incarnation,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let limits = Limits {
            max_frame_bytes: MAX_LINE,
            max_queued_bytes: MAX_QUEUED,
        };
        let has_stash = stash.is_some();
        let watched_fd = os::fd::duplicate(&socket)?;
        let channel = Channel::new(socket, stash, limits)?;
        let watch = Arc::new(Watch {
            wants_to_write: AtomicBool::new(has_stash),
            ..Watch::default()
        });
        let watch_fd = watched(watched_fd)?;
        let task = tokio::spawn(observe(watch_fd, Arc::clone(&watch), incarnation, events)).abort_handle();
        let skipped = channel.skipped_frames();
        Ok(Self {
            channel,
            watch,
            task,
            skipped,
        })
    }

    /// Read what is there, up to one buffer full. After [`Turn::Lines`], call [`ChildChannel::taken`] once the lines were acted on:
    /// until then a new daemon would see them again.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        keep: &mut KeepStash<'_>,
        act: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Turn> {
        self.watch.announced.store(false, Ordering::SeqCst);
        self.watch.changed.notify_one();
        loop {
            match self.channel.read(buffer)? {
                Incoming::Lines(bytes) => {
                    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        act(line);
                    }
                    return Ok(Turn::Lines);
                }
                Incoming::Blocked => return Ok(Turn::Done),
                Incoming::Again => return Ok(Turn::Part),
                Incoming::NeedStash => self.attach_stash(keep)?,
                Incoming::Closed { .. } => return Ok(Turn::Ended),
            }
        }
    }

    /// The lines of the last read have had their effect: take them out of the socket.
    pub(crate) fn taken(&mut self) -> io::Result<()> {
        self.channel.consume()
    }

    /// Messages that were too long and were skipped, since the last time this was asked.
    pub(crate) fn newly_skipped(&mut self) -> u64 {
        let now = self.channel.skipped_frames();
        let new = now.saturating_sub(self.skipped);
        self.skipped = now;
        new
    }

    /// Send a line, or queue it.
    pub(crate) fn send(&mut self, line: &[u8], keep: &mut KeepStash<'_>) -> Result<(), WriteError> {
        let mut written = self.channel.write(line)?;
        if written == Written::NeedStash {
            self.attach_stash(keep)?;
            written = self.channel.write(line)?;
        }
        if written == Written::Queued {
            self.want_to_write(true);
        }
        Ok(())
    }

    /// Send a line with a descriptor. `Ok(false)`: not now; the owner is told when it may be possible.
    pub(crate) fn send_handle(&mut self, line: &[u8], fd: &OwnedFd) -> Result<bool, WriteError> {
        match self.channel.write_with_fd(line, fd.as_fd()) {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.want_to_write(true);
                Ok(false)
            }
            // The user has too many descriptors under way: a shortage, nothing about this channel.
            Err(WriteError::Io(error))
                if error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the child has read all that was sent.
    pub(crate) fn is_read(&self) -> bool {
        self.channel.is_read().unwrap_or(true)
    }

    /// The child may be able to read again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.watch.wants_to_write.load(Ordering::SeqCst) {
            let waits = !self.channel.flush()?;
            self.want_to_write(waits);
        }
        Ok(())
    }

    /// Copies of the stash's descriptors, if there is one.
    pub(crate) fn stash_copies(&self) -> io::Result<Option<Vec<OwnedFd>>> {
        self.channel.stash().map(copies_of).transpose()
    }

    fn attach_stash(&mut self, keep: &mut KeepStash<'_>) -> io::Result<()> {
        let stash = Stash::create()?;
        keep(copies_of(&stash)?)?;
        self.channel.attach(stash);
        Ok(())
    }

    fn want_to_write(&self, wants: bool) {
        self.watch.wants_to_write.store(wants, Ordering::SeqCst);
        if wants {
            self.watch.changed.notify_one();
        }
    }
}

fn copies_of(stash: &Stash) -> io::Result<Vec<OwnedFd>> {
    stash.fds().into_iter().map(os::fd::duplicate).collect()
}

impl Drop for ChildChannel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tell the owner whenever the descriptor has become readable or, if that is wanted, writable.
async fn observe(fd: AsyncFd<OwnedFd>, watch: Arc<Watch>, incarnation: Incarnation, events: Sender<Event>) {
    loop {
        // Once the peer has closed, the descriptor is readable for ever: the owner must have looked before the next word.
        while watch.announced.load(Ordering::SeqCst) {
            watch.changed.notified().await;
        }
        let wants_to_write = watch.wants_to_write.load(Ordering::SeqCst);
        tokio::select! {
            ready = fd.readable() => match ready {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return,
            },
            ready = fd.writable(), if wants_to_write => match ready {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return,
            },
            () = watch.changed.notified() => continue,
        }
        watch.announced.store(true, Ordering::SeqCst);
        if events.send(Event::ChannelReady { incarnation }).await.is_err() {
            return;
        }
    }
}

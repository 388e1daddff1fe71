//! Taking lines out of the socket, never more and never less than was acted on.

use std::io;
use std::os::fd::AsFd;

use rustix::net::RecvFlags;

use super::{Channel, Incoming, fault_point};

/// One look into the socket.
const LOOK_BYTES: usize = 64 * 1024;
/// Moved into the stash in one call of `read` before others get their turn.
const TURN_BYTES: usize = 4 << 20;

/// What `consume` has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    Nothing,
    /// Take this many bytes from the socket.
    Socket(usize),
    /// The frame in the stash up to this offset is done.
    Stash(u64),
}

pub(super) fn read<'b>(channel: &mut Channel, buffer: &'b mut Vec<u8>) -> io::Result<Incoming<'b>> {
    channel.pending = Pending::Nothing;
    if buffer.len() < LOOK_BYTES {
        buffer.resize(LOOK_BYTES, 0);
    }
    let mut moved = 0;
    while moved < TURN_BYTES {
        let mut partial_bytes = 0;
        if let Some(stash) = &channel.stash {
            stash.settle()?;
            let (from, to) = (stash.in_read(), stash.in_written()?);
            if stash.in_skipping() && to > from {
                stash.set_in_read(to)?;
                fault_point();
            } else if to > from {
                partial_bytes = to - from;
                let mut last = [0];
                stash.peek_at(to - 1, &mut last)?;
                // Bytes are moved up to and including a line feed, never beyond: one at the end is the only one.
                if last[0] == b'\n' {
                    let length = usize::try_from(partial_bytes).map_err(io::Error::other)?;
                    buffer.resize(length.max(LOOK_BYTES), 0);
                    stash.peek_at(from, &mut buffer[..length])?;
                    channel.pending = Pending::Stash(to);
                    return Ok(Incoming::Lines(&buffer[..length]));
                }
            }
        }

        let looked = match look(channel, &mut buffer[..LOOK_BYTES])? {
            None => return Ok(Incoming::Blocked),
            Some(0) => {
                return Ok(Incoming::Closed {
                    torn_bytes: partial_bytes,
                });
            }
            Some(length) => length,
        };
        let first_feed = memchr::memchr(b'\n', &buffer[..looked]);
        let Some(stash) = &channel.stash else {
            let Some(last_feed) = memchr::memrchr(b'\n', &buffer[..looked]) else {
                return Ok(Incoming::NeedStash);
            };
            channel.pending = Pending::Socket(last_feed + 1);
            return Ok(Incoming::Lines(&buffer[..=last_feed]));
        };

        if stash.in_skipping() {
            match first_feed {
                // The line feed itself stays, as a blank line: were we killed between taking it and clearing the mark,
                // the next frame would be skipped too.
                Some(0) => stash.stop_skipping(),
                Some(before) => moved += take(channel, &mut buffer[..before])?,
                None => moved += take(channel, &mut buffer[..looked])?,
            }
            fault_point();
            continue;
        }
        if partial_bytes == 0
            && let Some(last_feed) = memchr::memrchr(b'\n', &buffer[..looked])
        {
            channel.pending = Pending::Socket(last_feed + 1);
            return Ok(Incoming::Lines(&buffer[..=last_feed]));
        }
        let length = first_feed.map_or(looked, |at| at + 1);
        if partial_bytes + length as u64 > channel.limits.max_frame_bytes {
            stash.start_skipping();
        } else {
            moved += stash.take_from(channel.socket.as_fd(), length)?;
        }
        fault_point();
    }
    Ok(Incoming::Again)
}

pub(super) fn consume(channel: &mut Channel) -> io::Result<()> {
    match std::mem::replace(&mut channel.pending, Pending::Nothing) {
        Pending::Nothing => Ok(()),
        Pending::Stash(to) => {
            let Some(stash) = &channel.stash else {
                return Ok(());
            };
            stash.set_in_read(to)?;
            fault_point();
            Ok(())
        }
        Pending::Socket(mut length) => {
            let mut scratch = [0_u8; LOOK_BYTES];
            // One call takes all of it, as the peek that found it saw the same queue up to the same boundary.
            while length > 0 {
                let taken = take(channel, &mut scratch[..length.min(LOOK_BYTES)])?;
                fault_point();
                if taken == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                length -= taken;
            }
            Ok(())
        }
    }
}

/// `None`: nothing there; `Some(0)`: the child closed.
fn look(channel: &Channel, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match receive(channel, buffer, RecvFlags::PEEK) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

fn take(channel: &Channel, buffer: &mut [u8]) -> io::Result<usize> {
    receive(channel, buffer, RecvFlags::empty())
}

fn receive(channel: &Channel, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    // No room for control messages: the kernel closes descriptors that the child sends along.
    let (length, _) = rustix::io::retry_on_intr(|| {
        rustix::net::recv(&channel.socket, &mut *buffer, flags | RecvFlags::DONTWAIT)
    })?;
    Ok(length)
}

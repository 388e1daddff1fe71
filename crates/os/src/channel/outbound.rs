//! Giving frames to the socket, whole and in order.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::SendFlags;

use super::{Channel, MAX_DIRECT_FRAME, Stash, WriteError, Written, fault_point};

/// One `sendfile`.
const CHUNK_BYTES: u64 = 1 << 20;
/// More than a socket can have queued, whatever its buffer size: older bytes were read by the child.
const BEYOND_ANY_QUEUE: u64 = 8 << 20;

pub(super) fn write(channel: &mut Channel, frame: &[u8]) -> Result<Written, WriteError> {
    check_one_line(frame)?;
    if channel.queued_bytes()? == 0 && frame.len() <= MAX_DIRECT_FRAME {
        match send_direct(channel, frame)? {
            Some(sent) if sent == frame.len() => return Ok(Written::Sent),
            // Not seen on any kernel up to this size, but half a frame must not stay one.
            Some(sent) => {
                if channel.stash.is_none() {
                    channel.attach(Stash::create()?);
                }
                append(channel, &frame[sent..])?;
                return Ok(Written::Queued);
            }
            None => {}
        }
    }
    if channel.stash.is_none() {
        return Ok(Written::NeedStash);
    }
    reclaim(channel)?;
    let (queued_bytes, held_bytes) = channel.stash.as_ref().map_or(Ok((0, 0)), |stash| {
        stash.queued_bytes().map(|q| (q, stash.held_bytes()))
    })?;
    if held_bytes + frame.len() as u64 > channel.limits.max_queued_bytes {
        return Err(WriteError::Full { queued_bytes });
    }
    append(channel, frame)?;
    Ok(if flush(channel)? {
        Written::Sent
    } else {
        Written::Queued
    })
}

pub(super) fn write_with_fd(
    channel: &mut Channel,
    frame: &[u8],
    fd: BorrowedFd<'_>,
) -> Result<bool, WriteError> {
    check_one_line(frame)?;
    if frame.len() > MAX_DIRECT_FRAME {
        let text = "a frame with a descriptor must fit into one send";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
    }
    if channel.queued_bytes()? > 0 {
        return Ok(false);
    }
    match crate::pass::send(&channel.socket, frame, &[fd]) {
        Ok(sent) if sent == frame.len() => Ok(true),
        Ok(sent) => {
            if channel.stash.is_none() {
                channel.attach(Stash::create()?);
            }
            append(channel, &frame[sent..])?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn flush(channel: &mut Channel) -> io::Result<bool> {
    let Some(stash) = &channel.stash else {
        return Ok(true);
    };
    loop {
        let queued = stash.queued_bytes()?;
        if queued == 0 {
            reclaim(channel)?;
            return Ok(true);
        }
        let length = usize::try_from(queued.min(CHUNK_BYTES)).map_err(io::Error::other)?;
        match stash.give_to(channel.socket.as_fd(), length) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the IPC stash lost queued bytes",
                ));
            }
            Ok(_) => fault_point(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reclaim(channel)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
}

fn check_one_line(frame: &[u8]) -> Result<(), WriteError> {
    match memchr::memchr(b'\n', frame) {
        Some(at) if at + 1 == frame.len() => Ok(()),
        _ => Err(WriteError::NotOneLine),
    }
}

/// `None`: the socket is full.
fn send_direct(channel: &Channel, frame: &[u8]) -> io::Result<Option<usize>> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = match rustix::io::retry_on_intr(|| rustix::net::send(&channel.socket, frame, flags)) {
        Ok(sent) => Some(sent),
        Err(rustix::io::Errno::AGAIN) => None,
        Err(error) => return Err(error.into()),
    };
    fault_point();
    Ok(sent)
}

fn append(channel: &Channel, bytes: &[u8]) -> io::Result<()> {
    channel.stash.as_ref().map_or(Ok(()), |stash| stash.append(bytes))
}

/// Frees the memory of what the child has read.
fn reclaim(channel: &Channel) -> io::Result<()> {
    let Some(stash) = &channel.stash else {
        return Ok(());
    };
    let sent = stash.out_sent()?;
    let unread_possible = unread_by_peer(channel.socket.as_fd())? > 0;
    stash.release_out(if unread_possible {
        sent.saturating_sub(BEYOND_ANY_QUEUE)
    } else {
        sent
    })
}

/// Memory of the socket's queue towards the child (`SIOCOUTQ`), 0 when it has read everything.
pub(super) fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (= SIOCOUTQ) stores one int at the given address.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes.unsigned_abs())
}

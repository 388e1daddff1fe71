//! Bytes with descriptors over UNIX sockets (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// The kernel takes no more descriptors in one message.
pub const MAX_FDS: usize = 253;

/// What [`receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes put into the buffer; 0 is the end of the connection.
    pub bytes: usize,
    /// The message was longer than the buffer (message sockets); its rest is gone.
    pub bytes_truncated: bool,
    /// Descriptors were lost: this process is at its descriptor limit, or there were too many of them.
    pub fds_truncated: bool,
}

/// Sends without waiting and without `SIGPIPE`. On a message socket it is all or nothing; on a stream the descriptors
/// travel with the first byte, and fewer bytes than given may be taken.
///
/// # Errors
/// `WouldBlock` when the queue is full, `ETOOMANYREFS` when too many descriptors are under way (try later),
/// `InvalidInput` for more than [`MAX_FDS`].
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors for one message",
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
    })?;
    Ok(sent)
}

/// Receives without waiting; descriptors are appended to `fds`, all close-on-exec.
///
/// # Errors
/// `WouldBlock` when nothing is there.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result = loop {
        let received = rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        match received {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(Received {
        bytes: result.bytes,
        bytes_truncated: result.flags.contains(ReturnFlags::TRUNC),
        fds_truncated: result.flags.contains(ReturnFlags::CTRUNC),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_pipe_end_travels_and_works() {
        let (a, b) = crate::socket::message_pair().unwrap();
        let (read, write) = crate::fd::pipe().unwrap();
        send(&a, b"take this", &[write.as_fd()]).unwrap();
        drop(write);
        let mut buffer = [0; 64];
        let mut fds = Vec::new();
        let received = receive(&b, &mut buffer, &mut fds).unwrap();
        assert_eq!(&buffer[..received.bytes], b"take this");
        assert!(!received.bytes_truncated && !received.fds_truncated);
        std::fs::File::from(fds.pop().unwrap())
            .write_all(b"through")
            .unwrap();
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn an_empty_queue_would_block_and_a_long_message_is_reported() {
        let (a, b) = crate::socket::message_pair().unwrap();
        let mut fds = Vec::new();
        let error = receive(&b, &mut [0; 4], &mut fds).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        send(&a, b"longer than four", &[]).unwrap();
        assert!(receive(&b, &mut [0; 4], &mut fds).unwrap().bytes_truncated);
    }
}

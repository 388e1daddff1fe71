//! UNIX socket pairs and who is on the other end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Who connected, as the kernel saw it at connect time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id, 0 when it lives in a pid namespace that is not visible here.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// Credentials of the other end of a UNIX socket.
///
/// # Errors
/// As `getsockopt(SO_PEERCRED)`.
pub fn peer_credentials(fd: impl AsFd) -> io::Result<PeerCredentials> {
    let raw = fd.as_fd();
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the pointers are to a live ucred and its exact size; the kernel writes at most that much. libc is used and
    // not rustix because rustix' Pid cannot hold the 0 of a peer outside our pid namespace.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&raw),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(PeerCredentials {
        pid: u32::try_from(credentials.pid).unwrap_or(0),
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

/// A connected pair that keeps message boundaries: a message arrives whole, with its descriptors, or not at all.
/// Close-on-exec; blocking.
///
/// # Errors
/// Descriptor limits.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// A connected byte-stream pair. Close-on-exec; blocking.
///
/// # Errors
/// Descriptor limits.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Asks for a send buffer of `bytes` (the kernel doubles it for its overhead, and caps it silently).
///
/// # Errors
/// As `setsockopt(SO_SNDBUF)`.
pub fn set_send_buffer(fd: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(fd, bytes)?)
}

/// Ends both directions for every duplicate of the descriptor, in whatever process: the peer sees the end of the stream.
///
/// # Errors
/// `ENOTCONN` when it was not connected.
pub fn shutdown(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Both)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_knows_its_maker() {
        let (a, _b) = stream_pair().unwrap();
        let peer = peer_credentials(&a).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}

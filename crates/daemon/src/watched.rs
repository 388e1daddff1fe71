//! Descriptors that the runtime watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watch a descriptor for both directions.
#[expect(
    deprecated,
    reason = "its successor is unsafe because any AsRawFd may lie; an OwnedFd does not, and unsafe code is for the room `os` alone"
)]
pub(crate) fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

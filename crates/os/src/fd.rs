//! Small tools for descriptors.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::FdFlags;

/// Takes ownership of a descriptor inherited from the parent process under a known number (as named by an environment
/// variable). It is checked to be open and marked close-on-exec.
///
/// Call it once per number, early in `main`. Numbers 0 to 2 are refused: the standard library owns them.
///
/// # Errors
/// `EBADF` when nothing is open there, `InvalidInput` for 0 to 2 or a negative number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("descriptor {number} cannot be an inherited one"),
        ));
    }
    // SAFETY: F_GETFD only inspects the number; it fails with EBADF when nothing is open there.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, and by this function's contract nobody else in this process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_cloexec(&fd, true)?;
    Ok(fd)
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// As `fcntl(F_SETFD)`.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = if on { FdFlags::CLOEXEC } else { FdFlags::empty() };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// Sets or clears `O_NONBLOCK`. The flag belongs to the open file description: duplicates share it.
///
/// # Errors
/// As `ioctl(FIONBIO)`.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, on)?)
}

/// A close-on-exec duplicate.
///
/// # Errors
/// `EMFILE` at the descriptor limit.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Bytes that can be read at once (`FIONREAD`).
///
/// # Errors
/// `ENOTTY` for descriptors that do not know it.
pub fn readable_bytes(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// A close-on-exec pipe: (read end, write end), both blocking.
///
/// # Errors
/// `EMFILE`/`ENFILE` at a descriptor limit.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Asks for a pipe buffer of at least `bytes`; returns what the kernel gave.
///
/// # Errors
/// `EPERM` above the user's share of pipe memory; the pipe stays as it was.
pub fn set_pipe_size(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    Ok(rustix::pipe::fcntl_setpipe_size(fd, bytes)?)
}

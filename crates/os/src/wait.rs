//! Collecting the exits of children.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It is gone, but was not our child, so nobody can say how.
    Unknown,
}

impl Exit {
    pub(crate) fn from_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// What a process used in its life, its own waited-for children included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Largest resident set, in bytes.
    pub max_rss_bytes: u64,
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
}

/// One collected child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Its process id, free for reuse from now on.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
}

/// Collects one exited child of any pid, without waiting. `Ok(None)`: none has exited, or there are no children.
///
/// # Errors
/// None that a caller could cause.
pub fn reap_any() -> io::Result<Option<Reaped>> {
    reap(-1)
}

/// Collects this child if it has exited, without waiting.
///
/// # Errors
/// `ECHILD` is `Ok(None)` too: somebody else collected it.
pub fn reap_one(pid: u32) -> io::Result<Option<Reaped>> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if pid == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    reap(pid)
}

fn reap(which: i32) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let pid = loop {
        // SAFETY: both pointers are to live memory of the right type, written by the kernel only during the call.
        let pid = unsafe { libc::wait4(which, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
        if pid >= 0 {
            break pid;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: zeroed above, which is a valid rusage, and filled by wait4.
    let usage = unsafe { usage.assume_init() };
    Ok(Some(Reaped {
        pid: pid.unsigned_abs(),
        exit: Exit::from_wait_status(status),
        usage: Usage {
            max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
        },
    }))
}

fn duration(time: libc::timeval) -> Duration {
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + Duration::from_micros(micros)
}

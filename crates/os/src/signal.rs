//! Signals as numbers, names and readable descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The usual numbers, for callers that need no libc otherwise.
pub const SIGHUP: i32 = libc::SIGHUP;
/// Interrupt, PM2's default stop signal.
pub const SIGINT: i32 = libc::SIGINT;
/// Quit.
pub const SIGQUIT: i32 = libc::SIGQUIT;
/// Kill: cannot be caught.
pub const SIGKILL: i32 = libc::SIGKILL;
/// User-defined 1.
pub const SIGUSR1: i32 = libc::SIGUSR1;
/// User-defined 2.
pub const SIGUSR2: i32 = libc::SIGUSR2;
/// A write to a pipe without readers.
pub const SIGPIPE: i32 = libc::SIGPIPE;
/// Terminate.
pub const SIGTERM: i32 = libc::SIGTERM;
/// A child changed.
pub const SIGCHLD: i32 = libc::SIGCHLD;
/// Continue.
pub const SIGCONT: i32 = libc::SIGCONT;
/// Stop: cannot be caught.
pub const SIGSTOP: i32 = libc::SIGSTOP;

const NAMES: [(&str, i32); 31] = [
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// The number of a signal given as `SIGTERM`, `TERM`, `sigterm` or `15`.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES
        .iter()
        .find(|(name, _)| &name[3..] == bare)
        .map(|&(_, number)| number)
}

/// `SIGTERM` for 15; `None` for realtime signals and numbers that are none.
#[must_use]
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|&&(_, n)| n == number).map(|&(name, _)| name)
}

/// Ignores a signal for the whole process (children started by [`crate::spawn`] get the default back).
///
/// # Errors
/// `EINVAL` for `SIGKILL`, `SIGSTOP` and non-signals.
pub fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: installing SIG_IGN runs no code of ours in signal context.
    let previous = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if previous == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Signals as a descriptor to poll. Create it before any other thread, because it blocks the signals in the calling
/// thread, and threads made later inherit that.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks `signals` and makes them readable here. Non-blocking, close-on-exec.
    ///
    /// # Errors
    /// Descriptor limits, `EINVAL` for numbers that are no signals.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set before anything reads it; the calls only touch it and this thread's mask.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for &signal in signals {
                if libc::sigaddset(set.as_mut_ptr(), signal) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// The next pending signal number, `None` when there is none.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut record)) {
            Ok(length) if length == record.len() => {
                // ssi_signo is the first 32-bit word of the record.
                Ok(Some(i32::from_ne_bytes([
                    record[0], record[1], record[2], record[3],
                ])))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGUSR2", Some(12)),
            ("", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
        assert_eq!(parse("0"), None);
        assert_eq!(parse("65"), None);
        assert_eq!(name(2), Some("SIGINT"));
        assert_eq!(name(40), None);
    }

    #[test]
    fn a_signal_becomes_readable() {
        let signals = SignalFd::new(&[SIGUSR1]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // To this thread, where it is blocked; another thread of the test runner would die of it.
        // SAFETY: raise only sends to the calling thread.
        unsafe { libc::raise(SIGUSR1) };
        assert_eq!(signals.next().unwrap(), Some(SIGUSR1));
    }
}

//! Watching, signalling and dressing processes.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

fn pid_of(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| {
        // 0 and negative numbers mean groups to kill(2): never let one through.
        io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no process id"))
    })
}

/// A descriptor that stands for the process, becomes readable when it exits, and never means another one. Close-on-exec.
///
/// # Errors
/// `ESRCH` when there is no such process, `EINVAL` when it is a thread.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::NONBLOCK)?)
}

/// Sends a signal to the process behind a pidfd; cannot hit a reused pid.
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM`.
pub fn signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd();
    // SAFETY: plain integers and a null pointer, which the call documents as "no extra information". A system call by
    // number because rustix' Signal cannot hold realtime signals without unsafe of its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            std::os::fd::AsRawFd::as_raw_fd(&fd),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sends a signal by pid. Prefer [`signal`]; this is for descendants that only `/proc` knows.
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM`, `InvalidInput` for 0 or more than `i32::MAX`.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = pid_of(pid)?;
    // SAFETY: kill takes two integers; the pid is positive, so exactly one process is meant.
    if unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether the process exists (a zombie does), even if it is another user's.
#[must_use]
pub fn exists(pid: u32) -> bool {
    pid_of(pid).is_ok_and(|pid| {
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}

/// Whether the process behind a pidfd has exited.
///
/// # Errors
/// Those of `poll`.
pub fn has_exited(pidfd: impl AsFd) -> io::Result<bool> {
    let mut poll = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let none = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&none)))?;
    Ok(ready > 0)
}

/// How the process behind a pidfd ended, even if it was not our child. `None` while it lives, or has not been collected by
/// its parent yet, and on kernels before 6.15, which cannot tell.
#[must_use]
pub fn exit_of(pidfd: impl AsFd) -> Option<crate::wait::Exit> {
    /// `struct pidfd_info` in its first size.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        wait_status: i32,
    }
    const WANT_EXIT: u64 = 1 << 3;
    // _IOWR(0xff, 11, struct pidfd_info)
    const GET_INFO: libc::c_ulong =
        (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;
    let mut info = PidfdInfo {
        mask: WANT_EXIT,
        ..PidfdInfo::default()
    };
    let fd = pidfd.as_fd();
    // SAFETY: the size is part of the request number, so the kernel writes at most this struct, which is plain integers.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&fd), GET_INFO as _, &raw mut info) };
    (result == 0 && info.mask & WANT_EXIT != 0).then(|| crate::wait::Exit::from_wait_status(info.wait_status))
}

/// Raises the soft limit of open descriptors to the hard one. Returns (soft, hard) as they are now.
///
/// # Errors
/// As `setrlimit`.
pub fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    if now.current != now.maximum {
        rustix::process::setrlimit(
            Resource::Nofile,
            Rlimit {
                current: now.maximum,
                maximum: now.maximum,
            },
        )?;
    }
    Ok((hard, hard))
}

/// How many descriptors this process may have open.
#[must_use]
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// Makes orphaned grandchildren come to this process instead of init.
///
/// # Errors
/// None on Linux 3.4 and later.
pub fn set_child_subreaper(on: bool) -> io::Result<()> {
    let pid = on.then(rustix::process::getpid);
    Ok(rustix::process::set_child_subreaper(pid)?)
}

/// Asks for a signal when the parent thread dies; `None` takes it back.
///
/// # Errors
/// `EINVAL` for numbers that are no signals.
pub fn set_parent_death_signal(signal: Option<i32>) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.unwrap_or(0), 0, 0, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Shows `title` as the command line and (its first 15 bytes) as the name of this process.
///
/// The title is cut to the room that the original arguments left, as with any program that does this: start the process
/// with a long enough `argv[0]`. `std::env::args` returns pieces of the title afterwards, so read the arguments before.
///
/// # Errors
/// When `/proc/self/stat` cannot be read; the name may be set already then.
pub fn set_title(title: &str) -> io::Result<()> {
    let name: Vec<u8> = title.bytes().filter(|&b| b != 0).take(15).collect();
    if let Ok(name) = CString::new(name) {
        rustix::thread::set_name(&name)?;
    }
    let (start, end) = argument_area()?;
    let room = end.saturating_sub(start);
    if room < 2 {
        return Ok(());
    }
    let length = title.len().min(room - 1);
    // SAFETY: start..end is this process's own argument area as the kernel reports it: mapped, writable and used by
    // nobody but `std::env::args`, whose pointers keep pointing into it and stay NUL-terminated, as its last byte is 0.
    unsafe {
        let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
        std::ptr::copy_nonoverlapping(title.as_ptr(), area, length);
        std::ptr::write_bytes(area.add(length), 0, room - length);
    }
    Ok(())
}

/// Where the kernel put the arguments: fields 48 and 49 of `/proc/self/stat`.
fn argument_area() -> io::Result<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
    let mut fields = after_name.split_ascii_whitespace().skip(45);
    let mut next = || fields.next().and_then(|text| text.parse().ok());
    match (next(), next()) {
        (Some(start), Some(end)) if start != 0 => Ok((start, end)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel does not tell the argument area",
        )),
    }
}

/// Replaces this process's program in place: same pid, same children, same descriptors as far as they are not
/// close-on-exec, same signal mask and ignored signals (so nothing can be lost or hit in between). Returns only on failure.
#[must_use]
pub fn replace(program: &Path, argv: &[CString], env: &[CString]) -> io::Error {
    let program = match c_string(program.as_os_str()) {
        Ok(program) => program,
        Err(error) => return error,
    };
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|s| CStr::as_ptr(s))
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: null-terminated arrays of NUL-terminated strings that all live until the call ends.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

pub(crate) fn empty_signal_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initialises what it is given; zeroed is valid for the type anyway.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// A NUL-terminated copy for system calls.
///
/// # Errors
/// `InvalidInput` for a NUL inside.
pub fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a NUL byte inside an argument or path",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_never_signalled() {
        assert_eq!(kill(0, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(kill(u32::MAX, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!exists(0));
        assert!(exists(std::process::id()));
    }

    #[test]
    fn a_pidfd_tells_the_exit() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(!has_exited(&pidfd).unwrap());
        assert_eq!(exit_of(&pidfd), None);
        signal(&pidfd, crate::signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(has_exited(&pidfd).unwrap());
        // Older kernels cannot tell; no kernel may tell anything else.
        assert!(matches!(
            exit_of(&pidfd),
            None | Some(crate::wait::Exit::Signal(crate::signal::SIGKILL))
        ));
        assert_eq!(signal(&pidfd, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}

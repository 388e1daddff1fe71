//! Starting a program with its descriptors, directory, user and signals in place.
//!
//! The child half runs on the parent's memory until it execs (as `posix_spawn` does, so the cost does not grow with the
//! parent), and therefore touches nothing but prepared memory and system calls. The parent thread waits meanwhile, so a
//! failure is known, with the step that failed, when [`spawn`] returns.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use crate::process::{c_string, empty_signal_set};

/// The user to run as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All supplementary groups; the caller's are dropped.
    pub groups: Vec<u32>,
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// A path; without a slash, a name searched in `PATH` of `env` (`/usr/local/bin:/usr/bin:/bin` if unset).
    pub exec: OsString,
    /// All arguments, the zeroth included.
    pub argv: Vec<OsString>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<OsString>,
    /// Working directory; empty: the caller's. Entered before the user changes.
    pub cwd: PathBuf,
    /// `None`: the caller's user.
    pub identity: Option<Identity>,
    /// Adds `LISTEN_PID=<pid of the child>` to the environment.
    pub listen_pid: bool,
}

/// The step that failed. The numbers are stable: they travel between keeper and daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// The request itself is unusable: a NUL inside a string, too many descriptors.
    Prepare = 1,
    /// No process could be made (limits).
    Fork = 2,
    /// Putting descriptors into place.
    Descriptors = 3,
    /// Entering the working directory.
    WorkingDirectory = 4,
    /// Changing user or groups.
    Identity = 5,
    /// The program could not be run: missing, not executable, wrong format.
    Exec = 6,
    /// Making pipes or sockets for it (done by the keeper).
    Channels = 7,
    /// Entering its cgroup.
    Cgroup = 8,
}

impl Step {
    /// The step behind a number, `None` if it is none.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Prepare,
            2 => Self::Fork,
            3 => Self::Descriptors,
            4 => Self::WorkingDirectory,
            5 => Self::Identity,
            6 => Self::Exec,
            7 => Self::Channels,
            8 => Self::Cgroup,
            _ => return None,
        })
    }

    /// In words, to go after "while".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Prepare => "preparing the program",
            Self::Fork => "making a process",
            Self::Descriptors => "placing its descriptors",
            Self::WorkingDirectory => "entering its working directory",
            Self::Identity => "changing to its user",
            Self::Exec => "running the program",
            Self::Channels => "making its pipes",
            Self::Cgroup => "entering its cgroup",
        }
    }
}

/// Why nothing was started. No child is left behind.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .step.describe())]
pub struct SpawnError {
    /// What was being done.
    pub step: Step,
    /// The kernel's answer.
    pub source: io::Error,
}

/// A started child.
#[derive(Debug)]
pub struct Child {
    /// Its process id; it is its own session and group leader too. To be reaped by the caller ([`crate::wait`]).
    pub pid: u32,
    /// Stands for it, close-on-exec.
    pub pidfd: OwnedFd,
}

const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";
/// Far more than some system calls need.
const STACK_BYTES: usize = 64 * 1024;
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Starts `program` in a new session. `fds[i]` becomes the child's descriptor `i`; everything else is closed on exec.
/// Signal dispositions and mask are reset, no parent death signal is set, limits and umask are inherited.
///
/// # Errors
/// The step and the kernel's error, after the failed child was reaped.
pub fn spawn(program: &Program, fds: &[BorrowedFd<'_>]) -> Result<Child, SpawnError> {
    let mut plan = Plan::new(program, fds).map_err(at(Step::Prepare))?;
    // Only what is used of it is ever touched.
    run(&mut plan, &mut Vec::with_capacity(STACK_BYTES))
}

/// Starts programs for a process with one thread and many descriptors.
///
/// As a rule a child gets a copy of the table of descriptors, and has to close them one by one: with each child the next one takes longer.
/// A launcher's child shares the table until it has nothing to do with it but to leave it, taking along a few low numbers alone. The
/// child's own descriptors stand there for that moment.
#[derive(Debug)]
pub struct Launcher {
    /// Descriptors without a meaning, with the lowest numbers that were free.
    slots: Vec<OwnedFd>,
    /// What stands in a slot that is free.
    null: File,
    stack: Vec<u8>,
}

impl Launcher {
    /// A launcher for children with as many as `slots` descriptors; with more they are started as by [`spawn`]. Make it before there are many
    /// descriptors: it takes low numbers for good.
    ///
    /// # Errors
    /// Limits of descriptors; no `/dev/null`.
    pub fn new(slots: usize) -> io::Result<Self> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        // Kernels before 5.9 can't do it. Nothing has this number.
        // SAFETY: closes nothing.
        let can_leave = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0;
        let slots = if can_leave { slots } else { 0 };
        Ok(Self {
            slots: (0..slots)
                .map(|_| crate::fd::duplicate(&null))
                .collect::<io::Result<_>>()?,
            null,
            stack: Vec::with_capacity(STACK_BYTES),
        })
    }

    /// As [`spawn`], in the cgroup whose `cgroup.procs` is open for writing as `cgroup`: the child is in it before it is anything.
    ///
    /// # Errors
    /// As [`spawn`].
    pub fn spawn_into(
        &mut self,
        program: &Program,
        fds: &[BorrowedFd<'_>],
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Child, SpawnError> {
        let mut plan = Plan::new(program, fds).map_err(at(Step::Prepare))?;
        plan.cgroup = cgroup.map(|fd| fd.as_raw_fd());
        if fds.len() > self.slots.len() {
            return run(&mut plan, &mut self.stack);
        }
        let placed = fds.len();
        let child = self.place(fds).map_err(at(Step::Descriptors)).and_then(|()| {
            plan.fds = self.slots.iter().take(placed).map(AsRawFd::as_raw_fd).collect();
            let highest = self.slots.iter().map(AsRawFd::as_raw_fd).max();
            plan.leave_from = highest.and_then(|highest| u32::try_from(highest + 1).ok());
            run(&mut plan, &mut self.stack)
        });
        // A pipe that stayed here would never end. A slot can always be filled: its number is there.
        let nothing = vec![self.null.as_fd(); placed];
        let cleared = place(&mut self.slots, &nothing);
        debug_assert!(cleared.is_ok(), "{cleared:?}");
        child
    }

    fn place(&mut self, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        place(&mut self.slots, fds)
    }
}

/// Puts duplicates into slots.
fn place(slots: &mut [OwnedFd], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for (slot, fd) in slots.iter_mut().zip(fds) {
        rustix::io::dup3(fd, slot, rustix::io::DupFlags::CLOEXEC)?;
    }
    Ok(())
}

fn at(step: Step) -> impl Fn(io::Error) -> SpawnError {
    move |source| SpawnError { step, source }
}

/// Makes the child and waits until it has executed its program. `stack` has the capacity of [`STACK_BYTES`], and is used by the child alone.
fn run(plan: &mut Plan, stack: &mut Vec<u8>) -> Result<Child, SpawnError> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    if plan.leave_from.is_some() {
        flags |= libc::CLONE_FILES;
    }
    let all = {
        let mut set = empty_signal_set();
        // SAFETY: fills an initialised set.
        unsafe { libc::sigfillset(&raw mut set) };
        set
    };
    let mut before = empty_signal_set();
    // SAFETY: the child shares this memory but the parent thread is suspended until it execs or exits (CLONE_VFORK), so
    // there is no concurrent access; it runs on its own stack, of which the (aligned) top is passed, and only `child_half`
    // with prepared data. All signals are blocked around it, so that no handler of ours runs in the child. Where it shares the
    // table of descriptors, it changes nothing in it before it has a table of its own.
    let pid = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = stack.as_mut_ptr().add(stack.capacity());
        let top = top.sub(top.addr() % 16);
        let pid = libc::clone(
            child_half,
            top.cast(),
            flags,
            (&raw mut *plan).cast(),
            &raw mut pidfd,
        );
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if pid < 0 {
            return Err(SpawnError {
                step: Step::Fork,
                source: error,
            });
        }
        pid
    };
    // SAFETY: the kernel stored a fresh descriptor there (CLONE_PIDFD), which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: written by the child before it ended; read once, now that it runs no more on our memory.
    let (step, errno) = unsafe {
        (
            ptr::read_volatile(&raw const plan.step),
            ptr::read_volatile(&raw const plan.errno),
        )
    };
    if let Some(step) = Step::from_number(step) {
        let mut status = 0;
        // SAFETY: the failed child has called _exit; this collects exactly it.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        return Err(SpawnError {
            step,
            source: io::Error::from_raw_os_error(errno),
        });
    }
    Ok(Child {
        pid: pid.unsigned_abs(),
        pidfd,
    })
}

/// Everything the child half needs, prepared so that it allocates nothing. The pointers point into the `_owned` fields.
struct Plan {
    candidates: Vec<*const libc::c_char>,
    argv: Vec<*const libc::c_char>,
    /// `/bin/sh <candidate> args…` for scripts without an interpreter line, as execvp does it.
    shell_argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    listen_pid: Vec<u8>,
    cwd: Option<CString>,
    identity: Option<Identity>,
    /// Source descriptors; replaced in the child by duplicates above all targets.
    fds: Vec<libc::c_int>,
    cgroup: Option<libc::c_int>,
    /// The table of descriptors is the parent's too; the child leaves it, without those from this number on.
    leave_from: Option<libc::c_uint>,
    /// Written by the child on failure; 0 while all is well.
    step: u32,
    errno: libc::c_int,
    _owned: Vec<CString>,
}

impl Plan {
    fn new(program: &Program, fds: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let mut owned = Vec::with_capacity(program.argv.len() + program.env.len() + 16);
        // The heap part of a CString does not move when the CString does, so the pointers stay good.
        let mut keep = |text: CString| {
            let pointer = text.as_ptr();
            owned.push(text);
            pointer
        };
        let candidates = candidates(program)?
            .into_iter()
            .map(|path| {
                CString::new(path)
                    .map(&mut keep)
                    .map_err(|_| io::ErrorKind::InvalidInput.into())
            })
            .collect::<io::Result<Vec<_>>>()?;
        let list = |texts: &[OsString], keep: &mut dyn FnMut(CString) -> *const libc::c_char| {
            texts
                .iter()
                .map(|text| c_string(text).map(&mut *keep))
                .collect::<io::Result<Vec<_>>>()
        };
        let mut argv = list(&program.argv, &mut keep)?;
        if argv.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an empty argument list",
            ));
        }
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend_from_slice(&argv[1..]);
        shell_argv.push(ptr::null());
        argv.push(ptr::null());
        let mut env = list(&program.env, &mut keep)?;
        let mut listen_pid = Vec::new();
        if program.listen_pid {
            listen_pid.extend_from_slice(LISTEN_PID);
            listen_pid.resize(LISTEN_PID.len() + 16, 0);
            env.push(listen_pid.as_ptr().cast());
        }
        env.push(ptr::null());
        let cwd = if program.cwd.as_os_str().is_empty() {
            None
        } else {
            Some(c_string(program.cwd.as_os_str())?)
        };
        Ok(Self {
            candidates,
            argv,
            shell_argv,
            env,
            listen_pid,
            cwd,
            identity: program.identity.clone(),
            fds: fds.iter().map(AsRawFd::as_raw_fd).collect(),
            cgroup: None,
            leave_from: None,
            step: 0,
            errno: 0,
            _owned: owned,
        })
    }
}

/// The paths to try, in order.
fn candidates(program: &Program) -> io::Result<Vec<Vec<u8>>> {
    let exec = program.exec.as_bytes();
    if exec.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an empty program path",
        ));
    }
    if exec.contains(&b'/') {
        return Ok(vec![exec.to_vec()]);
    }
    let path = program
        .env
        .iter()
        .rev()
        .find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let join = |directory: &[u8]| {
        let directory = if directory.is_empty() {
            b".".as_slice()
        } else {
            directory
        };
        [directory, b"/", exec].concat()
    };
    Ok(path
        .unwrap_or(DEFAULT_PATH)
        .split(|&b| b == b':')
        .map(join)
        .collect())
}

/// Where a program named without a slash would be found now, for messages and checks. `None`: nowhere.
#[must_use]
pub fn find_in_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|candidate| {
            candidate
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

extern "C" fn child_half(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes its live, exclusively ours Plan; see there.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: runs in the child made by `spawn`.
    let (step, errno) = unsafe { set_up_and_exec(plan) };
    // SAFETY: plain stores to live memory; volatile as the reader is another process as far as the compiler knows.
    unsafe {
        ptr::write_volatile(&raw mut plan.errno, errno);
        ptr::write_volatile(&raw mut plan.step, step as u32);
        libc::_exit(127)
    }
}

/// Only returns on failure: the step and errno.
///
/// # Safety
/// Only in a vfork-like child: single-threaded, signals blocked. No allocation, no locks; system calls that glibc would
/// broadcast to all threads (setuid and friends) are made raw, because the other threads are not ours.
unsafe fn set_up_and_exec(plan: &mut Plan) -> (Step, libc::c_int) {
    // SAFETY: the whole body is system calls on prepared memory; see the function's contract.
    unsafe {
        // The kernel's own form of "default, no flags": all zeros. By number, as glibc hides two signals from its sigaction.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            // Fails for KILL and STOP, which need no reset.
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                8_usize,
            );
        }
        libc::setsid();

        // Before descriptors move: it is closed with the others. 0 is whoever writes.
        if let Some(cgroup) = plan.cgroup
            && libc::write(cgroup, c"0".as_ptr().cast(), 1) < 0
        {
            return (Step::Cgroup, errno());
        }
        if let Some(first) = plan.leave_from
            && libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_UNSHARE) < 0
        {
            return (Step::Descriptors, errno());
        }
        // First above all targets, then down into place: no order of sources can clobber another one.
        let floor = plan.fds.len() as libc::c_int;
        for fd in &mut plan.fds {
            *fd = libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, floor.max(3));
            if *fd < 0 {
                return (Step::Descriptors, errno());
            }
        }
        for (target, &fd) in plan.fds.iter().enumerate() {
            if libc::dup2(fd, target as libc::c_int) < 0 {
                return (Step::Descriptors, errno());
            }
        }
        // Old kernels lack this; all our descriptors are close-on-exec by themselves.
        libc::syscall(
            libc::SYS_close_range,
            floor.max(3),
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );

        if let Some(cwd) = &plan.cwd
            && libc::chdir(cwd.as_ptr()) < 0
        {
            return (Step::WorkingDirectory, errno());
        }
        if let Some(identity) = &plan.identity {
            let (groups, gid, uid) = (&identity.groups, identity.gid, identity.uid);
            if libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) < 0
                // Without privilege the list cannot change; that is no harm if user and group stay the same.
                && !(uid == libc::geteuid() && gid == libc::getegid())
            {
                return (Step::Identity, errno());
            }
            if libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
                || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0
            {
                return (Step::Identity, errno());
            }
        }
        if !plan.listen_pid.is_empty() {
            write_decimal(
                &mut plan.listen_pid[LISTEN_PID.len()..],
                libc::getpid().unsigned_abs(),
            );
        }
        let empty = empty_signal_set();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut());

        let mut worst = libc::ENOENT;
        for &candidate in &plan.candidates {
            libc::execve(candidate, plan.argv.as_ptr(), plan.env.as_ptr());
            let mut error = errno();
            if error == libc::ENOEXEC {
                plan.shell_argv[1] = candidate;
                libc::execve(plan.shell_argv[0], plan.shell_argv.as_ptr(), plan.env.as_ptr());
                error = errno();
            }
            match error {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                other => return (Step::Exec, other),
            }
        }
        (Step::Exec, worst)
    }
}

/// # Safety
/// None needed; unsafe only because reading errno is.
unsafe fn errno() -> libc::c_int {
    // SAFETY: always a valid thread-local address; in the child it is the suspended parent thread's.
    unsafe { *libc::__errno_location() }
}

fn write_decimal(buffer: &mut [u8], mut number: u32) {
    let mut digits = [0_u8; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let text = &digits[at..];
    buffer[..text.len()].copy_from_slice(text);
}

#[cfg(test)]
#[path = "spawn_tests.rs"]
mod tests;

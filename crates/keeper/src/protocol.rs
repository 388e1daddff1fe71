//! What daemon and keeper say to each other: one message per packet of a UNIX seqpacket socket, so a message arrives whole,
//! with its descriptors, or not at all.
//!
//! Packet: `u16` kind, `u16` flags (bit 0: the body is in an anonymous file that comes as the first descriptor), then the
//! body, little-endian. A keeper outlives many daemons: fields are only ever added at the end, kinds never reused, and
//! unknown kinds are answered with [`Event::Refused`] and `ENOSYS`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use os::spawn::{Program, Step};
use os::wait::{Exit, Usage};

/// Spoken by this version.
pub const PROTOCOL_VERSION: u32 = 2;
/// From this version on a keeper knows [`SpawnSpec::in_cgroup`].
pub const KNOWS_CGROUPS: u32 = 2;
/// Names in the store are at most this long, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Descriptors under one name, and extra ones for a child, are at most so many.
pub const MAX_FDS: usize = 64;
/// A body (arguments and environment of a child, mostly) is at most this long, in bytes.
pub const MAX_BODY_BYTES: usize = 32 << 20;

/// Where the IPC channel of a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpcPlace {
    /// It has none.
    #[default]
    None,
    /// On descriptor 3; extra descriptors follow from 4.
    First,
    /// After the extra descriptors, which begin at 3 as `LISTEN_FDS` wants it.
    Last,
}

/// What to start and what to connect it with. stdout and stderr are always pipes, each child leads its own session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpawnSpec {
    /// Program, arguments, environment, directory, user.
    pub program: Program,
    /// stdin is a pipe; otherwise `/dev/null`.
    pub stdin_pipe: bool,
    /// The IPC channel.
    pub ipc: IpcPlace,
    /// The last of the extra descriptors is no descriptor of the child, but the `cgroup.procs` that it enters.
    pub in_cgroup: bool,
}

/// One descriptor of a child that the keeper can let go ([`Request::Release`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Part {
    /// Our end of its stdin: with the daemon's closed too, it reads the end of the file.
    Stdin = 1,
    /// Its stdout.
    Stdout = 2,
    /// Its stderr.
    Stderr = 4,
    /// Our end of its IPC channel: with the daemon's closed too, it sees a disconnect.
    Ipc = 8,
}

/// Our ends of a child's descriptors, lent to the keeper.
#[derive(Debug, Clone, Copy, Default)]
pub struct LentFds<'a> {
    /// Write end.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Read end.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Read end.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Our end of the socket pair.
    pub ipc: Option<BorrowedFd<'a>>,
    /// Stands for the process.
    pub pidfd: Option<BorrowedFd<'a>>,
}

/// Daemon to keeper.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Start a child. Answered by [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn {
        /// The daemon's number for this incarnation, never used before in this keeper.
        key: u64,
        /// What.
        spec: &'a SpawnSpec,
        /// Further descriptors for it ([`IpcPlace`] says where they begin).
        extra: &'a [BorrowedFd<'a>],
    },
    /// The exit was seen: drop the child and its descriptors. Before its exit this is refused with `EBUSY`.
    Forget {
        /// Which.
        key: u64,
    },
    /// Close the keeper's duplicate of one descriptor of a child.
    Release {
        /// Which child.
        key: u64,
        /// Which descriptor.
        part: Part,
    },
    /// Keep these descriptors under a name, in place of what was there, atomically.
    Put {
        /// At most [`MAX_NAME_BYTES`].
        name: &'a str,
        /// At most [`MAX_FDS`].
        fds: &'a [BorrowedFd<'a>],
    },
    /// Drop what is kept under a name; nothing there is fine.
    Remove {
        /// Which.
        name: &'a str,
    },
    /// Watch a process that is not the keeper's child (after a keeper died). Its exit may be [`Exit::Unknown`].
    Adopt {
        /// The daemon's number for it, as in `Spawn`.
        key: u64,
        /// Its process id.
        pid: u32,
        /// When it was started, ms since the epoch.
        spawned_at_ms: u64,
        /// What to keep of it. Without `pidfd` the keeper opens one.
        fds: LentFds<'a>,
    },
    /// Replace the keeper's program by this one, in place. Answered by a second [`Event::Welcome`], or `Refused`.
    Exec {
        /// Its absolute path.
        path: &'a Path,
    },
    /// The daemon is about to exit for good: end too, when it has.
    Shutdown,
}

/// The kind of a request, as it travels and as refusals name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum RequestKind {
    /// [`Request::Spawn`]
    Spawn = 1,
    /// [`Request::Forget`]
    Forget = 2,
    /// [`Request::Release`]
    Release = 3,
    /// [`Request::Put`]
    Put = 4,
    /// [`Request::Remove`]
    Remove = 5,
    /// [`Request::Adopt`]
    Adopt = 6,
    /// [`Request::Exec`]
    Exec = 7,
    /// [`Request::Shutdown`]
    Shutdown = 8,
    /// A kind that this version does not know.
    Unknown = 0xffff,
}

/// Our ends of a child's descriptors, received.
#[derive(Debug, Default)]
pub struct ChildFds {
    /// Write end, non-blocking, if it was asked for.
    pub stdin: Option<OwnedFd>,
    /// Read end, non-blocking.
    pub stdout: Option<OwnedFd>,
    /// Read end, non-blocking.
    pub stderr: Option<OwnedFd>,
    /// Our end of the socket pair, non-blocking, if it was asked for.
    pub ipc: Option<OwnedFd>,
    /// Stands for the process; readable when it has exited.
    pub pidfd: Option<OwnedFd>,
}

/// How and when a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitReport {
    /// How.
    pub exit: Exit,
    /// When the keeper collected it, ms since the epoch.
    pub at_ms: u64,
    /// What it used; zero for adopted ones.
    pub usage: Usage,
}

/// A child with everything the keeper holds of it.
#[derive(Debug)]
pub struct ChildInfo {
    /// The daemon's number for it.
    pub key: u64,
    /// Its process id.
    pub pid: u32,
    /// Its start in clock ticks since boot, as in `/proc/<pid>/stat`; 0 if it was gone too soon to look.
    pub start_ticks: u64,
    /// When it was started, ms since the epoch.
    pub spawned_at_ms: u64,
    /// It is not the keeper's own child: its exit may be [`Exit::Unknown`] (kernels before 6.15).
    pub adopted: bool,
    /// It has ended already and waits to be forgotten.
    pub exited: Option<ExitReport>,
    /// Our ends.
    pub fds: ChildFds,
}

/// Keeper to daemon. After a connect: `Welcome`, all `Child`, all `Stored`, `Ready`; then whatever happens.
#[derive(Debug)]
pub enum Event {
    /// The first event, and again after [`Request::Exec`] worked.
    Welcome {
        /// Spoken by the keeper.
        protocol: u32,
        /// Its process id.
        keeper_pid: u32,
        /// Which daemon of this keeper this one is: 1 for the first.
        daemon_starts: u64,
    },
    /// A child from before this daemon. Its exit, if any, is in it, and comes as no further event.
    Child(ChildInfo),
    /// Descriptors kept under a name.
    Stored {
        /// The name.
        name: String,
        /// In the order they were put.
        fds: Vec<OwnedFd>,
    },
    /// Everything from before was told.
    Ready,
    /// A child runs.
    Spawned(ChildInfo),
    /// A child could not be started; its key is free again.
    SpawnFailed {
        /// The daemon's number.
        key: u64,
        /// What failed.
        step: Step,
        /// The kernel's answer.
        errno: i32,
    },
    /// A child ended. Kept until [`Request::Forget`].
    Exited {
        /// The daemon's number.
        key: u64,
        /// Its process id, free for reuse by now.
        pid: u32,
        /// How.
        report: ExitReport,
    },
    /// A request could not be done.
    Refused {
        /// Which kind.
        request: RequestKind,
        /// Its key, or 0.
        key: u64,
        /// Its name, or empty.
        name: String,
        /// The kernel's answer, or one in its words (`EEXIST`, `ENOENT`, `EBUSY`, `E2BIG`, `EMFILE`, `ENOSYS` …).
        errno: i32,
    },
}

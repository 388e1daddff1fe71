//! Starting, adopting and collecting children.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use os::spawn::Step;
use os::wait::{Exit, Usage};
use rustix::io::Errno;

use super::{Note, Server, errno_of, exit_now, now_ms};
use crate::KeeperError;
use crate::codec::ChildFacts;
use crate::protocol::{ChildFds, IpcPlace, MAX_FDS, RequestKind, SpawnSpec};
use crate::table::Child;

/// Wanted for each direction of an IPC channel; the kernel cuts it to its limit. Frames that fit need no stash.
const IPC_BUFFER_BYTES: usize = 256 * 1024;

/// How long to wait for another parent to collect an adopted process.
const COLLECT_TRIES: u32 = 5;
const COLLECT_PAUSE: Duration = Duration::from_millis(1);

impl Server {
    pub(super) fn spawn(&mut self, key: u64, spec: &SpawnSpec, extra: &[OwnedFd]) {
        match self.try_spawn(key, spec, extra) {
            Ok(()) => self.outbox.push_back(Note::Spawned(key)),
            Err((step, error)) => {
                let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
                self.outbox.push_back(Note::SpawnFailed { key, step, errno });
            }
        }
    }

    fn try_spawn(&mut self, key: u64, spec: &SpawnSpec, extra: &[OwnedFd]) -> Result<(), (Step, io::Error)> {
        self.table
            .can_insert(key)
            .map_err(|denied| (Step::Prepare, errno_of(denied).into()))?;
        if extra.len() > MAX_FDS {
            return Err((Step::Prepare, Errno::TOOBIG.into()));
        }
        let (extra, cgroup) = match extra.split_last() {
            Some((cgroup, extra)) if spec.in_cgroup => (extra, Some(cgroup.as_fd())),
            None if spec.in_cgroup => return Err((Step::Prepare, Errno::BADF.into())),
            _ => (extra, None),
        };
        let ends = Ends::new(spec).map_err(|error| (Step::Channels, error))?;
        let mut fds = vec![
            ends.stdin.as_ref().map_or(self.null.as_fd(), AsFd::as_fd),
            ends.stdout.as_fd(),
            ends.stderr.as_fd(),
        ];
        let ipc = ends.ipc.as_ref().map(AsFd::as_fd);
        if spec.ipc == IpcPlace::First {
            fds.extend(ipc);
        }
        fds.extend(extra.iter().map(AsFd::as_fd));
        if spec.ipc == IpcPlace::Last {
            fds.extend(ipc);
        }
        let spawned_at_ms = now_ms();
        let child = self
            .launcher
            .spawn_into(&spec.program, &fds, cgroup)
            .map_err(|error| (error.step, error.source))?;
        let start_ticks = self
            .sampler
            .sample(child.pid)
            .map_or(0, |sample| sample.start_ticks);
        let facts = ChildFacts {
            key,
            pid: child.pid,
            start_ticks,
            spawned_at_ms,
            adopted: false,
            exited: None,
        };
        self.table.insert(Child {
            facts,
            fds: ChildFds {
                pidfd: Some(child.pidfd),
                ..ends.ours
            },
        });
        Ok(())
    }

    pub(super) fn adopt(&mut self, key: u64, pid: u32, spawned_at_ms: u64, mut fds: ChildFds) {
        if let Err(denied) = self.table.can_insert(key) {
            self.refuse(RequestKind::Adopt, key, String::new(), errno_of(denied));
            return;
        }
        if fds.pidfd.is_none() {
            match os::process::open(pid) {
                Ok(pidfd) => fds.pidfd = Some(pidfd),
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::SRCH);
                    self.refuse(RequestKind::Adopt, key, String::new(), errno);
                    return;
                }
            }
        }
        let start_ticks = self.sampler.sample(pid).map_or(0, |sample| sample.start_ticks);
        let facts = ChildFacts {
            key,
            pid,
            start_ticks,
            spawned_at_ms,
            adopted: true,
            exited: None,
        };
        self.table.insert(Child { facts, fds });
    }

    /// Collects every exited child, the daemon too.
    pub(super) fn reap(&mut self) -> Result<(), KeeperError> {
        loop {
            match os::wait::reap_any() {
                Ok(Some(reaped)) if self.daemon.is_own_pid(reaped.pid) => {
                    self.daemon_died(reaped.exit)?;
                }
                Ok(Some(reaped)) => {
                    // Others are orphans that came to us as the first process of a container.
                    if let Some(key) = self.table.living_key(reaped.pid) {
                        self.exited(key, reaped.exit, reaped.usage);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(KeeperError::Wait(error)),
            }
        }
    }

    /// The pidfd of an adopted process has become readable.
    pub(super) fn watched_exit(&mut self, key: u64) {
        let Some(pidfd) = self.table.get(key).and_then(|child| child.fds.pidfd.as_ref()) else {
            return;
        };
        // Its new parent collects it about now, and only after that the kernel says how it ended. Rare and short enough to
        // wait for; what nobody collects soon stays unknown.
        let mut exit = os::process::exit_of(pidfd);
        for _ in 0..COLLECT_TRIES {
            if exit.is_some() {
                break;
            }
            std::thread::sleep(COLLECT_PAUSE);
            exit = os::process::exit_of(pidfd);
        }
        self.exited(key, exit.unwrap_or(Exit::Unknown), Usage::default());
    }

    fn exited(&mut self, key: u64, exit: Exit, usage: Usage) {
        if self.table.record_exit(key, exit_now(exit, usage)) {
            self.outbox.push_back(Note::Exited(key));
        }
    }
}

/// Both ends of a new child's pipes and channel.
struct Ends {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    ipc: Option<OwnedFd>,
    ours: ChildFds,
}

impl Ends {
    fn new(spec: &SpawnSpec) -> io::Result<Self> {
        let mut ours = ChildFds::default();
        let stdin = if spec.stdin_pipe {
            let (read, write) = os::fd::pipe()?;
            os::fd::set_nonblocking(&write, true)?;
            ours.stdin = Some(write);
            Some(read)
        } else {
            None
        };
        let output = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (read, write) = os::fd::pipe()?;
            os::fd::set_nonblocking(&read, true)?;
            if let Some(identity) = &spec.program.identity {
                // So that the app may open /dev/stdout. Without the right to give it away, it is not needed either.
                let owner = rustix::process::Uid::from_raw(identity.uid);
                let group = rustix::process::Gid::from_raw(identity.gid);
                let _ = rustix::fs::fchown(&write, Some(owner), Some(group));
            }
            Ok((read, write))
        };
        let (read, stdout) = output()?;
        ours.stdout = Some(read);
        let (read, stderr) = output()?;
        ours.stderr = Some(read);
        let ipc = if spec.ipc == IpcPlace::None {
            None
        } else {
            let (our_end, its_end) = os::socket::stream_pair()?;
            os::fd::set_nonblocking(&our_end, true)?;
            for end in [&our_end, &its_end] {
                os::socket::set_send_buffer(end, IPC_BUFFER_BYTES)?;
            }
            ours.ipc = Some(our_end);
            Some(its_end)
        };
        Ok(Self {
            stdin,
            stdout,
            stderr,
            ipc,
            ours,
        })
    }
}

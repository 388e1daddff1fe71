//! The one process that the keeper itself depends on: starting it, noticing its end, starting it again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use os::signal::{SIGKILL, SIGTERM};
use os::spawn::Program;
use os::wait::Exit;

use super::{Server, say};
use crate::restarts::Verdict;
use crate::{DAEMON_FD, DAEMON_PID, Ended, KEEPER_FD, KeeperError, READY_FD, environment};

/// A daemon that closed its connection is about to exit; one that does not is beyond repair.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Daemon {
    Due { at: Instant },
    Running(Running),
}

#[derive(Debug)]
pub(super) struct Running {
    pid: u32,
    pidfd: OwnedFd,
    /// Else it was here before us, and only its pidfd tells its end.
    own_child: bool,
    socket: Option<OwnedFd>,
    /// It reads no more; what it sent before may still be there.
    deaf: bool,
    started: Instant,
    spoke: bool,
    kill_at: Option<Instant>,
}

impl Daemon {
    pub(super) fn due_now() -> Self {
        Self::Due { at: Instant::now() }
    }

    /// A daemon that started this keeper, and says so in the environment.
    pub(super) fn from_env() -> Option<Self> {
        let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
        let socket = os::fd::inherited(number(DAEMON_FD)?).ok()?;
        let pid = u32::try_from(number(DAEMON_PID)?).ok()?;
        Some(Self::taken_over(pid, os::process::open(pid).ok()?, socket, false))
    }

    pub(super) fn taken_over(pid: u32, pidfd: OwnedFd, socket: OwnedFd, own_child: bool) -> Self {
        let started = Instant::now();
        Self::Running(Running {
            pid,
            pidfd,
            own_child,
            socket: Some(socket),
            deaf: false,
            started,
            spoke: true,
            kill_at: None,
        })
    }

    pub(super) fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) => Some(running),
            Self::Due { .. } => None,
        }
    }

    fn running_mut(&mut self) -> Option<&mut Running> {
        match self {
            Self::Running(running) => Some(running),
            Self::Due { .. } => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    pub(super) fn is_own_child(&self) -> bool {
        self.running().is_some_and(|running| running.own_child)
    }

    pub(super) fn is_own_pid(&self, pid: u32) -> bool {
        self.running()
            .is_some_and(|running| running.own_child && running.pid == pid)
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.running()?.socket.as_ref().map(AsFd::as_fd)
    }

    /// How it ended, if it was no child of ours.
    pub(super) fn foreign_exit(&self) -> Exit {
        let exit = self.foreign_pidfd().and_then(os::process::exit_of);
        exit.unwrap_or(Exit::Unknown)
    }

    /// To be polled for its exit, which no `SIGCHLD` will tell.
    pub(super) fn foreign_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running()
            .filter(|running| !running.own_child)
            .map(|running| running.pidfd.as_fd())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Due { at } => Some(*at),
            Self::Running(running) => running.kill_at,
        }
    }

    /// True at its first request.
    pub(super) fn spoke_first_time(&mut self) -> bool {
        self.running_mut()
            .is_some_and(|running| !std::mem::replace(&mut running.spoke, true))
    }

    /// Telling it something failed: it is dying, but what it asked for is still to be read.
    pub(super) fn is_deaf(&self) -> bool {
        self.running().is_some_and(|running| running.deaf)
    }

    /// One that is not dying after all would never hear of anything again.
    pub(super) fn went_deaf(&mut self) {
        if let Some(running) = self.running_mut() {
            running.deaf = true;
            running.kill_at.get_or_insert(Instant::now() + EXIT_PATIENCE);
        }
    }

    /// It closed the connection: its exit should follow.
    pub(super) fn hang_up(&mut self) {
        if let Some(running) = self.running_mut() {
            running.socket = None;
            running.kill_at.get_or_insert(Instant::now() + EXIT_PATIENCE);
        }
    }

    /// It cannot be talked to any more: it has to go, and another one to come.
    pub(super) fn end_now(&mut self) {
        if let Some(running) = self.running_mut() {
            running.socket = None;
            running.kill_at = Some(Instant::now());
        }
    }

    pub(super) fn parts(&self) -> Option<(u32, bool, BorrowedFd<'_>, BorrowedFd<'_>)> {
        let running = self.running()?;
        Some((
            running.pid,
            running.own_child,
            running.socket.as_ref()?.as_fd(),
            running.pidfd.as_fd(),
        ))
    }
}

impl Server {
    /// Does what is due: start the daemon, kill one that hangs, or end.
    pub(super) fn tend_daemon(&mut self) -> Result<Option<Ended>, KeeperError> {
        let now = Instant::now();
        if self
            .finishing
            .is_some_and(|at| at <= now || !self.daemon.is_running())
        {
            return Ok(Some(Ended::Shutdown));
        }
        match &mut self.daemon {
            Daemon::Due { at } if *at <= now => self.start_daemon()?,
            Daemon::Running(running) if running.kill_at.is_some_and(|at| at <= now) => {
                say("the daemon broke its connection and does not exit: killing it");
                running.kill_at = None;
                // Gone already is fine too.
                let _ = os::process::signal(&running.pidfd, SIGKILL);
            }
            _ => {}
        }
        Ok(None)
    }

    fn start_daemon(&mut self) -> Result<(), KeeperError> {
        self.daemon_starts += 1;
        match self.try_start_daemon() {
            Ok(running) => {
                self.daemon = Daemon::Running(running);
                self.tell_all();
                Ok(())
            }
            Err(error) => {
                say(&format!("the daemon could not be started: {error}"));
                self.schedule_daemon(Duration::ZERO)
            }
        }
    }

    fn try_start_daemon(&mut self) -> Result<Running, Box<dyn std::error::Error>> {
        let (ours, theirs) = os::socket::message_pair()?;
        // Only the first daemon has somebody waiting for it; dropping our end tells them if it fails.
        let ready = if self.daemon_starts == 1 {
            inherited_ready_pipe()
        } else {
            None
        };
        let mut env = environment();
        env.push(format!("{KEEPER_FD}=3").into());
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let mut fds = vec![self.null.as_fd(), stdout.as_fd(), stderr.as_fd(), theirs.as_fd()];
        if let Some(ready) = &ready {
            env.push(format!("{READY_FD}={}", fds.len()).into());
            fds.push(ready.as_fd());
        }
        let program = Program {
            exec: self.options.daemon_exe.clone().into(),
            argv: self.options.daemon_argv.clone(),
            env,
            ..Program::default()
        };
        let child = os::spawn::spawn(&program, &fds)?;
        Ok(Running {
            pid: child.pid,
            pidfd: child.pidfd,
            own_child: true,
            socket: Some(ours),
            deaf: false,
            started: Instant::now(),
            spoke: false,
            kill_at: None,
        })
    }

    /// It has exited: do what it still asked for, then see about the next one.
    pub(super) fn daemon_died(&mut self, exit: Exit) -> Result<(), KeeperError> {
        // Nothing that it sent may be lost, even if answers find nobody any more.
        loop {
            self.outbox.clear();
            if !self.take_request() {
                break;
            }
        }
        self.outbox.clear();
        // What it asked for as its last deed, the next program of ours must not do in the middle of a restart.
        self.replace_by = None;
        let Some(running) = self.daemon.running() else {
            return Ok(());
        };
        let lived = running.started.elapsed();
        self.daemon = Daemon::due_now();
        if self.finishing.is_none() {
            say(&format!(
                "the daemon has ended without being asked to, {}: starting it again",
                in_words(exit)
            ));
            self.schedule_daemon(lived)?;
        }
        Ok(())
    }

    fn schedule_daemon(&mut self, lived: Duration) -> Result<(), KeeperError> {
        match self
            .restarts
            .died(lived, self.has_worked, self.table.any_living())
        {
            Verdict::RestartAfter(pause) => {
                self.daemon = Daemon::Due {
                    at: Instant::now() + pause,
                };
                Ok(())
            }
            Verdict::GiveUp { deaths } => Err(KeeperError::DaemonKeepsDying { deaths }),
        }
    }

    /// A clean end is the daemon's business. One that has not spoken yet may not listen to signals: it is told when it does.
    pub(super) fn pass_on_termination(&mut self) {
        if let Some(running) = self.daemon.running().filter(|running| running.spoke) {
            // Gone: the next one will be told.
            let _ = os::process::signal(&running.pidfd, SIGTERM);
        }
    }
}

fn in_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("with exit code {code}"),
        Exit::Signal(signal) => match os::signal::name(signal) {
            Some(name) => format!("by {name}"),
            None => format!("by signal {signal}"),
        },
        Exit::Unknown => "nobody knows how".into(),
    }
}

fn inherited_ready_pipe() -> Option<OwnedFd> {
    os::fd::inherited(std::env::var(READY_FD).ok()?.parse().ok()?).ok()
}

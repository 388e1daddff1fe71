//! The daemon's side of the connection: non-blocking, no thread, no runtime.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use os::spawn::{Child, Program, SpawnError};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::codec::{self, Malformed, Packet};
use crate::protocol::{Event, Request};

/// Requests that wait because the keeper is busy, at most.
const MAX_QUEUED: usize = 65_536;
/// Packets are smaller; larger bodies travel in anonymous files.
const BUFFER_BYTES: usize = 64 * 1024;

/// What can go wrong between daemon and keeper.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The keeper ended. Apps live on; start another keeper.
    #[error("the keeper is gone")]
    Gone,
    /// This process was not started by a keeper.
    #[error("{variable} is not set: the daemon has to be started by a keeper")]
    NotStartedByKeeper {
        /// The missing environment variable.
        variable: &'static str,
    },
    /// The descriptor named in the environment is unusable.
    #[error("taking up the keeper's connection: {0}")]
    Connect(io::Error),
    /// The request breaks a limit of [`crate::protocol`]; nothing was sent.
    #[error("a request to the keeper is out of bounds: {0}")]
    Request(&'static str),
    /// The keeper said something unintelligible.
    #[error("the keeper sent a malformed message ({0})")]
    Malformed(&'static str),
    /// This process is at its limit of descriptors; what the keeper sent was lost. Raise the limit and restart the daemon.
    #[error("descriptors from the keeper were lost: this process has too many open")]
    OutOfDescriptors,
    /// The keeper does not take requests.
    #[error("{0} requests wait for the keeper already")]
    Overloaded(usize),
    /// Anything else.
    #[error("talking to the keeper: {0}")]
    Io(#[from] io::Error),
    /// A new keeper could not be started.
    #[error("starting another keeper: {0}")]
    Respawn(#[from] SpawnError),
}

/// The connection to the keeper. Poll the descriptor ([`AsFd`]) for reading, and for writing while [`Keeper::wants_write`].
#[derive(Debug)]
pub struct Keeper {
    socket: OwnedFd,
    queue: VecDeque<Packet<OwnedFd>>,
    buffer: Vec<u8>,
    /// A keeper that we started ourselves is our child, to be collected when it has ended.
    child: Option<Child>,
}

impl Keeper {
    /// Takes up the connection on which the keeper started this process. Once, early in `main`.
    ///
    /// # Errors
    /// [`ClientError::NotStartedByKeeper`], [`ClientError::Connect`].
    pub fn from_env() -> Result<Self, ClientError> {
        let text = std::env::var(crate::KEEPER_FD).map_err(|_| ClientError::NotStartedByKeeper {
            variable: crate::KEEPER_FD,
        })?;
        let number = text.parse().map_err(|_| {
            ClientError::Connect(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{text:?} is no descriptor"),
            ))
        })?;
        Ok(Self::from_socket(
            os::fd::inherited(number).map_err(ClientError::Connect)?,
        ))
    }

    /// Uses a connected message socket, as made by [`os::socket::message_pair`].
    #[must_use]
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES],
            child: None,
        }
    }

    /// Sends a request, or queues it (with duplicates of its descriptors) when the keeper is busy. Order is kept. When
    /// this returns `Ok(true)`, the kernel has it: it will be done even if this process is killed now.
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Request`], [`ClientError::Overloaded`] and those of the socket.
    pub fn send(&mut self, request: &Request<'_>) -> Result<bool, ClientError> {
        let packet = codec::encode_request(request).map_err(|error| match error {
            codec::EncodeError::OutOfBounds(what) => ClientError::Request(what),
            codec::EncodeError::Io(error) => error.into(),
        })?;
        if self.flush()? && self.try_send(&packet)? {
            return Ok(true);
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(ClientError::Overloaded(self.queue.len()));
        }
        self.queue.push_back(packet.into_owned()?);
        Ok(false)
    }

    /// As [`Keeper::send`], but waits until the kernel has it. For what must be kept before it is used, such as the stash
    /// of an IPC channel. Keep `patience` short: a keeper that waits for us to fetch its events takes nothing meanwhile.
    ///
    /// # Errors
    /// As [`Keeper::send`]; [`ClientError::Overloaded`] when it still waits after `patience` (it stays queued).
    pub fn send_through(&mut self, request: &Request<'_>, patience: Duration) -> Result<(), ClientError> {
        if self.send(request)? {
            return Ok(());
        }
        let give_up = Instant::now() + patience;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Overloaded(self.queue.len()));
            }
            // In small steps, as too many descriptors under way do not show in the socket's readiness.
            let step = left.min(Duration::from_millis(5));
            let step = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(step.subsec_nanos()),
            };
            let mut poll = [PollFd::new(&self.socket, PollFlags::OUT)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&step)))
                .map_err(io::Error::from)?;
            if self.flush()? {
                return Ok(());
            }
        }
    }

    /// Sends what is queued. `Ok(true)`: nothing is left.
    ///
    /// # Errors
    /// As [`Keeper::send`].
    pub fn flush(&mut self) -> Result<bool, ClientError> {
        while let Some(packet) = self.queue.front() {
            if !self.try_send(packet)? {
                return Ok(false);
            }
            self.queue.pop_front();
        }
        Ok(true)
    }

    /// Whether requests wait for the socket to become writable; then call [`Keeper::flush`].
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    fn try_send(&self, packet: &Packet<impl AsFd>) -> Result<bool, ClientError> {
        match packet.send(self.socket.as_fd()) {
            Ok(()) => Ok(true),
            Err(error) if codec::is_try_later(&error) => Ok(false),
            Err(error) if is_gone(&error) => Err(ClientError::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// The next event; `Ok(None)` when there is none now.
    ///
    /// # Errors
    /// [`ClientError::Gone`] when the keeper has ended; the others mean a broken connection, too.
    pub fn recv(&mut self) -> Result<Option<Event>, ClientError> {
        let mut fds = Vec::new();
        let received = match os::pass::receive(&self.socket, &mut self.buffer, &mut fds) {
            // It died with requests unread, which the kernel says first and once. What it had told before is still here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                os::pass::receive(&self.socket, &mut self.buffer, &mut fds)
            }
            other => other,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if is_gone(&error) => return Err(ClientError::Gone),
            Err(error) => return Err(error.into()),
        };
        if received.bytes == 0 {
            return Err(ClientError::Gone);
        }
        if received.fds_truncated {
            return Err(ClientError::OutOfDescriptors);
        }
        if received.bytes_truncated {
            return Err(ClientError::Malformed("longer than any message"));
        }
        codec::decode_event(&self.buffer[..received.bytes], fds)
            .map(Some)
            .map_err(|Malformed(what)| ClientError::Malformed(what))
    }

    /// Starts another keeper after the one before died, connected to this process. Nothing is known to it: hand over
    /// everything with `Adopt` and `Put`. The first events are `Welcome` and `Ready`. Should yet another keeper hold the
    /// home already, [`Keeper::recv`] says [`ClientError::Gone`] at once.
    ///
    /// # Errors
    /// [`ClientError::Respawn`] and descriptor limits.
    pub fn respawn(options: &Respawn) -> Result<Self, ClientError> {
        let (ours, theirs) = os::socket::message_pair()?;
        // The environment of the new keeper becomes that of later daemons: nothing of this daemon's own start may stay.
        let mut env = crate::environment();
        env.push(format!("{}=3", crate::DAEMON_FD).into());
        env.push(format!("{}={}", crate::DAEMON_PID, std::process::id()).into());
        let program = Program {
            exec: options.exe.clone().into(),
            argv: options.argv.clone(),
            env,
            ..Program::default()
        };
        let null = std::fs::File::open("/dev/null")?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let child = os::spawn::spawn(
            &program,
            &[null.as_fd(), stdout.as_fd(), stderr.as_fd(), theirs.as_fd()],
        )?;
        let mut keeper = Self::from_socket(ours);
        keeper.child = Some(child);
        Ok(keeper)
    }

    /// The keeper as a child of this process, if this process started it. To be collected once it has ended: its connection is closed
    /// a moment before that.
    #[must_use]
    pub fn into_child(mut self) -> Option<Child> {
        self.child.take()
    }
}

/// How to start a keeper from a living daemon.
#[derive(Debug, Clone)]
pub struct Respawn {
    /// Its program.
    pub exe: PathBuf,
    /// All its arguments, the zeroth included: they must lead to [`crate::run`] with the same home.
    pub argv: Vec<OsString>,
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(keeper: &mut Keeper) -> usize {
        (1..)
            .find(|_| !keeper.send(&Request::Forget { key: 1 }).unwrap())
            .unwrap()
    }

    #[test]
    fn requests_queue_in_order_when_the_keeper_is_busy() {
        let (ours, theirs) = os::socket::message_pair().unwrap();
        let mut keeper = Keeper::from_socket(ours);
        let sent = fill(&mut keeper);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(
            !keeper
                .send(&Request::Put {
                    name: "last",
                    fds: &[null.as_fd()]
                })
                .unwrap()
        );
        drop(null);
        assert!(keeper.wants_write());
        let mut buffer = [0; 1024];
        let (mut received, mut fds) = (0, Vec::new());
        while received < sent + 1 {
            match os::pass::receive(&theirs, &mut buffer, &mut fds) {
                Ok(_) => received += 1,
                Err(_) => assert!(keeper.flush().is_ok()),
            }
        }
        assert!(!keeper.wants_write());
        assert_eq!(fds.len(), 1, "the last one brought its descriptor");
    }

    #[test]
    fn what_must_get_through_waits_only_so_long() {
        let (ours, theirs) = os::socket::message_pair().unwrap();
        let mut keeper = Keeper::from_socket(ours);
        fill(&mut keeper);
        let result = keeper.send_through(&Request::Shutdown, Duration::from_millis(20));
        assert!(matches!(result, Err(ClientError::Overloaded(2))));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            // Until the other end is closed.
            while !matches!(os::pass::receive(&theirs, &mut buffer, &mut Vec::new()), Ok(got) if got.bytes == 0)
            {
                std::thread::yield_now();
            }
        });
        keeper
            .send_through(&Request::Shutdown, Duration::from_secs(20))
            .unwrap();
        assert!(!keeper.wants_write());
        drop(keeper);
        reader.join().unwrap();
    }

    #[test]
    fn a_dead_keeper_and_nonsense_are_errors() {
        let (ours, theirs) = os::socket::message_pair().unwrap();
        let mut keeper = Keeper::from_socket(ours);
        assert!(matches!(keeper.recv(), Ok(None)));
        os::pass::send(&theirs, b"\xff\xff\0\0nonsense", &[]).unwrap();
        assert!(matches!(keeper.recv(), Err(ClientError::Malformed(_))));
        // What it said before it died is heard, also if it died with requests unread.
        keeper.send(&Request::Forget { key: 1 }).unwrap();
        for _ in 0..2 {
            os::pass::send(&theirs, b"\xff\xff\0\0nonsense", &[]).unwrap();
        }
        drop(theirs);
        for _ in 0..2 {
            assert!(matches!(keeper.recv(), Err(ClientError::Malformed(_))));
        }
        assert!(matches!(keeper.recv(), Err(ClientError::Gone)));
        assert!(matches!(keeper.send(&Request::Shutdown), Err(ClientError::Gone)));
    }
}

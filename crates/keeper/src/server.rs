//! The keeper's loop: one thread, one poll, everything else in small steps that cannot wait.

mod children;
mod daemon;
mod replace;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use os::lock::FileLock;
use os::signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SignalFd};
use os::spawn::{Launcher, Step};
use os::wait::{Exit, Usage};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::codec::{self, Received, Told};
use crate::protocol::{ExitReport, RequestKind};
use crate::restarts::Restarts;
use crate::table::{Denied, Table};
use crate::{Ended, KeeperError, KeeperOptions};
use daemon::Daemon;

/// A keeper that is just ending holds the lock for some milliseconds; a living one for ever.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
/// After `Shutdown` the daemon has this long to exit.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// Pause when the kernel refuses more descriptors under way: the daemon has to fetch some first.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// Requests done before exits get their turn.
const TURN_REQUESTS: usize = 256;
/// With so many answers waiting, no further requests are read.
const MAX_OUTBOX: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// After so long without a request, memory that is not needed any more is given back.
const QUIET: Duration = Duration::from_secs(2);
/// Descriptors of a child that are placed fast: three pipes, its channel, and some sockets.
const LAUNCH_SLOTS: usize = 8;

/// What is to be told. Keys and names only: descriptors and facts are looked up when it is sent.
#[derive(Debug)]
enum Note {
    Welcome,
    Child(u64),
    Stored(String),
    Ready,
    Spawned(u64),
    SpawnFailed {
        key: u64,
        step: Step,
        errno: i32,
    },
    Exited(u64),
    Refused {
        request: RequestKind,
        key: u64,
        name: String,
        errno: i32,
    },
}

struct Server {
    options: KeeperOptions,
    /// As this process was started, for starting its next program the same way.
    argv: Vec<OsString>,
    lock: FileLock,
    signals: SignalFd,
    null: File,
    sampler: os::proc::Sampler,
    buffer: Vec<u8>,
    launcher: Launcher,
    table: Table,
    outbox: VecDeque<Note>,
    retry_at: Option<Instant>,
    daemon: Daemon,
    restarts: Restarts,
    daemon_starts: u64,
    /// Some daemon has made a request.
    has_worked: bool,
    /// A signal asked for the end; the daemon has to be told once it listens.
    terminating: bool,
    /// The daemon asked for the end; when to go without it.
    finishing: Option<Instant>,
    replace_by: Option<OsString>,
    /// When it may rest; `None`: it does.
    rest_at: Option<Instant>,
}

pub(crate) fn run(options: KeeperOptions) -> Result<Ended, KeeperError> {
    os::memory::be_thrifty();
    let argv = std::env::args_os().collect();
    let signals = SignalFd::new(&[SIGCHLD, SIGTERM, SIGINT, SIGQUIT]).map_err(KeeperError::Prepare)?;
    os::signal::ignore(SIGHUP).map_err(KeeperError::Prepare)?;
    // Not raising it is no reason not to run.
    let _ = os::process::raise_descriptor_limit();
    let before = replace::take_up_state()?;
    let (lock, table, carried) = match before {
        Some((table, carried)) => (None, table, Some(carried)),
        None => match take_lock(&options)? {
            Some(lock) => (Some(lock), Table::default(), None),
            None => return Ok(Ended::AlreadyRunning),
        },
    };
    if !options.title.is_empty() {
        // A matter of looks only.
        let _ = os::process::set_title(&options.title);
    }
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(KeeperError::Prepare)?;
    let sampler = os::proc::Sampler::new().map_err(KeeperError::Prepare)?;
    // Early, as low numbers are what it is about.
    let launcher = Launcher::new(LAUNCH_SLOTS).map_err(KeeperError::Prepare)?;
    let mut daemon_starts = 0;
    let mut terminating = false;
    let (lock, daemon) = match (carried, lock) {
        (Some(carried), _) => {
            daemon_starts = carried.daemon_starts;
            terminating = carried.terminating;
            let lock = FileLock::from_held(File::from(carried.lock));
            let (pid, own) = (carried.daemon_pid, carried.daemon_is_child);
            (
                lock,
                Daemon::taken_over(pid, carried.daemon_pidfd, carried.daemon_socket, own),
            )
        }
        (None, Some(lock)) => (lock, Daemon::from_env().unwrap_or(Daemon::due_now())),
        (None, None) => return Ok(Ended::AlreadyRunning),
    };
    let mut server = Server {
        options,
        argv,
        lock,
        signals,
        null,
        sampler,
        buffer: vec![0; BUFFER_BYTES],
        launcher,
        table,
        outbox: VecDeque::new(),
        retry_at: None,
        has_worked: daemon.is_running(),
        daemon,
        restarts: Restarts::default(),
        daemon_starts: daemon_starts.max(1),
        terminating,
        finishing: None,
        replace_by: None,
        rest_at: Some(Instant::now() + QUIET),
    };
    if server.daemon.is_running() {
        server.outbox.push_back(Note::Welcome);
        if daemon_starts == 0 {
            server.outbox.push_back(Note::Ready);
        }
    } else {
        server.daemon_starts = 0;
    }
    server.serve()
}

fn take_lock(options: &KeeperOptions) -> Result<Option<FileLock>, KeeperError> {
    let path = options.home.join("keeper.lock");
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match FileLock::try_exclusive(&path) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) if Instant::now() >= give_up => return Ok(None),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(source) => return Err(KeeperError::Lock { path, source }),
        }
    }
}

/// What woke the loop up.
#[derive(Debug, Default)]
struct Woken {
    signals: bool,
    readable: bool,
    daemon_exited: bool,
    watched: Vec<u64>,
}

impl Server {
    fn serve(&mut self) -> Result<Ended, KeeperError> {
        // Exits from before an exec in place may have no signal left.
        self.reap()?;
        loop {
            if let Some(ended) = self.tend_daemon()? {
                return Ok(ended);
            }
            self.tell();
            self.replace_if_wanted();
            let woken = self.wait()?;
            self.rest_if_quiet(&woken);
            if woken.signals {
                self.take_signals()?;
            }
            if woken.readable {
                self.take_requests();
            }
            for key in woken.watched {
                self.watched_exit(key);
            }
            if woken.daemon_exited && !self.daemon.is_own_child() {
                self.daemon_died(self.daemon.foreign_exit())?;
            }
        }
    }

    fn wait(&self) -> Result<Woken, KeeperError> {
        let mut polls = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let socket = self.daemon.socket();
        if let Some(socket) = socket {
            let mut interest = PollFlags::empty();
            interest.set(
                PollFlags::IN,
                self.outbox.len() < MAX_OUTBOX && self.replace_by.is_none(),
            );
            interest.set(PollFlags::OUT, !self.outbox.is_empty() && self.retry_at.is_none());
            polls.push(PollFd::from_borrowed_fd(socket, interest));
        }
        let pidfd = self.daemon.foreign_pidfd();
        if let Some(pidfd) = pidfd {
            polls.push(PollFd::from_borrowed_fd(pidfd, PollFlags::IN));
        }
        let fixed = polls.len();
        let mut keys = Vec::new();
        for (key, pidfd) in self.table.watched() {
            keys.push(key);
            polls.push(PollFd::from_borrowed_fd(pidfd, PollFlags::IN));
        }
        let timeout = self
            .next_deadline()
            .map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut polls, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Woken::default()),
            Err(error) => return Err(KeeperError::Wait(error.into())),
        }
        let fired = |index: usize| !polls[index].revents().is_empty();
        // A hang-up is readable: what was sent before it is still there, and then its end.
        let readable = socket.is_some()
            && polls[1]
                .revents()
                .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        Ok(Woken {
            signals: fired(0),
            readable,
            daemon_exited: pidfd.is_some() && fired(fixed - 1),
            watched: keys
                .into_iter()
                .enumerate()
                .filter(|&(i, _)| fired(fixed + i))
                .map(|(_, key)| key)
                .collect(),
        })
    }

    fn rest_if_quiet(&mut self, woken: &Woken) {
        let now = Instant::now();
        if woken.signals || woken.readable {
            self.rest_at = Some(now + QUIET);
        } else if self.rest_at.take_if(|at| *at <= now).is_some() {
            os::memory::rest();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        [
            self.daemon.deadline(),
            self.finishing,
            self.retry_at,
            self.rest_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn take_signals(&mut self) -> Result<(), KeeperError> {
        while let Ok(Some(signal)) = self.signals.next() {
            if signal == SIGCHLD {
                self.reap()?;
            } else {
                self.terminating = true;
                self.pass_on_termination();
            }
        }
        Ok(())
    }

    /// Reads and does requests, all of them when the daemon is dead, else a bounded number.
    fn take_requests(&mut self) {
        for _ in 0..TURN_REQUESTS {
            if self.outbox.len() >= MAX_OUTBOX || self.replace_by.is_some() || !self.take_request() {
                return;
            }
            // What was started is told at once: the daemon goes on with it while the next is started.
            self.tell();
        }
    }

    /// `false`: none is there.
    fn take_request(&mut self) -> bool {
        let Some(socket) = self.daemon.socket() else {
            return false;
        };
        let mut fds = Vec::new();
        let received = match os::pass::receive(socket, &mut self.buffer, &mut fds) {
            Ok(received) if received.bytes > 0 => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(_) | Err(_) => {
                self.daemon.hang_up();
                return false;
            }
        };
        if received.fds_truncated {
            self.refuse(RequestKind::Unknown, 0, String::new(), Errno::MFILE);
            return true;
        }
        let request = if received.bytes_truncated {
            Err(codec::Malformed("longer than any message"))
        } else {
            codec::decode_request(&self.buffer[..received.bytes], fds)
        };
        match request {
            Ok(request) => self.handle(request),
            Err(codec::Malformed(what)) => {
                say(&format!(
                    "the daemon sent a malformed message ({what}): it will be restarted"
                ));
                self.daemon.end_now();
                return false;
            }
        }
        true
    }

    fn handle(&mut self, request: Received) {
        self.has_worked = true;
        if self.daemon.spoke_first_time() && self.terminating {
            self.pass_on_termination();
        }
        match request {
            Received::Spawn { key, spec, extra } => self.spawn(key, &spec, &extra),
            Received::Forget { key } => {
                let result = self.table.forget(key);
                self.check(result, RequestKind::Forget, key, String::new());
            }
            Received::Release { key, part } => {
                let result = self.table.release(key, part);
                self.check(result, RequestKind::Release, key, String::new());
            }
            Received::Put { name, fds } => {
                let result = self.table.put(name.clone(), fds);
                self.check(result, RequestKind::Put, 0, name);
            }
            Received::Remove { name } => self.table.remove(&name),
            Received::Adopt {
                key,
                pid,
                spawned_at_ms,
                fds,
            } => self.adopt(key, pid, spawned_at_ms, fds),
            Received::Exec { path } => self.replace_by = Some(path),
            Received::Shutdown => {
                self.terminating = false;
                self.finishing = Some(Instant::now() + SHUTDOWN_PATIENCE);
            }
            Received::Unknown => self.refuse(RequestKind::Unknown, 0, String::new(), Errno::NOSYS),
        }
    }

    fn check(&mut self, result: Result<(), Denied>, request: RequestKind, key: u64, name: String) {
        if let Err(denied) = result {
            self.refuse(request, key, name, errno_of(denied));
        }
    }

    fn refuse(&mut self, request: RequestKind, key: u64, name: String, errno: Errno) {
        self.outbox.push_back(Note::Refused {
            request,
            key,
            name,
            errno: errno.raw_os_error(),
        });
    }

    /// Sends notes until the socket is full.
    fn tell(&mut self) {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        if self.daemon.is_deaf() {
            self.outbox.clear();
        }
        while let (Some(note), Some(socket)) = (self.outbox.front(), self.daemon.socket()) {
            let Some(told) = self.look_up(note) else {
                self.outbox.pop_front();
                continue;
            };
            let sent = match codec::encode_event(told) {
                Ok(packet) => packet.send(socket),
                Err(codec::EncodeError::Io(error)) => Err(error),
                Err(codec::EncodeError::OutOfBounds(_)) => Ok(()),
            };
            match sent {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if codec::is_try_later(&error) => {
                    self.retry_at = Some(Instant::now() + RETRY_PAUSE);
                    return;
                }
                Err(_) => {
                    self.daemon.went_deaf();
                    self.outbox.clear();
                    return;
                }
            }
        }
    }

    /// `None`: what it is about is gone meanwhile.
    fn look_up<'a>(&'a self, note: &'a Note) -> Option<Told<'a>> {
        Some(match *note {
            Note::Welcome => Told::Welcome {
                keeper_pid: std::process::id(),
                daemon_starts: self.daemon_starts,
            },
            Note::Child(key) | Note::Spawned(key) => {
                let child = self.table.get(key)?;
                let fresh = matches!(note, Note::Spawned(_));
                let mut facts = child.facts;
                if fresh {
                    // Its exit comes as an event of its own.
                    facts.exited = None;
                }
                Told::Child {
                    fresh,
                    facts,
                    fds: child.borrowed_fds(),
                }
            }
            Note::Stored(ref name) => Told::Stored {
                name,
                fds: self.table.stored(name)?.iter().map(AsFd::as_fd).collect(),
            },
            Note::Ready => Told::Ready,
            Note::SpawnFailed { key, step, errno } => Told::SpawnFailed { key, step, errno },
            Note::Exited(key) => {
                let facts = &self.table.get(key)?.facts;
                Told::Exited {
                    key,
                    pid: facts.pid,
                    report: facts.exited?,
                }
            }
            Note::Refused {
                request,
                key,
                ref name,
                errno,
            } => Told::Refused {
                request,
                key,
                name,
                errno,
            },
        })
    }

    /// Everything from before, for a daemon that has just connected.
    fn tell_all(&mut self) {
        self.outbox.clear();
        self.retry_at = None;
        self.outbox.push_back(Note::Welcome);
        self.outbox
            .extend(self.table.children().map(|child| Note::Child(child.facts.key)));
        self.outbox.extend(
            self.table
                .all_stored()
                .map(|(name, _)| Note::Stored(name.to_owned())),
        );
        self.outbox.push_back(Note::Ready);
    }
}

fn errno_of(denied: Denied) -> Errno {
    match denied {
        Denied::Taken => Errno::EXIST,
        Denied::Missing => Errno::NOENT,
        Denied::StillRuns => Errno::BUSY,
        Denied::Full => Errno::NOSPC,
    }
}

fn exit_now(exit: Exit, usage: Usage) -> ExitReport {
    ExitReport {
        exit,
        at_ms: now_ms(),
        usage,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn timespec(duration: Duration) -> Timespec {
    // A little late rather than a little early, which would wake up twice.
    let duration = duration + Duration::from_micros(100);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// One line on standard error, which is the daemon's log. Nothing can be done if that fails.
fn say(text: &str) {
    let line = format!("pilothouse keeper: {text}\n");
    let _ = rustix::io::write(io::stderr().as_fd(), line.as_bytes());
}

//! The thread that carries all streams.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::rotation::{Complain, Housekeeper, Rotation};
use crate::sink::Sinks;
use crate::stream::{Attach, Event, Now, Step, Stream, StreamId, Tools};
use crate::times::Times;

/// Why a pump could not be started.
#[derive(Debug, thiserror::Error)]
#[error("starting the log pump: {step}: {source}")]
pub struct Error {
    step: &'static str,
    source: io::Error,
}

/// Carries streams from pipes to files on a thread of its own. Dropping it ends the thread; what is in the pipes stays there.
#[derive(Debug)]
pub struct Pump {
    // Unbounded by type, bounded by use: the owner sends a few commands for each process and no data.
    commands: Sender<Command>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Attach(Attach),
    Detach(StreamId),
    Listen(bool),
    Reopen,
    SetRotation(StreamId, Option<Rotation>),
    Rotate(StreamId),
    Stop,
}

impl Pump {
    /// Starts the thread. It calls `tell` with each event; `false` says that the event could not be taken, and for a
    /// [`Chunk`](crate::Chunk) this is counted in the next one. `tell` must not block. `times` is where it is noted when what was
    /// written.
    ///
    /// # Errors
    /// When the system gives no thread, pipe or epoll instance.
    pub fn start(
        times: Option<Times>,
        tell: impl FnMut(Event) -> bool + Send + 'static,
    ) -> Result<Self, Error> {
        let at = |step| move |source: io::Error| Error { step, source };
        let wake = Arc::new(Wake::new().map_err(at("eventfd"))?);
        let (commands, inbox) = channel();
        let worker = Worker::new(inbox, Arc::clone(&wake), times, Box::new(tell))
            .map_err(at("opening pipes and epoll"))?;
        let thread = std::thread::Builder::new()
            .name("logs".into())
            .stack_size(256 * 1024)
            .spawn(move || worker.run())
            .map_err(at("starting its thread"))?;
        Ok(Self {
            commands,
            wake,
            thread: Some(thread),
        })
    }

    /// Carries a stream from now on. Its files are created at once, even if it never prints.
    pub fn attach(&self, attach: Attach) {
        self.send(Command::Attach(attach));
    }

    /// Lets go of a stream; what is in its pipe stays there.
    pub fn detach(&self, id: StreamId) {
        self.send(Command::Detach(id));
    }

    /// Somebody, or nobody, wants to be told the text.
    pub fn listen(&self, somebody: bool) {
        self.send(Command::Listen(somebody));
    }

    /// Opens all files by their paths again, after they were renamed.
    pub fn reopen(&self) {
        self.send(Command::Reopen);
    }

    /// When the files of a stream are put aside from now on.
    pub fn set_rotation(&self, id: StreamId, rotation: Option<Rotation>) {
        self.send(Command::SetRotation(id, rotation));
    }

    /// Puts the files of a stream aside now, or where a line is being written, at its end. Those that are never put aside stay.
    pub fn rotate(&self, id: StreamId) {
        self.send(Command::Rotate(id));
    }

    fn send(&self, command: Command) {
        // Both fail only after the thread has ended, which it does only on `Stop`.
        let _ = self.commands.send(command);
        self.wake.wake();
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What ends the thread's wait. Many calls before it wakes are one.
#[derive(Debug)]
struct Wake {
    fd: OwnedFd,
    called: AtomicBool,
}

impl Wake {
    fn new() -> io::Result<Self> {
        Ok(Self {
            fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            called: AtomicBool::new(false),
        })
    }

    fn wake(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// To be called before it is looked at what there is to do: what comes after that calls again.
    fn awake(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
        self.called.swap(false, Ordering::AcqRel);
    }
}

/// Steps a stream may take before the others have their turn.
const TURN: usize = 16;
/// What the housekeeper could not do, and nobody has read yet.
const COMPLAINTS: usize = 16;
const WAKE: u64 = u64::MAX;

struct Worker {
    inbox: Receiver<Command>,
    wake: Arc<Wake>,
    epoll: OwnedFd,
    tell: Box<dyn FnMut(Event) -> bool + Send>,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that may have something to carry now. Pipes are watched edge-triggered, since what cannot be written stays in its pipe.
    ready: BTreeSet<StreamId>,
    /// Streams to look at later.
    later: BTreeMap<StreamId, Instant>,
    listening: bool,
    sinks: Sinks,
    /// What the housekeeper could not do.
    untidy: Receiver<(PathBuf, String)>,
    tools: Tools,
}

impl Worker {
    fn new(
        inbox: Receiver<Command>,
        wake: Arc<Wake>,
        times: Option<Times>,
        tell: Box<dyn FnMut(Event) -> bool + Send>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &wake.fd,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        let (scratch_out, scratch_in) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let (complaints, untidy) = sync_channel(COMPLAINTS);
        let waker = Arc::clone(&wake);
        let complain: Complain = Box::new(move |path, error| {
            // One that finds no place is like those before it.
            let _ = complaints.try_send((path.to_owned(), error.to_string()));
            waker.wake();
        });
        let housekeeper = Housekeeper::new(times.clone(), complain);
        Ok(Self {
            inbox,
            wake,
            epoll,
            tell,
            streams: BTreeMap::new(),
            ready: BTreeSet::new(),
            later: BTreeMap::new(),
            listening: false,
            sinks: Sinks::new(times, housekeeper),
            untidy,
            tools: Tools {
                scratch_in,
                scratch_out,
                null,
                buffer: Vec::new(),
                formatted: Vec::new(),
            },
        })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            self.wait(&mut events);
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => self.wake.awake(),
                    id => {
                        self.ready.insert(StreamId(id));
                    }
                }
            }
            while let Ok(command) = self.inbox.try_recv() {
                if matches!(command, Command::Stop) {
                    return;
                }
                self.obey(command);
            }
            let now = Instant::now();
            let due: Vec<StreamId> = self
                .later
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(id, _)| *id)
                .collect();
            self.ready.extend(due);
            for id in std::mem::take(&mut self.ready) {
                self.carry(id);
            }
            self.tell_failures();
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let timeout = if self.ready.is_empty() {
            self.later
                .values()
                .min()
                .map(|at| at.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        let timeout = timeout.map(|d| Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(d.subsec_nanos()),
        });
        // An interrupted wait is an early one; any other error cannot happen with descriptors that are ours.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref());
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(attach) => self.attach(attach),
            Command::Detach(id) => self.detach(id),
            Command::Listen(somebody) => self.listening = somebody,
            Command::SetRotation(id, rotation) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.attach.rotation = rotation;
                }
                self.set_rules(id);
            }
            Command::Rotate(id) => {
                if let Some(stream) = self.streams.get(&id) {
                    let now = Now::get();
                    for path in &stream.attach.files {
                        self.sinks.set_aside_soon(path, now);
                    }
                }
            }
            Command::Reopen => {
                self.sinks.reopen();
                for stream in self.streams.values() {
                    create_files(&mut self.sinks, stream);
                }
            }
            Command::Stop => {}
        }
    }

    fn attach(&mut self, attach: Attach) {
        let id = attach.id;
        let _ = rustix::io::ioctl_fionbio(&attach.pipe, true);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.epoll, &attach.pipe, epoll::EventData::new_u64(id.0), flags).is_err() {
            (self.tell)(Event::Ended { id });
            return;
        }
        let stream = Stream::new(attach);
        create_files(&mut self.sinks, &stream);
        self.streams.insert(id, stream);
        self.set_rules(id);
        self.ready.insert(id);
    }

    /// Who says last how a file is put aside, is right.
    fn set_rules(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id) {
            for path in &stream.attach.files {
                self.sinks.set_rotation(path, stream.attach.rotation.clone());
            }
        }
    }

    fn tell_failures(&mut self) {
        let untidy = std::iter::from_fn(|| self.untidy.try_recv().ok());
        let failures = self.sinks.failures().into_iter();
        for (path, reason) in failures
            .map(|(path, error)| (path, error.to_string()))
            .chain(untidy)
        {
            (self.tell)(Event::NotRotated { path, reason });
        }
    }

    fn detach(&mut self, id: StreamId) {
        self.later.remove(&id);
        self.ready.remove(&id);
        if let Some(stream) = self.streams.remove(&id) {
            let _ = epoll::delete(&self.epoll, &stream.attach.pipe);
            self.close_unused();
        }
    }

    fn close_unused(&mut self) {
        let used: BTreeSet<&PathBuf> = self.streams.values().flat_map(|s| &s.attach.files).collect();
        self.sinks.keep(&used);
    }

    /// Lets a stream carry what it has, up to its turn.
    fn carry(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        self.later.remove(&id);
        let now = Now::get();
        for _ in 0..TURN {
            match stream.step(
                now,
                self.listening,
                &mut self.sinks,
                &mut self.tools,
                &mut *self.tell,
            ) {
                Step::Moved => {}
                Step::Empty => return,
                Step::Failing(at) => {
                    self.later.insert(id, at);
                    return;
                }
                Step::Ended => {
                    self.detach(id);
                    self.tell_failures();
                    (self.tell)(Event::Ended { id });
                    return;
                }
            }
        }
        self.ready.insert(id);
    }
}

/// Files exist from the start, even if nothing is ever written. One that cannot be created is told about when it is written to.
fn create_files(sinks: &mut Sinks, stream: &Stream) {
    if stream.attach.disabled {
        return;
    }
    let now = Instant::now();
    for path in &stream.attach.files {
        let _ = sinks.at_end(path, now);
    }
}

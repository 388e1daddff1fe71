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
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd};

use crate::pace::{Left, Next};
use crate::passage::Passage;
use crate::rotation::{Complain, Housekeeper, Rotation};
use crate::sink::Sinks;
use crate::stream::{Attach, Event, Now, Step, Stream, StreamId, Tools};
use crate::times::Times;
use crate::wide::{WIDE, WidePipes};

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
    AllAttached,
    Listen(bool),
    Reopen,
    SetRotation(StreamId, Option<Rotation>),
    Rotate(StreamId),
    Stop,
}

impl Pump {
    /// Starts the thread. It calls `tell` with each event; `false` says that the event could not be taken, and for a
    /// [`Chunk`](crate::Chunk) this is counted in the next one. `tell` must not block. `times` is where it is noted when what was
    /// written. `passage` makes floods faster; what it holds is written when its stream is attached.
    ///
    /// # Errors
    /// When the system gives no thread, pipe or epoll instance.
    pub fn start(
        times: Option<Times>,
        passage: Option<Passage>,
        tell: impl FnMut(Event) -> bool + Send + 'static,
    ) -> Result<Self, Error> {
        let at = |step| move |source: io::Error| Error { step, source };
        let wake = Arc::new(Wake::new().map_err(at("eventfd"))?);
        let (commands, inbox) = channel();
        let worker = Worker::new(inbox, Arc::clone(&wake), times, passage, Box::new(tell))
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

    /// All streams that a former pump carried are attached: what else is in the passage is nobody's any more.
    pub fn all_attached(&self) {
        self.send(Command::AllAttached);
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

/// Steps a stream may take before the others have their turn,
const TURN: usize = 16;
/// and bytes.
const TURN_BYTES: u64 = 1024 * 1024;
/// What the housekeeper could not do, and nobody has read yet.
const COMPLAINTS: usize = 16;
/// A wait of less is meant to the microsecond: in ns.
const SHORT: i64 = 2_000_000;
/// When a stream is looked at again whose calls the kernel does not want to take: seldom, but not never.
const UNCALLED: Duration = Duration::from_millis(100);
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
    wide: WidePipes,
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
        passage: Option<Passage>,
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
            wide: WidePipes::new(),
            listening: false,
            sinks: Sinks::new(times, housekeeper),
            untidy,
            tools: Tools {
                scratch_in,
                scratch_out,
                null,
                passage,
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
            for id in self.wide.calm(now) {
                if let Some(stream) = self.streams.get_mut(&id)
                    && let Some(size) = self.wide.narrow(id, &stream.attach.pipe, now)
                {
                    stream.capacity = size;
                }
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let timeout = if self.ready.is_empty() {
            let next = self.later.values().min().copied();
            let next = next.into_iter().chain(self.wide.next()).min();
            next.map(|at| at.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        let mut timeout = timeout.map(|d| Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(d.subsec_nanos()),
        });
        // A wait of epoll's is rounded up to a whole millisecond; that of poll is not.
        if let Some(Timespec {
            tv_sec: 0,
            tv_nsec: 1..=SHORT,
        }) = timeout
        {
            let mut asked = [PollFd::new(&self.epoll, PollFlags::IN)];
            if rustix::event::poll(&mut asked, timeout.as_ref()) == Ok(0) {
                return;
            }
            timeout = Some(Timespec::default());
        }
        // An interrupted wait is an early one; any other error cannot happen with descriptors that are ours.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref());
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(attach) => self.attach(attach),
            Command::Detach(id) => self.detach(id),
            Command::AllAttached => {
                if let Some(passage) = &mut self.tools.passage
                    && passage.owner().is_some_and(|id| !self.streams.contains_key(&id))
                {
                    let _ = passage.give(&self.tools.null);
                }
            }
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
        let mut stream = Stream::new(attach);
        if call(&self.epoll, &mut stream).is_err() {
            (self.tell)(Event::Ended { id });
            return;
        }
        self.wide.adopt(id, stream.capacity, Instant::now());
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
        self.wide.forget(id);
        if let Some(mut stream) = self.streams.remove(&id) {
            let _ = call_off(&self.epoll, &mut stream);
            self.close_unused();
        }
    }

    fn close_unused(&mut self) {
        let used: BTreeSet<&PathBuf> = self.streams.values().flat_map(|s| &s.attach.files).collect();
        self.sinks.keep(&used);
    }

    /// Lets a stream carry what it has, up to its turn.
    fn carry(&mut self, id: StreamId) {
        let streams = self.streams.len();
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        self.later.remove(&id);
        let now = Now::get();
        let mut bytes = 0;
        let mut left = Left::Much;
        for _ in 0..TURN {
            match stream.step(
                now,
                self.listening,
                &mut self.sinks,
                &mut self.tools,
                &mut *self.tell,
            ) {
                Step::Moved(piece) => {
                    bytes += piece.bytes as u64;
                    if bytes >= TURN_BYTES {
                        break;
                    }
                    if piece.short && stream.pace.is_busy() {
                        left = Left::Little;
                        break;
                    }
                }
                Step::Empty => {
                    left = Left::Nothing;
                    break;
                }
                Step::Failing(at) => {
                    self.later.insert(id, at);
                    let _ = call(&self.epoll, stream);
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
        match stream.pace.carried(now.mono, bytes, left, stream.capacity) {
            Next::Again => {
                self.ready.insert(id);
            }
            Next::Call => {
                if call(&self.epoll, stream).is_err() {
                    self.later.insert(id, Instant::now() + UNCALLED);
                }
            }
            Next::Rest(rest) => {
                let _ = call_off(&self.epoll, stream);
                self.later.insert(id, Instant::now() + rest);
            }
        }
        if stream.pace.floods()
            && let Some(size) = self
                .wide
                .widen(id, &stream.attach.pipe, stream.capacity, streams, now.mono)
        {
            stream.capacity = size;
            // What is looked at must find as much room as where it comes from. Without it, it comes in more pieces.
            let _ = rustix::pipe::fcntl_setpipe_size(&self.tools.scratch_in, WIDE);
        }
    }
}

/// From now on the kernel calls when something comes, and at once if something is there.
fn call(epoll: &OwnedFd, stream: &mut Stream) -> rustix::io::Result<()> {
    if !stream.called {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(stream.attach.id.0);
        epoll::add(epoll, &stream.attach.pipe, data, flags)?;
        stream.called = true;
    }
    Ok(())
}

/// From now on the kernel does not call: an app is then not held up by calls that nobody needs.
fn call_off(epoll: &OwnedFd, stream: &mut Stream) -> rustix::io::Result<()> {
    if stream.called {
        epoll::delete(epoll, &stream.attach.pipe)?;
        stream.called = false;
    }
    Ok(())
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

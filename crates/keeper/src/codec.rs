//! Bytes of the protocol and of the keeper's own state. Bounded, checked, never a panic.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use os::spawn::{Identity, Program, Step};
use os::wait::{Exit, Usage};

use crate::protocol::{
    ChildFds, ChildInfo, Event, ExitReport, IpcPlace, MAX_BODY_BYTES, MAX_FDS, MAX_NAME_BYTES, Part, Request,
    RequestKind, SpawnSpec,
};

/// Larger bodies go into an anonymous file.
const MAX_INLINE_BYTES: usize = 16 * 1024;
const HEADER_BYTES: usize = 4;
const FLAG_BODY_IN_FILE: u16 = 1;

/// What was wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

#[derive(Debug)]
pub(crate) enum EncodeError {
    OutOfBounds(&'static str),
    Io(io::Error),
}

/// The kernel is full for the moment: of bytes, of descriptors on their way, or of memory.
pub(crate) fn is_try_later(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM];
    error.kind() == io::ErrorKind::WouldBlock
        || shortages
            .iter()
            .any(|shortage| error.raw_os_error() == Some(shortage.raw_os_error()))
}

/// A message ready to be sent.
#[derive(Debug)]
pub(crate) struct Packet<Fd> {
    bytes: Vec<u8>,
    /// Comes before `fds`.
    body_file: Option<OwnedFd>,
    fds: Vec<Fd>,
}

impl<'a> Packet<BorrowedFd<'a>> {
    fn new(kind: u16, body: Vec<u8>, fds: Vec<BorrowedFd<'a>>) -> Result<Self, EncodeError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(EncodeError::OutOfBounds(
                "arguments and environment are larger than 32 MiB",
            ));
        }
        let in_file = body.len() > MAX_INLINE_BYTES;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + if in_file { 0 } else { body.len() });
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&if in_file { FLAG_BODY_IN_FILE } else { 0 }.to_le_bytes());
        let body_file = if in_file {
            Some(os::memfd::with_content("keeper-message", &body).map_err(EncodeError::Io)?)
        } else {
            bytes.extend_from_slice(&body);
            None
        };
        Ok(Self {
            bytes,
            body_file,
            fds,
        })
    }

    pub(crate) fn into_owned(self) -> io::Result<Packet<OwnedFd>> {
        let fds = self
            .fds
            .into_iter()
            .map(os::fd::duplicate)
            .collect::<io::Result<_>>()?;
        Ok(Packet {
            bytes: self.bytes,
            body_file: self.body_file,
            fds,
        })
    }
}

impl<Fd: AsFd> Packet<Fd> {
    /// Sends all of it or nothing.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let fds: Vec<_> = self
            .body_file
            .iter()
            .map(AsFd::as_fd)
            .chain(self.fds.iter().map(AsFd::as_fd))
            .collect();
        os::pass::send(socket, &self.bytes, &fds).map(drop)
    }
}

/// Kind, body and descriptors of a received message.
fn open_packet(bytes: &[u8], mut fds: Vec<OwnedFd>) -> Result<(u16, Vec<u8>, Vec<OwnedFd>), Malformed> {
    let mut header = Reader::new(bytes);
    let (kind, flags) = (header.u16()?, header.u16()?);
    let body = if flags & FLAG_BODY_IN_FILE == 0 {
        header.rest.to_vec()
    } else {
        if fds.is_empty() {
            return Err(Malformed("the body's descriptor is missing"));
        }
        let file = fds.remove(0);
        os::memfd::read_all(&file, MAX_BODY_BYTES)
            .map_err(|_| Malformed("the body is unreadable or too long"))?
    };
    Ok((kind, body, fds))
}

/// A request as the keeper receives it.
#[derive(Debug)]
pub(crate) enum Received {
    Spawn {
        key: u64,
        spec: SpawnSpec,
        extra: Vec<OwnedFd>,
    },
    Forget {
        key: u64,
    },
    Release {
        key: u64,
        part: Part,
    },
    Put {
        name: String,
        fds: Vec<OwnedFd>,
    },
    Remove {
        name: String,
    },
    Adopt {
        key: u64,
        pid: u32,
        spawned_at_ms: u64,
        fds: ChildFds,
    },
    Exec {
        path: OsString,
    },
    Shutdown,
    Unknown,
}

pub(crate) fn encode_request<'a>(request: &Request<'a>) -> Result<Packet<BorrowedFd<'a>>, EncodeError> {
    let mut w = Writer::default();
    let (kind, fds) = match *request {
        Request::Spawn { key, spec, extra } => {
            if extra.len() > MAX_FDS {
                return Err(EncodeError::OutOfBounds("too many descriptors for a child"));
            }
            w.u64(key);
            write_spec(&mut w, spec);
            (RequestKind::Spawn, extra.to_vec())
        }
        Request::Forget { key } => {
            w.u64(key);
            (RequestKind::Forget, Vec::new())
        }
        Request::Release { key, part } => {
            w.u64(key);
            w.u32(part as u32);
            (RequestKind::Release, Vec::new())
        }
        Request::Put { name, fds } => {
            check_name(name)?;
            if fds.len() > MAX_FDS {
                return Err(EncodeError::OutOfBounds("too many descriptors under one name"));
            }
            w.bytes(name.as_bytes());
            (RequestKind::Put, fds.to_vec())
        }
        Request::Remove { name } => {
            check_name(name)?;
            w.bytes(name.as_bytes());
            (RequestKind::Remove, Vec::new())
        }
        Request::Adopt {
            key,
            pid,
            spawned_at_ms,
            fds,
        } => {
            w.u64(key);
            w.u32(pid);
            w.u64(spawned_at_ms);
            let list = [fds.stdin, fds.stdout, fds.stderr, fds.ipc, fds.pidfd];
            w.u32(mask(list.map(|fd| fd.is_some())));
            (RequestKind::Adopt, list.into_iter().flatten().collect())
        }
        Request::Exec { path } => {
            w.bytes(path.as_os_str().as_bytes());
            (RequestKind::Exec, Vec::new())
        }
        Request::Shutdown => (RequestKind::Shutdown, Vec::new()),
    };
    Packet::new(kind as u16, w.0, fds)
}

fn check_name(name: &str) -> Result<(), EncodeError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(EncodeError::OutOfBounds("a name has 1 to 128 bytes"));
    }
    Ok(())
}

pub(crate) fn decode_request(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Received, Malformed> {
    let (kind, body, fds) = open_packet(bytes, fds)?;
    let mut r = Reader::new(&body);
    let is = |k: RequestKind| kind == k as u16;
    Ok(if is(RequestKind::Spawn) {
        Received::Spawn {
            key: r.u64()?,
            spec: read_spec(&mut r)?,
            extra: fds,
        }
    } else if is(RequestKind::Forget) {
        Received::Forget { key: r.u64()? }
    } else if is(RequestKind::Release) {
        let key = r.u64()?;
        let part = match r.u32()? {
            1 => Part::Stdin,
            2 => Part::Stdout,
            4 => Part::Stderr,
            8 => Part::Ipc,
            _ => return Err(Malformed("no such part of a child")),
        };
        Received::Release { key, part }
    } else if is(RequestKind::Put) {
        Received::Put { name: r.name()?, fds }
    } else if is(RequestKind::Remove) {
        Received::Remove { name: r.name()? }
    } else if is(RequestKind::Adopt) {
        let (key, pid, spawned_at_ms) = (r.u64()?, r.u32()?, r.u64()?);
        Received::Adopt {
            key,
            pid,
            spawned_at_ms,
            fds: assign_fds(r.u32()?, fds)?,
        }
    } else if is(RequestKind::Exec) {
        Received::Exec { path: r.os_string()? }
    } else if is(RequestKind::Shutdown) {
        Received::Shutdown
    } else {
        Received::Unknown
    })
}

const E_WELCOME: u16 = 1;
const E_CHILD: u16 = 2;
const E_STORED: u16 = 3;
const E_READY: u16 = 4;
const E_SPAWNED: u16 = 5;
const E_SPAWN_FAILED: u16 = 6;
const E_EXITED: u16 = 7;
const E_REFUSED: u16 = 8;

/// An event as the keeper sends it: descriptors stay in its tables.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    Welcome {
        keeper_pid: u32,
        daemon_starts: u64,
    },
    Child {
        fresh: bool,
        facts: ChildFacts,
        fds: [Option<BorrowedFd<'a>>; 5],
    },
    Stored {
        name: &'a str,
        fds: Vec<BorrowedFd<'a>>,
    },
    Ready,
    SpawnFailed {
        key: u64,
        step: Step,
        errno: i32,
    },
    Exited {
        key: u64,
        pid: u32,
        report: ExitReport,
    },
    Refused {
        request: RequestKind,
        key: u64,
        name: &'a str,
        errno: i32,
    },
}

/// What is known of a child besides its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildFacts {
    pub(crate) key: u64,
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) spawned_at_ms: u64,
    pub(crate) adopted: bool,
    pub(crate) exited: Option<ExitReport>,
}

pub(crate) fn encode_event<'a>(event: Told<'a>) -> Result<Packet<BorrowedFd<'a>>, EncodeError> {
    let mut w = Writer::default();
    let mut list = Vec::new();
    let kind = match event {
        Told::Welcome {
            keeper_pid,
            daemon_starts,
        } => {
            w.u32(crate::protocol::PROTOCOL_VERSION);
            w.u32(keeper_pid);
            w.u64(daemon_starts);
            E_WELCOME
        }
        Told::Child { fresh, facts, fds } => {
            w.child(&facts);
            w.u32(mask(fds.map(|fd| fd.is_some())));
            list.extend(fds.into_iter().flatten());
            if fresh { E_SPAWNED } else { E_CHILD }
        }
        Told::Stored { name, fds } => {
            w.bytes(name.as_bytes());
            list = fds;
            E_STORED
        }
        Told::Ready => E_READY,
        Told::SpawnFailed { key, step, errno } => {
            w.u64(key);
            w.u32(step as u32);
            w.i32(errno);
            E_SPAWN_FAILED
        }
        Told::Exited { key, pid, report } => {
            w.u64(key);
            w.u32(pid);
            w.report(&report);
            E_EXITED
        }
        Told::Refused {
            request,
            key,
            name,
            errno,
        } => {
            w.u16(request as u16);
            w.u64(key);
            w.bytes(name.as_bytes());
            w.i32(errno);
            E_REFUSED
        }
    };
    Packet::new(kind, w.0, list)
}

pub(crate) fn decode_event(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Event, Malformed> {
    let (kind, body, fds) = open_packet(bytes, fds)?;
    let mut r = Reader::new(&body);
    Ok(match kind {
        E_WELCOME => Event::Welcome {
            protocol: r.u32()?,
            keeper_pid: r.u32()?,
            daemon_starts: r.u64()?,
        },
        E_CHILD | E_SPAWNED => {
            let facts = r.child()?;
            let info = ChildInfo {
                key: facts.key,
                pid: facts.pid,
                start_ticks: facts.start_ticks,
                spawned_at_ms: facts.spawned_at_ms,
                adopted: facts.adopted,
                exited: facts.exited,
                fds: assign_fds(r.u32()?, fds)?,
            };
            if kind == E_SPAWNED {
                Event::Spawned(info)
            } else {
                Event::Child(info)
            }
        }
        E_STORED => Event::Stored { name: r.name()?, fds },
        E_READY => Event::Ready,
        E_SPAWN_FAILED => {
            let (key, step) = (r.u64()?, r.u32()?);
            let step = Step::from_number(step).ok_or(Malformed("no such step of a spawn"))?;
            Event::SpawnFailed {
                key,
                step,
                errno: r.i32()?,
            }
        }
        E_EXITED => Event::Exited {
            key: r.u64()?,
            pid: r.u32()?,
            report: r.report()?,
        },
        E_REFUSED => {
            let request = request_kind(r.u16()?);
            let key = r.u64()?;
            let name = String::from_utf8_lossy(r.bytes()?).into_owned();
            Event::Refused {
                request,
                key,
                name,
                errno: r.i32()?,
            }
        }
        _ => return Err(Malformed("an unknown event")),
    })
}

fn request_kind(number: u16) -> RequestKind {
    use RequestKind::{Adopt, Exec, Forget, Put, Release, Remove, Shutdown, Spawn, Unknown};
    [Spawn, Forget, Release, Put, Remove, Adopt, Exec, Shutdown]
        .into_iter()
        .find(|&kind| kind as u16 == number)
        .unwrap_or(Unknown)
}

/// Bit n: the n-th of stdin, stdout, stderr, ipc, pidfd is there.
pub(crate) fn mask(present: [bool; 5]) -> u32 {
    present
        .iter()
        .enumerate()
        .map(|(bit, &is)| u32::from(is) << bit)
        .sum()
}

pub(crate) fn assign_fds(mask: u32, fds: Vec<OwnedFd>) -> Result<ChildFds, Malformed> {
    if mask >= 1 << 5 || mask.count_ones() as usize != fds.len() {
        return Err(Malformed("a child's descriptors are not those announced"));
    }
    let mut fds = fds.into_iter();
    let mut next = |bit: u32| if mask & (1 << bit) == 0 { None } else { fds.next() };
    Ok(ChildFds {
        stdin: next(0),
        stdout: next(1),
        stderr: next(2),
        ipc: next(3),
        pidfd: next(4),
    })
}

fn write_spec(w: &mut Writer, spec: &SpawnSpec) {
    let program = &spec.program;
    w.bytes(program.exec.as_bytes());
    w.list(&program.argv);
    w.list(&program.env);
    w.bytes(program.cwd.as_os_str().as_bytes());
    w.u32(u32::from(program.identity.is_some()));
    if let Some(identity) = &program.identity {
        w.u32(identity.uid);
        w.u32(identity.gid);
        w.length(identity.groups.len());
        for &group in &identity.groups {
            w.u32(group);
        }
    }
    w.u32(u32::from(program.listen_pid));
    w.u32(u32::from(spec.stdin_pipe));
    w.u32(match spec.ipc {
        IpcPlace::None => 0,
        IpcPlace::First => 1,
        IpcPlace::Last => 2,
    });
    w.u32(u32::from(spec.in_cgroup));
}

fn read_spec(r: &mut Reader<'_>) -> Result<SpawnSpec, Malformed> {
    let exec = r.os_string()?;
    let argv = r.list()?;
    let env = r.list()?;
    let cwd = r.os_string()?.into();
    let identity = if r.flag()? {
        let (uid, gid, count) = (r.u32()?, r.u32()?, r.length(4)?);
        let groups = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
        Some(Identity { uid, gid, groups })
    } else {
        None
    };
    let listen_pid = r.flag()?;
    let stdin_pipe = r.flag()?;
    let ipc = match r.u32()? {
        0 => IpcPlace::None,
        1 => IpcPlace::First,
        2 => IpcPlace::Last,
        _ => return Err(Malformed("no such place for an IPC channel")),
    };
    // A daemon of an older release says nothing more.
    let in_cgroup = !r.rest.is_empty() && r.flag()?;
    Ok(SpawnSpec {
        program: Program {
            exec,
            argv,
            env,
            cwd,
            identity,
            listen_pid,
        },
        stdin_pipe,
        ipc,
        in_cgroup,
    })
}

/// Appends little-endian fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Lengths beyond 32 bits are beyond every bound, and end as "larger than 32 MiB" or malformed.
    pub(crate) fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.extend_from_slice(value);
    }

    fn list(&mut self, values: &[OsString]) {
        self.length(values.len());
        for value in values {
            self.bytes(value.as_bytes());
        }
    }

    pub(crate) fn child(&mut self, facts: &ChildFacts) {
        self.u64(facts.key);
        self.u32(facts.pid);
        self.u64(facts.start_ticks);
        self.u64(facts.spawned_at_ms);
        self.u32(u32::from(facts.adopted));
        self.u32(u32::from(facts.exited.is_some()));
        if let Some(report) = &facts.exited {
            self.report(report);
        }
    }

    fn report(&mut self, report: &ExitReport) {
        let (kind, number) = match report.exit {
            Exit::Code(code) => (0, code),
            Exit::Signal(signal) => (1, signal),
            Exit::Unknown => (2, 0),
        };
        self.u32(kind);
        self.i32(number);
        self.u64(report.at_ms);
        self.u64(report.usage.max_rss_bytes);
        for time in [report.usage.user, report.usage.system] {
            self.u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// Takes little-endian fields; fails at the end of the bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("shorter than it says"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?
            .try_into()
            .map_err(|_| Malformed("shorter than it says"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }

    /// A count of things that take at least `each` bytes: never more than could follow.
    pub(crate) fn length(&mut self, each: usize) -> Result<usize, Malformed> {
        let length = self.u32()? as usize;
        if length > self.rest.len() / each {
            return Err(Malformed("shorter than it says"));
        }
        Ok(length)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length(1)?;
        self.take(length)
    }

    fn os_string(&mut self) -> Result<OsString, Malformed> {
        Ok(OsStr::from_bytes(self.bytes()?).to_owned())
    }

    fn list(&mut self) -> Result<Vec<OsString>, Malformed> {
        let length = self.length(4)?;
        (0..length)
            .map(|_| Ok(OsString::from_vec(self.bytes()?.to_vec())))
            .collect()
    }

    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        if bytes.is_empty() || bytes.len() > MAX_NAME_BYTES {
            return Err(Malformed("a name is empty or too long"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a name is not UTF-8"))
    }

    pub(crate) fn child(&mut self) -> Result<ChildFacts, Malformed> {
        Ok(ChildFacts {
            key: self.u64()?,
            pid: self.u32()?,
            start_ticks: self.u64()?,
            spawned_at_ms: self.u64()?,
            adopted: self.flag()?,
            exited: if self.flag()? { Some(self.report()?) } else { None },
        })
    }

    fn report(&mut self) -> Result<ExitReport, Malformed> {
        let (kind, number) = (self.u32()?, self.i32()?);
        let exit = match kind {
            0 => Exit::Code(number),
            1 => Exit::Signal(number),
            2 => Exit::Unknown,
            _ => return Err(Malformed("no such kind of exit")),
        };
        let at_ms = self.u64()?;
        let max_rss_bytes = self.u64()?;
        let (user, system) = (
            Duration::from_micros(self.u64()?),
            Duration::from_micros(self.u64()?),
        );
        Ok(ExitReport {
            exit,
            at_ms,
            usage: Usage {
                max_rss_bytes,
                user,
                system,
            },
        })
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;

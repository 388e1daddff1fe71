//! What this process has in hand survives its death at any instruction.
//!
//! A connection that was accepted and not yet passed on exists in this process's table of descriptors alone; the kernel has no call
//! that takes it from a listening socket and passes it on in one step. So the table is shared: a second process, the witness, has it
//! too (`CLONE_FILES`), does nothing while this one lives, and passes on what was in hand when it dies. It runs on this process's
//! memory (`CLONE_VM`), so it costs no memory of its own and always knows what [`Custody`] was told, up to the last store. While all
//! is well nothing of this costs a system call.
//!
//! The witness is killed by nothing that kills this process, except by whoever kills both.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrAny, SocketAddrUnix};

use crate::process::empty_signal_set;

/// Things that can be in hand at once. What is beyond that is not in custody.
const SLOTS: usize = 1024;
/// Numbers that go with each.
pub const WORDS: usize = 4;
const STACK_BYTES: usize = 64 * 1024;
/// No descriptor.
const NONE: i32 = -1;
const FREE: i32 = -1;
/// Between two tries where the queue is full, ns. It has room for hundreds, and so few are in hand at once as there are workers.
const PAUSE_NS: i64 = 1_000_000;
/// Tries.
const MAX_TRIES: u32 = 1000;

/// One thing in hand.
#[derive(Debug)]
struct Slot {
    fd: AtomicI32,
    words: [AtomicU64; WORDS],
}

/// What the two processes share. Never freed: the witness outlives every owner.
#[derive(Debug)]
struct Table {
    slots: [Slot; SLOTS],
    /// The listening socket from which a connection is being accepted now.
    source: AtomicI32,
    source_word: AtomicU64,
    /// Stands for the process that is watched.
    watched: AtomicI32,
    /// Where to pass things on.
    heirs: AtomicI32,
}

/// Where something in hand is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held(usize);

/// Something that a process had in hand when it died.
#[derive(Debug)]
pub struct Left {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What was noted of it. All but the first are 0 for a connection that had just been accepted.
    pub words: [u64; WORDS],
}

/// What this process has in hand.
#[derive(Debug)]
pub struct Custody {
    table: &'static Table,
    /// The slot after the one that was taken last.
    next: usize,
    witness: OwnedFd,
    witness_pid: u32,
    /// Open as long as the table has their numbers.
    _heirs: OwnedFd,
    _watched: OwnedFd,
}

impl Custody {
    /// Have this process witnessed. What it has in hand when it dies goes into the message socket `heirs`; keep the other end of its
    /// pair in a process that lives on, and look there with [`collect`].
    ///
    /// # Errors
    /// When no process can be made.
    pub fn begin(heirs: OwnedFd) -> io::Result<Self> {
        let slot = || Slot {
            fd: AtomicI32::new(FREE),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        let watched = crate::process::open(std::process::id())?;
        let table: &'static Table = Box::leak(Box::new(Table {
            slots: std::array::from_fn(|_| slot()),
            source: AtomicI32::new(NONE),
            source_word: AtomicU64::new(0),
            watched: AtomicI32::new(watched.as_raw_fd()),
            heirs: AtomicI32::new(heirs.as_raw_fd()),
        }));
        let (witness_pid, witness) = start_witness(table)?;
        Ok(Self {
            table,
            next: 0,
            witness,
            witness_pid,
            _heirs: heirs,
            _watched: watched,
        })
    }

    /// Stands for the witness, for [`collect`].
    #[must_use]
    pub fn witness(&self) -> BorrowedFd<'_> {
        self.witness.as_fd()
    }

    /// Another witness, if somebody has killed the one there was. `true`: there was need.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn renew(&mut self) -> io::Result<bool> {
        if !crate::process::has_exited(&self.witness)? {
            return Ok(false);
        }
        let _ = crate::wait::reap_one(self.witness_pid);
        (self.witness_pid, self.witness) = start_witness(self.table)?;
        Ok(true)
    }

    /// A connection is about to be accepted from this socket; `word` goes with it. Ended by [`Custody::hold`] or
    /// [`Custody::took_nothing`].
    pub fn taking_from(&self, source: impl AsFd, word: u64) {
        self.table.source_word.store(word, Ordering::SeqCst);
        self.table
            .source
            .store(source.as_fd().as_raw_fd(), Ordering::SeqCst);
    }

    /// None was there.
    pub fn took_nothing(&self) {
        self.table.source.store(NONE, Ordering::SeqCst);
    }

    /// Take something into custody. `None`: too much is in hand already. Call [`Custody::release`] before it is closed.
    pub fn hold(&mut self, fd: impl AsFd, words: [u64; WORDS]) -> Option<Held> {
        let at = (0..SLOTS)
            .map(|step| (self.next + step) % SLOTS)
            .find(|at| self.table.slots[*at].fd.load(Ordering::SeqCst) == FREE);
        if let Some(at) = at {
            self.next = (at + 1) % SLOTS;
            let slot = &self.table.slots[at];
            for (kept, word) in slot.words.iter().zip(words) {
                kept.store(word, Ordering::SeqCst);
            }
            slot.fd.store(fd.as_fd().as_raw_fd(), Ordering::SeqCst);
        }
        self.took_nothing();
        at.map(Held)
    }

    /// Change one of the numbers that go with it.
    pub fn note(&self, held: Held, word: usize, value: u64) {
        if let Some(kept) = self.table.slots[held.0].words.get(word) {
            kept.store(value, Ordering::SeqCst);
        }
    }

    /// It is in other hands now.
    pub fn release(&self, held: Held) {
        self.table.slots[held.0].fd.store(FREE, Ordering::SeqCst);
    }
}

impl Drop for Custody {
    /// Nothing is in hand any more. The witness stays until the process ends, and then finds nothing to do.
    fn drop(&mut self) {
        self.took_nothing();
        for slot in &self.table.slots {
            slot.fd.store(FREE, Ordering::SeqCst);
        }
        // Their numbers may be given to others.
        self.table.heirs.store(NONE, Ordering::SeqCst);
        self.table.watched.store(NONE, Ordering::SeqCst);
        let _ = crate::process::signal(&self.witness, crate::signal::SIGKILL);
        // If it has not ended yet, it is collected with this process.
        let _ = crate::wait::reap_one(self.witness_pid);
    }
}

/// Everything that a dead process had in hand: from the other end of the pair that it was given, until its witness has ended. Blocks for a moment at most, as the witness needs no more.
///
/// # Errors
/// Those of the socket.
pub fn collect(heirs: impl AsFd, witness: impl AsFd, patience: Duration) -> io::Result<Vec<Left>> {
    let give_up = Instant::now() + patience;
    let mut left = Vec::new();
    let mut buffer = [0; WORDS * 8];
    let mut fds = Vec::new();
    loop {
        let over = crate::process::has_exited(&witness)?;
        match crate::pass::receive(&heirs, &mut buffer, &mut fds) {
            Ok(received) if received.bytes == buffer.len() => {
                let mut words = [0; WORDS];
                for (word, bytes) in words.iter_mut().zip(buffer.as_chunks::<8>().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                left.extend(fds.drain(..).map(|fd| Left { fd, words }));
            }
            Ok(received) if received.bytes == 0 => return Ok(left),
            // Of no witness of this version.
            Ok(_) => fds.clear(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if over || Instant::now() >= give_up {
                    return Ok(left);
                }
                let step = Timespec {
                    tv_sec: 0,
                    tv_nsec: 10_000_000,
                };
                let heirs = heirs.as_fd();
                let witness = witness.as_fd();
                let mut polls = [
                    PollFd::from_borrowed_fd(heirs, PollFlags::IN),
                    PollFd::from_borrowed_fd(witness, PollFlags::IN),
                ];
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut polls, Some(&step)))?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn start_witness(table: &'static Table) -> io::Result<(u32, OwnedFd)> {
    // Its own for ever, as the table is.
    let stack: &'static mut [u8] = Box::leak(vec![0_u8; STACK_BYTES].into_boxed_slice());
    let mut pidfd: libc::c_int = -1;
    let all = {
        let mut set = empty_signal_set();
        // SAFETY: fills an initialised set.
        unsafe { libc::sigfillset(&raw mut set) };
        set
    };
    let mut before = empty_signal_set();
    // SAFETY: the new process shares memory and descriptors with this one. It runs on a stack of its own, of which the (aligned) top
    // is passed and which is never freed, touches nothing but that stack and the atomics of a table that is never freed either, and
    // makes system calls by rustix only, which neither allocates nor uses errno: it has no thread-local storage of its own. All
    // signals stay blocked in it, so no handler of ours runs there.
    let (pid, error) = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = stack.as_mut_ptr().add(STACK_BYTES);
        let top = top.sub(top.addr() % 16);
        let pid = libc::clone(
            witness_half,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_PIDFD | libc::SIGCHLD,
            std::ptr::from_ref(table).cast_mut().cast(),
            &raw mut pidfd,
        );
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        (pid, error)
    };
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: the kernel stored a fresh descriptor there (CLONE_PIDFD), which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid.unsigned_abs(), pidfd))
}

extern "C" fn witness_half(table: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start_witness` passes its table, which lives for ever and is only accessed through atomics.
    let table = unsafe { &*table.cast::<Table>() };
    let _ = rustix::thread::set_name(c"pm2 witness");
    if wait_for_the_end(table) {
        pass_on(table);
    }
    // SAFETY: ends this process only; nothing of it is to be cleaned up.
    unsafe { libc::_exit(0) }
}

/// # Safety
/// The number is that of an open descriptor, for as long as the result is used.
unsafe fn borrowed<'a>(number: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: see the function's contract.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

fn wait_for_the_end(table: &Table) -> bool {
    loop {
        // SAFETY: the owner of the table keeps it open while it is noted there; see `Drop`.
        let Some(watched) = (unsafe { borrowed(table.watched.load(Ordering::SeqCst)) }) else {
            return false;
        };
        let mut polls = [PollFd::from_borrowed_fd(watched, PollFlags::IN)];
        match rustix::event::poll(&mut polls, None) {
            Ok(1..) => return polls[0].revents().contains(PollFlags::IN),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// All other users of memory and table are dead from here on. They may have died with the allocator locked, so nothing may be allocated.
fn pass_on(table: &Table) {
    // SAFETY: nobody is left to close it.
    let Some(heirs) = (unsafe { borrowed(table.heirs.load(Ordering::SeqCst)) }) else {
        return;
    };
    for slot in &table.slots {
        // SAFETY: nobody is left to close it.
        if let Some(fd) = unsafe { borrowed(slot.fd.load(Ordering::SeqCst)) } {
            let words = std::array::from_fn(|at| slot.words[at].load(Ordering::SeqCst));
            send(heirs, fd, &words);
        }
    }
    // SAFETY: nobody is left to close it.
    if let Some(source) = unsafe { borrowed(table.source.load(Ordering::SeqCst)) } {
        let word = table.source_word.load(Ordering::SeqCst);
        let known = |fd: RawFd| {
            table
                .slots
                .iter()
                .any(|slot| slot.fd.load(Ordering::SeqCst) == fd)
        };
        each_descriptor(|number| {
            // SAFETY: nobody is left to close it.
            let Some(fd) = (unsafe { borrowed(number) }).filter(|_| !known(number)) else {
                return;
            };
            if came_from(fd, source) {
                send(heirs, fd, &[word, 0, 0, 0]);
            }
        });
    }
}

/// Whether a descriptor is a connection that was accepted from this socket: it has the same address on our side. Connections that this
/// process made have others, as the kernel gives no port away that somebody listens on.
fn came_from(fd: BorrowedFd<'_>, source: BorrowedFd<'_>) -> bool {
    let listens = rustix::net::sockopt::socket_acceptconn(fd);
    let same_kind = rustix::net::sockopt::socket_type(fd) == Ok(rustix::net::SocketType::STREAM);
    if listens != Ok(false) || !same_kind || rustix::net::getpeername(fd).is_err() {
        return false;
    }
    let (Ok(ours), Ok(theirs)) = (rustix::net::getsockname(fd), rustix::net::getsockname(source)) else {
        return false;
    };
    match (port_of(&ours), port_of(&theirs)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, None) => match (SocketAddrUnix::try_from(ours), SocketAddrUnix::try_from(theirs)) {
            (Ok(ours), Ok(theirs)) => {
                let named = ours.path_bytes().is_some() || ours.abstract_name().is_some();
                named
                    && ours.path_bytes() == theirs.path_bytes()
                    && ours.abstract_name() == theirs.abstract_name()
            }
            _ => false,
        },
        _ => false,
    }
}

fn port_of(address: &SocketAddrAny) -> Option<u16> {
    std::net::SocketAddr::try_from(address.clone())
        .ok()
        .map(|address| address.port())
}

fn each_descriptor(mut act: impl FnMut(RawFd)) {
    use rustix::fs::{Mode, OFlags, RawDir};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty()) else {
        return;
    };
    let mut space = [MaybeUninit::<u8>::uninit(); 4096];
    let mut entries = RawDir::new(&dir, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        let number = name.iter().try_fold(0_i32, |sum, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            sum.checked_mul(10)?.checked_add(i32::from(digit))
        });
        if let Some(number) = number.filter(|number| *number != dir.as_raw_fd()) {
            act(number);
        }
    }
}

/// Without allocation; see [`pass_on`].
fn send(heirs: BorrowedFd<'_>, fd: BorrowedFd<'_>, words: &[u64; WORDS]) {
    let mut bytes = [0; WORDS * 8];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    for _ in 0..MAX_TRIES {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(heirs, &[IoSlice::new(&bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::TOOMANYREFS | rustix::io::Errno::NOBUFS) => {
                let pause = Timespec {
                    tv_sec: 0,
                    tv_nsec: PAUSE_NS,
                };
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// What the process to be killed does, by its argument: see `is_killed`.
    const PART: &str = "CUSTODY_TEST";

    /// Not a test by itself: the process that the others kill. It finds its descriptors at 10 and 11.
    #[test]
    fn is_killed() {
        let Ok(part) = std::env::var(PART) else { return };
        let socket = crate::fd::inherited(10).unwrap();
        let mut custody = Custody::begin(crate::fd::inherited(11).unwrap()).unwrap();
        let accept = || loop {
            match crate::listen::accept(&socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        };
        custody.taking_from(&socket, 5);
        let first = accept();
        match part.as_str() {
            "accepted" => {}
            "held" => {
                let held = custody.hold(&first, [5, 0, 0, 0]).unwrap();
                custody.note(held, 2, 9);
                custody.note(held, 1, 1);
            }
            "released" => {
                let held = custody.hold(&first, [5, 0, 0, 0]).unwrap();
                custody.release(held);
            }
            "renewed" => {
                custody.hold(&first, [5, 7, 0, 0]).unwrap();
                crate::process::signal(&custody.witness, crate::signal::SIGKILL).unwrap();
                while !custody.renew().unwrap() {}
            }
            other => panic!("{other}"),
        }
        crate::process::kill(std::process::id(), crate::signal::SIGKILL).unwrap();
        loop {
            std::thread::park();
        }
    }

    /// What is left of a process that did its part with one connection, and the client of that.
    fn after(part: &str, socket: &OwnedFd, connect: impl FnOnce() -> OwnedFd) -> (Vec<Left>, std::fs::File) {
        let (to, from) = crate::socket::message_pair().unwrap();
        let client = connect();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "custody::tests::is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PART, part);
        let numbers = [(socket.as_raw_fd(), 10), (to.as_raw_fd(), 11)];
        // SAFETY: dup2 and fcntl only, on numbers that are open.
        unsafe {
            command.pre_exec(move || {
                // Above both targets first.
                let high = numbers.map(|(fd, target)| (libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 20), target));
                for (fd, target) in high {
                    libc::dup2(fd, target);
                }
                Ok(())
            });
        }
        let status = command.spawn().unwrap().wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        drop(to);
        // Its witness ends with it, and nobody else has the other end: the end of the queue is the end of the witness.
        let mut poll = [PollFd::new(&from, PollFlags::empty())];
        while !poll[0].revents().contains(PollFlags::HUP) {
            rustix::event::poll(&mut poll, None).unwrap();
        }
        let dead = {
            let mut child = Command::new("true").spawn().unwrap();
            let pidfd = crate::process::open(child.id()).unwrap();
            child.wait().unwrap();
            pidfd
        };
        let left = collect_all(&from, &dead);
        (left, std::fs::File::from(client))
    }

    fn collect_all(from: &OwnedFd, dead: &OwnedFd) -> Vec<Left> {
        collect(from, dead, Duration::from_secs(20)).unwrap()
    }

    fn tcp() -> (OwnedFd, impl Fn() -> OwnedFd) {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = crate::listen::bind(crate::listen::Kind::Tcp, any, false, false).unwrap();
        crate::listen::listen(&socket, 5).unwrap();
        let address = crate::listen::address(&socket).unwrap();
        (socket, move || {
            std::net::TcpStream::connect(address).unwrap().into()
        })
    }

    fn speaks(left: Left, mut client: std::fs::File) {
        crate::fd::set_nonblocking(&left.fd, false).unwrap();
        let mut server = std::fs::File::from(left.fd);
        client.write_all(b"?").unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        server.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"!");
    }

    #[test]
    fn a_connection_is_left_at_whatever_point_the_process_dies() {
        for (part, words) in [
            ("accepted", [5, 0, 0, 0]),
            ("held", [5, 1, 9, 0]),
            ("renewed", [5, 7, 0, 0]),
        ] {
            let (socket, connect) = tcp();
            let (mut left, client) = after(part, &socket, connect);
            assert_eq!(
                left.iter().map(|left| left.words).collect::<Vec<_>>(),
                [words],
                "{part}"
            );
            speaks(left.remove(0), client);
        }
    }

    #[test]
    fn what_was_released_is_closed_with_the_process() {
        let (socket, connect) = tcp();
        let (left, mut client) = after("released", &socket, connect);
        assert!(left.is_empty());
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }

    #[test]
    fn connections_of_unix_sockets_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap().into();
        let (mut left, client) = after("accepted", &listener.into(), connect);
        assert_eq!(left.len(), 1);
        speaks(left.remove(0), client);
    }

    #[test]
    fn a_witness_that_is_not_needed_any_more_ends() {
        let (to, _from) = crate::socket::message_pair().unwrap();
        let custody = Custody::begin(to).unwrap();
        let witness = crate::fd::duplicate(custody.witness()).unwrap();
        assert!(!crate::process::has_exited(&witness).unwrap());
        drop(custody);
        let mut poll = [PollFd::new(&witness, PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut poll, None), Ok(1));
    }
}

//! A home with a keeper in it, and the seat of a daemon in front of that keeper.

#![expect(unreachable_pub, reason = "a module of the one test binary")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keeper::client::{Keeper, Respawn};
use keeper::protocol::{ChildInfo, Event, ExitReport, Request, RequestKind, SpawnSpec};
use os::signal::SIGKILL;
use os::spawn::{Program, Step};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_keeper-under-test");

/// Waits for a fact.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Exists and is no zombie.
pub fn alive(pid: u32) -> bool {
    os::proc::Sampler::new()
        .unwrap()
        .sample(pid)
        .is_some_and(|sample| sample.state != b'Z')
}

pub fn script(text: &str) -> SpawnSpec {
    let program = Program {
        exec: "/bin/sh".into(),
        argv: ["sh", "-c", text].map(Into::into).to_vec(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        ..Program::default()
    };
    SpawnSpec {
        program,
        ..SpawnSpec::default()
    }
}

pub trait WithStdin {
    fn with_stdin(self) -> Self;
}

impl WithStdin for SpawnSpec {
    fn with_stdin(mut self) -> Self {
        self.stdin_pipe = true;
        self
    }
}

pub fn read_to_end(fd: OwnedFd) -> String {
    os::fd::set_nonblocking(&fd, false).unwrap();
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

pub struct House {
    home: Option<TempDir>,
    listener: Option<UnixListener>,
    keeper: Child,
    /// Read end of the pipe on which the first daemon would say that it is ready.
    pub ready: Option<File>,
}

impl House {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub fn at(home: TempDir) -> Self {
        let path = home.path().join("test.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::start(home, Some(listener))
    }

    /// Its daemons find nobody to talk to, and exit.
    pub fn without_listener() -> Self {
        Self::start(tempfile::tempdir().unwrap(), None)
    }

    fn start(home: TempDir, listener: Option<UnixListener>) -> Self {
        let (read, write) = os::fd::pipe().unwrap();
        os::fd::set_cloexec(&write, false).unwrap();
        let keeper = keeper_command(&home)
            .env(keeper::READY_FD, write.as_raw_fd().to_string())
            .spawn()
            .unwrap();
        Self {
            home: Some(home),
            listener,
            keeper,
            ready: Some(File::from(read)),
        }
    }

    /// Takes the seat of the daemon that comes next.
    pub fn seat(&self) -> Seat {
        let listener = self.listener.as_ref().unwrap();
        let mut connection = None;
        until("a daemon", || {
            connection = listener.accept().ok();
            connection.is_some()
        });
        let (test, _) = connection.unwrap();
        test.set_nonblocking(true).unwrap();
        let (mut hello, mut fds) = ([0; 16], Vec::new());
        until("its hello", || {
            os::pass::receive(&test, &mut hello, &mut fds).is_ok()
        });
        assert_eq!(hello[0], b'C');
        let daemon_pid = u32::from_le_bytes(hello[1..5].try_into().unwrap());
        let mut seat = Seat::of(Keeper::from_socket(fds.remove(0)));
        seat.test = Some(test);
        seat.daemon_pid = daemon_pid;
        seat
    }

    pub fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    pub fn keeper_exit(&mut self) -> Option<i32> {
        let mut status = None;
        until("the keeper's exit", || {
            status = self.keeper.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    pub fn kill_keeper(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
    }

    pub fn second_keeper_exit(&mut self) -> Option<i32> {
        keeper_command(self.home.as_ref().unwrap())
            .status()
            .unwrap()
            .code()
    }

    pub fn take_home(&mut self) -> TempDir {
        self.home.take().unwrap()
    }

    pub fn copy_of_the_program(&self) -> PathBuf {
        let copy = self.home.as_ref().unwrap().path().join("next-program");
        std::fs::copy(PROGRAM, &copy).unwrap();
        copy
    }

    pub fn respawn(&self) -> Respawn {
        let home = self.home.as_ref().unwrap().path().to_owned();
        Respawn {
            exe: PROGRAM.into(),
            argv: vec!["keeper-under-test".into(), "keeper".into(), home.into()],
        }
    }
}

fn keeper_command(home: &TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("keeper")
        .arg(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Drop for House {
    fn drop(&mut self) {
        // The daemon ends when its connection to the test does; nothing may start another one.
        let mut sampler = os::proc::Sampler::new().unwrap();
        let family = if matches!(self.keeper.try_wait(), Ok(None)) {
            sampler.descendants(self.keeper.id()).unwrap_or_default()
        } else {
            Vec::new()
        };
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        for process in family {
            let _ = os::process::kill(process.pid, SIGKILL);
        }
    }
}

/// Everything that was told after a connect.
#[derive(Debug, Default)]
pub struct Found {
    pub daemon_starts: u64,
    pub children: BTreeMap<u64, ChildInfo>,
    pub stored: BTreeMap<String, Vec<OwnedFd>>,
}

pub struct Seat {
    pub keeper: Keeper,
    pub daemon_pid: u32,
    test: Option<UnixStream>,
}

impl Seat {
    pub fn of(keeper: Keeper) -> Self {
        Self {
            keeper,
            daemon_pid: 0,
            test: None,
        }
    }

    pub fn send(&mut self, request: &Request<'_>) {
        self.keeper.send(request).unwrap();
        until("the keeper to take it", || self.keeper.flush().unwrap());
    }

    pub fn event(&mut self) -> Event {
        let mut event = None;
        until("an event", || {
            event = self.keeper.recv().unwrap();
            event.is_some()
        });
        event.unwrap()
    }

    pub fn everything(&mut self) -> Found {
        let mut found = Found::default();
        loop {
            match self.event() {
                Event::Welcome { daemon_starts, .. } => found.daemon_starts = daemon_starts,
                Event::Child(child) => {
                    found.children.insert(child.key, child);
                }
                Event::Stored { name, fds } => {
                    found.stored.insert(name, fds);
                }
                Event::Ready => return found,
                other => panic!("{other:?} before everything was told"),
            }
        }
    }

    pub fn spawn(&mut self, key: u64, spec: &SpawnSpec) -> ChildInfo {
        self.send(&Request::Spawn {
            key,
            spec,
            extra: &[],
        });
        self.spawned(key)
    }

    pub fn spawned(&mut self, key: u64) -> ChildInfo {
        match self.event() {
            Event::Spawned(info) if info.key == key => info,
            other => panic!("{other:?} instead of Spawned"),
        }
    }

    pub fn exit_of(&mut self, key: u64) -> (u32, ExitReport) {
        match self.event() {
            Event::Exited { key: of, pid, report } if of == key => (pid, report),
            other => panic!("{other:?} instead of Exited"),
        }
    }

    pub fn failure(&mut self) -> (u64, Step, i32) {
        match self.event() {
            Event::SpawnFailed { key, step, errno } => (key, step, errno),
            other => panic!("{other:?} instead of SpawnFailed"),
        }
    }

    /// Kind, key and the error in words.
    pub fn refusal(&mut self) -> (RequestKind, u64, String) {
        match self.event() {
            Event::Refused {
                request, key, errno, ..
            } => {
                let name = match errno {
                    2 => "NoSuchFile".to_owned(),
                    3 => "NoSuchProcess".to_owned(),
                    16 => "ResourceBusy".to_owned(),
                    other => other.to_string(),
                };
                (request, key, name)
            }
            other => panic!("{other:?} instead of Refused"),
        }
    }

    /// What the daemon process says to the test.
    pub fn told(&mut self) -> u8 {
        let mut byte = [0];
        let test = self.test.as_ref().unwrap();
        until("word from the daemon", || {
            os::pass::receive(test, &mut byte, &mut Vec::new()).is_ok_and(|received| received.bytes == 1)
        });
        byte[0]
    }

    pub fn kill_daemon(self) {
        os::process::kill(self.daemon_pid, SIGKILL).unwrap();
    }

    pub fn end_daemon(self) {
        os::pass::send(self.test.as_ref().unwrap().as_fd(), b"x", &[]).unwrap();
    }
}

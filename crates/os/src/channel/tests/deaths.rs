//! The user of a channel is killed at every step, and at random moments; its successor goes on; the peer must see every
//! frame whole, in order, none missing.
//!
//! The user echoes: it answers each line with the same line, then consumes it. A line may therefore be answered twice when
//! a death came in between, but never be torn, lost or overtaken.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::super::{Channel, Incoming, Limits, Stash, Written};
use crate::spawn::{Child, Program};
use crate::wait::Exit;

/// Steps left to live; negative: for ever.
static LIFE: AtomicI64 = AtomicI64::new(-1);

/// The step at which this process was told to die.
pub(in super::super) fn fault_point() {
    if LIFE.load(Ordering::Relaxed) >= 0 && LIFE.fetch_sub(1, Ordering::Relaxed) == 0 {
        crate::process::kill(std::process::id(), crate::signal::SIGKILL).unwrap();
        // The signal is on its way to this very thread.
        std::thread::sleep(Duration::from_secs(60));
    }
}

const LIFE_VARIABLE: &str = "CHANNEL_TEST_LIFE";

/// Not a test: the process to be killed. Its socket is on descriptor 3, the stash on 4 to 8.
#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn user_process() {
    let Ok(life) = std::env::var(LIFE_VARIABLE) else {
        return;
    };
    let socket = crate::fd::inherited(3).unwrap();
    let stash = Stash::restore((4..9).map(|fd| crate::fd::inherited(fd).unwrap()).collect()).unwrap();
    let mut channel = Channel::new(socket, Some(stash), Limits::default()).unwrap();
    LIFE.store(life.parse().unwrap(), Ordering::Relaxed);
    let mut buffer = Vec::new();
    loop {
        match channel.read(&mut buffer).unwrap() {
            Incoming::Lines(lines) => {
                for line in lines.split_inclusive(|&b| b == b'\n') {
                    assert_ne!(channel.write(line).unwrap(), Written::NeedStash);
                }
                channel.consume().unwrap();
            }
            Incoming::Again => {}
            Incoming::NeedStash => unreachable!("it has one"),
            Incoming::Blocked => {
                let mut interest = PollFlags::IN;
                interest.set(PollFlags::OUT, !channel.flush().unwrap());
                rustix::event::poll(&mut [PollFd::new(&channel, interest)], None).unwrap();
            }
            Incoming::Closed { torn_bytes } => {
                assert_eq!(torn_bytes, 0);
                while !channel.flush().unwrap() {
                    rustix::event::poll(&mut [PollFd::new(&channel, PollFlags::OUT)], None).unwrap();
                }
                return;
            }
        }
    }
}

fn start_user(life: i64, socket: &OwnedFd, stash: &Stash) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut env: Vec<_> = vec![format!("{LIFE_VARIABLE}={life}").into()];
    env.extend(std::env::var_os("PATH").map(|path| {
        let mut entry = std::ffi::OsString::from("PATH=");
        entry.push(path);
        entry
    }));
    let name = "channel::tests::deaths::user_process";
    let program = Program {
        exec: this.into(),
        argv: ["user", "--exact", name, "--ignored", "--nocapture", "--quiet"]
            .map(Into::into)
            .to_vec(),
        env,
        ..Program::default()
    };
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let error = std::io::stderr();
    let mut fds: Vec<BorrowedFd<'_>> = vec![null.as_fd(), null.as_fd(), error.as_fd(), socket.as_fd()];
    fds.extend(stash.fds());
    crate::spawn::spawn(&program, &fds).unwrap()
}

fn wait_for(child: &Child) -> Exit {
    let mut poll = [PollFd::new(&child.pidfd, PollFlags::IN)];
    rustix::event::poll(&mut poll, None).unwrap();
    crate::wait::reap_one(child.pid)
        .unwrap()
        .expect("it has exited")
        .exit
}

/// Number and a pattern that depends on it, so that any mixture shows.
fn frame(number: usize, length: usize) -> Vec<u8> {
    let mut frame = format!("{number}:").into_bytes();
    frame.extend((0..length).map(|i| b'a' + u8::try_from((number + i / 7) % 26).unwrap()));
    frame.push(b'\n');
    frame
}

/// Lets users live and die as `next_user` says (it returns the exit of one user) until one ends well; checks the echo.
fn survive(lengths: &[usize], mut next_user: impl FnMut(&OwnedFd, &Stash) -> Exit) -> usize {
    let (ours, peer) = crate::socket::stream_pair().unwrap();
    // What the keeper would hold.
    let stash = Stash::create().unwrap();
    let peer = UnixStream::from(peer);
    let frames: Vec<_> = lengths
        .iter()
        .enumerate()
        .map(|(number, &length)| frame(number, length))
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = &peer;
            for frame in &frames {
                writer.write_all(frame).unwrap();
            }
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let reader = scope.spawn(|| {
            let mut reader = BufReader::new(&peer);
            let (mut line, mut next) = (Vec::new(), 0);
            while reader.read_until(b'\n', &mut line).unwrap() > 0 {
                let number: usize = std::str::from_utf8(line.split(|&b| b == b':').next().unwrap())
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .expect("a frame begins with its number");
                assert!(number <= next, "frame {number} came before {next}");
                assert!(line == frames[number], "frame {number} is corrupt");
                next = next.max(number + 1);
                line.clear();
            }
            next
        });
        let mut deaths = 0;
        loop {
            match next_user(&ours, &stash) {
                Exit::Code(0) => break,
                Exit::Signal(crate::signal::SIGKILL) => deaths += 1,
                other => panic!("a user ended by {other:?}"),
            }
        }
        // The keeper's duplicates are the last: the reader sees the end.
        drop((ours, stash));
        assert_eq!(reader.join().unwrap(), frames.len(), "frames are missing");
        deaths
    })
}

#[test]
fn every_single_step_may_be_the_last() {
    let lengths = [
        5, 0, 40_000, 3, 300_000, 100, 33_000, 1, 1_200_000, 9, 9, 70_000, 2,
    ];
    let mut life = 0;
    loop {
        let mut lives = [life, -1].into_iter();
        let deaths = survive(&lengths, |socket, stash| {
            wait_for(&start_user(lives.next().unwrap(), socket, stash))
        });
        if deaths == 0 {
            break;
        }
        life += 1;
    }
    assert!(life > 50, "only {life} steps: the hook does not work");
}

#[test]
fn dying_again_and_again_after_few_steps_still_gets_everything_through() {
    let lengths: Vec<_> = (0..60).map(|i| [3, 50_000, 900, 200_000][i % 4]).collect();
    for life in [3, 5, 8] {
        // Mostly so short that a user can do one thing; a life that ends before any progress would never end.
        let mut count = 0;
        let deaths = survive(&lengths, |socket, stash| {
            count += 1;
            wait_for(&start_user(life + i64::from(count % 3), socket, stash))
        });
        assert!(deaths > 20, "{deaths}");
    }
}

#[test]
fn being_killed_at_any_moment_gets_everything_through() {
    let lengths: Vec<_> = (0..1500)
        .map(|i| [10, 2000, 31_000, 45_000, 150_000][i % 5])
        .collect();
    let mut seed = 99_u64;
    let deaths = survive(&lengths, |socket, stash| {
        let user = start_user(-1, socket, stash);
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Until it is killed or done: a random moment, not a wait for anything.
        let pause = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(4_000_000 + (seed >> 33) % 8_000_000).unwrap(),
        };
        let mut poll = [PollFd::new(&user.pidfd, PollFlags::IN)];
        if rustix::event::poll(&mut poll, Some(&pause)).unwrap() == 0 {
            // It may have ended right now; then its exit tells.
            let _ = crate::process::signal(&user.pidfd, crate::signal::SIGKILL);
        }
        wait_for(&user)
    });
    assert!(deaths > 5, "{deaths} deaths only");
}

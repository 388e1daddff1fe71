//! Two processes for the tests: `keeper <home>` runs the real keeper, `daemon <home>` lends its keeper connection to the
//! test that listens on `<home>/test.sock`, and does what the test says.
//!
//! What it tells on that connection: `C` with the keeper's socket (and the ready pipe, if it has one) at its start, `T` for
//! each SIGTERM. What it is told: `x` to exit; the end of the connection means the same.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use keeper::{Ended, KEEPER_FD, KeeperOptions, READY_FD};
use os::signal::{SIGTERM, SignalFd};
use rustix::event::{PollFd, PollFlags};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    let home = PathBuf::from(arguments.next().unwrap_or_default());
    if role == "daemon" {
        daemon(home);
        return ExitCode::SUCCESS;
    }
    let this = std::env::current_exe().expect("own path");
    let options = KeeperOptions {
        daemon_argv: vec!["daemon-under-test".into(), "daemon".into(), home.clone().into()],
        daemon_exe: this,
        home,
        title: String::new(),
    };
    match keeper::run(options) {
        Ok(Ended::Shutdown) => ExitCode::SUCCESS,
        Ok(Ended::AlreadyRunning) => ExitCode::from(17),
        Err(_) => ExitCode::from(18),
    }
}

fn daemon(home: PathBuf) {
    let signals = SignalFd::new(&[SIGTERM]).expect("signals");
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let keeper = os::fd::inherited(number(KEEPER_FD).expect("a keeper")).expect("its socket");
    let ready = number(READY_FD).map(|number| os::fd::inherited(number).expect("the ready pipe"));
    // A test that ends early listens no more: then there is nothing to do.
    let Ok(test) = UnixStream::connect(home.join("test.sock")) else {
        return;
    };
    let fds: Vec<BorrowedFd<'_>> = [Some(&keeper), ready.as_ref()]
        .into_iter()
        .flatten()
        .map(AsFd::as_fd)
        .collect();
    let mut hello = vec![b'C'];
    hello.extend_from_slice(&std::process::id().to_le_bytes());
    os::pass::send(&test, &hello, &fds).expect("hello");
    drop(ready);
    loop {
        let mut polls = [
            PollFd::new(&signals, PollFlags::IN),
            PollFd::new(&test, PollFlags::IN),
        ];
        rustix::event::poll(&mut polls, None).expect("poll");
        if !polls[0].revents().is_empty() && signals.next().expect("signal").is_some() {
            os::pass::send(&test, b"T", &[]).expect("T");
        }
        if !polls[1].revents().is_empty() {
            return;
        }
    }
}

//! Starting a daemon: the keeper of this home, which starts it and says when it is ready.

use pm2::home::Home;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Longest wait for a daemon to listen.
const READY: Duration = Duration::from_secs(30);
/// When another keeper has the home, it is asked again after this time.
const AGAIN: Duration = Duration::from_millis(20);
/// How much of the daemon's log is shown when it fails.
const TAIL: u64 = 2000;

/// No daemon came up.
#[derive(Debug, Error)]
pub(crate) enum SpawnError {
    #[error("starting the daemon: opening its log {path}: {source}")]
    Log { path: PathBuf, source: io::Error },
    #[error("starting the daemon: {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    #[error("starting the daemon: it ended before it was ready{}", end_of_log(.tail, .log))]
    Failed { tail: String, log: PathBuf },
    #[error("starting the daemon: it is not ready after {} s{}", READY.as_secs(), end_of_log(.tail, .log))]
    Late { tail: String, log: PathBuf },
}

fn end_of_log(tail: &str, log: &Path) -> String {
    match tail.trim() {
        "" => format!("; its log {} is empty", log.display()),
        text => format!("; the end of {}:\n{text}", log.display()),
    }
}

/// Starts keeper and daemon of this home and waits until the daemon listens.
pub(crate) fn spawn_daemon(home: &Home) -> Result<(), SpawnError> {
    let log = OpenOptions::new().create(true).append(true).open(&home.log_file);
    let log = log.map_err(|source| SpawnError::Log {
        path: home.log_file.clone(),
        source,
    })?;
    let begin = log.metadata().map_or(0, |meta| meta.len());
    let tail = || tail(&home.log_file, begin);
    let deadline = Instant::now() + READY;
    loop {
        let (mut keeper, ready) = spawn_keeper(home, &log)?;
        match wait_for_byte(&ready, deadline) {
            Ready::Yes => return Ok(()),
            Ready::Late => {
                return Err(SpawnError::Late {
                    tail: tail(),
                    log: home.log_file.clone(),
                });
            }
            Ready::Ended => {
                // A keeper that leaves quietly found another one: that of a command which runs at the same time, or one
                // that is just about to end. So its daemon answers in a moment, or the place gets free.
                let quietly = keeper.wait().is_ok_and(|status| status.success());
                if !quietly || Instant::now() >= deadline {
                    return Err(SpawnError::Failed {
                        tail: tail(),
                        log: home.log_file.clone(),
                    });
                }
                if UnixStream::connect(&home.rpc_sock).is_ok() {
                    return Ok(());
                }
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// The keeper, and the pipe on which its daemon says that it is ready.
fn spawn_keeper(home: &Home, log: &File) -> Result<(Child, OwnedFd), SpawnError> {
    let start = |what: &'static str| move |source: io::Error| SpawnError::Start { what, source };
    let program = std::env::current_exe().map_err(start("finding this program"))?;
    // The write end goes to the child by inheritance; nothing else is started meanwhile.
    let (ready, told) = rustix::pipe::pipe().map_err(|e| start("making a pipe")(e.into()))?;
    rustix::io::fcntl_setfd(&ready, rustix::io::FdFlags::CLOEXEC)
        .map_err(|e| start("making a pipe")(e.into()))?;
    let (out, err) = (log.try_clone(), log.try_clone());
    let keeper = Command::new(&program)
        .arg("keeper")
        .arg("--home")
        .arg(&home.root)
        .env("PM2_HOME", &home.root)
        .env("PILOTHOUSE_READY_FD", told.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(out.map_err(start("opening its log"))?)
        .stderr(err.map_err(start("opening its log"))?)
        .spawn()
        .map_err(start("running this program as keeper"))?;
    Ok((keeper, ready))
}

enum Ready {
    Yes,
    Ended,
    Late,
}

fn wait_for_byte(fd: &impl AsFd, deadline: Instant) -> Ready {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return Ready::Late;
        };
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ready::Late,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return Ready::Ended,
        }
        match rustix::io::read(fd, &mut [0; 1]) {
            Ok(0) => return Ready::Ended,
            Ok(_) => return Ready::Yes,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Ready::Ended,
        }
    }
}

/// What the log holds since `begin`, its end only.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(len.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

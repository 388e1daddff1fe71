//! A command line that says by its exit code whether all is well. It runs as the process's user, in its directory, with its variables.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use os::proc::Sampler;
use os::spawn::Program;
use os::wait::Exit;
use pm2::env::Pm2Env;

use crate::launching::program_of;
use crate::tree;
use crate::watched::watched;

/// What is kept of what it writes to standard error.
const WORDS: usize = 200;
const SIGKILL: i32 = 9;

#[derive(Debug)]
pub(super) struct CommandLook {
    program: Program,
}

/// Ends what still runs when the look is dropped, be it because its time is up.
struct Running {
    pid: u32,
    pidfd: OwnedFd,
    reaped: bool,
}

impl CommandLook {
    pub(super) fn of(env: &Pm2Env, line: String) -> Result<Self, String> {
        let mut program = program_of(env)?;
        program.exec = "/bin/sh".into();
        program.argv = vec![OsString::from("sh"), "-c".into(), line.into()];
        Ok(Self { program })
    }

    pub(super) async fn run(self) -> Result<(), String> {
        let failed = |error: io::Error| format!("running its health check: {error}");
        let (stderr, theirs) = os::fd::pipe().map_err(failed)?;
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        // Whoever starts a program waits until it is loaded: not here, where the loop is.
        let started = tokio::task::spawn_blocking(move || {
            let child = os::spawn::spawn(&self.program, &[null.as_fd(), null.as_fd(), theirs.as_fd()])?;
            Ok::<_, os::spawn::SpawnError>(Running {
                pid: child.pid,
                pidfd: child.pidfd,
                reaped: false,
            })
        });
        let started = started.await.map_err(|error| failed(io::Error::other(error)))?;
        let mut running = started.map_err(|error| format!("running its health check: {error}"))?;
        let ended = os::fd::duplicate(&running.pidfd)
            .and_then(watched)
            .map_err(failed)?;
        let _ = ended.readable().await.map_err(failed)?;
        let exit = os::wait::reap_one(running.pid).map_err(failed)?;
        running.reaped = true;
        match exit.map(|reaped| reaped.exit) {
            Some(Exit::Code(0)) => Ok(()),
            Some(Exit::Code(code)) => Err(format!(
                "its health check ended with code {code}{}",
                words(&stderr)
            )),
            Some(Exit::Signal(signal)) => Err(format!(
                "its health check was ended by {}",
                os::signal::name(signal).unwrap_or("a realtime signal")
            )),
            Some(Exit::Unknown) | None => Err("nobody knows how its health check ended".into()),
        }
    }
}

/// What it has written, without waiting for more.
fn words(stderr: &OwnedFd) -> String {
    let mut buffer = [0; WORDS];
    let read = os::fd::set_nonblocking(stderr, true)
        .and_then(|()| rustix::io::read(stderr, &mut buffer).map_err(io::Error::from));
    let text = String::from_utf8_lossy(&buffer[..read.unwrap_or(0)])
        .trim()
        .to_owned();
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        let (pid, Ok(pidfd)) = (self.pid, os::fd::duplicate(&self.pidfd)) else {
            return;
        };
        // It looks through /proc and waits for the end, so it must not be done in a task.
        std::thread::spawn(move || {
            if let Ok(mut sampler) = Sampler::new() {
                tree::signal_descendants(&mut sampler, Some((pid, pidfd.as_fd())), Vec::new(), SIGKILL);
            }
            let _ = os::process::signal(&pidfd, SIGKILL);
            while matches!(os::wait::reap_one(pid), Ok(None))
                && !os::process::has_exited(&pidfd).unwrap_or(true)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = os::wait::reap_one(pid);
        });
    }
}

//! Ending a whole tree of processes: children before parents, by pidfd, so that a reused pid is never hit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use os::proc::Sampler;

use crate::watched::watched;

/// Send the signal to every descendant of `root` (pid and pidfd), deepest first, and to those of `known` (found in an earlier round)
/// that are still there. Returns all of them that may still run.
pub(crate) fn signal_descendants(
    sampler: &mut Sampler,
    root: Option<(u32, BorrowedFd<'_>)>,
    known: Vec<OwnedFd>,
    signal: i32,
) -> Vec<OwnedFd> {
    let mut alive: Vec<OwnedFd> = known
        .into_iter()
        .filter(|pidfd| !os::process::has_exited(pidfd).unwrap_or(true))
        .collect();
    for pidfd in &alive {
        let _ = os::process::signal(pidfd, signal);
    }
    let found = root
        .and_then(|(pid, _)| sampler.descendants(pid).ok())
        .unwrap_or_default();
    // If the process ended meanwhile, its pid may be somebody else's by now, and so may be these children.
    if root.is_none_or(|(_, pidfd)| os::process::has_exited(pidfd).unwrap_or(true)) {
        return alive;
    }
    for sample in found {
        let Ok(pidfd) = os::process::open(sample.pid) else {
            continue;
        };
        // Between the look at the list and the opening the pid may have passed to somebody else.
        let same = sampler
            .sample(sample.pid)
            .is_some_and(|now| now.start_ticks == sample.start_ticks);
        if same && os::process::signal(&pidfd, signal).is_ok() {
            alive.push(pidfd);
        }
    }
    alive
}

/// Wait until all of them have ended.
pub(crate) async fn wait_for_all(pidfds: Vec<OwnedFd>) -> io::Result<()> {
    for pidfd in pidfds {
        if os::process::has_exited(pidfd.as_fd())? {
            continue;
        }
        let ended = watched(pidfd)?;
        let _ = ended.readable().await?;
    }
    Ok(())
}

//! Everything that a keeper holds, given to a new one.

use std::io;
use std::os::fd::AsFd;

use keeper::protocol::{LentFds, Request};

use crate::child_channel::ChildChannel;
use crate::owner::Daemon;

impl Daemon {
    /// Tell a keeper that knows nothing about all children, records and sockets.
    pub(crate) fn hand_over(&mut self) {
        let mut troubles = Vec::new();
        for (incarnation, life) in &self.lives {
            let fds = LentFds {
                stdin: life.held.stdin.as_ref().map(AsFd::as_fd),
                stdout: life.held.stdout.as_ref().map(AsFd::as_fd),
                stderr: life.held.stderr.as_ref().map(AsFd::as_fd),
                ipc: life.held.ipc.as_ref().map(AsFd::as_fd),
                pidfd: life.held.pidfd.as_ref().map(AsFd::as_fd),
            };
            let request = Request::Adopt {
                key: incarnation.0,
                pid: life.pid,
                spawned_at_ms: life.spawned_at_ms,
                fds,
            };
            if let Err(error) = self.keeper.send(&request) {
                troubles.push(format!("handing over process {}: {error}", life.pid));
            }
            let stash = life.channel.as_ref().map_or(Ok(None), ChildChannel::stash_copies);
            let kept = stash.and_then(|fds| match fds {
                Some(fds) => self.keeper.put(&crate::child_news::stash_name(*incarnation), fds),
                None => Ok(()),
            });
            if let Err(error) = kept {
                troubles.push(format!(
                    "handing over the channel of process {}: {error}",
                    life.pid
                ));
            }
        }
        for (name, fd) in &self.listeners {
            let kept: io::Result<()> = os::fd::duplicate(fd).and_then(|fd| self.keeper.put(name, vec![fd]));
            if let Err(error) = kept {
                troubles.push(format!("handing over {name}: {error}"));
            }
        }
        if let Err(error) = self.pump.hand_over(&mut self.keeper) {
            troubles.push(format!("handing over what is on its way to a log: {error}"));
        }
        troubles.extend(self.hand_over_cluster());
        for id in self.apps.keys().copied().collect::<Vec<_>>() {
            self.keep(id);
        }
        for trouble in troubles {
            self.complain(&trouble);
        }
    }
}

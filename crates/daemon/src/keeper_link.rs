//! The connection to the keeper inside the runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use keeper::client::{ClientError, Keeper};
use keeper::protocol::{Event, KNOWS_CGROUPS, PROTOCOL_VERSION, Request};
use tokio::io::unix::AsyncFd;

use crate::watched::watched;

/// How long the loop may wait for the keeper, in the one case where it must.
const PATIENCE: Duration = Duration::from_millis(100);

/// The keeper, as the owner loop uses it.
#[derive(Debug)]
pub(crate) struct KeeperLink {
    keeper: Keeper,
    ready: AsyncFd<OwnedFd>,
    /// What the keeper speaks. Until it says so it is taken for one of this release.
    protocol: u32,
}

impl KeeperLink {
    /// Take the connection over. Must be called inside the runtime.
    pub(crate) fn new(keeper: Keeper) -> io::Result<Self> {
        let ready = watched(keeper.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            keeper,
            ready,
            protocol: PROTOCOL_VERSION,
        })
    }

    /// The next event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        let event = self.receive().await?;
        if let Event::Welcome { protocol, .. } = event {
            self.protocol = protocol;
        }
        Ok(event)
    }

    /// The keeper as a child of this process, if this process started it.
    pub(crate) fn into_child(self) -> Option<os::spawn::Child> {
        self.keeper.into_child()
    }

    /// Whether a child can be started in a cgroup.
    pub(crate) fn knows_cgroups(&self) -> bool {
        self.protocol >= KNOWS_CGROUPS
    }

    async fn receive(&mut self) -> Result<Event, ClientError> {
        loop {
            if self.keeper.wants_write() {
                tokio::select! {
                    guard = self.ready.readable() => {
                        let mut guard = guard?;
                        match self.keeper.recv()? {
                            Some(event) => return Ok(event),
                            None => guard.clear_ready(),
                        }
                    }
                    guard = self.ready.writable() => {
                        let mut guard = guard?;
                        if !self.keeper.flush()? {
                            guard.clear_ready();
                        }
                    }
                }
            } else {
                let mut guard = self.ready.readable().await?;
                match self.keeper.recv()? {
                    Some(event) => return Ok(event),
                    None => guard.clear_ready(),
                }
            }
        }
    }

    /// Send a request.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<(), ClientError> {
        self.keeper.send(request).map(|_| ())
    }

    /// Keep descriptors under a name.
    pub(crate) fn put(&mut self, name: &str, fds: Vec<OwnedFd>) -> io::Result<()> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.send(&Request::Put { name, fds: &fds })
            .map_err(io::Error::other)
    }

    /// Keep descriptors under a name, and wait (a moment at most) until the keeper's socket has them.
    pub(crate) fn put_through(&mut self, name: &str, fds: Vec<OwnedFd>) -> io::Result<()> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.keeper
            .send_through(&Request::Put { name, fds: &fds }, PATIENCE)
            .map_err(io::Error::other)
    }

    /// Keep nothing under a name any more.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.send(&Request::Remove { name }).map_err(io::Error::other)
    }
}

//! Standard input of a child: lines are queued, so that a child that does not read holds up nobody.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::{Sender, channel};

/// Lines that wait for a child.
const MAX_LINES: usize = 256;

/// The way to a child's standard input. It is made for the first line: few children are ever sent one.
#[derive(Debug)]
pub(crate) struct StdinHandle(Sender<Bytes>);

impl StdinHandle {
    /// Open the way through a copy of the write end.
    pub(crate) fn open(held: &OwnedFd) -> io::Result<Self> {
        let mut pipe = pipe::Sender::from_owned_fd(os::fd::duplicate(held)?)?;
        let (sender, mut lines) = channel::<Bytes>(MAX_LINES);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if pipe.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self(sender))
    }

    /// Queue a line. `false`: the child does not read, or has closed its input.
    pub(crate) fn send(&self, line: impl Into<Bytes>) -> bool {
        self.0.try_send(line.into()).is_ok()
    }
}

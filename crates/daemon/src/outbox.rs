//! What waits to be written to one client: bounded in bytes, with a count of what was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The sending end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    frames: UnboundedSender<Bytes>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    queued: AtomicUsize,
    limit: usize,
    lost: AtomicU64,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The client reads too slowly.
    Full,
    /// The client has gone.
    Gone,
}

/// The receiving end, for [`write_out`].
pub(crate) struct Outgoing {
    frames: UnboundedReceiver<Bytes>,
    state: Arc<State>,
}

/// A pair; at most `limit` bytes wait (one frame may always wait, however long it is).
pub(crate) fn outbox(limit: usize) -> (Outbox, Outgoing) {
    let (sender, receiver) = unbounded_channel();
    let state = Arc::new(State {
        queued: AtomicUsize::new(0),
        limit,
        lost: AtomicU64::new(0),
    });
    (
        Outbox {
            frames: sender,
            state: Arc::clone(&state),
        },
        Outgoing {
            frames: receiver,
            state,
        },
    )
}

impl Outbox {
    /// Queue a frame, or count it as lost.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), Refused> {
        let len = frame.len();
        let queued = self.state.queued.load(Ordering::Relaxed);
        if queued > 0 && queued.saturating_add(len) > self.state.limit {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        self.state.queued.fetch_add(len, Ordering::Relaxed);
        self.frames.send(frame).map_err(|_| Refused::Gone)
    }

    /// Nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.queued.load(Ordering::Relaxed) == 0
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.state.queued.load(Ordering::Relaxed)
    }

    /// Frames that were lost because the client reads too slowly.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

/// Write frames until the last sender or the client has gone.
pub(crate) async fn write_out(mut outgoing: Outgoing, mut socket: OwnedWriteHalf) {
    while let Some(frame) = outgoing.frames.recv().await {
        let written = socket.write_all(&frame).await;
        outgoing.state.queued.fetch_sub(frame.len(), Ordering::Relaxed);
        if written.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_slow_client_loses_frames_and_they_are_counted() {
        let (sender, outgoing) = outbox(10);
        assert_eq!(
            sender.send(Bytes::from_static(b"a frame longer than the limit")),
            Ok(())
        );
        assert_eq!(sender.send(Bytes::from_static(b"x")), Err(Refused::Full));
        assert_eq!(sender.lost(), 1);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        tokio::spawn(write_out(outgoing, ours.into_split().1));
        let mut got = [0; 29];
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(sender.send(Bytes::from_static(b"y")), Ok(()));
        let mut one = [0; 1];
        theirs.read_exact(&mut one).await.unwrap();
        assert_eq!(&one, b"y");
        drop(theirs);
        while sender.send(Bytes::from_static(b"z")) != Err(Refused::Gone) {
            tokio::task::yield_now().await;
        }
    }
}

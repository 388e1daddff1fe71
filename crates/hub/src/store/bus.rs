//! The port for messages between parts of one hub, or of many.
//!
//! Messages are bytes in whatever encoding the two ends agree on, so that a driver past one machine need not know
//! them. A slow subscriber loses messages and is told how many; a publisher never waits.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

/// Publish and subscribe by subject, and ask and answer.
pub trait Bus: Send + Sync + std::fmt::Debug {
    /// Gives a message to every subscriber of exactly this subject. Never waits.
    fn publish(&self, subject: &str, message: Bytes);
    /// Whether anybody may listen: lets a publisher skip the encoding.
    fn interested(&self, subject: &str) -> bool;
    /// Listens to a subject until the subscription is dropped.
    fn subscribe(&self, subject: &str) -> Subscription;
    /// Answers what is asked under a subject, until dropped. The newest server of a subject gets all questions.
    fn serve(&self, subject: &str) -> mpsc::Receiver<Question>;
    /// Asks whoever serves the subject, and waits for the answer at most so long.
    fn ask(&self, subject: &str, message: Bytes, timeout: Duration)
    -> BoxFuture<'_, Result<Bytes, BusError>>;
}

/// A question to be answered.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub message: Bytes,
    /// Where the answer goes; dropping it tells the asker that there will be none.
    pub reply: oneshot::Sender<Bytes>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the subject.
    #[error("nobody answers here")]
    Nobody,
    /// Whoever serves it has too much to do.
    #[error("too many questions wait for an answer")]
    Busy,
    /// The one asked went away without an answer.
    #[error("the one asked went away without an answer")]
    Gone,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Bytes),
    /// So many messages were lost here, because they were not taken in time.
    Lost(u64),
}

/// A subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription(pub(super) tokio::sync::broadcast::Receiver<Bytes>);

impl Subscription {
    /// The next message, or how many were lost. `None` when the bus is closed.
    pub async fn next(&mut self) -> Option<Heard> {
        use tokio::sync::broadcast::error::RecvError;
        match self.0.recv().await {
            Ok(message) => Some(Heard::Message(message)),
            Err(RecvError::Lagged(lost)) => Some(Heard::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}

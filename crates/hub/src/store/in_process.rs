//! The embedded driver of [`Bus`]: channels within this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::bus::{Bus, BusError, Question, Subscription};

/// Messages kept for a subscriber that does not take them.
const MAX_UNHEARD: usize = 1024;
/// Questions that may wait under one subject.
const MAX_QUESTIONS: usize = 256;

/// A bus within one process.
#[derive(Debug, Default)]
pub struct InProcessBus(Mutex<Subjects>);

#[derive(Debug, Default)]
struct Subjects {
    topics: HashMap<String, broadcast::Sender<Bytes>>,
    servers: HashMap<String, mpsc::Sender<Question>>,
    /// Subjects after which those that nobody uses are swept out.
    sweep_at: usize,
}

impl InProcessBus {
    fn subjects(&self) -> MutexGuard<'_, Subjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subjects {
    /// Forgets what nobody uses, once in a while: subjects come and go with servers and browsers.
    fn sweep(&mut self) {
        if self.topics.len() + self.servers.len() < self.sweep_at.max(64) {
            return;
        }
        self.topics.retain(|_, topic| topic.receiver_count() > 0);
        self.servers.retain(|_, server| !server.is_closed());
        self.sweep_at = 2 * (self.topics.len() + self.servers.len());
    }
}

impl Bus for InProcessBus {
    fn publish(&self, subject: &str, message: Bytes) {
        if let Some(topic) = self.subjects().topics.get(subject) {
            // An error means that nobody listens.
            let _ = topic.send(message);
        }
    }

    fn interested(&self, subject: &str) -> bool {
        self.subjects()
            .topics
            .get(subject)
            .is_some_and(|topic| topic.receiver_count() > 0)
    }

    fn subscribe(&self, subject: &str) -> Subscription {
        let mut subjects = self.subjects();
        subjects.sweep();
        let topic = subjects
            .topics
            .entry(subject.to_owned())
            .or_insert_with(|| broadcast::Sender::new(MAX_UNHEARD));
        Subscription(topic.subscribe())
    }

    fn serve(&self, subject: &str) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(MAX_QUESTIONS);
        let mut subjects = self.subjects();
        subjects.sweep();
        subjects.servers.insert(subject.to_owned(), sender);
        receiver
    }

    fn ask(
        &self,
        subject: &str,
        message: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        let server = self.subjects().servers.get(subject).cloned();
        async move {
            let (reply, answer) = oneshot::channel();
            server
                .ok_or(BusError::Nobody)?
                .try_send(Question { message, reply })
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => BusError::Busy,
                    mpsc::error::TrySendError::Closed(_) => BusError::Nobody,
                })?;
            match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(BusError::Gone),
                Err(_) => Err(BusError::Timeout),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::store::contract::bus::check(Arc::new(InProcessBus::default())).await;
    }

    #[test]
    fn forgets_subjects_that_nobody_uses() {
        let bus = InProcessBus::default();
        for n in 0..1000 {
            drop(bus.subscribe(&n.to_string()));
            drop(bus.serve(&n.to_string()));
        }
        let subjects = bus.subjects();
        assert!(subjects.topics.len() + subjects.servers.len() <= 64);
    }
}

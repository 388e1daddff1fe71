//! The thread that takes batches: journals them in groups, applies them, answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::Inner;
use super::journal::Journal;
use super::names::SourceId;
use super::record::Record;
use crate::store::StoreError;
use crate::store::telemetry::Appended;

/// Batches that may wait.
const MAX_WAITING: usize = 4096;
/// Batches in one group.
const MAX_GROUP: usize = 1024;

type Reply = oneshot::Sender<Result<Appended, StoreError>>;

#[derive(Debug)]
enum Command {
    Take(Record, Reply),
    /// Everything before this record is in pages: begin a new segment and remove old ones.
    Forget(u64, oneshot::Sender<u64>),
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Taker {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Taker {
    pub(super) fn start(journal: Journal, inner: Weak<Inner>) -> Self {
        let (commands, queue) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("write journal".into())
            .spawn(move || run(journal, queue, &inner));
        if let Err(error) = &thread {
            tracing::error!(%error, "cannot start the journal's thread");
        }
        Self {
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(thread.ok()),
        }
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.as_ref().map(|commands| commands.try_send(command)) {
            Some(Ok(())) => Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(StoreError::Busy { waiting: MAX_WAITING }),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(StoreError::Closed),
        }
    }

    /// Resolves when the record is durable and readable.
    pub(super) async fn take(&self, record: Record) -> Result<Appended, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Take(record, reply))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Removes what is not needed of the journal; tells its size.
    pub(super) async fn forget_before(&self, lsn: u64) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Forget(lsn, reply))?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    /// Takes what waits, and ends.
    pub(super) fn close(&self) {
        drop(
            self.commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic in there was logged when it happened.
            let _ = thread.join();
        }
    }
}

fn run(mut journal: Journal, mut queue: mpsc::Receiver<Command>, inner: &Weak<Inner>) {
    while let Some(first) = queue.blocking_recv() {
        let Some(inner) = inner.upgrade() else { return };
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Take(record, reply) => group.add(&mut journal, &inner, record, reply),
                Command::Forget(lsn, reply) => {
                    journal.rotate();
                    journal.forget_before(lsn);
                    let _ = reply.send(journal.bytes());
                    // The segment is closed: what comes next begins another.
                    break;
                }
            }
            if group.len < MAX_GROUP {
                next = queue.try_recv().ok();
            }
        }
        group.finish(&mut journal, &inner);
    }
}

/// Batches that become durable together.
#[derive(Default)]
struct Group {
    new: Vec<(Record, Reply)>,
    known: Vec<Reply>,
    /// The streams' numbers as they will be.
    streams: HashMap<(SourceId, String), u64>,
    len: usize,
}

impl Group {
    fn add(&mut self, journal: &mut Journal, inner: &Inner, mut record: Record, reply: Reply) {
        self.len += 1;
        if let Some((name, seq)) = &record.stream {
            let in_group = self
                .streams
                .get(&(record.source, name.clone()))
                .is_some_and(|taken| seq <= taken);
            if in_group || inner.state().is_known(record.source, record.stream.as_ref()) {
                // Answered with the others: the one that it repeats may be among them.
                return self.known.push(reply);
            }
        }
        if journal.add(&mut record).is_err() {
            let _ = reply.send(Err(StoreError::TooLarge("a batch")));
            return;
        }
        if let Some((name, seq)) = &record.stream {
            self.streams.insert((record.source, name.clone()), *seq);
        }
        self.new.push((record, reply));
    }

    fn finish(self, journal: &mut Journal, inner: &Inner) {
        if let Err(error) = journal.commit() {
            tracing::error!(%error, batches = self.len, "batches were not taken");
            let why = error.to_string();
            for reply in self.new.into_iter().map(|(_, reply)| reply).chain(self.known) {
                let _ = reply.send(Err(StoreError::NotSaved {
                    doing: "store a batch",
                    why: why.clone(),
                }));
            }
            return;
        }
        let now_ms = inner.clock.now_ms();
        let replies: Vec<Reply> = {
            let (names, mut state) = (inner.names(), inner.state());
            let apply = |(record, reply)| {
                state.apply(record, &names, now_ms, 0);
                reply
            };
            self.new.into_iter().map(apply).collect()
        };
        for reply in replies {
            let _ = reply.send(Ok(Appended::New));
        }
        for reply in self.known {
            let _ = reply.send(Ok(Appended::Known));
        }
    }
}

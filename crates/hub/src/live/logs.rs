//! Live log lines of one server: who wants them, and the lines themselves.
//!
//! Lines pass here without going through the bucket's owner: there may be many, and they change no state. The agent is
//! asked to send them only while somebody watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::model::{LinkId, Millis, ServerId};

/// Batches kept for a watcher that is slow; beyond that it loses the oldest, and is told how many.
const BATCHES: usize = 64;

/// One line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: Millis,
    /// Which entry wrote it.
    pub pm_id: u32,
    /// Its app.
    pub app: Arc<str>,
    /// `true` for stderr.
    pub err: bool,
    /// The text, without the line end.
    pub text: String,
}

/// Lines that came together.
#[derive(Clone, Debug)]
pub struct LogBatch {
    /// Where from.
    pub server: ServerId,
    /// Name of the server.
    pub server_name: Arc<str>,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Lines that were lost on the way here.
    pub dropped: u64,
    /// Lines that passed the tap before these; set there, so that a slow watcher can count what it missed.
    pub before: u64,
}

/// Which apps somebody wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Everything of this server.
    pub all: bool,
    /// These apps.
    pub apps: BTreeSet<String>,
}

impl Interest {
    /// Nobody reads.
    pub fn is_none(&self) -> bool {
        !self.all && self.apps.is_empty()
    }

    /// Whether lines of `app` are wanted.
    pub fn wants(&self, app: &str) -> bool {
        self.all || self.apps.contains(app)
    }
}

/// The place where the lines of one server come by.
#[derive(Debug)]
pub struct LogTap {
    lines: broadcast::Sender<Arc<LogBatch>>,
    interest: watch::Sender<Interest>,
    watchers: Mutex<BTreeMap<u64, Option<String>>>,
    held: Mutex<Option<AbortHandle>>,
    next: AtomicU64,
    passed: AtomicU64,
    /// The link that carried the latest report: only this one acts on the interest.
    current: AtomicU64,
}

impl Default for LogTap {
    fn default() -> Self {
        Self {
            lines: broadcast::Sender::new(BATCHES),
            interest: watch::Sender::new(Interest::default()),
            watchers: Mutex::default(),
            held: Mutex::default(),
            next: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            current: AtomicU64::new(u64::MAX),
        }
    }
}

impl LogTap {
    /// Begins to watch one app, or everything, until the guard is dropped.
    pub fn watch(self: &Arc<Self>, app: Option<String>) -> LogWatch {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let lines = self.lines.subscribe();
        let expected = self.passed.load(Ordering::Relaxed);
        self.change(|watchers| drop(watchers.insert(id, app.clone())));
        LogWatch {
            tap: self.clone(),
            id,
            app,
            lines,
            expected,
        }
    }

    /// Makes the agent send everything for some time, watched or not; again renews the time.
    pub fn hold(self: &Arc<Self>, time: Duration) {
        let watch = self.watch(None);
        let task = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(watch);
        });
        self.replace_hold(Some(task.abort_handle()));
    }

    /// Ends a [`LogTap::hold`].
    pub fn release(&self) {
        self.replace_hold(None);
    }

    fn replace_hold(&self, hold: Option<AbortHandle>) {
        let before = std::mem::replace(
            &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner),
            hold,
        );
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Hands lines to whoever watches; never waits.
    pub fn give(&self, mut batch: LogBatch) {
        batch.before = self.passed.fetch_add(batch.lines.len() as u64, Ordering::Relaxed);
        // Nobody there is no error.
        let _ = self.lines.send(Arc::new(batch));
    }

    /// What is wanted, now and when it changes.
    pub fn interest(&self) -> watch::Receiver<Interest> {
        self.interest.subscribe()
    }

    /// Notes that `link` speaks for the server now; `true` when another one did before.
    pub fn take_over(&self, link: LinkId) -> bool {
        self.current.swap(link.0, Ordering::Relaxed) != link.0
    }

    /// Whether `link` speaks for the server.
    pub fn is_current(&self, link: LinkId) -> bool {
        self.current.load(Ordering::Relaxed) == link.0
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<u64, Option<String>>)) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut watchers);
        let interest = Interest {
            all: watchers.values().any(Option::is_none),
            apps: watchers.values().flatten().cloned().collect(),
        };
        self.interest.send_if_modified(|now| {
            let changed = *now != interest;
            *now = interest;
            changed
        });
    }
}

/// Somebody who watches; dropping it ends that.
#[derive(Debug)]
pub struct LogWatch {
    tap: Arc<LogTap>,
    id: u64,
    app: Option<String>,
    lines: broadcast::Receiver<Arc<LogBatch>>,
    /// Number of the next line, if none is lost.
    expected: u64,
}

/// Lines for a watcher.
#[derive(Clone, Debug)]
pub struct LogNews {
    /// Some of the batch may be of other apps (see [`LogWatch::wants`]).
    pub batch: Arc<LogBatch>,
    /// Lines lost since the last news, on the way here or because the watcher was slow.
    pub dropped: u64,
}

impl LogWatch {
    /// The next lines; `None` when there will be none any more.
    pub async fn next(&mut self) -> Option<LogNews> {
        loop {
            match self.lines.recv().await {
                Ok(batch) => {
                    let missed = batch.before.saturating_sub(self.expected);
                    self.expected = batch.before + batch.lines.len() as u64;
                    return Some(LogNews {
                        dropped: batch.dropped + missed,
                        batch,
                    });
                }
                // What was missed shows in the number of the next line.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Whether this watcher asked for `app`.
    pub fn wants(&self, app: &str) -> bool {
        self.app.as_deref().is_none_or(|wanted| wanted == app)
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        self.tap.change(|watchers| drop(watchers.remove(&self.id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_follows_the_watchers() {
        let tap = Arc::new(LogTap::default());
        let interest = tap.interest();
        assert!(interest.borrow().is_none());
        let one = tap.watch(Some("api".into()));
        let two = tap.watch(Some("api".into()));
        assert!(interest.borrow().wants("api") && !interest.borrow().wants("job"));
        let all = tap.watch(None);
        assert!(interest.borrow().wants("job"));
        drop(all);
        drop(one);
        assert!(interest.borrow().wants("api"));
        drop(two);
        assert!(interest.borrow().is_none());
    }

    #[tokio::test]
    async fn a_slow_watcher_loses_the_oldest_and_is_told() {
        let tap = Arc::new(LogTap::default());
        let mut watch = tap.watch(None);
        let batch = |n| LogBatch {
            server: ServerId::from_bytes([0; 12]),
            server_name: "web".into(),
            lines: vec![LogLine {
                at: n,
                pm_id: 0,
                app: "api".into(),
                err: false,
                text: String::new(),
            }],
            dropped: 0,
            before: 0,
        };
        for n in 0..BATCHES as i64 + 6 {
            tap.give(batch(n));
        }
        let first = watch.next().await.unwrap();
        assert_eq!((first.batch.lines[0].at, first.dropped), (6, 6));
        assert_eq!(watch.next().await.unwrap().dropped, 0);
    }
}

//! What the telemetry driver holds in memory, and how a record changes it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::names::{Names, SourceId};
use super::open::OpenMinutes;
use super::record::Record;
use crate::store::telemetry::{Event, TelemetryStats};

/// An event on its way into the database.
#[derive(Debug, Clone)]
pub(super) struct PendingEvent {
    pub(super) source: SourceId,
    pub(super) lsn: u64,
    pub(super) event: Event,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) minutes: OpenMinutes,
    /// By their number.
    pub(super) events: BTreeMap<i64, PendingEvent>,
    pub(super) next_event: i64,
    /// The highest number stored of each stream.
    pub(super) streams: HashMap<SourceId, HashMap<String, u64>>,
    /// Those that the database does not know yet.
    pub(super) streams_changed: HashSet<(SourceId, String)>,
    /// The last record that was applied.
    pub(super) applied_lsn: u64,
    /// Bytes of the journal, as last told.
    pub(super) journal_bytes: u64,
    pub(super) stats: TelemetryStats,
}

impl State {
    /// Whether a record with this place in a stream was taken before.
    pub(super) fn is_known(&self, source: SourceId, stream: Option<&(String, u64)>) -> bool {
        stream.is_some_and(|(name, seq)| {
            self.stored_up_to(source, name)
                .is_some_and(|stored| *seq <= stored)
        })
    }

    pub(super) fn stored_up_to(&self, source: SourceId, stream: &str) -> Option<u64> {
        self.streams.get(&source)?.get(stream).copied()
    }

    /// Takes a durable record in. `events_up_to` is the last record whose events are in the database already.
    pub(super) fn apply(&mut self, record: Record, names: &Names, now_ms: i64, events_up_to: u64) {
        let Record {
            lsn,
            source,
            stream,
            samples,
            events,
        } = record;
        self.applied_lsn = self.applied_lsn.max(lsn);
        if names.owner(source).is_none() {
            // It was purged meanwhile.
            return;
        }
        if let Some((name, seq)) = stream {
            self.set_stream(source, &name, seq);
            self.streams_changed.insert((source, name));
        }
        self.stats.samples += self.minutes.add_all(source, samples, lsn, now_ms);
        if lsn > events_up_to {
            for event in events {
                self.next_event += 1;
                self.events
                    .insert(self.next_event, PendingEvent { source, lsn, event });
                self.stats.events += 1;
            }
        }
    }

    /// Sets a stream's number; it never goes back.
    pub(super) fn set_stream(&mut self, source: SourceId, name: &str, seq: u64) {
        let streams = self.streams.entry(source).or_default();
        match streams.get_mut(name) {
            Some(stored) => *stored = seq.max(*stored),
            None => {
                streams.insert(name.to_owned(), seq);
            }
        }
    }

    /// The oldest record of which something is only in memory and journal.
    pub(super) fn oldest_lsn(&self) -> Option<u64> {
        let events = self.events.values().map(|pending| pending.lsn).min();
        [self.minutes.oldest_lsn(), events].into_iter().flatten().min()
    }

    pub(super) fn forget(&mut self, source: SourceId) {
        self.minutes.forget(source);
        self.events.retain(|_, pending| pending.source != source);
        self.streams.remove(&source);
        self.streams_changed.retain(|(owner, _)| *owner != source);
    }
}

//! Samples and events in `telemetry.db`, with a journal beside it.
//!
//! A batch goes: names become numbers ([`names`]) → [`journal`], in a group with others, synced → [`state`] in memory,
//! from where it is read → its sender is answered → [`upkeep`] seals minutes into pages, folds pages into coarser ones
//! and drops what is beyond retention. [`query`] reads memory and pages together.
//!
//! Lock order: names, then state.

mod events;
mod journal;
mod names;
mod open;
mod query;
mod record;
mod schema;
mod state;
mod taker;
#[cfg(test)]
mod tests;
mod tiers;
mod upkeep;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::FutureExt;

use self::journal::Journal;
use self::names::{Names, SourceId, insert_series, insert_source};
use self::record::Record;
use self::state::State;
use self::taker::Taker;
use self::upkeep::Upkeep;
use super::database::Database;
use crate::clock::Clock;
use crate::ids::{BucketId, ServerId};
use crate::options::Retention;
use crate::store::telemetry::{
    Appended, Batch, EventQuery, RangeQuery, Sample, SeriesInfo, SeriesRange, StoredEvent, TelemetryStats,
};
use crate::store::{Answer, StoreError, Telemetry};

/// Samples that may be held in memory; beyond it, senders are told to wait.
const MAX_HELD: usize = 16_000_000;
/// Samples and events from so far ahead are refused, ms: the sender's clock is wrong.
const MAX_AHEAD_MS: i64 = 3_600_000;
/// Bytes of one event's data.
const MAX_EVENT: usize = 256 << 10;
/// Bytes of a stream's name.
const MAX_STREAM: usize = 100;

/// The embedded telemetry store.
#[derive(Debug)]
pub struct SqliteTelemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Database,
    names: RwLock<Names>,
    state: Mutex<State>,
    taker: Taker,
    /// One upkeep (or purge) at a time.
    upkeep: tokio::sync::Mutex<Upkeep>,
    retention: Retention,
    clock: Clock,
}

/// Reads `bytes` as one record of the journal and writes what was read anew: `None` when they are no record.
///
/// For the fuzzer alone: records are nobody's business outside of this folder, and the fuzzer lives in a crate of its
/// own.
#[doc(hidden)]
pub fn read_journal_record(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = Record::read(bytes).ok()?;
    let mut again = Vec::new();
    record.write(&mut again);
    Some(again)
}

impl SqliteTelemetry {
    /// Opens `telemetry.db` and the journal in this folder, which the caller holds.
    pub fn open(folder: &Path, retention: Retention, clock: Clock) -> Result<Self, StoreError> {
        let db = Database::open(&folder.join("telemetry.db"), &schema::MIGRATIONS)?;
        let loaded = db.read_now(|db| {
            let mut state = State::default();
            let names = Names::load(db)?;
            let marks = upkeep::load(db, &mut state)?;
            Ok((names, state, marks))
        })?;
        let (mut names, mut state, marks) = loaded;
        let now_ms = clock.now_ms();
        let journal = Journal::open(folder, marks.journal_lsn, |record| {
            for (id, at_ms, _) in &record.samples {
                names.seen(record.source, *id, *at_ms);
            }
            state.apply(record, &names, now_ms, marks.events_lsn);
        })?;
        // Replayed is not taken anew.
        state.stats = TelemetryStats::default();
        let inner = Arc::new_cyclic(|inner| Inner {
            db,
            names: RwLock::new(names),
            state: Mutex::new(state),
            taker: Taker::start(journal, inner.clone()),
            upkeep: tokio::sync::Mutex::new(Upkeep::default()),
            retention,
            clock,
        });
        Ok(Self(inner))
    }
}

impl Inner {
    fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn names_mut(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, batch: Batch) -> Result<Appended, StoreError> {
        let Batch {
            bucket,
            server,
            source: stream,
            mut samples,
            mut events,
        } = batch;
        if stream.as_ref().is_some_and(|(name, _)| name.len() > MAX_STREAM) {
            return Err(StoreError::TooLarge("the name of a stream"));
        }
        let held = self.state().minutes.held();
        if held > MAX_HELD {
            return Err(StoreError::Busy { waiting: held });
        }
        let source = self.source(bucket, server).await?;
        let offered = samples.len() + events.len();
        let ahead = self.clock.now_ms().saturating_add(MAX_AHEAD_MS);
        let oldest = self
            .clock
            .now_ms()
            .saturating_sub(tiers::kept_ms(&self.retention, tiers::TIERS.len() - 1));
        samples.retain(|sample| sample.value.is_finite() && (oldest..ahead).contains(&sample.at_ms));
        events.retain(|event| event.data.len() <= MAX_EVENT && event.at_ms < ahead);
        let kept = samples.len() + events.len();
        let samples = self.numbered(source, samples).await?;
        let refused = offered - kept + (kept - events.len() - samples.len());
        let appended = self
            .taker
            .take(Record {
                lsn: 0,
                source,
                stream,
                samples,
                events,
            })
            .await?;
        if refused > 0 && appended == Appended::New {
            self.state().stats.samples_refused += refused as u64;
        }
        Ok(appended)
    }

    async fn source(&self, bucket: BucketId, server: ServerId) -> Result<SourceId, StoreError> {
        let known = self.names().source(bucket, server);
        if let Some(source) = known {
            return Ok(source);
        }
        let id = self
            .db
            .write("number a server", move |db| insert_source(db, bucket, server))
            .await?;
        self.names_mut().add_source(id, bucket, server);
        Ok(id)
    }

    /// Samples with numbers for names; new series get theirs first. Those beyond the limit are left out.
    async fn numbered(
        &self,
        source: SourceId,
        samples: Vec<Sample>,
    ) -> Result<Vec<(u64, i64, f64)>, StoreError> {
        let (mut ids, new) = self.names().resolve(source, &samples);
        if !new.is_empty() {
            let given = {
                let new = new.clone();
                self.db
                    .write("number a series", move |db| insert_series(db, source, &new))
                    .await?
            };
            let mut names = self.names_mut();
            for (id, series) in given.into_iter().zip(new) {
                let unit = series.3.clone();
                names.add_series(source, id, series, 0);
                names.set_unit(source, id, &unit);
            }
            ids = names.resolve(source, &samples).0;
        }
        Ok(samples
            .iter()
            .zip(ids)
            .filter_map(|(sample, id)| Some((id?, sample.at_ms, sample.value)))
            .collect())
    }

    /// Forgets these servers, in memory and on disk.
    async fn purge(&self, sources: Vec<SourceId>) -> Result<(), StoreError> {
        let _alone = self.upkeep.lock().await;
        {
            let (mut names, mut state) = (self.names_mut(), self.state());
            for source in &sources {
                names.forget(*source);
                state.forget(*source);
            }
        }
        self.db
            .write("delete history", move |db| {
                for source in sources {
                    db.prepare_cached("DELETE FROM sources WHERE id = ?1")?
                        .execute([source.0])?;
                }
                Ok(())
            })
            .await
    }
}

impl Telemetry for SqliteTelemetry {
    fn append(&self, batch: Batch) -> Answer<'_, Appended> {
        self.0.append(batch).boxed()
    }

    fn stored_up_to(&self, bucket: BucketId, server: ServerId, stream: String) -> Answer<'_, Option<u64>> {
        let source = self.0.names().source(bucket, server);
        let stored = source.and_then(|source| self.0.state().stored_up_to(source, &stream));
        std::future::ready(Ok(stored)).boxed()
    }

    fn range(&self, query: RangeQuery) -> Answer<'_, Vec<SeriesRange>> {
        query::range(&self.0, query).boxed()
    }

    fn series(
        &self,
        bucket: BucketId,
        server: Option<ServerId>,
        since_ms: i64,
    ) -> Answer<'_, Vec<SeriesInfo>> {
        let mut found: Vec<SeriesInfo> = self
            .0
            .names()
            .of(bucket, server)
            .filter(|(_, known)| {
                known.last_ms().saturating_add(names::LAST_SLACK_MS) >= since_ms && known.last_ms() > 0
            })
            .map(|(_, known)| known.info.clone())
            .collect();
        found.sort();
        std::future::ready(Ok(found)).boxed()
    }

    fn events(&self, query: EventQuery) -> Answer<'_, Vec<StoredEvent>> {
        events::find(&self.0, query).boxed()
    }

    fn purge_server(&self, bucket: BucketId, server: ServerId) -> Answer<'_, ()> {
        let sources: Vec<SourceId> = self.0.names().source(bucket, server).into_iter().collect();
        self.0.purge(sources).boxed()
    }

    fn purge_bucket(&self, bucket: BucketId) -> Answer<'_, ()> {
        let sources = self
            .0
            .names()
            .sources_of(bucket)
            .into_iter()
            .map(|(source, _)| source)
            .collect();
        self.0.purge(sources).boxed()
    }

    fn maintain(&self, now_ms: i64) -> Answer<'_, ()> {
        upkeep::run(&self.0, now_ms).boxed()
    }

    fn stats(&self) -> TelemetryStats {
        self.0.state().stats
    }

    fn close(&self) -> Answer<'_, ()> {
        let inner = Arc::clone(&self.0);
        async move {
            // An upkeep under way comes to its end first.
            let _alone = inner.upkeep.lock().await;
            let closing = Arc::clone(&inner);
            let closed = tokio::task::spawn_blocking(move || {
                closing.taker.close();
                closing.db.close();
            });
            closed.await.map_err(|_| StoreError::Closed)
        }
        .boxed()
    }
}

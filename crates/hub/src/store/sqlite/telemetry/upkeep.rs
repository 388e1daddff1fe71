//! Seals minutes into pages, packs these by the hour, folds them into coarser ones, drops what is beyond retention or the
//! disk budget.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::Inner;
use super::names::SourceId;
use super::open::{Merge, MinuteKey};
use super::state::{PendingEvent, State};
use super::tiers::{Fold, HOUR, MINUTES, PACKED, RAW, TENS, TIERS, hour_of, kept_ms, part_ms};
use crate::ids::BucketId;
use crate::store::StoreError;
use crate::store::page::{Page, decode, encode};
use crate::store::sqlite::database::Sql;

/// Minutes sealed in one go.
const MAX_SEALED: usize = 2_000;
/// Pages folded in one go.
const MAX_FOLDED: usize = 200;
/// Samples packed in one go.
const MAX_PACKED: usize = 2_000_000;
/// An hour with more samples is left in its minutes: a page must be unpacked as a whole at times.
const MAX_IN_HOUR: usize = 4_000_000;
/// Free pages of SQLite given back in one go, of a file of which more than a quarter is free.
const MAX_GIVEN_BACK: i64 = 256;
/// Rows deleted in one go.
const MAX_DELETED: usize = 2_000;
/// How often retention and disk budget are looked at, ms.
const SWEEP_MS: i64 = 60_000;
/// How often the journal begins a new segment at most, ms.
const ROTATE_MS: i64 = 15_000;
/// A window is folded so long after its end, ms: its last minute must be sealed.
const FOLD_AFTER_MS: i64 = 10_000;

/// What upkeep remembers from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    swept_ms: i64,
    rotated_ms: i64,
    flushed_ms: i64,
}

/// Marks that are read at the start.
#[derive(Debug)]
pub(super) struct Marks {
    /// Records up to here have their events in the database.
    pub(super) events_lsn: u64,
    /// Records up to here were written once; numbers go on from here.
    pub(super) journal_lsn: u64,
}

/// Reads what memory starts with.
pub(super) fn load(db: &Connection, state: &mut State) -> Sql<Marks> {
    state.next_event = db.query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))?;
    let mut statement = db.prepare("SELECT source, stream, seq FROM streams")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (source, stream, seq): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        state.set_stream(SourceId(source), &stream, seq.cast_unsigned());
    }
    let lsn = mark(db, "applied_lsn")?.unwrap_or(0).cast_unsigned();
    state.applied_lsn = lsn;
    Ok(Marks {
        events_lsn: lsn,
        journal_lsn: lsn,
    })
}

fn mark(db: &Connection, name: &str) -> Sql<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT value FROM marks WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

fn set_mark(db: &Connection, name: &str, value: i64) -> Sql<()> {
    db.prepare_cached(
        "INSERT INTO marks VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![name, value])?;
    Ok(())
}

/// For each tier the time before which its pages are gone (or about to go).
pub(super) fn gone_before(db: &Connection) -> Sql<[i64; TIERS.len()]> {
    let mut gone = [i64::MIN; TIERS.len()];
    for (tier, gone) in gone.iter_mut().enumerate() {
        *gone = mark(db, GONE[tier])?.unwrap_or(i64::MIN);
    }
    Ok(gone)
}

const GONE: [&str; TIERS.len()] = ["gone_raw", "gone_10s", "gone_1m", "gone_1h"];

/// One round.
pub(super) async fn run(inner: &Inner, now_ms: i64) -> Result<(), StoreError> {
    let mut upkeep = inner.upkeep.lock().await;
    seal(inner, &mut upkeep, now_ms).await?;
    let folded = inner
        .db
        .write("fold history", move |db| {
            pack_due(db, now_ms)?;
            fold_due(db, now_ms)
        })
        .await?;
    if folded < MAX_FOLDED && now_ms - upkeep.swept_ms >= SWEEP_MS {
        let retention = inner.retention;
        let journal = inner.state().journal_bytes;
        let (deleted, bytes) = inner
            .db
            .write("drop old history", move |db| {
                let mut deleted = expire(
                    db,
                    now_ms,
                    &|tier| kept_ms(&retention, tier),
                    retention.events.as_millis(),
                )?;
                let used = disk_bytes(db)?;
                if used + journal > retention.disk_bytes {
                    deleted += shrink(db, now_ms)?;
                }
                give_back(db)?;
                Ok((deleted, used))
            })
            .await?;
        inner.state().stats.disk_bytes = bytes + journal;
        // There may be more: it goes on at the next round.
        if deleted < MAX_DELETED {
            upkeep.swept_ms = now_ms;
        }
    }
    Ok(())
}

/// What moves from memory into the database in one transaction.
struct Flush {
    pages: Vec<(MinuteKey, Page)>,
    events: Vec<(i64, BucketId, PendingEvent)>,
    streams: Vec<(SourceId, String, u64)>,
    last_seen: Vec<(u64, i64)>,
    applied_lsn: u64,
}

async fn seal(inner: &Inner, upkeep: &mut Upkeep, now_ms: i64) -> Result<(), StoreError> {
    let flush = {
        let (mut names, mut state) = (inner.names_mut(), inner.state());
        let pages = state.minutes.begin_sealing(now_ms, MAX_SEALED);
        let streams_due = !state.streams_changed.is_empty() && now_ms - upkeep.flushed_ms >= SWEEP_MS;
        if pages.is_empty() && state.events.is_empty() && !streams_due {
            return Ok(());
        }
        let sources: HashSet<SourceId> = pages.iter().map(|((source, _), _)| *source).collect();
        let events = state.events.iter();
        let events = events
            .filter_map(|(id, event)| Some((*id, names.owner(event.source)?.0, event.clone())))
            .collect();
        let changed = state.streams_changed.iter();
        let streams = changed
            .filter_map(|(source, name)| Some((*source, name.clone(), state.stored_up_to(*source, name)?)))
            .collect();
        Flush {
            pages,
            events,
            streams,
            last_seen: names.behind(sources.into_iter()),
            applied_lsn: state.applied_lsn,
        }
    };
    let (events, streams): (Vec<i64>, Vec<(SourceId, String, u64)>) = (
        flush.events.iter().map(|(id, ..)| *id).collect(),
        flush.streams.clone(),
    );
    let done = inner.db.write("store pages", move |db| write(db, &flush)).await;
    let oldest = {
        let mut state = inner.state();
        if done.is_err() {
            state.minutes.not_sealed();
        }
        done?;
        state.minutes.sealed();
        for id in events {
            state.events.remove(&id);
        }
        for (source, name, seq) in streams {
            if state.stored_up_to(source, &name) == Some(seq) {
                state.streams_changed.remove(&(source, name));
            }
        }
        state.oldest_lsn().unwrap_or(state.applied_lsn + 1)
    };
    upkeep.flushed_ms = now_ms;
    if now_ms - upkeep.rotated_ms >= ROTATE_MS {
        upkeep.rotated_ms = now_ms;
        let bytes = inner.taker.forget_before(oldest).await?;
        inner.state().journal_bytes = bytes;
    }
    Ok(())
}

fn write(db: &Connection, flush: &Flush) -> Sql<()> {
    for ((source, start_ms), page) in &flush.pages {
        if !is_known(db, *source)? {
            continue;
        }
        let body = match stored(db, *source, RAW as i64, *start_ms)? {
            Some(there) => {
                let mut merge = Merge::default();
                merge.add(0, there);
                merge.add(0, page.clone());
                encode(&merge.finish())
            }
            None => encode(page),
        };
        put(db, *source, RAW as i64, *start_ms, &body)?;
        set_stale(db, *source, PACKED, hour_of(*start_ms))?;
        for tier in [TENS, MINUTES] {
            set_stale(db, *source, tier as i64, hour_of(*start_ms))?;
        }
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO events(id, source, bucket, at_ms, app, pm_id, kind, name, data)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE EXISTS (SELECT 1 FROM sources WHERE id = ?2)",
    )?;
    for (id, bucket, PendingEvent { source, event, .. }) in &flush.events {
        let (bucket, pm_id) = (bucket.to_string(), event.pm_id);
        insert.execute(params![
            id,
            source.0,
            bucket,
            event.at_ms,
            event.app,
            pm_id,
            event.kind,
            event.name,
            event.data
        ])?;
    }
    let mut upsert = db.prepare_cached(
        "INSERT INTO streams SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM sources WHERE id = ?1)
         ON CONFLICT(source, stream) DO UPDATE SET seq = excluded.seq",
    )?;
    for (source, name, seq) in &flush.streams {
        upsert.execute(params![source.0, name, seq.cast_signed()])?;
    }
    let mut seen = db.prepare_cached("UPDATE series SET last_ms = max(last_ms, ?2) WHERE id = ?1")?;
    for (id, last_ms) in &flush.last_seen {
        seen.execute(params![id.cast_signed(), last_ms])?;
    }
    set_mark(db, "applied_lsn", flush.applied_lsn.cast_signed())
}

fn is_known(db: &Connection, source: SourceId) -> Sql<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM sources WHERE id = ?1")?
        .exists([source.0])?)
}

/// The page that is there; one that cannot be read is set aside, not overwritten.
fn stored(db: &Connection, source: SourceId, tier: i64, start_ms: i64) -> Sql<Option<Page>> {
    let body: Option<Vec<u8>> = db
        .prepare_cached("SELECT body FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms = ?3")?
        .query_row(params![source.0, tier, start_ms], |row| row.get(0))
        .optional()?;
    match body.map(|body| decode(&body, |_| true)) {
        None => Ok(None),
        Some(Ok(page)) => Ok(Some(page)),
        Some(Err(error)) => {
            tracing::error!(source = source.0, tier, start_ms, %error, "set a page aside that cannot be read");
            db.prepare_cached(
                "UPDATE OR REPLACE pages SET tier = -1 - tier WHERE source = ?1 AND tier = ?2 AND start_ms = ?3",
            )?
            .execute(params![source.0, tier, start_ms])?;
            Ok(None)
        }
    }
}

fn put(db: &Connection, source: SourceId, tier: i64, start_ms: i64, body: &[u8]) -> Sql<()> {
    db.prepare_cached(
        "INSERT INTO pages(source, tier, start_ms, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT(source, tier, start_ms) DO UPDATE SET body = excluded.body",
    )?
    .execute(params![source.0, tier, start_ms, body])?;
    Ok(())
}

/// Where the pages of a tier begin, between two times.
fn starts(db: &Connection, source: SourceId, tier: i64, from_ms: i64, to_ms: i64) -> Sql<Vec<i64>> {
    let starts = db
        .prepare_cached(
            "SELECT start_ms FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms >= ?3 AND start_ms < ?4
             ORDER BY start_ms",
        )?
        .query_map(params![source.0, tier, from_ms, to_ms], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(starts)
}

/// Notes that this part of a tier has to be made (anew).
fn set_stale(db: &Connection, source: SourceId, tier: i64, start_ms: i64) -> Sql<()> {
    db.prepare_cached("INSERT INTO stale VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![source.0, tier, start_ms])?;
    Ok(())
}

fn set_fresh(db: &Connection, source: SourceId, tier: i64, start_ms: i64) -> Sql<()> {
    db.prepare_cached("DELETE FROM stale WHERE source = ?1 AND tier = ?2 AND start_ms = ?3")?
        .execute(params![source.0, tier, start_ms])?;
    Ok(())
}

/// What is stale of a tier and begins before a time, oldest first.
fn stale(db: &Connection, tier: i64, before_ms: i64, most: usize) -> Sql<Vec<(SourceId, i64)>> {
    let found = db
        .prepare_cached(
            "SELECT source, start_ms FROM stale WHERE tier = ?1 AND start_ms < ?2 ORDER BY start_ms, source LIMIT ?3",
        )?
        .query_map(params![tier, before_ms, most as i64], |row| Ok((SourceId(row.get(0)?), row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Packs hours that are over, as many as fit into one round.
fn pack_due(db: &Connection, now_ms: i64) -> Sql<()> {
    let mut packed = 0;
    for (source, hour) in stale(db, PACKED, now_ms - HOUR - FOLD_AFTER_MS, MAX_FOLDED)? {
        packed += pack(db, source, hour)?;
        if packed >= MAX_PACKED {
            break;
        }
    }
    Ok(())
}

/// Makes one page of the minutes of an hour and of what was packed before; tells how many samples it has.
fn pack(db: &Connection, source: SourceId, hour: i64) -> Sql<usize> {
    set_fresh(db, source, PACKED, hour)?;
    let minutes = starts(db, source, RAW as i64, hour, hour + HOUR)?;
    if minutes.is_empty() {
        return Ok(0);
    }
    let mut merge = Merge::default();
    if let Some(before) = stored(db, source, PACKED, hour)? {
        merge.add(0, before);
    }
    for minute in &minutes {
        if let Some(page) = stored(db, source, RAW as i64, *minute)? {
            merge.add(minute - hour, page);
        }
        if merge.samples() > MAX_IN_HOUR {
            return Ok(merge.samples());
        }
    }
    let samples = merge.samples();
    put(db, source, PACKED, hour, &encode(&merge.finish()))?;
    db.prepare_cached(
        "DELETE FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms >= ?3 AND start_ms < ?4",
    )?
    .execute(params![source.0, RAW as i64, hour, hour + HOUR])?;
    Ok(samples)
}

/// Folds what is due, fine tiers first; tells how many parts.
fn fold_due(db: &Connection, now_ms: i64) -> Sql<usize> {
    let gone = gone_before(db)?;
    let mut folded = 0;
    for tier in TENS..TIERS.len() {
        // Steps of ten seconds are made when the samples are about to go.
        let before = if tier == TENS {
            gone[RAW]
        } else {
            now_ms - part_ms(tier) - FOLD_AFTER_MS + 1
        };
        let due = stale(db, tier as i64, before, MAX_FOLDED - folded)?;
        for (source, start_ms) in &due {
            let gone = match tier {
                TENS => start_ms < &gone[RAW],
                // Made of either.
                MINUTES => start_ms < &gone[RAW].min(gone[TENS]),
                _ => start_ms < &gone[tier - 1],
            };
            fold(db, *source, tier, *start_ms, gone)?;
        }
        folded += due.len();
    }
    Ok(folded)
}

/// Makes one part of a coarse page of what is finer. When some of that is `gone`, what was made of it before stays.
fn fold(db: &Connection, source: SourceId, tier: usize, part: i64, gone: bool) -> Sql<()> {
    set_fresh(db, source, tier as i64, part)?;
    let part_end = part + part_ms(tier);
    let mut fold = Fold::default();
    let finer = if tier == MINUTES && has_tens(db, source, part)? {
        TENS
    } else if tier <= MINUTES {
        RAW
    } else {
        tier - 1
    };
    if finer == RAW
        && let Some(page) = stored(db, source, PACKED, part)?
    {
        fold.add_finer(tier, RAW, part, &page);
    }
    for start_ms in starts(db, source, finer as i64, part, part_end)? {
        if let Some(page) = stored(db, source, finer as i64, start_ms)? {
            fold.add_finer(tier, finer, start_ms, &page);
        }
    }
    let start_ms = TIERS[tier].page_of(part);
    if let Some(older) = stored(db, source, tier as i64, start_ms)? {
        fold.keep_older(tier, start_ms, &older, |at_ms| {
            gone || !(part..part_end).contains(&at_ms)
        });
    }
    let page = fold.finish(tier, start_ms);
    if !page.series.is_empty() {
        put(db, source, tier as i64, start_ms, &encode(&page))?;
        if let Some(next) = TIERS.get(tier + 1).filter(|_| tier >= MINUTES) {
            set_stale(db, source, tier as i64 + 1, next.page_of(start_ms))?;
        }
    }
    Ok(())
}

/// Whether there are steps of ten seconds of this hour, and none are to be made.
fn has_tens(db: &Connection, source: SourceId, hour: i64) -> Sql<bool> {
    let mut page = db.prepare_cached(
        "SELECT 1 FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms = ?3 AND NOT EXISTS
           (SELECT 1 FROM stale WHERE stale.source = ?1 AND stale.tier = ?2 AND stale.start_ms = ?3)",
    )?;
    Ok(page.exists(params![source.0, TENS as i64, hour])?)
}

/// Drops what is older than its tier is kept, but nothing that is still to be folded; tells how many rows.
fn expire(db: &Connection, now_ms: i64, kept_ms: &dyn Fn(usize) -> i64, events_ms: u128) -> Sql<usize> {
    let mut deleted = 0;
    for (tier, of) in TIERS.iter().enumerate() {
        let next = TIERS.get(tier + 1).unwrap_or(of);
        let before = next.page_of(now_ms.saturating_sub(kept_ms(tier)));
        deleted += drop_before(db, tier, before)?;
    }
    let events_before = now_ms.saturating_sub(i64::try_from(events_ms).unwrap_or(i64::MAX));
    deleted += db
        .prepare_cached("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at_ms < ?1 LIMIT ?2)")?
        .execute(params![events_before, MAX_DELETED as i64])?;
    Ok(deleted)
}

fn drop_before(db: &Connection, tier: usize, before_ms: i64) -> Sql<usize> {
    if mark(db, GONE[tier])?.is_none_or(|gone| gone < before_ms) {
        set_mark(db, GONE[tier], before_ms)?;
    }
    // Coarser pages that are made of it: up to which tier, and where they begin.
    let (coarsest, part) = match tier {
        RAW | TENS => (MINUTES, HOUR),
        _ => (
            (tier + 1).min(TIERS.len() - 1),
            TIERS.get(tier + 1).map_or(1, |next| next.span_ms),
        ),
    };
    let mut delete = db.prepare_cached(
        "DELETE FROM pages WHERE id IN (SELECT id FROM pages WHERE tier = ?1 AND start_ms < ?2 AND NOT EXISTS
           (SELECT 1 FROM stale WHERE stale.source = pages.source AND stale.tier > ?3 AND stale.tier <= ?4
            AND stale.start_ms = pages.start_ms - pages.start_ms % ?5) LIMIT ?6)",
    )?;
    let mut deleted = 0;
    for stored_as in [tier as i64].into_iter().chain((tier == RAW).then_some(PACKED)) {
        deleted += delete.execute(params![
            stored_as,
            before_ms,
            tier as i64,
            coarsest as i64,
            part,
            MAX_DELETED as i64
        ])?;
    }
    Ok(deleted)
}

/// Makes room when history takes more disk than it may: a tenth of what is finest goes, the oldest of it.
fn shrink(db: &Connection, now_ms: i64) -> Sql<usize> {
    for (tier, of) in TIERS.iter().enumerate() {
        let also = if tier == RAW { PACKED } else { tier as i64 };
        let oldest: Option<i64> = db
            .prepare_cached("SELECT min(start_ms) FROM pages WHERE tier IN (?1, ?2)")?
            .query_row([tier as i64, also], |row| row.get(0))?;
        let span = TIERS.get(tier + 1).unwrap_or(of).span_ms;
        let grain = if tier == RAW { HOUR } else { of.span_ms };
        let floor = |at_ms: i64| at_ms - at_ms.rem_euclid(grain);
        // What is under way is not touched: coarser tiers are made of it.
        let newest = floor(now_ms - 2 * span);
        if let Some(oldest) = oldest.filter(|oldest| *oldest < newest) {
            let before = floor(oldest + ((newest - oldest) / 10).max(grain));
            tracing::warn!(
                tier,
                before_ms = before,
                "history takes more disk than it may: dropping the oldest"
            );
            return drop_before(db, tier, before);
        }
    }
    Ok(0)
}

/// Gives disk back of which much is free: what was packed or dropped is not always taken by something new soon.
fn give_back(db: &Connection) -> Sql<()> {
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    if number("PRAGMA freelist_count")? > number("PRAGMA page_count")? / 4 {
        // A file of an older version has no map for it, and takes no notice.
        let mut give = db.prepare(&format!("PRAGMA incremental_vacuum({MAX_GIVEN_BACK})"))?;
        // Each step gives one page.
        let mut pages = give.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}

fn disk_bytes(db: &Connection) -> Sql<u64> {
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
    Ok((pages * number("PRAGMA page_size")?).unsigned_abs())
}

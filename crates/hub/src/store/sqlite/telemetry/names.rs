//! Numbers for servers and series, so that pages and journal need not spell them out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::{BucketId, ServerId};
use crate::store::StoreError;
use crate::store::sqlite::database::Sql;
use crate::store::telemetry::{Sample, SeriesInfo};

/// Series of one server at most; more are refused and counted.
pub(super) const MAX_SERIES: usize = 5_000;
/// Bytes of an app's, metric's or unit's name.
const MAX_NAME: usize = 200;
/// `last_ms` in the database may be behind by so much, ms: it is not written each minute.
pub(super) const LAST_SLACK_MS: i64 = 600_000;

/// The number of a server of a bucket; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SourceId(pub(super) i64);

/// What is known of one series.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) info: SeriesInfo,
    /// Its newest sample; noted where it is looked up, by many at once.
    last_ms: AtomicI64,
    /// What the database has for that.
    stored_ms: i64,
}

impl Known {
    /// When its newest sample was taken, ms since 1970; 0 before there is one.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    fn saw(&self, at_ms: i64) {
        self.last_ms.fetch_max(at_ms, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Source {
    bucket: BucketId,
    server: ServerId,
    /// By [`write_key`].
    series: HashMap<Box<[u8]>, Known>,
    keys: HashMap<u64, Box<[u8]>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<(BucketId, ServerId), SourceId>,
    sources: HashMap<SourceId, Source>,
}

/// What a series is looked up by, within its server.
fn write_key(key: &mut Vec<u8>, app: &str, pm_id: i64, metric: &str) {
    key.clear();
    // The number is of fixed length, so that it tells where the app's name begins.
    for part in [&pm_id.to_le_bytes(), app.as_bytes(), b"\0", metric.as_bytes()] {
        key.extend_from_slice(part);
    }
}

fn parts(sample: &Sample) -> (&str, i64, &str) {
    (
        sample.app.as_deref().unwrap_or_default(),
        sample.pm_id.map_or(-1, i64::from),
        &sample.metric,
    )
}

/// Whether a series can have these names.
fn is_nameable(sample: &Sample) -> bool {
    let app = sample.app.as_deref().unwrap_or_default();
    !sample.metric.is_empty()
        && [app, &sample.metric, &sample.unit]
            .iter()
            .all(|name| name.len() <= MAX_NAME && !name.contains('\0'))
}

/// Whether two samples are of one series, told without reading the names: false says nothing.
fn are_alike(one: &Sample, other: &Sample) -> bool {
    let same_app = match (&one.app, &other.app) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    };
    same_app
        && one.pm_id == other.pm_id
        && Arc::ptr_eq(&one.metric, &other.metric)
        && Arc::ptr_eq(&one.unit, &other.unit)
}

/// A series to be given a number: app, instance, metric, unit.
pub(super) type NewSeries = (String, i64, String, String);

impl Names {
    /// Reads all of them.
    pub(super) fn load(db: &Connection) -> Sql<Self> {
        let mut names = Self::default();
        let mut statement = db.prepare("SELECT id, bucket, server FROM sources")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, bucket, server): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let damaged = |_| StoreError::Damaged {
                what: format!("telemetry.db: source {id}"),
            };
            names.add_source(
                SourceId(id),
                bucket.parse().map_err(damaged)?,
                server.parse().map_err(damaged)?,
            );
        }
        let mut statement = db.prepare("SELECT source, id, app, pm_id, metric, unit, last_ms FROM series")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let new = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            let id: i64 = row.get(1)?;
            names.add_series(SourceId(row.get(0)?), id.unsigned_abs(), new, row.get(6)?);
        }
        Ok(names)
    }

    pub(super) fn source(&self, bucket: BucketId, server: ServerId) -> Option<SourceId> {
        self.ids.get(&(bucket, server)).copied()
    }

    pub(super) fn owner(&self, source: SourceId) -> Option<(BucketId, ServerId)> {
        self.sources
            .get(&source)
            .map(|source| (source.bucket, source.server))
    }

    pub(super) fn add_source(&mut self, id: SourceId, bucket: BucketId, server: ServerId) {
        self.ids.insert((bucket, server), id);
        self.sources.entry(id).or_insert_with(|| Source {
            bucket,
            server,
            series: HashMap::new(),
            keys: HashMap::new(),
        });
    }

    pub(super) fn add_series(&mut self, source: SourceId, id: u64, new: NewSeries, last_ms: i64) {
        let Some(owner) = self.sources.get_mut(&source) else {
            return;
        };
        let (app, pm_id, metric, unit) = new;
        let mut key = Vec::new();
        write_key(&mut key, &app, pm_id, &metric);
        let info = SeriesInfo {
            server: owner.server,
            app: Some(app).filter(|app| !app.is_empty()),
            pm_id: u32::try_from(pm_id).ok(),
            metric,
            unit,
        };
        owner.keys.insert(id, key.as_slice().into());
        owner.series.entry(key.into_boxed_slice()).or_insert(Known {
            id,
            info,
            last_ms: last_ms.into(),
            stored_ms: last_ms,
        });
    }

    /// The numbers of the samples' series, in their order; and which series have none yet, or another unit. Notes when each
    /// series was seen last.
    pub(super) fn resolve(&self, source: SourceId, samples: &[Sample]) -> (Vec<Option<u64>>, Vec<NewSeries>) {
        let Some(owner) = self.sources.get(&source) else {
            return (Vec::new(), Vec::new());
        };
        let (mut key, mut unknown) = (Vec::new(), BTreeSet::new());
        let mut last: Option<(&Sample, Option<&Known>)> = None;
        let ids = samples
            .iter()
            .map(|sample| {
                if let Some((before, known)) = last
                    && are_alike(before, sample)
                {
                    return known.map(|known| {
                        known.saw(sample.at_ms);
                        known.id
                    });
                }
                let (app, pm_id, metric) = parts(sample);
                write_key(&mut key, app, pm_id, metric);
                let known = owner.series.get(key.as_slice());
                let other_unit =
                    known.is_some_and(|known| !sample.unit.is_empty() && *known.info.unit != *sample.unit);
                let room = owner.series.len() + unknown.len() < MAX_SERIES;
                if (other_unit || known.is_none() && room) && is_nameable(sample) {
                    unknown.insert((app.to_owned(), pm_id, metric.to_owned(), sample.unit.to_string()));
                }
                last = Some((sample, known));
                known.map(|known| {
                    known.saw(sample.at_ms);
                    known.id
                })
            })
            .collect();
        (ids, unknown.into_iter().collect())
    }

    pub(super) fn set_unit(&mut self, source: SourceId, id: u64, unit: &str) {
        if let Some(known) = self.known_mut(source, id)
            && !unit.is_empty()
        {
            unit.clone_into(&mut known.info.unit);
        }
    }

    fn known_mut(&mut self, source: SourceId, id: u64) -> Option<&mut Known> {
        let owner = self.sources.get_mut(&source)?;
        owner.series.get_mut(owner.keys.get(&id)?)
    }

    /// Notes that a series has a sample of this time.
    pub(super) fn seen(&mut self, source: SourceId, id: u64, at_ms: i64) {
        if let Some(known) = self.known_mut(source, id) {
            known.saw(at_ms);
        }
    }

    /// The series of these servers whose newest sample the database is too far behind about; they count as told.
    pub(super) fn behind(&mut self, sources: impl Iterator<Item = SourceId>) -> Vec<(u64, i64)> {
        let mut told = Vec::new();
        for source in sources {
            for known in self
                .sources
                .get_mut(&source)
                .into_iter()
                .flat_map(|owner| owner.series.values_mut())
            {
                let last_ms = known.last_ms();
                if last_ms - known.stored_ms > LAST_SLACK_MS {
                    known.stored_ms = last_ms;
                    told.push((known.id, last_ms));
                }
            }
        }
        told
    }

    /// All series of a bucket, or of one of its servers, with the number of the server.
    pub(super) fn of(
        &self,
        bucket: BucketId,
        server: Option<ServerId>,
    ) -> impl Iterator<Item = (SourceId, &Known)> {
        self.sources
            .iter()
            .filter(move |(_, source)| {
                source.bucket == bucket && server.is_none_or(|server| source.server == server)
            })
            .flat_map(|(id, source)| source.series.values().map(|known| (*id, known)))
    }

    pub(super) fn sources_of(&self, bucket: BucketId) -> Vec<(SourceId, ServerId)> {
        let of = self.ids.iter().filter(|((owner, _), _)| *owner == bucket);
        of.map(|((_, server), id)| (*id, *server)).collect()
    }

    pub(super) fn forget(&mut self, source: SourceId) {
        if let Some(owner) = self.sources.remove(&source) {
            self.ids.remove(&(owner.bucket, owner.server));
        }
    }
}

/// Gives a server a number, in the database.
pub(super) fn insert_source(db: &Connection, bucket: BucketId, server: ServerId) -> Sql<SourceId> {
    let key = [bucket.to_string(), server.to_string()];
    let known = db
        .prepare_cached("SELECT id FROM sources WHERE bucket = ?1 AND server = ?2")?
        .query_row(params![key[0], key[1]], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(SourceId(id));
    }
    db.prepare_cached("INSERT INTO sources(bucket, server) VALUES (?1, ?2)")?
        .execute(params![key[0], key[1]])?;
    Ok(SourceId(db.last_insert_rowid()))
}

/// Gives series numbers, in the database, or those that they have another unit.
pub(super) fn insert_series(db: &Connection, source: SourceId, new: &[NewSeries]) -> Sql<Vec<u64>> {
    let mut statement = db.prepare_cached(
        "INSERT INTO series(source, app, pm_id, metric, unit, last_ms) VALUES (?1, ?2, ?3, ?4, ?5, 0)
         ON CONFLICT(source, app, pm_id, metric)
         DO UPDATE SET unit = iif(excluded.unit = '', unit, excluded.unit)
         RETURNING id",
    )?;
    let mut ids = Vec::with_capacity(new.len());
    for (app, pm_id, metric, unit) in new {
        let id: i64 = statement.query_row(params![source.0, app, pm_id, metric, unit], |row| row.get(0))?;
        ids.push(id.unsigned_abs());
    }
    Ok(ids)
}

//! Events: in memory until the next upkeep, in the database after it.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Inner;
use crate::ids::ServerId;
use crate::store::StoreError;
use crate::store::sqlite::database::Sql;
use crate::store::telemetry::{Event, EventQuery, StoredEvent};

const MAX_LIMIT: u32 = 10_000;

/// The newest events that a query asks for, newest first.
pub(super) async fn find(inner: &Inner, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
    let limit = query.limit.clamp(1, MAX_LIMIT);
    // Memory first: what moves into the database meanwhile is found twice, and counted once by its number.
    let mut found: BTreeMap<i64, StoredEvent> = {
        let (names, state) = (inner.names(), inner.state());
        state
            .events
            .iter()
            .filter(|(_, pending)| fits(&query, &pending.event))
            .filter_map(|(id, pending)| {
                let (bucket, server) = names.owner(pending.source)?;
                let fits = bucket == query.bucket && query.server.is_none_or(|wanted| wanted == server);
                fits.then(|| {
                    (
                        *id,
                        StoredEvent {
                            id: *id,
                            server,
                            event: pending.event.clone(),
                        },
                    )
                })
            })
            .collect()
    };
    let stored = inner
        .db
        .read("read events", move |db| stored(db, &query, limit))
        .await?;
    found.extend(stored.into_iter().map(|event| (event.id, event)));
    let mut all: Vec<StoredEvent> = found.into_values().collect();
    all.sort_by_key(|stored| std::cmp::Reverse((stored.event.at_ms, stored.id)));
    all.truncate(limit as usize);
    Ok(all)
}

fn fits(query: &EventQuery, event: &Event) -> bool {
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
    (query.from_ms..query.to_ms).contains(&event.at_ms)
        && query
            .app
            .as_ref()
            .is_none_or(|wanted| event.app.as_ref() == Some(wanted))
        && is(&query.kind, &event.kind)
        && is(&query.name, &event.name)
}

fn stored(db: &rusqlite::Connection, query: &EventQuery, limit: u32) -> Sql<Vec<StoredEvent>> {
    let mut sql = String::from(
        "SELECT events.id, sources.server, at_ms, app, pm_id, kind, name, data
         FROM events JOIN sources ON sources.id = events.source
         WHERE events.bucket = ? AND at_ms >= ? AND at_ms < ?",
    );
    let mut values: Vec<Value> = vec![
        query.bucket.to_string().into(),
        query.from_ms.into(),
        query.to_ms.into(),
    ];
    let server = query.server.map(|server: ServerId| server.to_string());
    for (column, wanted) in [
        ("sources.server", &server),
        ("app", &query.app),
        ("kind", &query.kind),
        ("name", &query.name),
    ] {
        if let Some(wanted) = wanted {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(wanted.clone().into());
        }
    }
    sql.push_str(" ORDER BY at_ms DESC, events.id DESC LIMIT ?");
    values.push(i64::from(limit).into());
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let server: String = row.get(1)?;
        found.push(StoredEvent {
            id: row.get(0)?,
            server: server.parse().map_err(|_| StoreError::Damaged {
                what: format!("telemetry.db: server {server:?}"),
            })?,
            event: Event {
                at_ms: row.get(2)?,
                app: row.get(3)?,
                pm_id: row.get(4)?,
                kind: row.get(5)?,
                name: row.get(6)?,
                data: row.get(7)?,
            },
        });
    }
    Ok(found)
}

//! The audit trail, and settings of the whole hub.

use rusqlite::{OptionalExtension, params};

use super::{SqliteCatalog, collect, parsed};
use crate::store::Answer;
use crate::store::catalog::{Audit, AuditEntry, AuditMark, AuditQuery};

impl Audit for SqliteCatalog {
    fn audit(&self, entry: AuditEntry) -> Answer<'_, ()> {
        self.db.write("store the audit entry", move |db| {
            db.prepare_cached(
                "INSERT INTO audit(bucket, at_ms, who, what, target, outcome, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                entry.bucket.to_string(),
                entry.at_ms,
                entry.who,
                entry.what,
                entry.target,
                entry.outcome,
                entry.detail,
            ])?;
            Ok(())
        })
    }

    fn audit_trail(&self, query: AuditQuery) -> Answer<'_, Vec<(AuditMark, AuditEntry)>> {
        self.db.read("read the audit trail", move |db| {
            let mut statement = db.prepare_cached(
                "SELECT id, bucket, at_ms, who, what, target, outcome, detail FROM audit
                 WHERE bucket = ?1 AND (at_ms, id) < (?2, ?3)
                   AND instr(lower(who || ' ' || what || ' ' || target || ' ' || outcome), lower(?4)) > 0
                 ORDER BY at_ms DESC, id DESC LIMIT ?5",
            )?;
            let before = query.before.unwrap_or(AuditMark {
                at_ms: i64::MAX,
                id: i64::MAX,
            });
            let bucket = query.bucket.to_string();
            collect(
                statement.query(params![
                    bucket,
                    before.at_ms,
                    before.id,
                    query.containing,
                    query.limit
                ])?,
                |row| {
                    let mark = AuditMark {
                        at_ms: row.get("at_ms")?,
                        id: row.get("id")?,
                    };
                    let entry = AuditEntry {
                        bucket: parsed(row, "bucket")?,
                        at_ms: mark.at_ms,
                        who: row.get("who")?,
                        what: row.get("what")?,
                        target: row.get("target")?,
                        outcome: row.get("outcome")?,
                        detail: row.get("detail")?,
                    };
                    Ok((mark, entry))
                },
            )
        })
    }

    fn setting(&self, name: &'static str) -> Answer<'_, Option<String>> {
        self.db.read("read a setting", move |db| {
            let mut statement = db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
            Ok(statement.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    fn set_setting(&self, name: &'static str, value: String) -> Answer<'_, ()> {
        self.db.write("store a setting", move |db| {
            db.execute(
                "INSERT INTO settings(name, value) VALUES (?1, ?2)
                 ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                [name.to_owned(), value],
            )?;
            Ok(())
        })
    }
}

//! Servers.

use rusqlite::{Row, params};

use super::{SqliteCatalog, changed, collect, first, parsed};
use crate::ids::{BucketId, ServerId};
use crate::store::Answer;
use crate::store::catalog::{ServerRecord, Servers};
use crate::store::sqlite::database::Sql;

const SERVER: &str =
    "id, bucket, name, machine, home, hostname, agent, hidden, first_seen_ms, last_seen_ms, snapshot";

fn read_server(row: &Row<'_>) -> Sql<ServerRecord> {
    Ok(ServerRecord {
        id: parsed(row, "id")?,
        bucket: parsed(row, "bucket")?,
        name: row.get("name")?,
        machine: row.get("machine")?,
        home: row.get("home")?,
        hostname: row.get("hostname")?,
        agent: row.get("agent")?,
        hidden: row.get("hidden")?,
        first_seen_ms: row.get("first_seen_ms")?,
        last_seen_ms: row.get("last_seen_ms")?,
        snapshot: row.get("snapshot")?,
    })
}

impl Servers for SqliteCatalog {
    fn servers(&self, bucket: BucketId) -> Answer<'_, Vec<ServerRecord>> {
        self.db.read("list servers", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {SERVER} FROM servers WHERE bucket = ?1 ORDER BY first_seen_ms, id"
            ))?;
            collect(statement.query([bucket.to_string()])?, read_server)
        })
    }

    fn server(&self, bucket: BucketId, id: ServerId) -> Answer<'_, Option<ServerRecord>> {
        self.db.read("look a server up", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {SERVER} FROM servers WHERE bucket = ?1 AND id = ?2"
            ))?;
            first(
                statement.query([bucket.to_string(), id.to_string()])?,
                read_server,
            )
        })
    }

    fn find_server(
        &self,
        bucket: BucketId,
        machine: String,
        home: Option<String>,
    ) -> Answer<'_, Option<ServerRecord>> {
        self.db.read("look a server up", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {SERVER} FROM servers WHERE bucket = ?1 AND machine = ?2 AND home IS ?3
                 ORDER BY last_seen_ms DESC LIMIT 1"
            ))?;
            first(
                statement.query(params![bucket.to_string(), machine, home])?,
                read_server,
            )
        })
    }

    fn upsert_server(&self, server: ServerRecord) -> Answer<'_, ()> {
        self.db.write("store the server", move |db| {
            db.prepare_cached(
                "INSERT INTO servers(id, bucket, name, machine, home, hostname, agent, hidden, first_seen_ms,
                   last_seen_ms, snapshot)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT(id) DO UPDATE SET name = excluded.name, machine = excluded.machine,
                   home = excluded.home, hostname = excluded.hostname, agent = excluded.agent,
                   hidden = excluded.hidden, first_seen_ms = excluded.first_seen_ms,
                   last_seen_ms = excluded.last_seen_ms, snapshot = excluded.snapshot
                 WHERE bucket = excluded.bucket",
            )?
            .execute(params![
                server.id.to_string(),
                server.bucket.to_string(),
                server.name,
                server.machine,
                server.home,
                server.hostname,
                server.agent,
                server.hidden,
                server.first_seen_ms,
                server.last_seen_ms,
                server.snapshot,
            ])?;
            Ok(())
        })
    }

    fn set_server_hidden(&self, bucket: BucketId, id: ServerId, hidden: bool) -> Answer<'_, ()> {
        self.db.write("change the server", move |db| {
            let rows = db.execute(
                "UPDATE servers SET hidden = ?3 WHERE bucket = ?1 AND id = ?2",
                params![bucket.to_string(), id.to_string(), hidden],
            )?;
            changed(rows, "server")
        })
    }

    fn delete_server(&self, bucket: BucketId, id: ServerId) -> Answer<'_, ()> {
        self.db.write("delete the server", move |db| {
            let rows = db.execute(
                "DELETE FROM servers WHERE bucket = ?1 AND id = ?2",
                [bucket.to_string(), id.to_string()],
            )?;
            changed(rows, "server")
        })
    }
}

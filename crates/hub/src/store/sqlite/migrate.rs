//! Brings a database file to the newest schema.

use std::path::Path;

use rusqlite::Connection;

use super::database::{Sql, create_private, io};
use crate::store::StoreError;

/// The steps from nothing to the newest schema of one file. Steps that were released are never changed.
#[derive(Debug)]
pub(super) struct Migrations {
    /// SQLite's page size for a new file.
    pub(super) page_bytes: u32,
    /// Each step with the version that it leads to: 1, 2, 3, …
    pub(super) steps: &'static [(u32, &'static str)],
}

/// Runs the steps that are missing, each in its own transaction. A file that holds data is copied beside itself first.
pub(super) fn migrate(connection: &mut Connection, path: &Path, migrations: &Migrations) -> Sql<()> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = migrations.steps.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(StoreError::Newer {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    if found > 0 && found < known {
        backup(connection, path, found)?;
    }
    for (version, sql) in migrations.steps.iter().filter(|(version, _)| *version > found) {
        let step = connection.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

fn backup(connection: &Connection, path: &Path, version: u32) -> Sql<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".v{version}.bak"));
    let copy = path.with_file_name(name);
    // A copy left by an attempt that failed may be half a copy.
    match std::fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("replace", &copy, error));
        }
        _ => create_private(&copy)?,
    }
    connection.execute("VACUUM INTO ?1", [copy.display().to_string()])?;
    tracing::info!(copy = %copy.display(), "copied the database before changing its schema");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migrations = Migrations {
        page_bytes: 4096,
        steps: &[(1, "CREATE TABLE a(x TEXT) STRICT;")],
    };
    const TWO: Migrations = Migrations {
        page_bytes: 4096,
        steps: &[
            (1, "CREATE TABLE a(x TEXT) STRICT;"),
            (2, "ALTER TABLE a ADD COLUMN y TEXT;"),
        ],
    };

    #[test]
    fn runs_what_is_missing_and_keeps_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &path, &ONE).unwrap();
        connection.execute("INSERT INTO a VALUES ('kept')", []).unwrap();
        migrate(&mut connection, &path, &TWO).unwrap();
        migrate(&mut connection, &path, &TWO).unwrap();
        let row: (String, Option<String>) = connection
            .query_row("SELECT x, y FROM a", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap();
        assert_eq!(row, ("kept".into(), None));

        let copy = Connection::open(folder.path().join("x.db.v1.bak")).unwrap();
        let kept: String = copy.query_row("SELECT x FROM a", [], |r| r.get(0)).unwrap();
        assert_eq!(kept, "kept");
        assert!(copy.prepare("SELECT y FROM a").is_err());
    }

    #[test]
    fn refuses_what_a_newer_program_wrote() {
        let path = Path::new("/nowhere/x.db");
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 9).unwrap();
        let refused = migrate(&mut connection, path, &ONE).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot use /nowhere/x.db: its format 9 is newer than this program knows (1); install a newer version"
        );
    }
}

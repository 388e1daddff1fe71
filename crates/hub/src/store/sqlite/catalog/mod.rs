//! The catalog in `catalog.db`.

mod audit;
mod buckets;
mod schema;
mod servers;
mod tokens;
mod users;

use std::path::Path;
use std::str::FromStr;

use rusqlite::Row;

use super::database::{Database, Sql};
use crate::store::{Catalog, StoreError};

/// The embedded catalog.
#[derive(Debug)]
pub struct SqliteCatalog {
    db: Database,
}

impl SqliteCatalog {
    /// Opens `catalog.db` in this folder. More than one process may; only the holder of the folder may be the one
    /// that brings an old file to a new schema.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            db: Database::open(&folder.join("catalog.db"), &schema::MIGRATIONS)?,
        })
    }

    /// Finishes what waits and closes the file.
    pub fn close(&self) {
        self.db.close();
    }
}

impl Catalog for SqliteCatalog {}

/// Reads a column that holds the text of an id, role or the like.
fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> Sql<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| StoreError::Damaged {
        what: format!("catalog.db: column {column} holds {text:?}"),
    })
}

/// Collects rows whose reading may fail for more than SQL's reasons.
fn collect<T>(mut rows: rusqlite::Rows<'_>, mut read: impl FnMut(&Row<'_>) -> Sql<T>) -> Sql<Vec<T>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// The first row, when there is one.
fn first<T>(mut rows: rusqlite::Rows<'_>, read: impl FnOnce(&Row<'_>) -> Sql<T>) -> Sql<Option<T>> {
    rows.next()?.map(read).transpose()
}

/// Refuses when nothing was changed.
fn changed(rows: usize, what: &'static str) -> Sql<()> {
    if rows == 0 {
        Err(StoreError::NotFound(what))
    } else {
        Ok(())
    }
}

/// Tells a broken uniqueness apart from other failures.
fn unique(error: rusqlite::Error, names: &[(&str, &'static str)]) -> StoreError {
    let taken = match &error {
        rusqlite::Error::SqliteFailure(code, Some(message))
            if code.code == rusqlite::ErrorCode::ConstraintViolation =>
        {
            names
                .iter()
                .find(|(column, _)| message.contains(column))
                .map(|(_, what)| *what)
        }
        _ => None,
    };
    taken.map_or_else(|| error.into(), StoreError::Exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        crate::store::contract::catalog::check(Arc::new(SqliteCatalog::open(folder.path()).unwrap())).await;
    }

    #[test]
    fn schema_is_as_released() {
        let folder = tempfile::tempdir().unwrap();
        SqliteCatalog::open(folder.path()).unwrap().close();
        let connection = rusqlite::Connection::open(folder.path().join("catalog.db")).unwrap();
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        let sql: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        insta::assert_snapshot!(sql.join(";\n"));
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_reopen() {
        use crate::store::catalog::Audit;
        let folder = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(folder.path()).unwrap();
        catalog.set_setting("colour", "green".into()).await.unwrap();
        catalog.close();
        assert!(matches!(
            catalog.set_setting("colour", "red".into()).await,
            Err(StoreError::Closed)
        ));
        assert!(
            !folder.path().join("catalog.db-wal").exists(),
            "closing leaves one plain file"
        );

        let catalog = SqliteCatalog::open(folder.path()).unwrap();
        assert_eq!(catalog.setting("colour").await.unwrap().as_deref(), Some("green"));
    }
}

//! Accounts.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteCatalog, changed, first, parsed, unique};
use crate::ids::UserId;
use crate::store::catalog::{Accounts, User};
use crate::store::sqlite::database::Sql;
use crate::store::{Answer, StoreError};

const TAKEN: &[(&str, &str)] = &[("username_key", "username"), ("email_key", "email")];

/// An account out of columns `user_id, username, email, user_created_ms`.
pub(super) fn read_user(row: &Row<'_>) -> Sql<User> {
    Ok(User {
        id: parsed(row, "user_id")?,
        username: row.get("username")?,
        email: row.get("email")?,
        created_ms: row.get("user_created_ms")?,
    })
}

/// What [`read_user`] reads, of a table named `users`.
pub(super) const USER: &str =
    "users.id AS user_id, users.username, users.email, users.created_ms AS user_created_ms";

fn find(connection: &Connection, condition: &str, value: &str) -> Sql<Option<User>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {USER} FROM users WHERE {condition}"))?;
    first(statement.query([value])?, read_user)
}

impl Accounts for SqliteCatalog {
    fn create_user(&self, user: User, password_hash: String) -> Answer<'_, User> {
        self.db.write("store the account", move |db| {
            db.prepare_cached(
                "INSERT INTO users(id, username, username_key, email, email_key, password_hash, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                user.id.to_string(),
                user.username,
                user.username.to_lowercase(),
                user.email,
                user.email.to_lowercase(),
                password_hash,
                user.created_ms,
            ])
            .map_err(|error| unique(error, TAKEN))?;
            Ok(user)
        })
    }

    fn user(&self, id: UserId) -> Answer<'_, Option<User>> {
        self.db.read("look an account up", move |db| {
            find(db, "id = ?1", &id.to_string())
        })
    }

    fn find_user(&self, login: String) -> Answer<'_, Option<User>> {
        // A name that looks like somebody else's address must not come first.
        self.db.read("look an account up", move |db| {
            let key = login.to_lowercase();
            match find(db, "email_key = ?1", &key)? {
                Some(user) => Ok(Some(user)),
                None => find(db, "username_key = ?1", &key),
            }
        })
    }

    fn password_hash(&self, id: UserId) -> Answer<'_, Option<String>> {
        self.db.read("look an account up", move |db| {
            let mut statement = db.prepare_cached("SELECT password_hash FROM users WHERE id = ?1")?;
            Ok(statement
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?)
        })
    }

    fn update_user(&self, user: User, password_hash: Option<String>) -> Answer<'_, User> {
        self.db.write("change the account", move |db| {
            let rows = db
                .prepare_cached(
                    "UPDATE users SET username = ?2, username_key = ?3, email = ?4, email_key = ?5,
                     password_hash = coalesce(?6, password_hash) WHERE id = ?1",
                )?
                .execute(params![
                    user.id.to_string(),
                    user.username,
                    user.username.to_lowercase(),
                    user.email,
                    user.email.to_lowercase(),
                    password_hash,
                ])
                .map_err(|error| unique(error, TAKEN))?;
            changed(rows, "account")?;
            Ok(user)
        })
    }

    fn delete_user(&self, id: UserId) -> Answer<'_, ()> {
        self.db.write("delete the account", move |db| {
            let owned: i64 = db.query_row(
                "SELECT count(*) FROM buckets WHERE owner = ?1",
                [id.to_string()],
                |row| row.get(0),
            )?;
            if owned > 0 {
                return Err(StoreError::Exists("a bucket of this account"));
            }
            changed(
                db.execute("DELETE FROM users WHERE id = ?1", [id.to_string()])?,
                "account",
            )
        })
    }

    fn user_info(&self, id: UserId) -> Answer<'_, String> {
        self.db.read("look an account up", move |db| {
            let mut statement = db.prepare_cached("SELECT info FROM users WHERE id = ?1")?;
            let info = statement
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?;
            info.ok_or(StoreError::NotFound("account"))
        })
    }

    fn set_user_info(&self, id: UserId, info: String) -> Answer<'_, ()> {
        self.db.write("change the account", move |db| {
            let rows = db.execute(
                "UPDATE users SET info = ?2 WHERE id = ?1",
                params![id.to_string(), info],
            )?;
            changed(rows, "account")
        })
    }

    fn count_users(&self) -> Answer<'_, u64> {
        self.db.read("count accounts", |db| {
            Ok(db
                .query_row("SELECT count(*) FROM users", [], |row| row.get::<_, i64>(0))?
                .unsigned_abs())
        })
    }
}

//! Tokens.

use rusqlite::{Row, params};

use super::users::{USER, read_user};
use super::{SqliteCatalog, changed, collect, first, parsed};
use crate::ids::{TokenId, UserId};
use crate::store::catalog::{Token, TokenKind, Tokens, User};
use crate::store::sqlite::database::Sql;
use crate::store::{Answer, StoreError};

const TOKEN: &str = "tokens.id, tokens.user, tokens.kind, tokens.hash, tokens.parent, tokens.scope, tokens.label, \
    tokens.created_ms, tokens.expires_ms, tokens.used_ms";

/// Audit entries kept of each bucket; the oldest go first.
const MAX_AUDIT: u32 = 50_000;

fn read_token(row: &Row<'_>) -> Sql<Token> {
    let kind: String = row.get("kind")?;
    let parent: Option<String> = row.get("parent")?;
    Ok(Token {
        id: parsed(row, "id")?,
        user: parsed(row, "user")?,
        kind: if kind == "access" {
            TokenKind::Access
        } else {
            TokenKind::Refresh
        },
        hash: row.get("hash")?,
        parent: match parent {
            Some(_) => Some(parsed(row, "parent")?),
            None => None,
        },
        scope: row.get("scope")?,
        label: row.get("label")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        used_ms: row.get("used_ms")?,
    })
}

impl Tokens for SqliteCatalog {
    fn create_token(&self, token: Token) -> Answer<'_, ()> {
        self.db.write("store the token", move |db| {
            let kind = match token.kind {
                TokenKind::Access => "access",
                TokenKind::Refresh => "refresh",
            };
            db.prepare_cached(
                "INSERT INTO tokens(id, user, kind, hash, parent, scope, label, created_ms, expires_ms, used_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                token.id.to_string(),
                token.user.to_string(),
                kind,
                token.hash,
                token.parent.map(|id| id.to_string()),
                token.scope,
                token.label,
                token.created_ms,
                token.expires_ms,
                token.used_ms,
            ])?;
            Ok(())
        })
    }

    fn find_token(&self, hash: [u8; 32]) -> Answer<'_, Option<(Token, User)>> {
        self.db.read("look a token up", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {TOKEN}, {USER} FROM tokens JOIN users ON users.id = tokens.user WHERE tokens.hash = ?1"
            ))?;
            first(statement.query([hash])?, |row| Ok((read_token(row)?, read_user(row)?)))
        })
    }

    fn refresh_tokens(&self, user: UserId) -> Answer<'_, Vec<Token>> {
        self.db.read("list tokens", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {TOKEN} FROM tokens WHERE user = ?1 AND kind = 'refresh' ORDER BY created_ms, id"
            ))?;
            collect(statement.query([user.to_string()])?, read_token)
        })
    }

    fn revoke_token(&self, user: UserId, id: TokenId) -> Answer<'_, ()> {
        self.db.write("revoke the token", move |db| {
            let rows = db.execute(
                "DELETE FROM tokens WHERE id = ?1 AND user = ?2",
                [id.to_string(), user.to_string()],
            )?;
            changed(rows, "token")
        })
    }

    fn revoke_all(&self, user: UserId, keep: Option<TokenId>) -> Answer<'_, ()> {
        self.db.write("revoke tokens", move |db| {
            let keep = keep.map(|id| id.to_string());
            db.execute(
                "DELETE FROM tokens WHERE user = ?1 AND (?2 IS NULL OR (id <> ?2 AND parent IS NOT ?2))",
                params![user.to_string(), keep],
            )?;
            Ok(())
        })
    }

    fn token_used(&self, id: TokenId, at_ms: i64) -> Answer<'_, ()> {
        self.db.write("note the token's use", move |db| {
            let minute = at_ms - at_ms.rem_euclid(60_000);
            db.execute(
                "UPDATE tokens SET used_ms = ?2 WHERE id = ?1 AND used_ms IS NOT ?2",
                params![id.to_string(), minute],
            )?;
            Ok(())
        })
    }

    fn remove_expired(&self, now_ms: i64) -> Answer<'_, u64> {
        self.db.write("remove what expired", move |db| {
            let tokens = db.execute("DELETE FROM tokens WHERE expires_ms <= ?1", [now_ms])?;
            let entries = db.execute(
                "DELETE FROM audit WHERE id IN (SELECT id FROM
                   (SELECT id, row_number() OVER (PARTITION BY bucket ORDER BY id DESC) AS place FROM audit)
                 WHERE place > ?1)",
                [MAX_AUDIT],
            )?;
            u64::try_from(tokens + entries).map_err(|_| StoreError::Closed)
        })
    }
}

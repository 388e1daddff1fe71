//! Making tokens, and buying one with another.

use sha2::{Digest, Sha256};

use super::AuthError;
use crate::ids::{TokenId, random};
use crate::state::AppState;
use crate::store::catalog::{Token, TokenKind, User};

const DAY_MS: i64 = 24 * 3_600_000;
/// How long a browser stays logged in.
pub const BROWSER_SESSION_MS: i64 = 30 * DAY_MS;
/// How long what a program got for a password stays good.
pub const PROGRAM_SESSION_MS: i64 = 365 * DAY_MS;

/// Longest token looked at.
const MAX_TOKEN_BYTES: usize = 512;

/// What is stored of a token. The token has 256 random bits, so a plain hash is enough, and looking up by hash leaks
/// nothing by its timing.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(&token.as_bytes()[..token.len().min(MAX_TOKEN_BYTES)]).into()
}

/// A fresh token, in the clear for the last time.
#[derive(Clone)]
pub struct NewToken {
    /// The token to give out.
    pub secret: String,
    /// What is stored.
    pub stored: Token,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken")
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

impl NewToken {
    /// A refresh token: `phr` and 61 characters, 64 in all since PM2's widget takes no other length. Without `ttl_ms`
    /// it lives until it is revoked.
    pub fn refresh(user: &User, label: &str, scope: &str, now_ms: i64, ttl_ms: Option<i64>) -> Self {
        let secret = format!("phr{}", crate::ids::random_key(61));
        let expires = ttl_ms.map(|ttl| now_ms.saturating_add(ttl));
        Self::new(
            secret,
            TokenKind::Refresh,
            user,
            None,
            label,
            scope,
            now_ms,
            expires,
        )
    }

    /// An access token bought with `parent`.
    pub fn access(parent: &Token, user: &User, now_ms: i64, ttl_ms: i64) -> Self {
        let secret = format!("pha_{}", hex::encode(random::<32>()));
        let expires = Some(now_ms.saturating_add(ttl_ms));
        Self::new(
            secret,
            TokenKind::Access,
            user,
            Some(parent.id),
            &parent.label,
            &parent.scope,
            now_ms,
            expires,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "private, called twice, each with names at hand"
    )]
    fn new(
        secret: String,
        kind: TokenKind,
        user: &User,
        parent: Option<TokenId>,
        label: &str,
        scope: &str,
        now_ms: i64,
        expires_ms: Option<i64>,
    ) -> Self {
        let stored = Token {
            id: TokenId::fresh(now_ms),
            user: user.id,
            kind,
            hash: hash_token(&secret),
            parent,
            scope: scope.to_owned(),
            label: label.chars().take(200).collect(),
            created_ms: now_ms,
            expires_ms,
            used_ms: None,
        };
        Self { secret, stored }
    }
}

/// What a login or a refresh gives.
#[derive(Clone)]
pub struct Grant {
    /// Opens the API.
    pub access_token: String,
    /// Buys the next one.
    pub refresh_token: String,
    /// When the access token ends, ms since 1970.
    pub expires_ms: i64,
    /// For whom.
    pub user: User,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("user", &self.user.id)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// Opens a session that lives for `ttl_ms`: a new refresh token and a first access token.
    pub async fn open(state: &AppState, user: User, label: &str, ttl_ms: i64) -> Result<Self, AuthError> {
        let refresh = NewToken::refresh(&user, label, "all", state.now_ms(), Some(ttl_ms));
        state.catalog.create_token(refresh.stored.clone()).await?;
        Self::access(state, &refresh.stored, user, refresh.secret).await
    }

    /// Buys an access token with a refresh token, which stays as it is.
    pub async fn refresh(state: &AppState, refresh_token: &str) -> Result<Self, AuthError> {
        let found = state.catalog.find_token(hash_token(refresh_token)).await?;
        let (token, user) = found.ok_or(AuthError::UnknownToken)?;
        if token.kind != TokenKind::Refresh {
            return Err(AuthError::UnknownToken);
        }
        let now_ms = state.now_ms();
        if token.expires_ms.is_some_and(|at| at <= now_ms) {
            return Err(AuthError::Expired);
        }
        state.catalog.token_used(token.id, now_ms).await?;
        Self::access(state, &token, user, refresh_token.to_owned()).await
    }

    async fn access(
        state: &AppState,
        parent: &Token,
        user: User,
        refresh_token: String,
    ) -> Result<Self, AuthError> {
        let ttl_ms = i64::try_from(state.options.access_ttl.as_millis()).unwrap_or(i64::MAX);
        let access = NewToken::access(parent, &user, state.now_ms(), ttl_ms);
        let expires_ms = access.stored.expires_ms.unwrap_or(i64::MAX);
        state.catalog.create_token(access.stored).await?;
        Ok(Self {
            access_token: access.secret,
            refresh_token,
            expires_ms,
            user,
        })
    }
}

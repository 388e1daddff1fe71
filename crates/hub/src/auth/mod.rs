//! Who is asking, and may they: accounts, passwords, tokens, roles, login limits.
//!
//! A *refresh* token (also called personal token) lives until revoked and only buys *access* tokens; these open the
//! API for an hour or so. Both are 256 random bits; only their SHA-256 is stored. Browsers keep the refresh token in a
//! cookie that scripts cannot read and other sites cannot send, and the access token in memory; so no request that a
//! foreign page could cause carries authority.

mod extract;
mod limit;
mod password;
mod role;
mod ticket;
mod token;

pub use extract::{CurrentUser, Member};
pub use limit::LoginLimit;
pub use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, Passwords, Turn};
pub use role::{Role, RoleError};
pub use ticket::Tickets;
pub use token::{BROWSER_SESSION_MS, Grant, NewToken, PROGRAM_SESSION_MS, hash_token};

use crate::ids::{TokenId, UserId};
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::catalog::{TokenKind, User};

/// The parts of authentication that remember something.
#[derive(Debug)]
pub struct Auth {
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Slows down guessing.
    pub limit: LoginLimit,
    /// Logins on their way through a terminal.
    pub tickets: Tickets,
}

impl Auth {
    /// Ready for use.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            passwords: Passwords::new(cores),
            limit: LoginLimit::default(),
            tickets: Tickets::default(),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self::new()
    }
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No such account, or the password does not fit; which of both is nobody's business.
    #[error("wrong user name or password")]
    WrongCredentials,
    /// Too many failures.
    #[error("too many failed logins; try again in {} s", wait_ms / 1000 + 1)]
    TooMany {
        /// How long to wait, ms.
        wait_ms: i64,
    },
    /// No token, one we do not know, or one of the wrong kind.
    #[error("the access token is missing or unknown")]
    UnknownToken,
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// For a new account or password.
    #[error("a password has at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes")]
    WeakPassword,
    /// Could not be computed.
    #[error("cannot hash the password")]
    Hashing,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A valid access token, looked up.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who it speaks for.
    pub user: User,
    /// The access token's id.
    pub token: TokenId,
    /// The refresh token that it was bought with.
    pub parent: Option<TokenId>,
    /// When it ends, ms since 1970.
    pub expires_at_ms: i64,
}

/// Looks an access token up: for sockets and downloads, where it comes in the query. Handlers of requests take
/// [`CurrentUser`] or [`Member`] instead.
pub async fn authenticate(state: &AppState, access_token: &str) -> Result<Session, AuthError> {
    let hash = hash_token(access_token);
    let (token, user) = state
        .catalog
        .find_token(hash)
        .await?
        .ok_or(AuthError::UnknownToken)?;
    if token.kind != TokenKind::Access {
        return Err(AuthError::UnknownToken);
    }
    let expires_at_ms = token.expires_ms.unwrap_or(i64::MAX);
    if expires_at_ms <= state.now_ms() {
        return Err(AuthError::Expired);
    }
    Ok(Session {
        user,
        token: token.id,
        parent: token.parent,
        expires_at_ms,
    })
}

/// Checks a name (or e-mail address) and password, with the limits on failures.
pub async fn log_in(
    state: &AppState,
    login: &str,
    password: String,
    address: Option<std::net::IpAddr>,
) -> Result<User, AuthError> {
    let auth = &state.auth;
    let limited = || match auth.limit.wait_ms(login, address, state.now_ms()) {
        Some(wait_ms) => Err(AuthError::TooMany { wait_ms }),
        None => Ok(()),
    };
    limited()?;
    let user = state.catalog.find_user(login.to_owned()).await?;
    let stored = match &user {
        Some(user) => state.catalog.password_hash(user.id).await?,
        None => None,
    };
    let turn = auth.passwords.turn().await?;
    limited()?;
    let fits = turn.verify(password, stored).await?;
    match user.filter(|_| fits) {
        Some(user) => {
            auth.limit.succeeded(login, address);
            Ok(user)
        }
        None => {
            auth.limit.failed(login, address, state.now_ms());
            Err(AuthError::WrongCredentials)
        }
    }
}

/// Checks the password of somebody who is logged in already, with a limit of its own on failures: what was typed into the
/// same request names nobody.
pub async fn check_password(state: &AppState, user: UserId, password: String) -> Result<bool, AuthError> {
    let auth = &state.auth;
    let name = format!("password of {user}");
    let turn = auth.passwords.turn().await?;
    if let Some(wait_ms) = auth.limit.wait_ms(&name, None, state.now_ms()) {
        return Err(AuthError::TooMany { wait_ms });
    }
    let stored = state.catalog.password_hash(user).await?;
    let fits = turn.verify(password, stored).await?;
    if fits {
        auth.limit.succeeded(&name, None);
    } else {
        auth.limit.failed(&name, None, state.now_ms());
    }
    Ok(fits)
}

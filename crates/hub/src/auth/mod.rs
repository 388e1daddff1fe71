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
pub use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, Passwords};
pub use role::{Role, RoleError};
pub use ticket::Tickets;
pub use token::{BROWSER_SESSION_MS, Grant, NewToken, PROGRAM_SESSION_MS, hash_token};

use crate::ids::TokenId;
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
    if let Some(wait_ms) = auth.limit.wait_ms(login, address, state.now_ms()) {
        return Err(AuthError::TooMany { wait_ms });
    }
    let user = state.catalog.find_user(login.to_owned()).await?;
    let stored = match &user {
        Some(user) => state.catalog.password_hash(user.id).await?,
        None => None,
    };
    let fits = auth.passwords.verify(password, stored).await?;
    match user.filter(|_| fits) {
        Some(user) => {
            auth.limit.succeeded(login);
            Ok(user)
        }
        None => {
            auth.limit.failed(login, address, state.now_ms());
            Err(AuthError::WrongCredentials)
        }
    }
}

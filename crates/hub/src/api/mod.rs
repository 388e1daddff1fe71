//! Answers: the REST API, in the paths and shapes that PM2's client knows, and ours beside them.
//!
//! Rules that the clients set: both slash forms of every path (done before routing, in [`crate::server`]), a body with
//! every method, 401 for nothing but tokens, errors as `{"msg": …}`.

mod about;
mod audit;
mod auth;
mod bucket;
pub mod data;
pub mod error;
pub mod input;
mod members;
mod oauth;
pub mod servers;
#[cfg(test)]
mod tests;
mod tokens;
mod users;
mod view;

pub(crate) use bucket::new_bucket;
pub use error::ApiError;
pub(crate) use oauth::new_user;

use axum::Router;

use crate::state::AppState;

/// Free-form JSON that is kept for clients, bytes.
pub(crate) const MAX_FREE_JSON: usize = 64 << 10;

/// The routes of accounts, tokens and buckets.
pub fn router() -> Router<AppState> {
    Router::new()
        .merge(about::router())
        .merge(audit::router())
        .merge(auth::router())
        .merge(bucket::router())
        .merge(members::router())
        .merge(oauth::router())
        .merge(tokens::router())
        .merge(users::router())
}

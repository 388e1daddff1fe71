//! Tells browsers and API clients what changes, as it changes.
//!
//! [`dashboard`] is our own socket (`/api/live`): a snapshot, then what changed, at most once a second but at once for
//! what matters. [`primus`] is the one that PM2's client knows. Both give each socket a bounded queue: who reads too slowly gets
//! a fresh picture instead of a backlog, and nobody else waits.

mod conversation;
mod dashboard;
mod primus;
mod protocol;
mod socket;

use axum::Router;
use axum::routing::get;

use crate::state::AppState;

/// `/api/live` and `/primus`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/live", get(dashboard::connect))
        .route("/primus", get(primus::connect))
        .route("/primus/", get(primus::connect))
}

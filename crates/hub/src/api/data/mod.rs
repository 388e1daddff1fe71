//! `/api/bucket/:id/data/…`: what servers reported, in the shapes that PM2's client knows.

mod events;
mod metrics;
pub mod shape;
mod status;
pub(super) mod time;

use axum::Router;

use crate::state::AppState;

/// Routes below `/api/bucket/:id`.
pub fn router() -> Router<AppState> {
    Router::new()
        .merge(status::router())
        .merge(metrics::router())
        .merge(events::router())
}

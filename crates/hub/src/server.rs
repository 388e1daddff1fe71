//! The listener, the router, and a clean stop.

use axum::Router;

use crate::state::AppState;

/// Every route of the hub.
pub fn routes(state: AppState) -> Router {
    Router::new().with_state(state)
}

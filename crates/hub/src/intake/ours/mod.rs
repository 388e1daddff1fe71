//! The door for our own agents: `GET /interaction/wire`, a WebSocket that carries [`wire`] frames.
//!
//! The keys are checked before the upgrade, so that a wrong one costs nothing and is told as plain HTTP; the rest of
//! the greeting happens on the socket. [`session`] is what follows. Where no WebSocket gets through, [`push`] takes its place.

mod check;
mod commands;
mod convert;
mod push;
mod reports;
mod session;

pub use push::Pushes;

use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;

use super::keys::{self, Order};
use crate::api::ApiError;
use crate::api::input::{Origin, Peer};
use crate::state::AppState;
use crate::store::catalog::Bucket;

/// `/interaction/wire`, and below it the way by plain requests and the look before linking.
pub fn router() -> Router<AppState> {
    let push = post(push::receive).layer(DefaultBodyLimit::max(wire::push::MAX_BODY));
    Router::new()
        .route(wire::PATH, get(connect))
        .route(wire::push::PATH, push)
        .route(
            wire::CHECK_PATH,
            post(check::check).layer(DefaultBodyLimit::max(check::MAX_BODY)),
        )
}

/// Who stands at the door, keys checked.
struct Visitor {
    bucket: Bucket,
    order: Order,
    address: Option<String>,
    /// Root of the hub as the agent calls it, for the link that people are shown.
    root: String,
    /// Whether commands can be told on this way.
    commands: bool,
}

async fn connect(
    State(state): State<AppState>,
    Origin(root): Origin,
    Peer(address): Peer,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let visitor = match admit(&state, &headers).await {
        Ok((bucket, order)) => Visitor {
            bucket,
            order,
            address: address.map(|ip| ip.to_string()),
            root,
            commands: true,
        },
        Err(refusal) => return refusal.into_response(),
    };
    // Thousands of these are open at once, and most messages are small.
    upgrade
        .read_buffer_size(super::READ_BUFFER)
        .write_buffer_size(super::WRITE_BUFFER)
        .max_frame_size(wire::frame::FROM_AGENT.frame)
        .max_message_size(wire::frame::FROM_AGENT.frame)
        .on_upgrade(async move |socket| {
            let (sink, stream) = socket.split();
            let sink = Box::pin(sink.sink_map_err(|_| session::Unheard));
            session::serve(state, visitor, sink, Box::pin(stream)).await;
        })
}

/// Why an agent is not let in.
enum Refusal {
    Keys,
    Closed,
    Api(ApiError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // Not the API's 401, which would speak of access tokens.
        let say = |status: StatusCode, msg: &str| (status, Json(json!({ "msg": msg }))).into_response();
        match self {
            Self::Keys => say(
                StatusCode::UNAUTHORIZED,
                "the hub does not know these keys; copy the link command from its dashboard",
            ),
            Self::Closed => say(
                StatusCode::FORBIDDEN,
                "this bucket does not take agents at present",
            ),
            Self::Api(error) => error.into_response(),
        }
    }
}

async fn admit(state: &AppState, headers: &HeaderMap) -> Result<(Bucket, Order), Refusal> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(Refusal::Keys)?;
    let (one, other) = bearer.trim().split_once('.').ok_or(Refusal::Keys)?;
    let found = keys::find(state, one, other)
        .await
        .map_err(|error| Refusal::Api(error.into()))?;
    let (bucket, order) = found.ok_or(Refusal::Keys)?;
    if bucket.active {
        Ok((bucket, order))
    } else {
        Err(Refusal::Closed)
    }
}

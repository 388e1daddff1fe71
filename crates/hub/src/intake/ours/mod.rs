//! The door for our own agents: `GET /interaction/wire`, a WebSocket that carries [`wire`] frames.
//!
//! The keys are checked before the upgrade, so that a wrong one costs nothing and is told as plain HTTP; the rest of
//! the greeting happens on the socket. [`session`] is what follows. Where no WebSocket gets through, [`push`] takes its place;
//! where ports are separate, commands go by [`reverse`].

mod check;
mod commands;
mod convert;
mod push;
mod reports;
mod reverse;
mod seal;
mod session;
mod skew;
mod subscriptions;

pub use push::Pushes;
pub use reverse::Reverses;

use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;

use super::keys::{self, Order};
use super::trace;
use crate::api::ApiError;
use crate::api::input::{Origin, Peer};
use crate::live::attempts::Who;
use crate::live::model::{AgentKind, cut};
use crate::live::server::MAX_NAME;
use crate::ports::Door;
use crate::state::AppState;
use crate::store::catalog::Bucket;

/// `/interaction/wire`, and below it the way by plain requests and the look before linking.
pub fn router() -> Router<AppState> {
    let push = post(push::receive).layer(DefaultBodyLimit::max(wire::push::MAX_BODY));
    Router::new()
        .route(wire::PATH, get(connect))
        .route(wire::REVERSE_PATH, get(reverse::connect))
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
    /// Whether it is a socket.
    socket: bool,
    /// How commands get to it.
    commands: Way,
    /// What the agent says that its home is called, before it says anything else.
    machine: String,
}

/// How commands get to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As everything else.
    Same,
    /// By a port of its own, once the agent has opened that.
    Apart,
    /// Not at all.
    None,
}

impl Visitor {
    fn who(&self) -> Who {
        who(self.address.clone(), self.machine.clone())
    }
}

fn who(address: Option<String>, machine: String) -> Who {
    Who {
        kind: AgentKind::Pilothouse,
        address: address.unwrap_or_default(),
        mark: machine,
    }
}

fn machine(headers: &HeaderMap) -> String {
    let told = headers
        .get(wire::MACHINE_HEADER)
        .and_then(|value| value.to_str().ok());
    cut(told.unwrap_or_default(), MAX_NAME).to_owned()
}

async fn connect(
    State(state): State<AppState>,
    Origin(root): Origin,
    Peer(address): Peer,
    door: Option<Extension<Door>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let address = address.map(|ip| ip.to_string());
    let visitor = match admit(&state, &headers, address.as_deref()).await {
        Ok((bucket, order)) => Visitor {
            bucket,
            order,
            address,
            root,
            socket: true,
            commands: if is_push(door) { Way::Apart } else { Way::Same },
            machine: machine(&headers),
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

/// Whether somebody came by the port for data.
fn is_push(door: Option<Extension<Door>>) -> bool {
    door.is_some_and(|Extension(door)| door == Door::Push)
}

const CLOSED: &str = "this bucket does not take agents at present";

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
            Self::Closed => say(StatusCode::FORBIDDEN, CLOSED),
            Self::Api(error) => error.into_response(),
        }
    }
}

async fn admit(
    state: &AppState,
    headers: &HeaderMap,
    address: Option<&str>,
) -> Result<(Bucket, Order), Refusal> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(Refusal::Keys)?;
    let (one, other) = bearer.trim().split_once('.').ok_or(Refusal::Keys)?;
    let found = keys::find(state, one, other)
        .await
        .map_err(|error| Refusal::Api(error.into()))?;
    let refusal = match found {
        Some((bucket, order)) if bucket.active => return Ok((bucket, order)),
        Some(_) => Refusal::Closed,
        None => Refusal::Keys,
    };
    let closed = matches!(refusal, Refusal::Closed).then_some(CLOSED);
    let who = who(address.map(str::to_owned), machine(headers));
    trace::refused(state, one, other, who, closed).await;
    Err(refusal)
}

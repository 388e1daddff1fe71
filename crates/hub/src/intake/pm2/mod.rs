//! The door for unmodified PM2 agents: `POST /api/node/verifyPM2` and the WebSocket `/interaction/pm2`.
//!
//! What the protocol forces on a server: status codes of the handshake mean nothing, only its body counts; the text of
//! the addresses must never change; an agent may hold many sockets at once and loses its good one when any of them is closed,
//! so none is ever closed for being old; a malformed command crashes the agent, so commands are built by
//! [`pm2::agent_wire::command`] only.

mod convert;
mod lines;
mod pending;
mod recorder;
mod session;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pm2::agent_wire::{VerifyRequest, verify_accepted, verify_pending, verify_refused};
use serde_json::json;

use super::keys;
use super::sparingly::Sparingly;
use super::trace::{self, Trace};
use crate::api::input::{Origin, Peer};
use crate::live::Hardware;
use crate::live::attempts::{Problem, Step, Who};
use crate::live::model::{AgentKind, cut};
use crate::live::server::MAX_NAME;
use crate::state::AppState;
use crate::store::catalog::Bucket;

/// Path of the socket.
const SOCKET: &str = "/interaction/pm2";
/// Largest body of the handshake: it lists every processor.
const MAX_VERIFY: usize = 1 << 20;
/// Largest frame. Heap snapshots come in one; beyond this the socket ends.
const MAX_FRAME: usize = 64 << 20;

/// Anybody can come with wrong keys, as often as they like.
static UNKNOWN_KEYS: Sparingly = Sparingly::new();

const CLOSED: &str = "This bucket does not take agents at present";
const WRONG_KEYS: &str = "Wrong keys: copy the link command from the dashboard";

/// `/api/node/verifyPM2` and `/interaction/pm2`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route(
            "/api/node/verifyPM2",
            post(verify).layer(DefaultBodyLimit::max(MAX_VERIFY)),
        )
        .route(SOCKET, get(connect))
}

fn who(address: Option<String>, name: &str) -> Who {
    Who {
        kind: AgentKind::Pm2,
        address: address.unwrap_or_default(),
        mark: cut(name, MAX_NAME).to_owned(),
    }
}

async fn verify(
    State(state): State<AppState>,
    Origin(origin): Origin,
    Peer(address): Peer,
    body: Bytes,
) -> Response {
    let address = address.map(|ip| ip.to_string());
    let (status, text) = match judge(&state, &origin, address, &body).await {
        Ok(accepted) => (StatusCode::OK, accepted),
        Err((status, message)) => (status, verify_refused(&message)),
    };
    // Agents may send a few bytes more than they announce: this connection is good for nothing else.
    (
        status,
        [(CONTENT_TYPE, "application/json"), (CONNECTION, "close")],
        text,
    )
        .into_response()
}

async fn judge(
    state: &AppState,
    origin: &str,
    address: Option<String>,
    body: &[u8],
) -> Result<String, (StatusCode, String)> {
    let request = VerifyRequest::parse(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("Not understood: {error}")))?;
    let found = keys::find(state, &request.public, &request.secret)
        .await
        .map_err(|error| {
            tracing::error!(%error, "cannot look up the keys of an agent");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "The hub cannot look up these keys right now".to_owned(),
            )
        })?;
    let who = who(address, &request.machine_name);
    let Some((bucket, _)) = found else {
        if let Some(left_out) = UNKNOWN_KEYS.note(state.now_ms()) {
            let machine = cut(&request.machine_name, MAX_NAME);
            tracing::warn!(machine, left_out, "a PM2 agent came with unknown keys");
        }
        trace::refused(state, &request.public, &request.secret, who, None).await;
        return Err((StatusCode::UNAUTHORIZED, WRONG_KEYS.to_owned()));
    };
    if !bucket.active {
        trace::refused(state, &request.public, &request.secret, who, Some(CLOSED)).await;
        return Err((StatusCode::FORBIDDEN, CLOSED.to_owned()));
    }
    let hardware = Hardware {
        cpus: (request.cpus > 0).then_some(request.cpus),
        cpu_model: Some(request.cpu_model).filter(|model| !model.is_empty()),
        // Decimal megabytes.
        total_mem: (request.memory_mb > 0.0).then_some((request.memory_mb * 1e6) as u64),
    };
    let live = state.live.bucket(bucket.id);
    let trace = Trace::begin(state, live.clone(), who);
    trace.step(Step::Named {
        name: request.machine_name.clone(),
        hostname: request.hostname.clone(),
    });
    let name = cut(&request.machine_name, MAX_NAME).to_owned();
    let (who, host, now) = (name.clone(), request.hostname.clone(), state.now_ms());
    if let Ok(Some(unfit)) = live.ask(move |bucket| bucket.too_old(now, &who, &host)).await {
        return Err((
            StatusCode::FORBIDDEN,
            format!("{unfit}: install a newer Node.js, run `pm2 update`, and half a minute later `pm2 link`"),
        ));
    }
    // A bucket that closes lets the socket find that out.
    if let Ok(false) = live
        .may_open(state.now_ms(), name, request.hostname.clone())
        .await
    {
        tracing::info!(bucket = %bucket.id, machine = request.machine_name, "a PM2 agent waits for a place");
        let message = super::no_place(bucket.max_servers);
        trace.step(Step::Refused(Problem::NoPlace, message.clone()));
        return Ok(verify_pending(&message));
    }
    live.introduce(&request.machine_name, &request.hostname, hardware);
    let socket = |root: &str| format!("{}{SOCKET}", root.replacen("http", "ws", 1));
    // By default these agents use the first alone, whatever else is named.
    let separate = state
        .ports
        .told(origin)
        .map(|told| (socket(&told.push), socket(&told.reverse)));
    let separate = separate
        .as_ref()
        .map(|(push, reverse)| (push.as_str(), reverse.as_str()));
    Ok(verify_accepted(origin, &socket(origin), separate))
}

/// An agent whose keys are good.
struct Visitor {
    bucket: Bucket,
    address: Option<String>,
    pm2_version: Option<String>,
    /// As the header has it; the name that counts comes with the status.
    name: String,
    trace: Trace,
}

async fn connect(
    State(state): State<AppState>,
    Peer(address): Peer,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (public, secret) = (header(&headers, "x-km-public"), header(&headers, "x-km-secret"));
    let found = match keys::find(&state, &public, &secret).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot look up the keys of an agent");
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                Json(json!({ "msg": "try again" })),
            )
                .into_response();
        }
    };
    let Some((bucket, _)) = found else {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "msg": WRONG_KEYS }))).into_response();
    };
    if !bucket.active {
        return (
            StatusCode::FORBIDDEN,
            Json(json!({ "msg": "this bucket does not take agents" })),
        )
            .into_response();
    }
    let address = address.map(|ip| ip.to_string());
    let name = cut(&header(&headers, "x-km-server"), MAX_NAME).to_owned();
    let who = who(address.clone(), &name);
    let visitor = Visitor {
        trace: Trace::begin(&state, state.live.bucket(bucket.id), who),
        bucket,
        address,
        pm2_version: Some(header(&headers, "x-pm2-version")).filter(|v| !v.is_empty()),
        name,
    };
    // Thousands of these are open at once, and most messages are small.
    upgrade
        .read_buffer_size(super::READ_BUFFER)
        .write_buffer_size(super::WRITE_BUFFER)
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME)
        .on_upgrade(move |socket| session::serve(state, visitor, socket))
}

/// A header as PM2's agents send it: Latin-1. Absent is empty.
fn header(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| value.as_bytes().iter().map(|b| char::from(*b)).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn headers_are_latin_1() {
        let mut headers = HeaderMap::new();
        headers.insert("x-km-server", HeaderValue::from_bytes(b"srv-\xe9").unwrap());
        assert_eq!(header(&headers, "x-km-server"), "srv-é");
        assert_eq!(header(&headers, "x-km-public"), "");
    }
}

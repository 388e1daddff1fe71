//! `POST /interaction/wire/check`: how an agent would fare, for `link doctor` on its host. Nothing is linked by it.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, admit};
use crate::api::ApiError;
use crate::api::input::Peer;
use crate::intake::keys::Order;
use crate::live::bucket::Prospect;
use crate::live::model::cut;
use crate::live::server::MAX_NAME;
use crate::state::AppState;

/// Largest question.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// Who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Question {
    /// Name of the server.
    name: String,
    /// Its identity, if it has one yet.
    machine: Option<String>,
    /// Version of its PM2.
    pm2: String,
    /// Version of the Node that its apps run with; empty if there is none.
    node: String,
}

pub(super) async fn check(
    State(state): State<AppState>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let address = address.map(|ip| ip.to_string());
    match answer(&state, &headers, address.as_deref(), &body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(
    state: &AppState,
    headers: &HeaderMap,
    address: Option<&str>,
    body: &[u8],
) -> Result<Value, Refusal> {
    let (bucket, order) = admit(state, headers, address).await?;
    let question: Question = serde_json::from_slice(body)
        .map_err(|error| Refusal::Api(ApiError::bad_request(format!("not understood: {error}"))))?;
    let name = cut(&question.name, MAX_NAME).to_owned();
    let machine = question.machine.clone();
    let prospect: Option<Prospect> = state
        .live
        .bucket(bucket.id)
        .ask(move |bucket| bucket.prospect(machine.as_deref(), &name))
        .await
        .ok();
    let too_old = wire::versions::check(&question.pm2, &question.node).err();
    Ok(json!({
        "hub": env!("CARGO_PKG_VERSION"),
        "protocol": wire::PROTOCOL,
        "now": state.now_ms(),
        "swapped": order == Order::Swapped,
        "too_old": too_old.map(|unfit| unfit.to_string()),
        "prospect": prospect,
    }))
}

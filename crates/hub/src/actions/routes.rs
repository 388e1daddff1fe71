//! The routes by which actions are asked for: ours, and those of PM2's client.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response, sse};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{self, Ask};
use super::{Ended, Permitted, permit, run};
use crate::api::ApiError;
use crate::api::data::shape::Names;
use crate::api::input::Input;
use crate::auth::{Member, Role};
use crate::ids::ServerId;
use crate::live::HubEvent;
use crate::live::link::{ActionError, Output, Request, Target, Verb};
use crate::live::server::Server;
use crate::state::AppState;

/// PM2's agents end streaming after this time, so its clients expect it.
const LOGGING_FOR: Duration = Duration::from_secs(120);

/// Routes below `/api/bucket/:id`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/servers/{server}/actions", post(act))
        .route("/api/bucket/{id}/actions/trigger", post(trigger))
        .route("/api/bucket/{id}/actions/triggerPM2", post(trigger_pm2))
        .route("/api/bucket/{id}/actions/triggerPM2Action", post(trigger_pm2))
        .route(
            "/api/bucket/{id}/actions/triggerScopedAction",
            post(trigger_scoped),
        )
}

/// Answers with the end of the action. Who accepts `text/event-stream` follows it: first `{"state":"sent"}`, then what it says as
/// `{"state":"output","data":…}`, last `{"state":"ended",…}` with what others get as their answer.
async fn act(
    State(state): State<AppState>,
    Path((_, server)): Path<(String, String)>,
    headers: HeaderMap,
    member: Member,
    Input(ask): Input<Ask>,
) -> Result<Response, ApiError> {
    member.require(Role::Developer)?;
    let server: ServerId = server.parse().map_err(|_| ApiError::not_found("server"))?;
    let uuid = hex::encode(crate::ids::random::<16>());
    let request = state
        .live
        .bucket(member.bucket.id)
        .ask(move |bucket| ask.request(ask::visible(bucket, server)?, &uuid))
        .await
        .map_err(|_| ApiError::not_found("bucket"))??;
    let action = permit(&state, member, server, request).await?;
    if !wants_stream(&headers) {
        let ended = tokio::spawn(async move { run(&state, action, None).await }).await;
        let (status, body) = told(ended.map_err(ApiError::internal)?);
        return Ok((status, Json(body)).into_response());
    }
    let (output, pieces, lost) = Output::channel();
    // Carried out and written down even if its asker leaves.
    let ended = tokio::spawn(async move { run(&state, action, Some(output)).await });
    let first = stream::once(async { json!({ "state": "sent" }) });
    let said = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((json!({ "state": "output", "data": piece }), pieces))
    });
    let last = stream::once(async move {
        let (status, mut body) = match ended.await {
            Ok(ended) => told(ended),
            Err(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({ "ok": false, "error": "the hub failed" }),
            ),
        };
        body["state"] = "ended".into();
        body["timed_out"] = (status == StatusCode::GATEWAY_TIMEOUT).into();
        body["lost"] = lost.load(Ordering::Relaxed).into();
        body
    });
    let events = first
        .chain(said)
        .chain(last)
        .map(|event| Ok::<_, Infallible>(sse::Event::default().data(event.to_string())));
    Ok(sse::Sse::new(events)
        .keep_alive(sse::KeepAlive::default())
        .into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|types| types.contains("text/event-stream"))
}

/// How it ended, for its asker.
fn told(Ended { id, outcome, took }: Ended) -> (StatusCode, Value) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(result) => (
            StatusCode::OK,
            json!({ "id": id, "ok": true, "result": result, "took_ms": took_ms }),
        ),
        Err(error) => {
            let status = match error {
                ActionError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::OK,
            };
            let message = error.to_string();
            (
                status,
                json!({ "id": id, "ok": false, "error": message, "msg": message, "took_ms": took_ms }),
            )
        }
    }
}

/// The answer of PM2's API says "sent"; what came of it is told by realtime. So it is refused here if it cannot be sent.
async fn send(state: &AppState, action: Permitted) -> Result<(), ApiError> {
    let server = action.server;
    state
        .live
        .bucket(action.member.bucket.id)
        .ask(move |bucket| bucket.server(server).map_or(Ok(()), Server::reachable))
        .await
        .map_err(|_| ApiError::not_found("bucket"))?
        .map_err(|error| ApiError::conflict(error.to_string()))?;
    let state = state.clone();
    tokio::spawn(async move { run(&state, action, None).await });
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Trigger {
    server_name: String,
    #[serde(alias = "pm_id", default)]
    process_id: Option<Value>,
    #[serde(default)]
    app_name: Option<Value>,
    action_name: String,
    #[serde(default)]
    opts: Option<Value>,
}

/// Names come as texts or, from some clients, as numbers.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The server of that name, and the target on it.
async fn find(
    state: &AppState,
    member: &Member,
    server_name: &str,
    process: Option<Value>,
    app: Option<String>,
) -> Result<(ServerId, Target), ApiError> {
    let name = server_name.to_owned();
    state
        .live
        .bucket(member.bucket.id)
        .ask(move |bucket| {
            let server = Names::of(bucket)
                .id(&name)
                .ok_or_else(|| ApiError::not_found("server"))?;
            let target = ask::target(ask::visible(bucket, server)?, process.as_ref(), app.as_deref())?;
            Ok((server, target))
        })
        .await
        .map_err(|_| ApiError::not_found("bucket"))?
}

async fn trigger(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Trigger>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Developer)?;
    let app = text(body.app_name.as_ref());
    let (server, target) = find(&state, &member, &body.server_name, body.process_id, app).await?;
    let request = ask::custom(&body.action_name, target, body.opts, None)?;
    send(&state, permit(&state, member, server, request).await?).await?;
    Ok(Json(json!({ "success": true })))
}

async fn trigger_scoped(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Trigger>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Developer)?;
    let app = text(body.app_name.as_ref());
    let (server, target) = find(&state, &member, &body.server_name, body.process_id.clone(), app).await?;
    let uuid = hex::encode(crate::ids::random::<16>());
    let request = ask::custom(&body.action_name, target, body.opts.clone(), Some(uuid.clone()))?;
    send(&state, permit(&state, member, server, request).await?).await?;
    Ok(Json(json!({
        "uuid": uuid,
        "server_name": body.server_name,
        "action_name": body.action_name,
        "app_name": body.app_name,
        "pm_id": body.process_id,
        "opts": body.opts,
    })))
}

#[derive(Debug, Deserialize)]
struct Method {
    server_name: String,
    method_name: String,
    #[serde(default)]
    app_name: Option<Value>,
    #[serde(default)]
    parameters: Option<Value>,
}

async fn trigger_pm2(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Method>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Developer)?;
    if let "startLogging" | "stopLogging" = body.method_name.as_str() {
        return switch_logging(&state, &member, &body).await;
    }
    let parameter = |name: &str| body.parameters.as_ref().and_then(|p| p.get(name)).cloned();
    let app = text(body.app_name.as_ref()).or_else(|| text(parameter("name").as_ref()));
    let (server, target) = find(&state, &member, &body.server_name, parameter("id"), app).await?;
    let request = match (body.method_name.as_str(), Verb::parse(&body.method_name)) {
        ("scale", _) => ask::scale(target.app(), parameter("number").as_ref())?,
        (_, Some(verb)) => Request::Manage { verb, target },
        (other, None) => return Err(ApiError::bad_request(format!("no such method: {other}"))),
    };
    send(&state, permit(&state, member, server, request).await?).await?;
    Ok(Json(json!({ "success": true })))
}

/// Log streaming is a matter between hub and agent; PM2's clients switch it by hand.
async fn switch_logging(state: &AppState, member: &Member, body: &Method) -> Result<Json<Value>, ApiError> {
    let bucket = state.live.bucket(member.bucket.id);
    let name = body.server_name.clone();
    let server = bucket
        .ask(move |bucket| {
            let id = Names::of(bucket)
                .id(&name)
                .ok_or_else(|| ApiError::not_found("server"))?;
            let server = ask::visible(bucket, id)?;
            server
                .reachable()
                .map_err(|error| ApiError::conflict(error.to_string()))?;
            Ok::<_, ApiError>(id)
        })
        .await
        .map_err(|_| ApiError::not_found("bucket"))??;
    let tap = bucket.tap(server);
    let told = if body.method_name == "startLogging" {
        tap.hold(LOGGING_FOR);
        "Log streaming enabled"
    } else {
        tap.release();
        "Log streaming disabled"
    };
    bucket.publish(HubEvent {
        server,
        server_name: body.server_name.as_str().into(),
        at: state.now_ms(),
        pm_id: None,
        channel: "trigger:pm2:result".into(),
        payload: json!({
            "ret": { "err": null, "data": told },
            "meta": {
                "method_name": body.method_name,
                "app_name": text(body.app_name.as_ref()),
                "machine_name": body.server_name,
                "public_key": member.bucket.public_id,
            },
        }),
    });
    Ok(Json(json!({ "success": true })))
}

//! What happened: the life of processes, and events that apps sent.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::metrics::names;
use super::shape::Names;
use super::time;
use crate::api::ApiError;
use crate::api::input::Input;
use crate::auth::Member;
use crate::ids::ServerId;
use crate::state::AppState;
use crate::store::telemetry::{EventQuery, StoredEvent};

/// Events looked at for one answer.
const MAX_EVENTS: u32 = 10_000;
const PROCESS_EVENT: &str = "process:event";
const HUMAN_EVENT: &str = "human:event";
const DAY_MS: i64 = 24 * 3600 * 1000;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/data/processEvents", post(process_events))
        .route(
            "/api/bucket/{id}/data/processEvents/deployments",
            post(deployments),
        )
        .route("/api/bucket/{id}/data/events", post(events))
        .route("/api/bucket/{id}/data/eventsKeysByApp", get(keys_by_app))
        .route("/api/bucket/{id}/data/events/eventsKeysByApp", get(keys_by_app))
        .route("/api/bucket/{id}/data/events/stats", post(stats))
}

/// Which servers a name stands for: all without a name, none for an unknown one.
enum Servers {
    All,
    One(ServerId),
    None,
}

impl Servers {
    fn of(names: &Names, name: Option<&str>) -> Self {
        match name.filter(|n| !n.is_empty()) {
            None => Self::All,
            Some(name) => names.id(name).map_or(Self::None, Self::One),
        }
    }
}

struct Search<'a> {
    kind: &'a str,
    name: Option<String>,
    app: Option<String>,
    server: Option<&'a str>,
    from_ms: i64,
    to_ms: i64,
    limit: u32,
}

async fn search(
    state: &AppState,
    member: &Member,
    names: &Names,
    search: Search<'_>,
) -> Result<Vec<StoredEvent>, ApiError> {
    let server = match Servers::of(names, search.server) {
        Servers::None => return Ok(Vec::new()),
        Servers::All => None,
        Servers::One(server) => Some(server),
    };
    let query = EventQuery {
        bucket: member.bucket.id,
        server,
        app: search.app.filter(|app| !app.is_empty()),
        kind: Some(search.kind.to_owned()),
        name: search.name,
        from_ms: search.from_ms,
        to_ms: search.to_ms,
        limit: search.limit.clamp(1, MAX_EVENTS),
    };
    Ok(state.telemetry.events(query).await?)
}

/// The packet as its agent sent it, with an id, and the server by the name that PM2's client knows.
fn packet(names: &Names, stored: &StoredEvent) -> Value {
    let mut packet = serde_json::from_slice(&stored.event.data).unwrap_or_else(|_| json!({}));
    if !packet.is_object() {
        packet = json!({ "data": packet });
    }
    packet["_id"] = stored.id.to_string().into();
    packet["at"] = stored.event.at_ms.into();
    if let (Some(name), Some(process)) = (
        names.name(stored.server),
        packet.get_mut("process").and_then(Value::as_object_mut),
    ) {
        process.insert("server".into(), name.into());
    }
    packet
}

#[derive(Debug, Deserialize)]
struct ProcessEvents {
    app_name: Option<String>,
    server_name: Option<String>,
    before: Option<Value>,
}

async fn process_events(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<ProcessEvents>,
) -> Result<Json<Value>, ApiError> {
    let to_ms = state.now_ms() + 1;
    let from_ms = to_ms - time::minutes(body.before.as_ref(), 60)?;
    let names = names(&state, &member).await?;
    let found = search(
        &state,
        &member,
        &names,
        Search {
            kind: PROCESS_EVENT,
            name: None,
            app: body.app_name,
            server: body.server_name.as_deref(),
            from_ms,
            to_ms,
            limit: MAX_EVENTS,
        },
    )
    .await?;
    Ok(Json(found.iter().map(|event| packet(&names, event)).collect()))
}

/// Starts of an app under another revision than the start before.
async fn deployments(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<ProcessEvents>,
) -> Result<Json<Value>, ApiError> {
    let to_ms = state.now_ms() + 1;
    let names = names(&state, &member).await?;
    let found = search(
        &state,
        &member,
        &names,
        Search {
            kind: PROCESS_EVENT,
            name: Some("online".to_owned()),
            app: body.app_name,
            server: body.server_name.as_deref(),
            from_ms: to_ms - 30 * DAY_MS,
            to_ms,
            limit: MAX_EVENTS,
        },
    )
    .await?;
    let mut before: BTreeMap<(ServerId, String), String> = BTreeMap::new();
    let mut deployments = Vec::new();
    for stored in found.iter().rev() {
        let packet = packet(&names, stored);
        let (Some(app), Some(rev)) = (stored.event.app.clone(), packet["process"]["rev"].as_str()) else {
            continue;
        };
        match before.insert((stored.server, app), rev.to_owned()) {
            Some(last) if last != rev => deployments.push(packet),
            _ => {}
        }
    }
    deployments.reverse();
    Ok(Json(Value::Array(deployments)))
}

#[derive(Debug, Deserialize)]
struct Events {
    event_name: String,
    start: Option<Value>,
    end: Option<Value>,
    app_name: Option<String>,
    server_name: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    offset: usize,
}

async fn events(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Events>,
) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let to_ms = time::parse_or(body.end.as_ref(), now, now + 1)?;
    let from_ms = time::parse_or(body.start.as_ref(), now, now - 2 * DAY_MS)?;
    let limit = body.limit.unwrap_or(100).min(MAX_EVENTS);
    let offset = body.offset.min(MAX_EVENTS as usize);
    let names = names(&state, &member).await?;
    let found = search(
        &state,
        &member,
        &names,
        Search {
            kind: HUMAN_EVENT,
            name: Some(body.event_name),
            app: body.app_name,
            server: body.server_name.as_deref(),
            from_ms,
            to_ms,
            limit: limit.saturating_add(offset as u32),
        },
    )
    .await?;
    Ok(Json(
        found
            .iter()
            .skip(offset)
            .map(|event| packet(&names, event))
            .collect(),
    ))
}

async fn keys_by_app(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    let to_ms = state.now_ms() + 1;
    let names = names(&state, &member).await?;
    let found = search(
        &state,
        &member,
        &names,
        Search {
            kind: HUMAN_EVENT,
            name: None,
            app: None,
            server: None,
            from_ms: to_ms - 14 * DAY_MS,
            to_ms,
            limit: MAX_EVENTS,
        },
    )
    .await?;
    let mut by_app: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for stored in &found {
        by_app
            .entry(stored.event.app.as_deref().unwrap_or_default())
            .or_default()
            .insert(&stored.event.name);
    }
    Ok(Json(
        by_app
            .into_iter()
            .map(|(app, names)| json!({ "app_name": app, "events": names }))
            .collect(),
    ))
}

#[derive(Debug, Deserialize)]
struct Stats {
    event_name: String,
    app_name: Option<String>,
    server_name: Option<String>,
    days: Option<f64>,
    interval: Option<String>,
}

async fn stats(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Stats>,
) -> Result<Json<Value>, ApiError> {
    let to_ms = state.now_ms() + 1;
    let days = body.days.unwrap_or(2.0).clamp(0.0, 400.0);
    let step_ms: i64 = match body.interval.as_deref() {
        Some("hour") => 3_600_000,
        Some("day") => DAY_MS,
        _ => 60_000,
    };
    let names = names(&state, &member).await?;
    let found = search(
        &state,
        &member,
        &names,
        Search {
            kind: HUMAN_EVENT,
            name: Some(body.event_name),
            app: body.app_name,
            server: body.server_name.as_deref(),
            from_ms: to_ms - (days * DAY_MS as f64) as i64,
            to_ms,
            limit: MAX_EVENTS,
        },
    )
    .await?;
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    for stored in &found {
        *counts
            .entry(stored.event.at_ms - stored.event.at_ms.rem_euclid(step_ms))
            .or_default() += 1;
    }
    Ok(Json(
        counts.into_iter().map(|(at, count)| json!([at, count])).collect(),
    ))
}

//! `/api/bucket/:id/servers` and the history behind our dashboard's charts: routes of our own.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::data::time;
use super::input::Input;
use crate::api::ApiError;
use crate::auth::{Member, Role};
use crate::ids::ServerId;
use crate::live::Removal;
use crate::live::server::Server;
use crate::state::AppState;
use crate::store::telemetry::{RangeQuery, SeriesInfo};

/// Points of one series, unless asked otherwise.
const POINTS: u32 = 300;
/// Points of one series at most: more than a chart has pixels.
const MAX_POINTS: u32 = 4_000;
/// Shown when no range is given.
const RANGE_MS: i64 = 3_600_000;
/// How far back the list of metrics looks.
const LISTED_MS: i64 = 24 * 3_600_000;

/// Routes below `/api/bucket/:id`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/servers", get(list))
        .route("/api/bucket/{id}/servers/{server}", delete(remove))
        .route("/api/bucket/{id}/attempts", get(attempts))
        .route("/api/bucket/{id}/plan", get(plan))
        .route("/api/bucket/{id}/series", get(series))
        .route("/api/bucket/{id}/metrics", get(metrics))
}

async fn list(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let live = state.live.bucket(member.bucket.id);
    let answer = live
        .ask(move |bucket| json!({ "at": now, "servers": bucket.describe(now), "plan": bucket.usage(), "waiting": bucket.waiting() }))
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    Ok(Json(answer))
}

/// Who tried to link in the last quarter of an hour, and how far each came.
async fn attempts(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let live = state.live.bucket(member.bucket.id);
    let servers: BTreeMap<ServerId, (String, bool)> = live
        .ask(|bucket| {
            let facts = |s: &Server| (s.name().to_owned(), s.reachable().is_ok());
            bucket.servers().map(|s| (s.id(), facts(s))).collect()
        })
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    let now_of = |server| match servers.get(&server) {
        Some((name, commands)) => (
            servers.values().filter(|(other, _)| other == name).count(),
            *commands,
        ),
        None => (0, false),
    };
    let attempts = live.attempts().to_json(now, now_of);
    Ok(Json(json!({ "at": now, "attempts": attempts })))
}

/// The use of the plan, process by process.
async fn plan(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    let live = state.live.bucket(member.bucket.id);
    let mut answer = live
        .ask(crate::live::bucket::Bucket::plan_table)
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    answer["plan"] = member.bucket.plan.into();
    Ok(Json(answer))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Forget it.
    #[default]
    Delete,
    /// Keep it out of sight until it is linked anew.
    Hide,
}

#[derive(Debug, Default, Deserialize)]
struct Remove {
    #[serde(default)]
    mode: Mode,
    /// Its history goes too.
    #[serde(default)]
    purge: bool,
}

async fn remove(
    State(state): State<AppState>,
    Path((_, server)): Path<(String, String)>,
    member: Member,
    Input(body): Input<Remove>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Admin)?;
    let server: ServerId = server.parse().map_err(|_| ApiError::not_found("server"))?;
    let live = state.live.bucket(member.bucket.id);
    let gone = |_| ApiError::not_found("bucket");
    let now_ms = state.now_ms();
    let found = live
        .ask(move |bucket| {
            let server = bucket.server(server)?;
            let alive = server.is_linked() || server.is_asked_for(now_ms);
            Some((server.name().to_owned(), alive, server.is_hidden()))
        })
        .await
        .map_err(gone)?;
    let Some((name, alive, hidden)) = found else {
        return Err(ApiError::not_found("server"));
    };
    let how = match body.mode {
        Mode::Hide if hidden => return Err(ApiError::conflict("it is hidden already")),
        Mode::Hide => Removal::Hide,
        Mode::Delete if alive => {
            // It would come back with its next report.
            return Err(ApiError::conflict(if hidden {
                "it is hidden, and its agent still asks to be let in: unlink it on that server first"
            } else {
                "its agent is linked: unlink it on that server first, or hide it until it is linked anew"
            }));
        }
        Mode::Delete => Removal::Delete,
    };
    if !live.remove(server, how).await.map_err(gone)? {
        return Err(ApiError::not_found("server"));
    }
    if body.purge {
        state.telemetry.purge_server(member.bucket.id, server).await?;
    }
    let what = match how {
        Removal::Hide => "hide_server",
        Removal::Delete => "delete_server",
    };
    crate::audit::note(&state, member.bucket.id, &member.user, what, &name).await;
    Ok(Json(
        json!({ "id": server, "mode": if how == Removal::Hide { "hide" } else { "delete" }, "purged": body.purge }),
    ))
}

#[derive(Debug, Deserialize)]
struct SeriesQuery {
    server: Option<String>,
    app: Option<String>,
    pm_id: Option<u32>,
    #[serde(default = "cpu")]
    metric: String,
    from: Option<String>,
    to: Option<String>,
    points: Option<u32>,
}

fn cpu() -> String {
    "cpu".to_owned()
}

/// An id in a query; empty is none.
fn server_id(text: Option<&str>) -> Result<Option<ServerId>, ApiError> {
    match text.filter(|t| !t.is_empty()) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request("a server id is 24 hexadecimal digits")),
    }
}

async fn series(
    State(state): State<AppState>,
    member: Member,
    Query(asked): Query<SeriesQuery>,
) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let text = |t: &Option<String>| t.clone().filter(|t| !t.is_empty()).map(Value::from);
    let to_ms = time::parse_or(text(&asked.to).as_ref(), now, now)?;
    let from_ms = time::parse_or(text(&asked.from).as_ref(), now, to_ms - RANGE_MS)?;
    if from_ms >= to_ms {
        return Err(ApiError::bad_request("`from` lies before `to`"));
    }
    let query = RangeQuery {
        bucket: member.bucket.id,
        server: server_id(asked.server.as_deref())?,
        app: asked.app.filter(|app| !app.is_empty()),
        pm_id: asked.pm_id,
        metric: asked.metric,
        from_ms,
        to_ms,
        points: asked.points.unwrap_or(POINTS).clamp(1, MAX_POINTS),
    };
    let ranges = state.telemetry.range(query).await?;
    let unit = ranges
        .iter()
        .map(|r| r.series.unit.as_str())
        .find(|u| !u.is_empty())
        .unwrap_or_default();
    let step_ms = ranges.first().map(|r| r.step_ms);
    let series: Value = ranges
        .iter()
        .map(|range| {
            let column = |pick: &dyn Fn(&crate::store::telemetry::Point) -> Value| -> Value {
                range.points.iter().map(pick).collect()
            };
            json!({
                "server": range.series.server,
                "app": range.series.app,
                "pm_id": range.series.pm_id,
                "t": column(&|p| p.at_ms.into()),
                "min": column(&|p| p.min.into()),
                "max": column(&|p| p.max.into()),
                "avg": column(&|p| p.avg().into()),
            })
        })
        .collect();
    Ok(Json(
        json!({ "unit": unit, "step_ms": step_ms, "from": from_ms, "to": to_ms, "series": series }),
    ))
}

#[derive(Debug, Deserialize)]
struct MetricsQuery {
    server: Option<String>,
    app: Option<String>,
    pm_id: Option<u32>,
    since: Option<String>,
}

/// Names of the metrics that have a history, with their units; the two that every process has come first.
async fn metrics(
    State(state): State<AppState>,
    member: Member,
    Query(asked): Query<MetricsQuery>,
) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let since = asked.since.filter(|t| !t.is_empty()).map(Value::from);
    let since = time::parse_or(since.as_ref(), now, now - LISTED_MS)?;
    let server = server_id(asked.server.as_deref())?;
    let mut series: Vec<SeriesInfo> = state.telemetry.series(member.bucket.id, server, since).await?;
    series.retain(|s| {
        asked
            .app
            .as_deref()
            .is_none_or(|app| app.is_empty() || s.app.as_deref() == Some(app))
            && asked.pm_id.is_none_or(|id| s.pm_id == Some(id))
    });
    let rank = |name: &str| match name {
        "cpu" => 0,
        "memory" => 1,
        _ => 2,
    };
    series.sort_by(|a, b| (rank(&a.metric), &a.metric).cmp(&(rank(&b.metric), &b.metric)));
    series.dedup_by(|a, b| a.metric == b.metric);
    Ok(Json(
        series
            .iter()
            .map(|s| json!({ "name": s.metric, "unit": s.unit }))
            .collect(),
    ))
}

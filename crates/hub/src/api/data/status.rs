//! The present: status snapshots, the list of servers, and forgetting one.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::shape::{self, Names};
use crate::api::ApiError;
use crate::api::input::Input;
use crate::auth::{Member, Role};
use crate::live::Removal;
use crate::live::bucket::Bucket;
use crate::live::server::Server;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/data/status", get(status))
        .route("/api/bucket/{id}/data/status/blacklisted", get(held_back))
        .route("/api/bucket/{id}/meta_servers", get(meta))
        .route("/api/bucket/{id}/data/deleteServer", post(delete))
}

/// One value per server that shows, under the name that PM2's client knows.
async fn each(
    state: &AppState,
    member: &Member,
    view: impl Fn(&Server, &str) -> Option<Value> + Send + 'static,
) -> Result<Json<Value>, ApiError> {
    let list = move |bucket: &Bucket| -> Value {
        let names = Names::of(bucket);
        bucket
            .servers()
            .filter_map(|server| view(server, names.name(server.id())?))
            .collect()
    };
    let list = state
        .live
        .bucket(member.bucket.id)
        .ask(list)
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    Ok(Json(list))
}

async fn status(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    each(&state, &member, |server, name| {
        Some(json!(shape::status(server, name)))
    })
    .await
}

async fn held_back(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    each(&state, &member, |server, name| {
        shape::held_back(server, name).map(|held| json!(held))
    })
    .await
}

async fn meta(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    each(&state, &member, |server, name| Some(shape::meta(server, name))).await
}

#[derive(Debug, Deserialize)]
struct Delete {
    server_name: String,
}

/// PM2's client cannot say what to do about a server whose agent runs, so that must be settled first.
async fn delete(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Delete>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Admin)?;
    let live = state.live.bucket(member.bucket.id);
    let name = body.server_name.clone();
    let found = live
        .ask(move |bucket| {
            let id = Names::of(bucket).id(&name)?;
            bucket.server(id).map(|server| (id, server.is_linked()))
        })
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    let Some((server, linked)) = found else {
        return Err(ApiError::bad_request("there is no server with this name"));
    };
    if linked {
        return Err(ApiError::not_acceptable(
            "its agent is linked: run `pm2 unlink` on that server first",
        ));
    }
    live.remove(server, Removal::Delete)
        .await
        .map_err(|_| ApiError::not_found("bucket"))?;
    state.telemetry.purge_server(member.bucket.id, server).await?;
    crate::audit::note(
        &state,
        member.bucket.id,
        &member.user,
        "delete_server",
        &body.server_name,
    )
    .await;
    Ok(Json(
        json!({ "success": true, "msg": format!("{} was deleted", body.server_name) }),
    ))
}

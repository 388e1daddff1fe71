//! `/api/bucket`: buckets themselves; their members are next door.

use axum::extract::State;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{Input, Origin};
use super::{ApiError, view};
use crate::audit;
use crate::auth::{CurrentUser, Member, Role};
use crate::ids::{BucketId, UserId, random_key};
use crate::plans::Plan;
use crate::state::AppState;
use crate::store::catalog::Bucket;

/// Buckets that one account may own.
const MAX_OWNED: usize = 100;
/// Highest limit on the servers of a bucket.
const MAX_SERVERS: u32 = 100_000;

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket", get(list))
        .route("/api/bucket/create_classic", post(create))
        .route("/api/bucket/{id}", get(retrieve).put(update).delete(destroy))
        .route("/api/bucket/{id}/transfer_ownership", post(transfer))
        .route("/api/bucket/{id}/user_options", put(user_options))
        .route("/api/bucket/{id}/secret", post(replace_secret))
        .route("/api/node/default", get(default_node))
}

/// A bucket that is to be stored, with fresh keys.
pub(crate) fn new_bucket(name: &str, owner: UserId, now_ms: i64) -> Bucket {
    Bucket {
        id: BucketId::fresh(now_ms),
        name: name.to_owned(),
        comment: String::new(),
        app_url: String::new(),
        public_id: random_key(15),
        secret_id: random_key(15),
        plan: "unlimited".into(),
        active: true,
        owner,
        offline_after_s: 120,
        delete_offline: false,
        max_servers: None,
        max_processes: None,
        configuration: "{}".into(),
        created_ms: now_ms,
    }
}

async fn shown(state: &AppState, bucket: &Bucket, role: Role, origin: &Origin) -> Result<Value, ApiError> {
    let invitations = if role >= Role::Admin {
        state.catalog.invitations(bucket.id).await?
    } else {
        Vec::new()
    };
    Ok(view::bucket(bucket, role, &invitations, origin))
}

async fn list(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    origin: Origin,
) -> Result<Json<Value>, ApiError> {
    let mut all = Vec::new();
    for (bucket, role) in state.catalog.buckets_of(session.user.id).await? {
        all.push(shown(&state, &bucket, role, &origin).await?);
    }
    Ok(Json(Value::Array(all)))
}

#[derive(Deserialize)]
struct Create {
    name: String,
    comment: Option<String>,
    app_url: Option<String>,
}

async fn create(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    origin: Origin,
    Input(request): Input<Create>,
) -> Result<Json<Value>, ApiError> {
    let owned = state.catalog.buckets_of(session.user.id).await?;
    if owned.iter().filter(|(_, role)| *role == Role::Owner).count() >= MAX_OWNED {
        return Err(ApiError::forbidden(format!(
            "an account owns at most {MAX_OWNED} buckets"
        )));
    }
    let bucket = Bucket {
        comment: text("comment", request.comment.as_deref().unwrap_or_default(), 0, 2000)?,
        app_url: text("app_url", request.app_url.as_deref().unwrap_or_default(), 0, 2000)?,
        ..new_bucket(
            &text("name", &request.name, 1, 100)?,
            session.user.id,
            state.now_ms(),
        )
    };
    let bucket = state.catalog.create_bucket(bucket).await?;
    audit::note(&state, bucket.id, &session.user, "create_bucket", &bucket.name).await;
    Ok(Json(
        json!({ "bucket": shown(&state, &bucket, Role::Owner, &origin).await? }),
    ))
}

async fn retrieve(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&state, &member.bucket, member.role, &origin).await?))
}

#[derive(Deserialize)]
struct Update {
    name: Option<String>,
    comment: Option<String>,
    app_url: Option<String>,
    configuration: Option<Value>,
    plan: Option<String>,
    offline_after: Option<u32>,
    delete_offline: Option<bool>,
    /// 0 takes the limit away.
    max_servers: Option<u32>,
    /// 0 leaves it to the plan.
    max_processes: Option<u32>,
}

async fn update(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
    Input(request): Input<Update>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Owner)?;
    let mut bucket = member.bucket;
    if let Some(name) = request.name {
        bucket.name = text("name", &name, 1, 100)?;
    }
    if let Some(comment) = request.comment {
        bucket.comment = text("comment", &comment, 0, 2000)?;
    }
    if let Some(app_url) = request.app_url {
        bucket.app_url = text("app_url", &app_url, 0, 2000)?;
    }
    if let Some(configuration) = request.configuration {
        bucket.configuration = object("configuration", configuration)?;
    }
    if let Some(plan) = request.plan {
        if !Plan::is_id(&plan) {
            return Err(ApiError::bad_request(
                "plan is unlimited, free, enterprise, or pro_N for N processes",
            ));
        }
        bucket.plan = plan;
    }
    if let Some(seconds) = request.offline_after {
        if !(10..=86_400).contains(&seconds) {
            return Err(ApiError::bad_request("offline_after is 10 to 86400 seconds"));
        }
        bucket.offline_after_s = seconds;
    }
    if let Some(delete_offline) = request.delete_offline {
        bucket.delete_offline = delete_offline;
    }
    if let Some(limit) = request.max_servers {
        if limit > MAX_SERVERS {
            return Err(ApiError::bad_request(format!(
                "max_servers is 1 to {MAX_SERVERS}, or 0 for no limit"
            )));
        }
        bucket.max_servers = (limit > 0).then_some(limit);
    }
    if let Some(limit) = request.max_processes {
        bucket.max_processes = (limit > 0).then_some(limit);
    }
    let bucket = state.catalog.update_bucket(bucket).await?;
    state.live.bucket_changed(bucket.id).await;
    audit::note(&state, bucket.id, &member.user, "update_bucket", &bucket.name).await;
    Ok(Json(shown(&state, &bucket, member.role, &origin).await?))
}

/// Makes a new secret key. Who linked with the old one is cut off at once and told why; servers and history stay.
async fn replace_secret(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Owner)?;
    let bucket = state
        .catalog
        .set_bucket_secret(member.bucket.id, random_key(15))
        .await?;
    state.live.bucket_changed(bucket.id).await;
    audit::note(&state, bucket.id, &member.user, "replace_secret", &bucket.name).await;
    Ok(Json(shown(&state, &bucket, member.role, &origin).await?))
}

async fn destroy(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Owner)?;
    let answer = shown(&state, &member.bucket, member.role, &origin).await?;
    state.catalog.delete_bucket(member.bucket.id).await?;
    // Agents are sent away before history goes: what came after would stay.
    state.live.bucket_changed(member.bucket.id).await;
    state.telemetry.purge_bucket(member.bucket.id).await?;
    tracing::info!(bucket = %member.bucket.id, by = %member.user.email, "deleted a bucket");
    Ok(Json(answer))
}

#[derive(Deserialize)]
struct Transfer {
    new_owner: String,
}

async fn transfer(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
    Input(request): Input<Transfer>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Owner)?;
    let to = state
        .catalog
        .find_user(request.new_owner)
        .await?
        .ok_or_else(|| ApiError::not_found("account"))?;
    if to.id == member.user.id {
        return Err(ApiError::bad_request("you own this bucket already"));
    }
    let bucket = state.catalog.transfer_bucket(member.bucket.id, to.id).await?;
    state.live.bucket_changed(bucket.id).await;
    audit::note(&state, bucket.id, &member.user, "transfer_bucket", &to.email).await;
    Ok(Json(shown(&state, &bucket, Role::Admin, &origin).await?))
}

#[derive(Deserialize)]
struct UserOptions {
    options: Value,
}

async fn user_options(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
    Input(request): Input<UserOptions>,
) -> Result<Json<Value>, ApiError> {
    let options = object("options", request.options)?;
    state
        .catalog
        .set_member_options(member.bucket.id, member.user.id, None, Some(options))
        .await?;
    Ok(Json(
        json!({ "bucket": shown(&state, &member.bucket, member.role, &origin).await? }),
    ))
}

/// Where a new bucket would live: here.
async fn default_node(origin: Origin) -> Json<Value> {
    Json(json!({
        "_id": "000000000000000000000001",
        "name": "hub",
        "endpoints": { "web": origin.0, "realtime": origin.0 },
    }))
}

fn text(what: &str, given: &str, least: usize, most: usize) -> Result<String, ApiError> {
    let trimmed = given.trim();
    let length = trimmed.chars().count();
    if length < least || length > most || trimmed.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::bad_request(format!(
            "{what} has {least} to {most} characters"
        )));
    }
    Ok(trimmed.to_owned())
}

/// An object to keep as it is; some clients send it as JSON text.
fn object(what: &str, given: Value) -> Result<String, ApiError> {
    let value = match given {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    };
    let text = value.to_string();
    if !value.is_object() || text.len() > super::MAX_FREE_JSON {
        return Err(ApiError::bad_request(format!(
            "{what} is a JSON object of at most 64 KiB"
        )));
    }
    Ok(text)
}

//! `/api/users`: one's own account.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::input::Input;
use super::oauth::{check_email, check_username};
use super::{ApiError, view};
use crate::auth::CurrentUser;
use crate::ids::{BucketId, UserId};
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::catalog::User;

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/users/isLogged", get(me))
        .route("/api/users/show/{user}", get(show))
        .route("/api/users/update", post(update))
        .route("/api/users/delete", delete(remove))
}

async fn me(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
) -> Result<Json<Value>, ApiError> {
    own_view(&state, &session.user).await
}

async fn own_view(state: &AppState, user: &User) -> Result<Json<Value>, ApiError> {
    let buckets: Vec<BucketId> = state
        .catalog
        .buckets_of(user.id)
        .await?
        .into_iter()
        .map(|(bucket, _)| bucket.id)
        .collect();
    let info = state.catalog.user_info(user.id).await?;
    Ok(Json(view::user(user, &buckets, &info)))
}

/// Name and address of another member of one of my buckets; nobody else's business.
async fn show(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let id: UserId = id
        .parse()
        .map_err(|_| ApiError::bad_request("this is no user id"))?;
    for (bucket, _) in state.catalog.buckets_of(session.user.id).await? {
        if state.catalog.role(bucket.id, id).await?.is_some() {
            let user = state
                .catalog
                .user(id)
                .await?
                .ok_or_else(|| ApiError::not_found("user"))?;
            return Ok(Json(json!({ "email": user.email, "username": user.username })));
        }
    }
    if id == session.user.id {
        return Ok(Json(
            json!({ "email": session.user.email, "username": session.user.username }),
        ));
    }
    Err(ApiError::not_found("user"))
}

#[derive(Deserialize)]
struct Update {
    username: Option<String>,
    email: Option<String>,
    old_password: Option<String>,
    new_password: Option<String>,
    info: Option<Map<String, Value>>,
}

async fn update(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    Input(request): Input<Update>,
) -> Result<Json<Value>, ApiError> {
    let mut user = session.user;
    if let Some(name) = request.username {
        check_username(name.trim())?;
        user.username = name.trim().to_owned();
    }
    if let Some(email) = request.email {
        check_email(email.trim())?;
        user.email = email.trim().to_owned();
    }
    let info = request.info.map(|info| Value::Object(info).to_string());
    if info
        .as_ref()
        .is_some_and(|info| info.len() > super::MAX_FREE_JSON)
    {
        return Err(ApiError::bad_request("info is at most 64 KiB"));
    }
    let hash = match request.new_password {
        None => None,
        Some(new) => {
            let old = request
                .old_password
                .ok_or_else(|| ApiError::bad_request("old_password is missing"))?;
            if !crate::auth::check_password(&state, user.id, old).await? {
                return Err(ApiError::forbidden("the old password does not fit"));
            }
            Some(state.auth.passwords.hash(new).await?)
        }
    };
    let new_password = hash.is_some();
    let user = state.catalog.update_user(user, hash).await?;
    if let Some(info) = info {
        state.catalog.set_user_info(user.id, info).await?;
    }
    if new_password {
        // Whoever else knew the old one is out.
        state.catalog.revoke_all(user.id, session.parent).await?;
    }
    own_view(&state, &user).await
}

async fn remove(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
) -> Result<Json<Value>, ApiError> {
    let answer = own_view(&state, &session.user).await?;
    match state.catalog.delete_user(session.user.id).await {
        Ok(()) => Ok(answer),
        Err(StoreError::Exists(_)) => Err(ApiError::forbidden(
            "you own buckets: delete them or hand them over first",
        )),
        Err(error) => Err(error.into()),
    }
}

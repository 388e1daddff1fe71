//! `/api/users/token`: personal tokens.

use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::input::Input;
use super::{ApiError, view};
use crate::auth::{CurrentUser, NewToken};
use crate::ids::UserId;
use crate::state::AppState;

/// Personal tokens of one account at most.
const MAX_TOKENS: usize = 200;

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/users/token", get(list).put(create))
        .route("/api/users/token/{token}", delete(remove))
}

async fn list(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
) -> Result<Json<Value>, ApiError> {
    listed(&state, session.user.id).await
}

async fn listed(state: &AppState, user: UserId) -> Result<Json<Value>, ApiError> {
    let tokens = state.catalog.refresh_tokens(user).await?;
    Ok(Json(
        tokens.iter().map(|token| view::token(token, None)).collect(),
    ))
}

#[derive(Deserialize)]
struct Create {
    scope: Value,
    label: Option<String>,
}

async fn create(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    Input(request): Input<Create>,
) -> Result<Json<Value>, ApiError> {
    let scope = scope(&request.scope)?;
    if state.catalog.refresh_tokens(session.user.id).await?.len() >= MAX_TOKENS {
        return Err(ApiError::conflict("there are too many tokens; revoke some"));
    }
    let label = request.label.unwrap_or_else(|| "personal".into());
    let token = NewToken::refresh(&session.user, &label, &scope, state.now_ms(), None);
    state.catalog.create_token(token.stored.clone()).await?;
    Ok(Json(view::token(&token.stored, Some(&token.secret))))
}

/// Clients send an array, or an object with its keys as scopes. `all` is the only one that is ever seen.
fn scope(given: &Value) -> Result<String, ApiError> {
    let names: Vec<&str> = match given {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::Object(names) => names.keys().map(String::as_str).collect(),
        _ => return Err(ApiError::bad_request("scope is an array such as [\"all\"]")),
    };
    match names.as_slice() {
        [] | ["all"] => Ok("all".into()),
        _ => Err(ApiError::bad_request("the only scope is \"all\"")),
    }
}

async fn remove(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
    Path(token): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let id = token.parse().map_err(|_| ApiError::not_found("token"))?;
    state.catalog.revoke_token(session.user.id, id).await?;
    listed(&state, session.user.id).await
}

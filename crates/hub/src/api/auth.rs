//! `/api/auth`: sessions of our dashboard. The refresh token stays in a cookie that scripts cannot read and that is
//! not sent along from other sites; the page holds the access token in memory.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::input::{Input, Origin, Peer};
use super::oauth::grant_json;
use super::{ApiError, view};
use crate::auth::{self, AuthError, BROWSER_SESSION_MS, Grant, hash_token};
use crate::state::AppState;

const COOKIE: &str = "pilothouse_session";

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/auth/login", post(login))
        .route("/api/auth/refresh", post(refresh))
        .route("/api/auth/logout", post(logout))
        .route("/api/auth/invitation/{code}", get(invitation))
}

#[derive(Deserialize)]
struct Login {
    username: Option<String>,
    email: Option<String>,
    password: String,
}

async fn login(
    State(state): State<AppState>,
    Peer(peer): Peer,
    origin: Origin,
    headers: HeaderMap,
    Input(request): Input<Login>,
) -> Result<Response, ApiError> {
    same_site(&headers)?;
    let login = request
        .username
        .or(request.email)
        .ok_or_else(|| ApiError::bad_request("username is missing"))?;
    let user = auth::log_in(&state, &login, request.password, peer).await?;
    let grant = Grant::open(&state, user, "dashboard", BROWSER_SESSION_MS).await?;
    let cookie = cookie(&grant.refresh_token, BROWSER_SESSION_MS / 1000, origin.is_https());
    session(&grant, Some(cookie))
}

async fn refresh(
    State(state): State<AppState>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    same_site(&headers)?;
    // A first visit is no failure: a 401 would be an error in the browser's console.
    let Some(token) = session_cookie(&headers) else {
        return Ok(Json(json!({ "access_token": null })).into_response());
    };
    match Grant::refresh(&state, token).await {
        Ok(grant) => session(&grant, None),
        Err(AuthError::UnknownToken | AuthError::Expired) => {
            let mut response = ApiError::unauthorized().into_response();
            set_cookie(&mut response, &cookie("", 0, origin.is_https()))?;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

async fn logout(
    State(state): State<AppState>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    same_site(&headers)?;
    if let Some(token) = session_cookie(&headers)
        && let Some((token, user)) = state.catalog.find_token(hash_token(token)).await?
    {
        state.catalog.revoke_token(user.id, token.id).await?;
    }
    let mut response = Json(json!({ "success": true })).into_response();
    set_cookie(&mut response, &cookie("", 0, origin.is_https()))?;
    Ok(response)
}

/// Tells somebody with an invitation's code what they are asked into.
async fn invitation(State(state): State<AppState>, Path(code): Path<String>) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("invitation");
    let (bucket, invitation) = state.catalog.invitation(code).await?.ok_or_else(unknown)?;
    let bucket = state.catalog.bucket(bucket).await?.ok_or_else(unknown)?;
    Ok(Json(json!({ "email": invitation.email, "bucket": bucket.name })).into_response())
}

fn session(grant: &Grant, cookie: Option<String>) -> Result<Response, ApiError> {
    let mut body = grant_json(grant);
    // Scripts never see it: that is what the cookie is for.
    if let Some(members) = body.as_object_mut() {
        members.remove("refresh_token");
        members.insert("user".into(), view::user(&grant.user, &[], "{}"));
    }
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    if let Some(cookie) = cookie {
        set_cookie(&mut response, &cookie)?;
    }
    Ok(response)
}

fn cookie(token: &str, max_age_s: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}")
}

fn set_cookie(response: &mut Response, cookie: &str) -> Result<(), ApiError> {
    let value = HeaderValue::from_str(cookie).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| value)
}

/// A second lock beside SameSite: browsers say where a request comes from.
fn same_site(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(ApiError::forbidden("sessions are not opened from other sites")),
    }
}

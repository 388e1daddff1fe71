//! `/api/oauth`: tokens and accounts in the shapes of PM2's client.
//!
//! Nothing under `/api/oauth/token` answers 401: the client would ask again at once, for ever.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{Input, Peer};
use super::{ApiError, view};
use crate::auth::{self, AuthError, CurrentUser, Grant, PROGRAM_SESSION_MS};
use crate::clock::iso;
use crate::ids::UserId;
use crate::state::AppState;
use crate::store::catalog::User;

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/oauth/token", post(token))
        .route("/api/oauth/register", post(register))
        .route("/api/oauth/revoke", post(revoke))
        .route("/api/oauth/login", post(terminal_login))
        .route("/api/oauth/authorize", get(authorize))
        .route("/api/oauth/authorize/{ticket}", get(redeem))
}

/// A refused request for a token, with the members that the various clients look for.
struct OauthError(StatusCode, &'static str, String);

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let Self(status, error, text) = self;
        (
            status,
            Json(json!({ "error": error, "error_description": text, "msg": text })),
        )
            .into_response()
    }
}

impl From<AuthError> for OauthError {
    fn from(error: AuthError) -> Self {
        let text = match &error {
            AuthError::UnknownToken => "the refresh token is unknown or was revoked".to_owned(),
            AuthError::Expired => "the refresh token has expired".to_owned(),
            other => other.to_string(),
        };
        match error {
            AuthError::TooMany { .. } => Self(StatusCode::TOO_MANY_REQUESTS, "slow_down", text),
            AuthError::Store(_) | AuthError::Hashing => {
                let answer = ApiError::from(error);
                Self(answer.status(), "server_error", answer.message().to_owned())
            }
            _ => Self(StatusCode::BAD_REQUEST, "invalid_grant", text),
        }
    }
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<Value>,
    refresh_token: Option<String>,
    username: Option<String>,
    email: Option<String>,
    password: Option<String>,
}

impl TokenRequest {
    /// Client ids are public names, some clients send theirs as a number.
    fn client(&self) -> String {
        match &self.client_id {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => "unnamed client".into(),
        }
    }
}

/// What a login or refresh answers.
pub(super) fn grant_json(grant: &Grant) -> Value {
    json!({
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "expire_at": iso(grant.expires_ms),
        "token_type": "Bearer",
    })
}

async fn token(
    State(state): State<AppState>,
    Peer(peer): Peer,
    input: Result<Input<TokenRequest>, ApiError>,
) -> Result<Response, OauthError> {
    let invalid = |text: &str| OauthError(StatusCode::BAD_REQUEST, "invalid_request", text.to_owned());
    let Input(request) = input.map_err(|error| invalid(error.message()))?;
    let client = request.client();
    let grant_type = request.grant_type.as_deref().unwrap_or("refresh_token");
    let grant = match grant_type {
        "refresh_token" => {
            let token = request
                .refresh_token
                .ok_or_else(|| invalid("refresh_token is missing"))?;
            Grant::refresh(&state, &token).await?
        }
        "password" => {
            let login = request
                .username
                .or(request.email)
                .ok_or_else(|| invalid("username is missing"))?;
            let password = request.password.ok_or_else(|| invalid("password is missing"))?;
            let user = auth::log_in(&state, &login, password, peer).await?;
            Grant::open(&state, user, &client, PROGRAM_SESSION_MS).await?
        }
        other => {
            let text = format!("grant_type {other:?} is not known; use refresh_token or password");
            return Err(OauthError(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                text,
            ));
        }
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(grant_json(&grant))).into_response())
}

#[derive(Deserialize)]
struct Registration {
    username: String,
    email: String,
    password: String,
    /// The code of an invitation: opens registration to those who were asked.
    invitation: Option<String>,
}

async fn register(
    State(state): State<AppState>,
    Peer(peer): Peer,
    Input(request): Input<Registration>,
) -> Result<Json<Value>, ApiError> {
    let invitation = match &request.invitation {
        Some(code) => state.catalog.invitation(code.clone()).await?,
        None => None,
    };
    match &invitation {
        Some((_, asked)) if asked.email.eq_ignore_ascii_case(&request.email) => {}
        Some(_) => {
            return Err(ApiError::forbidden(
                "this invitation is for another e-mail address",
            ));
        }
        None if request.invitation.is_some() => return Err(ApiError::not_found("invitation")),
        None if state.options.registration => {}
        None => {
            return Err(ApiError::forbidden(
                "this hub takes new accounts by invitation only",
            ));
        }
    }
    // Hashing is work: whoever registers in a loop is slowed like one who guesses.
    let registrant = format!(
        "registration from {}",
        peer.map_or_else(String::new, |peer| peer.to_string())
    );
    if let Some(wait_ms) = state.auth.limit.wait_ms(&registrant, None, state.now_ms()) {
        return Err(ApiError::too_many(
            "too many registrations; try again later",
            wait_ms.unsigned_abs() / 1000 + 1,
        ));
    }
    state.auth.limit.failed(&registrant, None, state.now_ms());
    let user = new_user(&state, &request.username, &request.email)?;
    let hash = state.auth.passwords.hash(request.password).await?;
    let user = state.catalog.create_user(user, hash).await?;
    if let Some(code) = request.invitation {
        state.catalog.accept_invitation(code, user.id).await?;
    }
    let grant = Grant::open(&state, user, "registration", PROGRAM_SESSION_MS).await?;
    let refresh = json!({ "token": grant.refresh_token });
    Ok(Json(json!({
        "user": view::user(&grant.user, &[], "{}"),
        "access_token": { "token": grant.access_token },
        "refresh_token": refresh,
        "refreshToken": refresh,
    })))
}

/// A new account's public part, checked.
pub(crate) fn new_user(state: &AppState, username: &str, email: &str) -> Result<User, ApiError> {
    let (username, email) = (username.trim(), email.trim());
    check_username(username)?;
    check_email(email)?;
    let now_ms = state.now_ms();
    Ok(User {
        id: UserId::fresh(now_ms),
        username: username.into(),
        email: email.into(),
        created_ms: now_ms,
    })
}

pub(super) fn check_username(name: &str) -> Result<(), ApiError> {
    let length = name.chars().count();
    // An @ would make it look like somebody's address, which comes first at login.
    if !(2..=64).contains(&length) || name.chars().any(|c| c.is_control() || c == '@') {
        return Err(ApiError::bad_request(
            "a user name has 2 to 64 characters and no @",
        ));
    }
    Ok(())
}

pub(super) fn check_email(email: &str) -> Result<(), ApiError> {
    let well_formed = email.len() <= 254
        && !email.chars().any(|c| c.is_control() || c.is_whitespace())
        && email
            .split_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    if well_formed {
        Ok(())
    } else {
        Err(ApiError::bad_request(format!("{email:?} is no e-mail address")))
    }
}

async fn revoke(
    State(state): State<AppState>,
    CurrentUser(session): CurrentUser,
) -> Result<Json<Value>, ApiError> {
    let token = session.parent.unwrap_or(session.token);
    state.catalog.revoke_token(session.user.id, token).await?;
    Ok(Json(json!({ "success": true })))
}

/// Where PM2's command line waits for its token.
const TERMINAL_REDIRECT: &str = "http://localhost:43532/";

/// The first step of a login in a terminal wants any answer; a person's browser is better off on the dashboard.
async fn authorize() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/")]).into_response()
}

#[derive(Deserialize)]
struct TerminalLogin {
    username: String,
    password: String,
}

async fn terminal_login(
    State(state): State<AppState>,
    Peer(peer): Peer,
    Input(request): Input<TerminalLogin>,
) -> Result<Response, OauthError> {
    let user = match auth::log_in(&state, &request.username, request.password, peer).await {
        Ok(user) => user,
        Err(AuthError::WrongCredentials) => {
            let text = AuthError::WrongCredentials.to_string();
            return Err(OauthError(StatusCode::FORBIDDEN, "access_denied", text));
        }
        Err(error) => return Err(error.into()),
    };
    let ticket = state.auth.tickets.issue(user.id, state.now_ms());
    let path = HeaderValue::try_from(format!("/api/oauth/authorize/{ticket}")).map_err(|error| {
        OauthError::from(AuthError::Store(crate::store::StoreError::Damaged {
            what: error.to_string(),
        }))
    })?;
    Ok((
        [(HeaderName::from_static("x-redirect"), path)],
        Json(json!({ "success": true })),
    )
        .into_response())
}

/// The third step: swaps the ticket of the second for a refresh token in a redirect.
async fn redeem(State(state): State<AppState>, Path(ticket): Path<String>) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("login");
    let user = state
        .auth
        .tickets
        .redeem(&ticket, state.now_ms())
        .ok_or_else(unknown)?;
    let user = state.catalog.user(user).await?.ok_or_else(unknown)?;
    let grant = Grant::open(&state, user, "terminal", PROGRAM_SESSION_MS).await?;
    let target = format!(
        "{TERMINAL_REDIRECT}?access_token={}&token_type=refresh_token",
        grant.refresh_token
    );
    Ok((
        StatusCode::FOUND,
        [
            (header::LOCATION, target),
            (header::CACHE_CONTROL, "no-store".into()),
        ],
    )
        .into_response())
}

//! `/api/bucket/:id/…`: members, roles and invitations.

use axum::extract::{Query, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{Input, Origin};
use super::oauth::check_email;
use super::{ApiError, view};
use crate::audit;
use crate::auth::{Member, Role};
use crate::ids::random_key;
use crate::state::AppState;
use crate::store::catalog::{Invitation, MemberRecord};

/// Members and open invitations of one bucket at most.
const MAX_MEMBERS: usize = 500;

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/users_authorized", get(list))
        .route("/api/bucket/{id}/current_role", get(current_role))
        .route("/api/bucket/{id}/manage_notif", post(manage_notifications))
        .route("/api/bucket/{id}/add_user", post(add))
        .route("/api/bucket/{id}/invitation", delete(withdraw))
        .route("/api/bucket/{id}/remove_user", post(remove))
        .route("/api/bucket/{id}/promote_user", post(promote))
}

async fn list(State(state): State<AppState>, member: Member) -> Result<Json<Value>, ApiError> {
    listed(&state, &member).await
}

async fn listed(state: &AppState, member: &Member) -> Result<Json<Value>, ApiError> {
    Ok(Json(view::members(
        &state.catalog.members(member.bucket.id).await?,
    )))
}

async fn current_role(member: Member) -> Json<Value> {
    Json(json!({ "role": member.role.as_str() }))
}

#[derive(Deserialize)]
struct ByEmail {
    email: String,
}

/// The member with this address.
async fn find(state: &AppState, member: &Member, email: &str) -> Result<MemberRecord, ApiError> {
    state
        .catalog
        .members(member.bucket.id)
        .await?
        .into_iter()
        .find(|record| record.user.email.to_lowercase() == email.to_lowercase())
        .ok_or_else(|| ApiError::not_found("member"))
}

#[derive(Deserialize)]
struct Notifications {
    email: String,
    state: String,
}

async fn manage_notifications(
    State(state): State<AppState>,
    member: Member,
    Input(request): Input<Notifications>,
) -> Result<Json<Value>, ApiError> {
    let target = find(&state, &member, &request.email).await?;
    if target.user.id != member.user.id {
        member.require(Role::Admin)?;
    }
    let notify = match request.state.as_str() {
        "email" => true,
        "none" => false,
        other => {
            return Err(ApiError::bad_request(format!(
                "state is email or none, not {other:?}"
            )));
        }
    };
    state
        .catalog
        .set_member_options(member.bucket.id, target.user.id, Some(notify), None)
        .await?;
    let members = state.catalog.members(member.bucket.id).await?;
    Ok(Json(
        members
            .iter()
            .map(|m| json!({ "email": m.user.email, "state": if m.notify { "email" } else { "none" } }))
            .collect(),
    ))
}

async fn invited(state: &AppState, member: &Member, origin: &Origin) -> Result<Json<Value>, ApiError> {
    let list = state.catalog.invitations(member.bucket.id).await?;
    Ok(Json(json!({ "invitations": view::invitations(&list, origin) })))
}

async fn add(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
    Input(request): Input<ByEmail>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Admin)?;
    let email = request.email.trim();
    check_email(email)?;
    let bucket = member.bucket.id;
    let members = state.catalog.members(bucket).await?;
    if members.len() + state.catalog.invitations(bucket).await?.len() >= MAX_MEMBERS {
        return Err(ApiError::forbidden(format!(
            "a bucket has at most {MAX_MEMBERS} members"
        )));
    }
    match state.catalog.find_user(email.to_owned()).await? {
        Some(user) if members.iter().any(|member| member.user.id == user.id) => {
            return Err(ApiError::bad_request(format!("{email} is a member already")));
        }
        Some(user) => state.catalog.set_member(bucket, user.id, Role::User).await?,
        None => {
            let code = random_key(52);
            let invitation = Invitation {
                email: email.to_owned(),
                code,
                invited_ms: state.now_ms(),
            };
            state.catalog.invite(bucket, invitation).await?;
        }
    }
    audit::note(&state, bucket, &member.user, "invite", email).await;
    invited(&state, &member, &origin).await
}

#[derive(Deserialize)]
struct Withdraw {
    email: Option<String>,
}

async fn withdraw(
    State(state): State<AppState>,
    member: Member,
    origin: Origin,
    Query(query): Query<Withdraw>,
    Input(body): Input<Withdraw>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Admin)?;
    let email = query
        .email
        .or(body.email)
        .ok_or_else(|| ApiError::bad_request("email is missing"))?;
    state
        .catalog
        .withdraw_invitation(member.bucket.id, email.clone())
        .await?;
    audit::note(
        &state,
        member.bucket.id,
        &member.user,
        "withdraw_invitation",
        &email,
    )
    .await;
    invited(&state, &member, &origin).await
}

async fn remove(
    State(state): State<AppState>,
    member: Member,
    Input(request): Input<ByEmail>,
) -> Result<Json<Value>, ApiError> {
    let target = find(&state, &member, &request.email).await;
    // Who may not remove others may still leave.
    if !matches!(&target, Ok(target) if target.user.id == member.user.id) {
        member.require(Role::Owner)?;
    }
    let target = target?;
    if target.role == Role::Owner {
        return Err(ApiError::forbidden(
            "the owner cannot be removed; hand the bucket over first",
        ));
    }
    state
        .catalog
        .remove_member(member.bucket.id, target.user.id)
        .await?;
    audit::note(
        &state,
        member.bucket.id,
        &member.user,
        "remove_member",
        &target.user.email,
    )
    .await;
    listed(&state, &member).await
}

#[derive(Deserialize)]
struct Promote {
    email: String,
    role: String,
}

async fn promote(
    State(state): State<AppState>,
    member: Member,
    Input(request): Input<Promote>,
) -> Result<Json<Value>, ApiError> {
    member.require(Role::Owner)?;
    let role: Role = request
        .role
        .parse()
        .map_err(|error: crate::auth::RoleError| ApiError::bad_request(error.to_string()))?;
    let target = find(&state, &member, &request.email).await?;
    if target.role == Role::Owner || role == Role::Owner {
        return Err(ApiError::forbidden(
            "the owner's role does not change; hand the bucket over instead",
        ));
    }
    state
        .catalog
        .set_member(member.bucket.id, target.user.id, role)
        .await?;
    let what = format!("{} as {role}", target.user.email);
    audit::note(&state, member.bucket.id, &member.user, "change_role", &what).await;
    listed(&state, &member).await
}

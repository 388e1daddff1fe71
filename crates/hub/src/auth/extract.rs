//! What handlers take to know who asks.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::{Role, Session, authenticate};
use crate::api::ApiError;
use crate::ids::BucketId;
use crate::state::AppState;
use crate::store::catalog::{Bucket, User};

/// Whoever asks, known by `Authorization: Bearer <access token>`. Refuses with 401, which tells PM2's client to
/// refresh its token and ask again.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub Session);

impl FromRequestParts<AppState> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if let Some(known) = parts.extensions.get::<Session>() {
            return Ok(Self(known.clone()));
        }
        let token = bearer(parts).ok_or_else(ApiError::unauthorized)?;
        let session = authenticate(state, token).await?;
        parts.extensions.insert(session.clone());
        Ok(Self(session))
    }
}

/// Whoever asks, as a member of the bucket named by the path parameter `id`. Every member may read; anything more
/// goes through [`Member::require`]. A bucket that one does not belong to is as unknown as one that is not there.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub user: User,
    /// The bucket of the path.
    pub bucket: Bucket,
    /// What they may do there.
    pub role: Role,
}

impl Member {
    /// Refuses with 403 when the role is less.
    pub fn require(&self, least: Role) -> Result<(), ApiError> {
        if self.role >= least {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "this needs the role {least}; you are {} here",
            self.role
        )))
    }

    /// The member that `user` is of a bucket, for sockets; requests take it as an argument.
    pub async fn find(state: &AppState, user: User, bucket: BucketId) -> Result<Self, ApiError> {
        let unknown = || ApiError::not_found("bucket");
        let role = state.catalog.role(bucket, user.id).await?.ok_or_else(unknown)?;
        let bucket = state.catalog.bucket(bucket).await?.ok_or_else(unknown)?;
        Ok(Self { user, bucket, role })
    }
}

impl FromRequestParts<AppState> for Member {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let CurrentUser(session) = CurrentUser::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found("bucket"))?;
        let id = params
            .iter()
            .find(|(name, _)| *name == "id")
            .and_then(|(_, value)| value.parse().ok())
            .ok_or_else(|| ApiError::not_found("bucket"))?;
        Self::find(state, session.user, id).await
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.trim())
}

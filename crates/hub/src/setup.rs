//! The first start: an owner, a bucket, its keys.

use crate::api::{ApiError, new_bucket, new_user};
use crate::auth::AuthError;
use crate::ids::random_key;
use crate::options::OwnerPreset;
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::catalog::{Bucket, User};

/// The setting that remembers the bucket of the first start.
const FIRST_BUCKET: &str = "first_bucket";
const DEFAULT_EMAIL: &str = "owner@localhost";

/// What somebody at the terminal needs to go on.
#[derive(Clone)]
pub struct Welcome {
    /// The owner's account.
    pub owner: User,
    /// The owner's password, when it was made up just now: the only time that it is known.
    pub password: Option<String>,
    /// Their first bucket.
    pub bucket: Bucket,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome")
            .field("owner", &self.owner.id)
            .field("bucket", &self.bucket.id)
            .finish_non_exhaustive()
    }
}

/// Why the first start failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The preset owner cannot be made.
    #[error("cannot create the owner's account: {0}")]
    Owner(String),
    /// The store failed.
    #[error("cannot set the hub up: {0}")]
    Store(#[from] StoreError),
}

/// Makes owner and bucket when there is no account yet; otherwise finds those of the first start, or what comes
/// nearest when they were deleted. `None` when there is no bucket any more.
pub async fn set_up(state: &AppState, preset: &OwnerPreset) -> Result<Option<Welcome>, SetupError> {
    if state.catalog.count_users().await? > 0 {
        return existing(state).await;
    }
    let email = preset.email.as_deref().unwrap_or(DEFAULT_EMAIL);
    let username: String = email
        .split('@')
        .next()
        .unwrap_or_default()
        .chars()
        .take(64)
        .collect();
    let username = if username.chars().count() < 2 {
        "owner".to_owned()
    } else {
        username
    };
    let generated = preset.password.is_none().then(|| random_key(20));
    let password = preset
        .password
        .clone()
        .or_else(|| generated.clone())
        .unwrap_or_default();

    let owner = new_user(state, &username, email)
        .map_err(|error: ApiError| SetupError::Owner(error.message().into()))?;
    let hash = state
        .auth
        .passwords
        .hash(password)
        .await
        .map_err(|error: AuthError| SetupError::Owner(error.to_string()))?;
    let owner = state.catalog.create_user(owner, hash).await?;
    let bucket = state
        .catalog
        .create_bucket(new_bucket("My servers", owner.id, state.now_ms()))
        .await?;
    state
        .catalog
        .set_setting(FIRST_BUCKET, bucket.id.to_string())
        .await?;
    Ok(Some(Welcome {
        owner,
        password: generated,
        bucket,
    }))
}

async fn existing(state: &AppState) -> Result<Option<Welcome>, SetupError> {
    let first = match state.catalog.setting(FIRST_BUCKET).await?.map(|id| id.parse()) {
        Some(Ok(id)) => state.catalog.bucket(id).await?,
        _ => None,
    };
    let bucket = match first {
        Some(bucket) => Some(bucket),
        None => state.catalog.buckets().await?.into_iter().next(),
    };
    let Some(bucket) = bucket else { return Ok(None) };
    let owner = state
        .catalog
        .user(bucket.owner)
        .await?
        .ok_or(StoreError::NotFound("the bucket's owner"))?;
    Ok(Some(Welcome {
        owner,
        password: None,
        bucket,
    }))
}

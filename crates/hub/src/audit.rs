//! Who did what, when, to what: the trail of every change.

use crate::ids::BucketId;
use crate::state::AppState;
use crate::store::catalog::{AuditEntry, User};

/// Notes something that a member did and that went well. A trail that cannot be written does not undo what was done:
/// the log gets it instead.
pub async fn note(state: &AppState, bucket: BucketId, who: &User, what: &'static str, target: &str) {
    record(
        state,
        AuditEntry {
            bucket,
            at_ms: state.now_ms(),
            who: who.email.clone(),
            what: what.into(),
            target: target.into(),
            outcome: "ok".into(),
            detail: "{}".into(),
        },
    )
    .await;
}

/// Notes anything.
pub async fn record(state: &AppState, entry: AuditEntry) {
    tracing::info!(
        bucket = %entry.bucket, who = entry.who, what = entry.what, target = entry.target, outcome = entry.outcome,
        "audit"
    );
    if let Err(error) = state.catalog.audit(entry).await {
        tracing::error!(%error, "an audit entry could not be stored");
    }
}

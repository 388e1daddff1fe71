//! Notes how far a try to link came, for the page that connects a server.

use super::keys;
use crate::live::BucketHandle;
use crate::live::attempts::{AttemptId, Problem, Step, Who};
use crate::state::AppState;

/// Said of keys of which one is right.
const HALF_RIGHT: &str = "the public key is that of this bucket, the secret key is not: copy the command anew, and run it there again";

/// One try, and where it is noted.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    state: AppState,
    bucket: BucketHandle,
    id: AttemptId,
}

impl Trace {
    /// An agent came with the keys of this bucket.
    pub(super) fn begin(state: &AppState, bucket: BucketHandle, who: Who) -> Self {
        let id = bucket.attempts().arrived(state.now_ms(), who);
        Self {
            state: state.clone(),
            bucket,
            id,
        }
    }

    pub(super) fn step(&self, step: Step) {
        self.bucket.attempts().step(self.state.now_ms(), self.id, step);
    }
}

/// An agent came with a key that is not known, or to a bucket that is closed.
pub(super) async fn refused(state: &AppState, one: &str, other: &str, who: Who, closed: Option<&str>) {
    if let Some(bucket) = keys::aimed_at(state, one, other).await {
        let (problem, message) = match closed {
            Some(message) => (Problem::Closed, message),
            None => (Problem::WrongKeys, HALF_RIGHT),
        };
        let live = state.live.bucket(bucket.id);
        live.attempts().refused(state.now_ms(), who, problem, message);
    }
}

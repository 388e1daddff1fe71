//! What each bucket looks like this second.
//!
//! `bucket` and what it uses (`server`, `absence`, `identity`, `view`, `ring`, `stored`) decide and are pure: they read no clock
//! and do no IO. `actor` is the one writer of each bucket: it feeds its [`bucket::Bucket`] from a bounded queue and
//! acts on what comes out. Everybody else holds a [`Live`] handle and asks. Log lines ([`logs`]) and events
//! ([`event`]) change no state and pass beside the owner.

pub mod absence;
mod actor;
pub mod attempts;
pub mod bucket;
pub mod event;
mod handle;
pub mod identity;
pub mod link;
pub mod logs;
pub mod model;
mod record;
pub mod ring;
pub mod server;
pub mod stored;
mod view;
mod waiting;

pub use actor::{Removal, Told};
pub use event::HubEvent;
pub(crate) use handle::KeysInUse;
pub use handle::{BucketHandle, Caller, Closed, Hardware, Link, Live, Received};

use crate::plans::Plan;
use crate::store::catalog;

/// The rules of a bucket, as its owner set them.
fn settings_of(bucket: &catalog::Bucket) -> bucket::Settings {
    bucket::Settings {
        plan: Plan::of(bucket),
        offline_after: i64::from(bucket.offline_after_s.max(1)) * 1000,
        delete_offline: bucket.delete_offline,
        max_servers: bucket.max_servers,
    }
}

#[cfg(test)]
mod tests;

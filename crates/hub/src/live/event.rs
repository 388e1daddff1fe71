//! Something that happened on a server, on its way to whoever listens right now.

use std::sync::Arc;

use serde_json::Value;

use super::model::{Millis, ServerId};

/// An event. Names and payloads are those of PM2's realtime API, which listeners know.
#[derive(Clone, Debug)]
pub struct HubEvent {
    /// Where.
    pub server: ServerId,
    /// The server's name.
    pub server_name: Arc<str>,
    /// When, by the server's clock.
    pub at: Millis,
    /// Which entry, when one.
    pub pm_id: Option<u32>,
    /// `process:event`, `human:event`, `axm:reply`, …
    pub channel: Arc<str>,
    /// What.
    pub payload: Value,
}

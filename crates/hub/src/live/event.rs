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

/// Largest payload that is passed on, in bytes of text and elements.
const MAX_PAYLOAD: usize = 256 * 1024;

impl HubEvent {
    /// Whether the payload is within [`MAX_PAYLOAD`].
    pub(super) fn is_small(&self) -> bool {
        fits(&self.payload, MAX_PAYLOAD).is_some()
    }
}

/// What is left of `room` after `value`, if it fits.
fn fits(value: &Value, room: usize) -> Option<usize> {
    let room = room.checked_sub(8)?;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(room),
        Value::String(text) => room.checked_sub(text.len()),
        Value::Array(items) => items.iter().try_fold(room, |room, item| fits(item, room)),
        Value::Object(map) => map.iter().try_fold(room, |room, (name, item)| {
            fits(item, room.checked_sub(name.len())?)
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn large_payloads_are_known() {
        assert!(fits(&json!({ "a": [1, "x", null] }), 100).is_some());
        assert!(fits(&json!("x".repeat(200)), 100).is_none());
        assert!(fits(&json!([[[[[[[[[[[[[1]]]]]]]]]]]]]), 100).is_none());
    }
}

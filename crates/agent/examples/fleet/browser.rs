//! A browser with PM2's client: it subscribes to everything and notes when a probe arrives.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::Fleet;

/// What the name of a probe begins with; its number follows.
pub(crate) const PROBE: &str = "probe-";

/// Listens; ends only with an error.
pub(crate) async fn watch(fleet: Arc<Fleet>) -> Result<(), crate::Failure> {
    let url = format!("ws://{}/primus?token={}", fleet.address, fleet.token);
    let (mut socket, _) = connect_async(url).await?;
    let subscribe = format!(
        r#"{{"action":"sub","public_id":"{}","filters":[]}}"#,
        fleet.public
    );
    socket.send(Message::Text(subscribe.into())).await?;
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message?
            && let Some(number) = probe_in(&text)
        {
            fleet.probe_arrived(number);
        }
    }
    Err("it ended".into())
}

/// A search, not a parse: most frames are a server's whole status, and the time that counts is the hub's.
fn probe_in(text: &str) -> Option<u64> {
    let at = text.find(PROBE)? + PROBE.len();
    let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

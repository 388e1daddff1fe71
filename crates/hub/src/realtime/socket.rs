//! What every socket to a browser or API client needs: a clock on silence, and writes that end.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;

use crate::auth::AuthError;

/// Frames that wait for one socket.
pub(super) const OUTGOING: usize = 32;
/// Bytes read at once: clients say little.
pub(super) const READ_BUFFER: usize = 4 * 1024;
/// Largest message that a client may send.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// A ping goes out this often: proxies cut idle sockets.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// A client that says nothing, not even pong, for so long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Tokens and memberships are looked at again this often.
pub(super) const RECHECK_EVERY: Duration = Duration::from_secs(30);
/// A write that takes longer means that nobody reads.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// Close code for a token that is not, or no longer, good.
pub(super) const CLOSE_UNAUTHORIZED: u16 = 4401;
/// Close code for a client that breaks the protocol.
pub(super) const CLOSE_POLICY: u16 = 1008;

/// The other side does not read, or is gone.
pub(super) struct Unreachable;

pub(super) type Sink = SplitSink<WebSocket, Message>;

/// Sends one message, or finds out that nobody takes it.
pub(super) async fn send(sink: &mut Sink, message: Message) -> Result<(), Unreachable> {
    match tokio::time::timeout(WRITE_LIMIT, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Unreachable),
    }
}

/// Says why, and ends.
pub(super) async fn close(sink: &mut Sink, code: u16, reason: &str) {
    let reason = Utf8Bytes::from(crate::live::model::cut(reason, 120).to_owned());
    let _ = send(sink, Message::Close(Some(CloseFrame { code, reason }))).await;
}

/// Whether asking for a new token helps.
pub(super) fn is_expired(error: &AuthError) -> bool {
    matches!(error, AuthError::Expired)
}

/// How long a token is still good.
pub(super) fn time_left(expires_at_ms: i64, now_ms: i64) -> Duration {
    // A year is for ever, and within what a timer takes.
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    Duration::from_millis(
        expires_at_ms
            .saturating_sub(now_ms)
            .clamp(0, YEAR_MS)
            .unsigned_abs(),
    )
}

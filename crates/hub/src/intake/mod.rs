//! Where agents come in: two doors, one model behind them.
//!
//! [`ours`] speaks `wire` with our agent, [`pm2`] speaks PM2's protocol with unmodified agents; each turns what it hears into
//! the types of [`crate::live`] and of the store. Whatever comes through a door is untrusted: bounded, checked, and when it is
//! garbage, that socket ends with a reason and nobody else notices.

mod keys;
mod notices;
pub mod ours;
pub mod pm2;
mod sparingly;
mod trace;

use axum::Router;

use crate::state::AppState;

/// Bytes that a socket of an agent reads at once.
const READ_BUFFER: usize = 8 * 1024;
/// Bytes that it collects before it writes.
const WRITE_BUFFER: usize = 8 * 1024;

/// Why one server more is not taken, in words for the one who links it.
fn no_place(limit: Option<u32>) -> String {
    format!(
        "this bucket takes {} servers and has as many: delete one in its settings or have the limit raised; this server then \
         links by itself",
        limit.unwrap_or_default()
    )
}

/// Whether the other end closed the connection, rather than that nothing came through.
fn is_cut(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown
            )
        {
            return false;
        }
        cause = error.source();
    }
    true
}

/// The doors.
pub fn router() -> Router<AppState> {
    ours::router().merge(pm2::router())
}

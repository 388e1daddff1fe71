//! The primary's half of the conversation, as lines.

use serde::Serialize;
use serde_json::Value;

use super::SockName;
use crate::internal::{BUN_MARK, Dialect};

/// Acknowledges a descriptor that the child sent.
#[must_use]
pub fn handle_ack() -> Vec<u8> {
    b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n".to_vec()
}

/// Tells the preload of this crate to let go of clients; a child without it passes over the line. `ms`: how long idle connections
/// are left alone.
#[must_use]
pub fn drain(ms: u32) -> Vec<u8> {
    format!("{{\"cmd\":\"NODE_PM_DRAIN\",\"ms\":{ms}}}\n").into_bytes()
}

#[derive(Serialize)]
struct Reply<'a> {
    cmd: &'static str,
    errno: Option<i32>,
    key: &'a str,
    ack: u64,
    data: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<&'a SockName>,
    seq: u64,
    #[serde(rename = "$hasHandle", skip_serializing_if = "Option::is_none")]
    has_handle: Option<bool>,
}

#[derive(Serialize)]
struct Act<'a> {
    cmd: &'static str,
    act: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    seq: u64,
    #[serde(rename = "$hasHandle", skip_serializing_if = "Option::is_none")]
    has_handle: Option<bool>,
}

#[derive(Serialize)]
struct Wrapped<'a, T> {
    cmd: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    msg: &'a T,
}

const CLUSTER: &str = "NODE_CLUSTER";

/// The answer to a query without a descriptor: an error, or a socket of which the parent accepts.
pub(super) fn answer(
    dialect: Dialect,
    errno: Option<i32>,
    key: &str,
    ack: u64,
    data: &Value,
    sockname: Option<&SockName>,
    seq: u64,
) -> Vec<u8> {
    let reply = Reply {
        cmd: CLUSTER,
        errno,
        key,
        ack,
        data,
        sockname,
        seq,
        has_handle: None,
    };
    line(dialect, &reply)
}

/// The answer to a query, with the socket itself.
pub(super) fn answer_with_handle(
    dialect: Dialect,
    udp: bool,
    key: &str,
    ack: u64,
    data: &Value,
    seq: u64,
) -> Vec<u8> {
    let has_handle = (dialect == Dialect::Bun).then_some(true);
    let reply = Reply {
        cmd: CLUSTER,
        errno: Some(0),
        key,
        ack,
        data,
        sockname: None,
        seq,
        has_handle,
    };
    with_handle(dialect, if udp { "dgram.Native" } else { "net.Native" }, &reply)
}

/// A connection.
pub(super) fn new_connection(dialect: Dialect, key: &str, seq: u64) -> Vec<u8> {
    let has_handle = (dialect == Dialect::Bun).then_some(true);
    let act = Act {
        cmd: CLUSTER,
        act: "newconn",
        key: Some(key),
        seq,
        has_handle,
    };
    with_handle(dialect, "net.Native", &act)
}

/// The wish that a worker closes its servers, waits for their connections, and disconnects.
pub(super) fn disconnect(dialect: Dialect, seq: u64) -> Vec<u8> {
    let act = Act {
        cmd: CLUSTER,
        act: "disconnect",
        key: None,
        seq,
        has_handle: None,
    };
    line(dialect, &act)
}

/// A worker that wants to disconnect may go on.
pub(super) fn may_disconnect(dialect: Dialect, ack: u64, seq: u64) -> Vec<u8> {
    line(
        dialect,
        &serde_json::json!({ "cmd": CLUSTER, "ack": ack, "seq": seq }),
    )
}

fn with_handle<T: Serialize>(dialect: Dialect, kind: &'static str, msg: &T) -> Vec<u8> {
    match dialect {
        Dialect::Node => line(
            dialect,
            &Wrapped {
                cmd: "NODE_HANDLE",
                kind,
                msg,
            },
        ),
        Dialect::Bun => line(dialect, msg),
    }
}

fn line<T: Serialize>(dialect: Dialect, message: &T) -> Vec<u8> {
    let mut line = match dialect {
        Dialect::Node => Vec::with_capacity(160),
        Dialect::Bun => vec![BUN_MARK],
    };
    // These shapes have text keys and plain values only: they always have a JSON form, and an empty line means nothing to a child.
    let _ = serde_json::to_writer(&mut line, message);
    line.push(b'\n');
    line
}

//! What a dashboard says on its socket, and the frames it gets. Pure.

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::logs::LogBatch;

/// What a dashboard asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Ask {
    Watch {
        /// Chosen by the dashboard; names the watch in every frame about it.
        id: u64,
        bucket: String,
        #[serde(flatten)]
        topic: Topic,
    },
    Unwatch {
        id: u64,
    },
    /// Browsers cannot send or see the protocol's own pings.
    Ping {
        #[serde(default)]
        id: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "topic", rename_all = "lowercase")]
pub(super) enum Topic {
    Servers,
    Logs { server: String, app: Option<String> },
}

/// Why something is not done; the words are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Forbidden,
    UnknownBucket,
    BadRequest,
    Expired,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::UnknownBucket => "unknown_bucket",
            Self::BadRequest => "bad_request",
            Self::Expired => "expired",
        }
    }
}

pub(super) fn error(id: Option<u64>, code: Code, message: &str) -> Utf8Bytes {
    json!({ "op": "error", "id": id, "code": code.as_str(), "message": message })
        .to_string()
        .into()
}

pub(super) fn pong(id: u64) -> Utf8Bytes {
    json!({ "op": "pong", "id": id }).to_string().into()
}

/// `rest` is ready text that ends the object (see `live::Told`).
pub(super) fn state(op: &str, id: u64, rest: &str) -> Utf8Bytes {
    format!(r#"{{"op":"{op}","id":{id},{rest}"#).into()
}

/// The lines of `batch` that `wants` takes; `None` when there is nothing to say.
pub(super) fn logs(
    id: u64,
    batch: &LogBatch,
    dropped: u64,
    wants: impl Fn(&str) -> bool,
) -> Option<Utf8Bytes> {
    let lines: Vec<Value> = batch
        .lines
        .iter()
        .filter(|line| wants(&line.app))
        .map(|line| {
            json!({
                "at": line.at,
                "server": batch.server,
                "pm_id": line.pm_id,
                "name": &*line.app,
                "stream": if line.err { "err" } else { "out" },
                "data": line.text,
            })
        })
        .collect();
    if lines.is_empty() && dropped == 0 {
        return None;
    }
    Some(
        json!({ "op": "logs", "id": id, "dropped": dropped, "lines": lines })
            .to_string()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks() {
        let ask = |text: &str| serde_json::from_str::<Ask>(text).ok();
        assert_eq!(
            ask(r#"{"op":"watch","id":1,"bucket":"b","topic":"servers"}"#),
            Some(Ask::Watch {
                id: 1,
                bucket: "b".into(),
                topic: Topic::Servers
            })
        );
        assert_eq!(
            ask(r#"{"op":"watch","id":2,"bucket":"b","topic":"logs","server":"s","app":null}"#),
            Some(Ask::Watch {
                id: 2,
                bucket: "b".into(),
                topic: Topic::Logs {
                    server: "s".into(),
                    app: None
                }
            })
        );
        assert_eq!(ask(r#"{"op":"unwatch","id":2}"#), Some(Ask::Unwatch { id: 2 }));
        for bad in [
            "",
            "1",
            "{}",
            r#"{"op":"watch","id":1}"#,
            r#"{"op":"watch","id":1,"bucket":"b","topic":"x"}"#,
        ] {
            assert_eq!(ask(bad), None, "{bad}");
        }
    }
}

//! What a line from a child means, and the messages that go to one.

use crate::frame::{WriteError, encode_message, is_internal};
use crate::internal::{self, Internal};
use serde_json::{Map, Value};
use thiserror::Error;

/// Names of metrics or options that one message may bring; the rest of it is ignored.
const MAX_KEYS: usize = 1000;

/// One message of a child.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildMessage {
    /// The text `ready`. Clients of the bus see it as [`ChildMessage::Raw`] too.
    Ready,
    /// `{node_version}`: kept, not published.
    NodeVersion(String),
    /// `axm:monitor`: metrics by name; each is an object with `value`, or a bare value. To be merged.
    Metrics(Map<String, Value>),
    /// `axm:action`: an action that the app offers.
    Action(Action),
    /// `axm:option:configuration`: options to be merged by their first key. `name` renames the process.
    Options(Map<String, Value>),
    /// `axm:option:setPID`: swallowed, as PM2 does.
    SetPid,
    /// `{type, data}` with both truthy: published under its own type.
    Packet {
        /// The type, which is the topic.
        kind: String,
        /// The data.
        data: Value,
    },
    /// Anything else: published as `process:msg`.
    Raw(Value),
    /// One of Node's own messages: never published.
    Internal(Internal),
}

/// An action that an app offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// `action_name`, `action_type`, `arity`, `opts` as they came, in this order; what was absent stays absent.
    pub fields: Map<String, Value>,
}

/// A line that is no JSON value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("reading a message of a child: not JSON: {reason}")]
pub struct BadLine {
    /// The parser's words; they do not quote the line.
    pub reason: String,
}

/// What a line means.
pub fn classify(line: &[u8]) -> Result<ChildMessage, BadLine> {
    if let Some(internal) = internal::recognise(line) {
        return Ok(ChildMessage::Internal(internal));
    }
    // Bytes that are no UTF-8 are replaced, as Node does.
    let read = match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(line)),
    };
    let value: Value = read.map_err(|e| BadLine {
        reason: e.to_string(),
    })?;
    Ok(classify_value(value))
}

/// What a value means.
pub fn classify_value(value: Value) -> ChildMessage {
    if is_internal(&value) {
        return ChildMessage::Internal(internal::from_value(value));
    }
    let Value::Object(mut map) = value else {
        return if value == "ready" {
            ChildMessage::Ready
        } else {
            ChildMessage::Raw(value)
        };
    };
    if let Some(Value::String(version)) = map.get("node_version") {
        return ChildMessage::NodeVersion(version.chars().take(64).collect());
    }
    let kind = match map.get("type") {
        Some(Value::String(kind)) if !kind.is_empty() => kind.clone(),
        _ => return ChildMessage::Raw(Value::Object(map)),
    };
    if kind == "axm:option:setPID" {
        return ChildMessage::SetPid;
    }
    if !map.get("data").is_some_and(truthy) {
        return ChildMessage::Raw(Value::Object(map));
    }
    let data = map.remove("data").unwrap_or_default();
    match (kind.as_str(), data) {
        ("axm:monitor", Value::Object(data)) => ChildMessage::Metrics(bounded(data)),
        ("axm:option:configuration", Value::Object(data)) => ChildMessage::Options(bounded(data)),
        ("axm:action", Value::Object(mut data)) => match data.get("action_name") {
            Some(Value::String(name)) if !name.is_empty() => {
                let name = name.clone();
                let fields = ["action_name", "action_type", "arity", "opts"]
                    .iter()
                    .filter_map(|key| data.shift_remove(*key).map(|v| ((*key).to_owned(), v)))
                    .collect();
                ChildMessage::Action(Action { name, fields })
            }
            _ => ChildMessage::Packet {
                kind,
                data: Value::Object(data),
            },
        },
        (_, data) => ChildMessage::Packet { kind, data },
    }
}

fn bounded(map: Map<String, Value>) -> Map<String, Value> {
    if map.len() <= MAX_KEYS {
        map
    } else {
        map.into_iter().take(MAX_KEYS).collect()
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// The line that asks a child to end.
pub fn shutdown() -> Vec<u8> {
    b"\"shutdown\"\n".to_vec()
}

/// The line that asks a cluster worker to reopen its log files.
pub fn log_reload() -> Vec<u8> {
    b"{\"type\":\"log:reload\"}\n".to_vec()
}

/// The line that calls an action: its bare name, or an object when there are options or a `uuid` (for scoped actions).
pub fn call_action(name: &str, opts: Option<&Value>, uuid: Option<&str>) -> Result<Vec<u8>, WriteError> {
    if opts.is_none() && uuid.is_none() {
        return encode_message(&Value::String(name.to_owned()));
    }
    let mut message = Map::new();
    message.insert("msg".into(), name.into());
    message.insert("action_name".into(), name.into());
    if let Some(opts) = opts {
        message.insert("opts".into(), opts.clone());
    }
    if let Some(uuid) = uuid {
        message.insert("uuid".into(), uuid.into());
    }
    encode_message(&Value::Object(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, message: &ChildMessage) {
        assert_eq!(
            &classify(value.to_string().as_bytes()).unwrap(),
            message,
            "{value}"
        );
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("an object")
        };
        map
    }

    #[test]
    fn every_kind_is_told_apart() {
        check(json!("ready"), &ChildMessage::Ready);
        check(
            json!({ "node_version": "20.20.2" }),
            &ChildMessage::NodeVersion("20.20.2".into()),
        );
        let metrics = json!({ "Heap Size": { "value": "10.2", "historic": true } });
        check(
            json!({ "type": "axm:monitor", "data": metrics }),
            &ChildMessage::Metrics(object(metrics.clone())),
        );
        check(
            json!({ "type": "axm:action", "data": { "arity": 0, "action_name": "refresh", "extra": 1 } }),
            &ChildMessage::Action(Action {
                name: "refresh".into(),
                fields: object(json!({ "action_name": "refresh", "arity": 0 })),
            }),
        );
        check(
            json!({ "type": "axm:option:configuration", "data": { "name": "x" } }),
            &ChildMessage::Options(object(json!({ "name": "x" }))),
        );
        check(
            json!({ "type": "axm:option:setPID", "data": 5 }),
            &ChildMessage::SetPid,
        );
        check(
            json!({ "type": "human:event", "data": "x" }),
            &ChildMessage::Packet {
                kind: "human:event".into(),
                data: json!("x"),
            },
        );
        let internal = json!({ "cmd": "NODE_CLUSTER", "act": "online", "seq": 0 });
        let online = |dialect| {
            let kind = internal::Kind::Cluster(internal::FromWorker::Online);
            ChildMessage::Internal(Internal { dialect, kind })
        };
        check(internal, &online(internal::Dialect::Node));
        // The same in another order of its fields.
        check(
            json!({ "seq": 0, "act": "online", "cmd": "NODE_CLUSTER" }),
            &online(internal::Dialect::Node),
        );
    }

    #[test]
    fn what_is_odd_is_raw() {
        for raw in [
            json!(null),
            json!(0),
            json!("Ready"),
            json!([1, 2]),
            json!({}),
            json!({ "type": "x" }),
            json!({ "type": "x", "data": 0 }),
            json!({ "type": "", "data": 1 }),
            json!({ "type": 5, "data": 1 }),
            json!({ "data": 1 }),
            json!({ "cmd": "NODE_" }),
            json!({ "node_version": 5 }),
        ] {
            check(raw.clone(), &ChildMessage::Raw(raw));
        }
        check(
            json!({ "type": "axm:action", "data": { "arity": 1 } }),
            &ChildMessage::Packet {
                kind: "axm:action".into(),
                data: json!({ "arity": 1 }),
            },
        );
        check(
            json!({ "type": "axm:monitor", "data": [1] }),
            &ChildMessage::Packet {
                kind: "axm:monitor".into(),
                data: json!([1]),
            },
        );
    }

    #[test]
    fn a_line_that_is_not_json_is_told_without_its_text() {
        let error = classify(b"{\"password\": hunter2}").unwrap_err().to_string();
        assert!(
            error.contains("not JSON") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(classify(b"").is_err());
        assert!(classify(&[b'['; 100_000]).is_err());
        assert!(classify(&[0xff, 0xfe]).is_err());
        assert_eq!(
            classify(b"[\"a\xff\"]"),
            Ok(ChildMessage::Raw(json!(["a\u{fffd}"])))
        );
    }

    #[test]
    fn a_flood_of_metrics_is_cut() {
        let many: Map<String, Value> = (0..5000).map(|n| (n.to_string(), json!(n))).collect();
        let message = classify_value(json!({ "type": "axm:monitor", "data": many }));
        assert!(matches!(message, ChildMessage::Metrics(m) if m.len() == MAX_KEYS));
    }

    #[test]
    fn what_is_sent() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(shutdown()), "\"shutdown\"\n");
        assert_eq!(text(log_reload()), "{\"type\":\"log:reload\"}\n");
        assert_eq!(text(call_action("a\nb", None, None).unwrap()), "\"a\\nb\"\n");
        assert_eq!(
            text(call_action("run", Some(&json!({ "x": 1 })), Some("u")).unwrap()),
            "{\"msg\":\"run\",\"action_name\":\"run\",\"opts\":{\"x\":1},\"uuid\":\"u\"}\n"
        );
    }
}

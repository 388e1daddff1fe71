//! What `pub.sock` carries: `[topic, data]` frames to every client that is connected.

use crate::axon::{Arg, AxonError, encode};
use crate::env::{Pm2Env, serialize_all};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// The daemon is going down.
pub const TOPIC_KILL: &str = "pm2:kill";
/// Something happened to a process.
pub const TOPIC_PROCESS_EVENT: &str = "process:event";
/// An IPC message without type or data.
pub const TOPIC_PROCESS_MSG: &str = "process:msg";
/// Output of a process.
pub const TOPIC_LOG_OUT: &str = "log:out";
/// Error output of a process.
pub const TOPIC_LOG_ERR: &str = "log:err";
/// Lines of the daemon's own log.
pub const TOPIC_LOG_PM2: &str = "log:PM2";

/// Which process a message is about. During a reload `pm_id` may be text such as `_old_3`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessRef<'a> {
    /// Number (or `_old_N`) of the process.
    pub pm_id: Value,
    /// Its name.
    pub name: &'a str,
    /// Git revision, if known.
    pub rev: Option<&'a str>,
    /// Its namespace.
    pub namespace: &'a str,
}

/// A frame of any topic.
pub fn encode_message<T: Serialize + ?Sized>(topic: &str, data: &T) -> Result<Vec<u8>, AxonError> {
    encode(&[Arg::Text(topic.into()), Arg::json(data)?])
}

/// A `process:event` frame. `pm2_env` is the process's; its `env` is left out, as PM2 does. `at_ms` is the epoch time.
pub fn process_event(
    event: &str,
    manually: bool,
    pm2_env: &Pm2Env,
    at_ms: i64,
) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct ProcessEvent<'a> {
        event: &'a str,
        manually: bool,
        process: WithoutVars<'a>,
        at: i64,
    }
    encode_message(
        TOPIC_PROCESS_EVENT,
        &ProcessEvent {
            event,
            manually,
            process: WithoutVars(pm2_env),
            at: at_ms,
        },
    )
}

struct WithoutVars<'a>(&'a Pm2Env);

impl Serialize for WithoutVars<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = self.0.fields().iter();
        serialize_all(kept.filter(|(key, _)| *key != "env"), serializer)
    }
}

/// A `log:out` or `log:err` frame, `data` being the text as it was written to the file.
pub fn log(error: bool, process: &ProcessRef<'_>, at_ms: i64, data: &str) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct Log<'a> {
        process: &'a ProcessRef<'a>,
        at: i64,
        data: &'a str,
    }
    encode_message(
        if error { TOPIC_LOG_ERR } else { TOPIC_LOG_OUT },
        &Log {
            process,
            at: at_ms,
            data,
        },
    )
}

/// A `log:PM2` frame: one line of the daemon's own log.
pub fn log_pm2(at_ms: i64, data: &str) -> Result<Vec<u8>, AxonError> {
    encode_message(
        TOPIC_LOG_PM2,
        &serde_json::json!({ "process": { "pm_id": "PM2", "name": "PM2", "rev": null }, "at": at_ms, "data": data }),
    )
}

/// Which process a message of its own is about: unlike with logs, the revision is not told.
#[derive(Serialize)]
struct Sender<'a> {
    pm_id: &'a Value,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Sender<'a> {
    fn of(process: &'a ProcessRef<'a>) -> Self {
        Sender {
            pm_id: &process.pm_id,
            name: process.name,
            namespace: process.namespace,
        }
    }
}

/// A frame for an IPC message `{type, data}` of a child, published under its own type.
pub fn typed_message(
    topic: &str,
    process: &ProcessRef<'_>,
    at_ms: i64,
    data: &Value,
) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct Message<'a> {
        at: i64,
        data: &'a Value,
        process: Sender<'a>,
    }
    encode_message(
        topic,
        &Message {
            at: at_ms,
            data,
            process: Sender::of(process),
        },
    )
}

/// A `process:msg` frame for any other IPC message of a child.
pub fn raw_message(process: &ProcessRef<'_>, at_ms: i64, raw: &Value) -> Result<Vec<u8>, AxonError> {
    encode_message(
        TOPIC_PROCESS_MSG,
        &serde_json::json!({
            "at": at_ms,
            "process": Sender::of(process),
            "raw": raw,
        }),
    )
}

/// Who ends the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KilledBy {
    /// A client, by `killMe`.
    Client,
    /// A signal.
    Signal,
}

/// The frame that tells all clients that the daemon is going down.
pub fn kill(by: KilledBy) -> Result<Vec<u8>, AxonError> {
    let msg = match by {
        KilledBy::Client => "pm2 has been killed via CLI",
        KilledBy::Signal => "pm2 has been killed by SIGNAL",
    };
    encode_message(TOPIC_KILL, &serde_json::json!({ "status": "killed", "msg": msg }))
}

/// A message as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its data, `null` if there was none.
    pub data: Value,
}

impl Message {
    /// Reads a message out of a frame; `None` if it has no topic.
    pub fn parse(args: &[Arg]) -> Option<Message> {
        let topic = match args.first()? {
            Arg::Text(text) => text.clone(),
            Arg::Json(_) | Arg::Blob(_) => return None,
        };
        let data = match args.get(1) {
            Some(Arg::Text(text)) => Value::String(text.clone()),
            Some(arg) => arg.to_value().unwrap_or(Value::Null),
            None => Value::Null,
        };
        Some(Message { topic, data })
    }

    /// For `log:<x>` the `<x>`: `out`, `err` or `PM2`.
    pub fn log_stream(&self) -> Option<&str> {
        self.topic.strip_prefix("log:").filter(|rest| !rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axon::Decoder;
    use serde_json::json;

    fn read(bytes: &[u8]) -> Message {
        let mut d = Decoder::default();
        d.push(bytes);
        Message::parse(&d.next_frame().unwrap().unwrap()).unwrap()
    }

    #[test]
    fn an_event_has_no_env() {
        let Value::Object(env) = json!({ "name": "api", "env": { "SECRET": "x" }, "status": "launching" })
        else {
            panic!("an object")
        };
        let message = read(&process_event("online", false, &env.into(), 5).unwrap());
        assert_eq!(message.topic, "process:event");
        assert_eq!(
            message.data.to_string(),
            r#"{"event":"online","manually":false,"process":{"name":"api","status":"launching"},"at":5}"#
        );
    }

    #[test]
    fn logs_keep_their_text() {
        let process = ProcessRef {
            pm_id: json!("_old_3"),
            name: "api",
            rev: None,
            namespace: "default",
        };
        let message = read(&log(true, &process, 7, "a\nü\u{0}").unwrap());
        assert_eq!(message.log_stream(), Some("err"));
        assert_eq!(
            message.data,
            json!({ "process": { "pm_id": "_old_3", "name": "api", "rev": null, "namespace": "default" }, "at": 7, "data": "a\nü\u{0}" })
        );
        assert_eq!(read(&log_pm2(1, "x").unwrap()).data["process"]["pm_id"], "PM2");
        let message = read(&raw_message(&process, 9, &json!("ready")).unwrap());
        assert_eq!(message.data["raw"], "ready");
        assert_eq!(message.log_stream(), None);
    }
}

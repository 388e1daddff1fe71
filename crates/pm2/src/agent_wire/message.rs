//! Messages of an agent by channel.

use super::{Incoming, SHORT, cut, text_of};
use crate::js;
use serde_json::Value;

/// Longest log chunk, stack or reply that is taken over, bytes.
const LONG: usize = 1 << 20;

/// The process that a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessRef {
    /// Number on its machine, if it is one.
    pub pm_id: Option<u32>,
    /// App name.
    pub name: String,
    /// Git revision, if known.
    pub rev: Option<String>,
    /// Machine name as the agent tells it; the socket's own name counts.
    pub server: String,
}

/// `process:event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// `online`, `exit`, `restart`, `restart overlimit`, …
    pub event: String,
    /// By a person's command.
    pub manually: bool,
}

/// `logs`: one raw write, not a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// `out`, `err`, or what an app made up.
    pub stream: String,
    /// The text; other values as JSON.
    pub data: String,
}

/// `axm:reply`.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionReply {
    /// Which action.
    pub action_name: String,
    /// What it returned; `null` if nothing.
    pub value: Value,
}

/// How far a scoped action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopedStep {
    /// Some output.
    Stream,
    /// The end.
    End,
    /// The end, in error.
    Error,
}

/// `axm:scoped_action:*`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopedOutput {
    /// How far it is.
    pub step: ScopedStep,
    /// The call.
    pub uuid: String,
    /// Which action.
    pub action_name: String,
    /// Its output.
    pub data: Value,
}

/// `trigger:pm2:result`. The data is left out: it holds the app's whole environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pm2Result {
    /// PM2's method.
    pub method_name: String,
    /// The name that was given; none if a number was.
    pub app_name: Option<String>,
    /// Why it failed; agents lose the text, which leaves this empty.
    pub error: Option<String>,
}

/// `process:exception`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exception {
    /// Message.
    pub message: Option<String>,
    /// Stack.
    pub stack: Option<String>,
    /// Class of the error.
    pub name: Option<String>,
    /// `file:line` of the first frame of the user.
    pub callsite: Option<String>,
    /// Source lines around it.
    pub context: Option<String>,
    /// What was given to `notifyError`; may hold request bodies.
    pub metadata: Option<Value>,
    /// Latest output of the app, oldest first.
    pub last_logs: Vec<String>,
}

/// `profilings`, and `profiling` of old apps.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `cpuprofile`, `heapprofile` or `heapdump`.
    pub kind: String,
    /// The profile as V8 writes it.
    pub data: String,
    /// When it began, epoch ms.
    pub at_ms: Option<i64>,
    /// How long it took, ms.
    pub duration_ms: Option<i64>,
    /// `manual`, or who asked.
    pub initiated: Option<String>,
    /// As in the reply to the start.
    pub uuid: Option<String>,
}

/// `trace-span`: a Zipkin v2 span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Trace, hexadecimal.
    pub trace_id: String,
    /// The span itself.
    pub id: String,
    /// Its parent; roots have none.
    pub parent_id: Option<String>,
    /// Name.
    pub name: String,
    /// `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER`.
    pub kind: Option<String>,
    /// Begin, µs since the epoch.
    pub timestamp_us: i64,
    /// Length, µs.
    pub duration_us: i64,
    /// Service.
    pub service: Option<String>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A full status; see [`super::StatusDoc`].
    Status(Value),
    /// A patch of the status.
    StatusPatch(Value),
    /// Something happened to a process.
    Event(ProcessEvent),
    /// Output.
    Log(LogChunk),
    /// An action answered.
    Reply(ActionReply),
    /// A scoped action said something.
    Scoped(ScopedOutput),
    /// An action was handed to the app (which does not mean that it was done).
    ActionAccepted {
        /// Which action.
        action_name: String,
        /// Which process; none if addressed by name.
        pm_id: Option<u32>,
    },
    /// An action was refused.
    ActionRefused {
        /// Which action.
        action_name: String,
        /// Which process.
        pm_id: Option<u32>,
        /// Why.
        error: String,
    },
    /// A PM2 method has ended.
    Pm2Result(Pm2Result),
    /// An error was reported.
    Exception(Box<Exception>),
    /// `human:event`.
    Human {
        /// Its name.
        name: String,
        /// Its data.
        data: Value,
    },
    /// A profile.
    Profile(Box<Profile>),
    /// A span.
    Span(Box<Span>),
    /// Aggregated legacy traces, as they came.
    Transaction(Value),
    /// What PM2 itself depends on (not the app): of no use.
    Dependencies,
    /// An untyped IPC message of an app.
    ProcessMsg(Value),
    /// A typed IPC message of an app, on a channel of its own.
    Other(Value),
    /// The channel is known, its payload is not what belongs there.
    Malformed(&'static str),
}

impl Message {
    /// Reads a frame. Never fails: what has no known shape is [`Message::Malformed`] or [`Message::Other`].
    pub fn read(frame: Incoming) -> Message {
        let payload = frame.payload;
        let data = &payload["data"];
        let id = |value: &Value| js::as_int(value).and_then(|id| u32::try_from(id).ok());
        let name_of = |value: &Value| text_of(value.get("action_name"), SHORT).unwrap_or_default();
        match frame.channel.as_str() {
            "status" => Message::Status(payload),
            "status:patch" => Message::StatusPatch(payload),
            "process:event" => match text_of(payload.get("event"), SHORT) {
                Some(event) => {
                    let manually = payload["manually"].as_bool().unwrap_or(false);
                    Message::Event(ProcessEvent { event, manually })
                }
                None => Message::Malformed("event is missing"),
            },
            "logs" => match text_of(payload.get("log_type"), 64) {
                Some(stream) => Message::Log(LogChunk {
                    stream,
                    data: long_text(data),
                }),
                None => Message::Malformed("log_type is missing"),
            },
            "axm:reply" => match text_of(data.get("action_name"), SHORT) {
                Some(action_name) => Message::Reply(ActionReply {
                    action_name,
                    value: data.get("return").cloned().unwrap_or_default(),
                }),
                None => Message::Malformed("action_name is missing"),
            },
            "axm:scoped_action:stream" => scoped(ScopedStep::Stream, data),
            "axm:scoped_action:end" => scoped(ScopedStep::End, data),
            "axm:scoped_action:error" => scoped(ScopedStep::Error, data),
            "trigger:action:success" => Message::ActionAccepted {
                action_name: name_of(&payload),
                pm_id: id(&payload["id"]),
            },
            "trigger:action:failure" => Message::ActionRefused {
                action_name: name_of(&payload),
                pm_id: id(&payload["id"]),
                error: cut(&js::to_text(&payload["err"]), SHORT).to_owned(),
            },
            "trigger:pm2:result" => pm2_result(&payload),
            "process:exception" => Message::Exception(Box::new(exception(data))),
            "human:event" => match text_of(payload.get("name").or_else(|| data.get("__name")), SHORT) {
                Some(name) => Message::Human {
                    name,
                    data: data.clone(),
                },
                None => Message::Malformed("name is missing"),
            },
            "profilings" => profile(data),
            "profiling" => profile(&payload),
            "trace-span" => span(data),
            "axm:transaction" => Message::Transaction(data.clone()),
            "application:dependencies" => Message::Dependencies,
            "process:msg" => Message::ProcessMsg(payload.get("raw").unwrap_or(data).clone()),
            _ => Message::Other(data.clone()),
        }
    }
}

impl Incoming {
    /// The process that the frame is about, for the channels that have one.
    pub fn process(&self) -> Option<ProcessRef> {
        let process = self.payload.get("process").filter(|p| p.is_object());
        // Profiles of old apps have these fields at their own level.
        let fields = process.or_else(|| (self.channel == "profiling").then_some(&self.payload))?;
        Some(ProcessRef {
            pm_id: fields
                .get("pm_id")
                .and_then(js::as_int)
                .and_then(|id| u32::try_from(id).ok()),
            name: text_of(fields.get("name"), SHORT).unwrap_or_default(),
            rev: text_of(fields.get("rev"), SHORT),
            server: text_of(fields.get("server").or_else(|| fields.get("server_name")), SHORT)
                .unwrap_or_default(),
        })
    }

    /// When it happened by the clock of the agent's host, epoch ms.
    pub fn at_ms(&self) -> Option<i64> {
        self.payload.get("at").and_then(js::as_int)
    }
}

fn long_text(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text, LONG).to_owned(),
        Value::Null => String::new(),
        other => cut(&other.to_string(), LONG).to_owned(),
    }
}

fn scoped(step: ScopedStep, data: &Value) -> Message {
    match text_of(data.get("uuid"), SHORT) {
        Some(uuid) => Message::Scoped(ScopedOutput {
            step,
            uuid,
            action_name: text_of(data.get("action_name"), SHORT).unwrap_or_default(),
            data: data.get("data").cloned().unwrap_or_default(),
        }),
        None => Message::Malformed("uuid is missing"),
    }
}

fn pm2_result(payload: &Value) -> Message {
    let (ret, meta) = (&payload["ret"], &payload["meta"]);
    let Some(method_name) = text_of(meta.get("method_name"), SHORT) else {
        return Message::Malformed("meta.method_name is missing");
    };
    let error = match &ret["err"] {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => Some(cut(text, SHORT).to_owned()),
        other => Some(text_of(other.get("message").or_else(|| other.get("msg")), SHORT).unwrap_or_default()),
    };
    Message::Pm2Result(Pm2Result {
        method_name,
        app_name: text_of(meta.get("app_name"), SHORT),
        error,
    })
}

fn exception(data: &Value) -> Exception {
    // Some libraries send objects where text belongs.
    let text = |key: &str| data.get(key).filter(|v| !v.is_null()).map(long_text);
    Exception {
        message: text("message"),
        stack: text("stack"),
        name: text_of(data.get("name"), SHORT),
        callsite: text_of(data.get("callsite"), 4096),
        context: text("context"),
        metadata: data.get("metadata").filter(|v| !v.is_null()).cloned(),
        last_logs: match &data["last_logs"] {
            Value::Array(logs) => logs
                .iter()
                .take(32)
                .map(|log| cut(&long_text(log), 1 << 16).to_owned())
                .collect(),
            _ => Vec::new(),
        },
    }
}

fn profile(data: &Value) -> Message {
    let Some(kind) = text_of(data.get("type"), 64) else {
        return Message::Malformed("type is missing");
    };
    let Some(Value::String(text)) = data.get("data") else {
        return Message::Malformed("data is not text");
    };
    Message::Profile(Box::new(Profile {
        kind,
        data: text.clone(),
        at_ms: data.get("at").and_then(js::as_int),
        duration_ms: data.get("duration").and_then(js::as_int),
        initiated: text_of(data.get("initiated"), SHORT),
        uuid: text_of(data.get("uuid"), SHORT),
    }))
}

fn span(data: &Value) -> Message {
    let text = |key: &str| text_of(data.get(key), SHORT);
    let number = |key: &str| data.get(key).and_then(js::as_int);
    let (Some(trace_id), Some(id)) = (text("traceId"), text("id")) else {
        return Message::Malformed("traceId or id is missing");
    };
    let (Some(timestamp_us), Some(duration_us)) = (number("timestamp"), number("duration")) else {
        return Message::Malformed("timestamp or duration is missing");
    };
    let tags = data["tags"].as_object().into_iter().flatten().take(200);
    Message::Span(Box::new(Span {
        trace_id,
        id,
        parent_id: text("parentId"),
        name: text("name").unwrap_or_default(),
        kind: text("kind"),
        timestamp_us,
        duration_us,
        service: text_of(data["localEndpoint"].get("serviceName"), SHORT),
        tags: tags
            .map(|(k, v)| (cut(k, SHORT).to_owned(), cut(&js::to_text(v), 4096).to_owned()))
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frame(channel: &str, payload: Value) -> Incoming {
        Incoming::parse(&json!({ "payload": payload, "channel": channel }).to_string()).unwrap()
    }

    fn read(channel: &str, payload: Value) -> Message {
        Message::read(frame(channel, payload))
    }

    #[test]
    fn every_channel_is_read() {
        let process = json!({ "pm_id": 3, "name": "api", "rev": null, "server": "web" });
        let log = frame(
            "logs",
            json!({ "at": 5, "process": process, "data": "par", "log_type": "err" }),
        );
        assert_eq!(
            log.process().unwrap(),
            ProcessRef {
                pm_id: Some(3),
                name: "api".into(),
                rev: None,
                server: "web".into()
            }
        );
        assert_eq!(log.at_ms(), Some(5));
        assert_eq!(
            Message::read(log),
            Message::Log(LogChunk {
                stream: "err".into(),
                data: "par".into()
            })
        );
        assert_eq!(
            read(
                "process:event",
                json!({ "event": "restart overlimit", "manually": false })
            ),
            Message::Event(ProcessEvent {
                event: "restart overlimit".into(),
                manually: false
            })
        );
        assert_eq!(
            read(
                "axm:reply",
                json!({ "data": { "at": 1, "action_name": "who", "return": { "pid": 1 } } })
            ),
            Message::Reply(ActionReply {
                action_name: "who".into(),
                value: json!({ "pid": 1 })
            })
        );
        assert_eq!(
            read(
                "trigger:action:failure",
                json!({ "success": false, "err": "99 id unknown", "id": "99", "action_name": "x" })
            ),
            Message::ActionRefused {
                action_name: "x".into(),
                pm_id: Some(99),
                error: "99 id unknown".into()
            }
        );
        assert_eq!(
            read(
                "trigger:pm2:result",
                json!({ "ret": { "err": {}, "data": { "env": "secret" } }, "meta": { "method_name": "scale", "app_name": "a" } })
            ),
            Message::Pm2Result(Pm2Result {
                method_name: "scale".into(),
                app_name: Some("a".into()),
                error: Some(String::new())
            })
        );
        let Message::Exception(error) = read(
            "process:exception",
            json!({ "data": { "message": { "odd": 1 }, "stack": "s", "last_logs": ["a", 5] } }),
        ) else {
            panic!("an exception")
        };
        assert_eq!(
            (error.message.as_deref(), error.last_logs.len()),
            (Some("{\"odd\":1}"), 2)
        );
        assert_eq!(
            read("human:event", json!({ "name": "signup", "data": { "a": 1 } })),
            Message::Human {
                name: "signup".into(),
                data: json!({ "a": 1 })
            }
        );
        assert_eq!(
            read("process:msg", json!({ "raw": "ready" })),
            Message::ProcessMsg(json!("ready"))
        );
        assert_eq!(read("my:own", json!({ "data": [1] })), Message::Other(json!([1])));
        assert!(
            matches!(read("axm:scoped_action:end", json!({ "data": { "uuid": "u", "data": 1, "action_name": "x" } })), Message::Scoped(s) if s.step == ScopedStep::End)
        );
        assert!(
            matches!(read("profilings", json!({ "data": { "type": "heapdump", "data": "{}", "at": 1 } })), Message::Profile(p) if p.kind == "heapdump")
        );
        let old = frame(
            "profiling",
            json!({ "pm_id": 0, "name": "old", "server_name": "web", "type": "cpuprofile", "data": "{}" }),
        );
        assert_eq!(old.process().map(|p| p.name), Some("old".into()));
        assert!(matches!(
            read("trace-span", json!({ "data": { "traceId": "a", "id": "b", "timestamp": 1, "duration": 2, "tags": { "http.status_code": 200 } } })),
            Message::Span(s) if s.tags == [("http.status_code".to_owned(), "200".to_owned())]
        ));
    }

    #[test]
    fn nothing_that_an_app_makes_up_is_believed() {
        for channel in [
            "process:event",
            "logs",
            "axm:reply",
            "axm:scoped_action:stream",
            "trigger:pm2:result",
            "human:event",
            "profilings",
            "trace-span",
        ] {
            for payload in [
                json!(null),
                json!(1),
                json!("x"),
                json!([]),
                json!({ "data": { "fake": 1 } }),
                json!({ "data": 5 }),
            ] {
                assert!(
                    matches!(read(channel, payload.clone()), Message::Malformed(_)),
                    "{channel} {payload}"
                );
            }
        }
    }
}

//! The `status` document: one per socket, full or patched, and a typed look at it.

use super::patch::{self, PatchLimits, Undo};
use super::{SHORT, cut, text_of};
use crate::js;
use serde_json::Value;
use thiserror::Error;

const MAX_PROCESSES: usize = 5_000;
const MAX_METRICS: usize = 1_000;
const MAX_ACTIONS: usize = 500;
/// A document larger than this (estimated bytes) is not a host's.
const MAX_DOCUMENT: usize = 64 << 20;

/// A `status` that is none: an app can send on any channel.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("reading a status: {0}")]
pub struct Refused(pub &'static str);

/// A patch that could not be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("applying a status patch: {reason}")]
pub struct NeedResend {
    /// Ask the agent for a full status now; false if that was done already.
    pub ask: bool,
    /// Why.
    pub reason: &'static str,
}

/// The document of one socket. What [`StatusDoc::document`] gives always has the shape of a status.
#[derive(Clone, Debug, Default)]
pub struct StatusDoc {
    /// What patches build on.
    working: Option<Value>,
    /// The last good document, while `working` has another shape.
    good: Option<Value>,
    /// A full one was asked for; patches are ignored until it comes.
    waiting: bool,
    grown: usize,
}

impl StatusDoc {
    /// No document yet.
    pub fn new() -> StatusDoc {
        StatusDoc::default()
    }

    /// Takes a full status. One of another shape changes nothing.
    pub fn full(&mut self, payload: Value) -> Result<(), Refused> {
        check_shape(&payload).map_err(Refused)?;
        self.grown = size(&payload);
        if self.grown > MAX_DOCUMENT {
            return Err(Refused("it is too large"));
        }
        self.working = Some(payload);
        self.good = None;
        self.waiting = false;
        Ok(())
    }

    /// Applies a patch. If that fails, the document stays as it was.
    pub fn patch(&mut self, payload: Value) -> Result<(), NeedResend> {
        if self.waiting {
            return Err(NeedResend {
                ask: false,
                reason: "waiting for the full status",
            });
        }
        let Some(working) = &mut self.working else {
            return Err(self.resend("there is no full status yet"));
        };
        self.grown = self.grown.saturating_add(size(&payload));
        let limits = PatchLimits::default();
        // A copy only where a patch could not be undone: it costs more than all the rest.
        let before = if patch::only_replaces(&payload) {
            patch::replace(working, payload, &limits).map(Before::Undo)
        } else {
            let copy = working.clone();
            match patch::apply(working, payload, &limits) {
                Ok(()) => Ok(Before::Copy(copy)),
                Err(error) => {
                    *working = copy;
                    Err(error)
                }
            }
        };
        let before = match before {
            Ok(before) => before,
            Err(error) => return Err(self.resend(error.reason)),
        };
        if self.grown > MAX_DOCUMENT {
            self.grown = size(working);
            if self.grown > MAX_DOCUMENT {
                self.working = None;
                return Err(self.resend("the document has grown too large"));
            }
        }
        // An app that sends on the channel `status` makes the agent patch the document into nonsense and back.
        if check_shape(working).is_ok() {
            self.good = None;
        } else if self.good.is_none() {
            self.good = Some(match before {
                Before::Copy(copy) => copy,
                Before::Undo(undo) => {
                    let mut copy = working.clone();
                    undo.put_back(&mut copy, &limits);
                    copy
                }
            });
        }
        Ok(())
    }

    /// The last good document.
    pub fn document(&self) -> Option<&Value> {
        self.good.as_ref().or(self.working.as_ref())
    }

    fn resend(&mut self, reason: &'static str) -> NeedResend {
        self.waiting = true;
        NeedResend { ask: true, reason }
    }
}

/// How to get back to the document before a patch.
enum Before {
    Copy(Value),
    Undo(Undo),
}

fn check_shape(payload: &Value) -> Result<(), &'static str> {
    let data = payload.get("data").ok_or("data is missing")?;
    let processes = data
        .get("process")
        .and_then(Value::as_array)
        .ok_or("data.process is not an array")?;
    if processes.len() > MAX_PROCESSES {
        return Err("it has too many processes");
    }
    if !data.get("server").is_some_and(Value::is_object) {
        return Err("data.server is not an object");
    }
    if !payload.get("server_name").is_some_and(Value::is_string) {
        return Err("server_name is missing");
    }
    Ok(())
}

/// About what the value takes, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => 16 + text.len(),
        Value::Array(items) => 16 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 16 + map.iter().map(|(k, v)| 16 + k.len() + size(v)).sum::<usize>(),
    }
}

/// A status, field by field. What is missing or of another type has its empty value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Name of the machine.
    pub server_name: String,
    /// Its address inside its network.
    pub internal_ip: String,
    /// The host.
    pub server: ServerStatus,
    /// Its processes.
    pub processes: Vec<ProcessStatus>,
}

/// The host of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerStatus {
    /// User that runs the agent.
    pub username: Option<String>,
    /// Host name.
    pub hostname: String,
    /// Seconds since boot.
    pub uptime_s: f64,
    /// `linux` and so on.
    pub platform: String,
    /// Release of PM2.
    pub pm2_version: String,
    /// Release of the agent.
    pub agent_version: String,
    /// Release of node that the agent runs on.
    pub node_version: String,
    /// One per agent process: equal on all its sockets.
    pub unique_id: String,
    /// 1, 5 and 15 minutes; PM2 7 only.
    pub loadavg: Option<[f64; 3]>,
    /// RAM in bytes; PM2 7 only.
    pub total_mem: Option<u64>,
}

/// A process of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessStatus {
    /// 0 when it does not run.
    pub pid: u32,
    /// App name.
    pub name: String,
    /// Number on its machine.
    pub pm_id: u32,
    /// One per start of the app; the instances of a cluster share it.
    pub unique_id: String,
    /// Status as PM2 writes it.
    pub status: String,
    /// `fork_mode` or `cluster_mode`.
    pub exec_mode: String,
    /// Interpreter.
    pub interpreter: String,
    /// Absolute path of the script.
    pub path: String,
    /// Arguments of the interpreter.
    pub node_args: Vec<String>,
    /// Restarts since creation or reset.
    pub restart_time: u64,
    /// Epoch ms; none after giving up.
    pub created_at: Option<i64>,
    /// Epoch ms of the last start.
    pub pm_uptime: i64,
    /// Percent of one core.
    pub cpu: f64,
    /// Resident bytes.
    pub memory: u64,
    /// NODE_ENV.
    pub node_env: Option<String>,
    /// Git metadata, as it came.
    pub versioning: Option<Value>,
    /// Actions that it offers.
    pub actions: Vec<ActionInfo>,
    /// Metrics that it reports.
    pub metrics: Vec<Metric>,
}

/// An action that an app offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionInfo {
    /// Its name.
    pub name: String,
    /// `custom`, `internal` or `scoped`.
    pub kind: String,
    /// 2: it takes an argument.
    pub arity: u32,
    /// Options, as they came.
    pub opts: Option<Value>,
}

/// A metric that an app reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Name as it is shown.
    pub name: String,
    /// Number, text or truth, as it came.
    pub value: Value,
    /// Unit as it is shown.
    pub unit: Option<String>,
    /// Identity such as `internal/v8/heap/used`.
    pub id: Option<String>,
    /// Worth keeping over time.
    pub historic: bool,
}

impl Metric {
    /// The value as a number: text may hold one, with a unit behind it (`"12.01req/s"`). Truth counts as 0 and 1.
    pub fn number(&self) -> Option<f64> {
        match &self.value {
            Value::Number(n) => n.as_f64(),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::String(text) => leading_number(text),
            _ => None,
        }
    }
}

/// The number at the beginning of the text.
fn leading_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let sign = usize::from(text.starts_with(['-', '+']));
    let end = text[sign..]
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(text.len(), |at| at + sign);
    text[..end].parse().ok().filter(|n: &f64| n.is_finite())
}

impl Status {
    /// Reads a document of a [`StatusDoc`].
    pub fn read(document: &Value) -> Status {
        let data = &document["data"];
        let processes = data["process"].as_array().map(Vec::as_slice).unwrap_or_default();
        Status {
            server_name: short(document, "server_name"),
            internal_ip: short(document, "internal_ip"),
            server: ServerStatus::read(&data["server"]),
            processes: processes
                .iter()
                .take(MAX_PROCESSES)
                .filter_map(ProcessStatus::read)
                .collect(),
        }
    }
}

impl ServerStatus {
    fn read(server: &Value) -> ServerStatus {
        let loadavg = server["loadavg"].as_array().map(|items| {
            let at = |n: usize| items.get(n).and_then(Value::as_f64).unwrap_or(0.0);
            [at(0), at(1), at(2)]
        });
        ServerStatus {
            username: text_of(server.get("username"), SHORT),
            hostname: short(server, "hostname"),
            uptime_s: server["uptime"].as_f64().unwrap_or(0.0),
            platform: short(server, "platform"),
            pm2_version: short(server, "pm2_version"),
            agent_version: short(server, "pm2_agent_version"),
            node_version: short(server, "node_version"),
            unique_id: short(server, "unique_id"),
            loadavg,
            total_mem: server["total_mem"].as_u64(),
        }
    }
}

impl ProcessStatus {
    /// Nothing without a number and a name: such a process could not be addressed.
    fn read(process: &Value) -> Option<ProcessStatus> {
        let whole = |key: &str| process.get(key).and_then(js::as_int);
        let natural = |key: &str| whole(key).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let small = |key: &str| u32::try_from(natural(key)).unwrap_or(0);
        let actions = process["axm_actions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let metrics = process["axm_monitor"].as_object();
        Some(ProcessStatus {
            pm_id: u32::try_from(whole("pm_id")?).ok()?,
            name: text_of(process.get("name"), SHORT)?,
            pid: small("pid"),
            unique_id: short(process, "unique_id"),
            status: short(process, "status"),
            exec_mode: short(process, "exec_mode"),
            interpreter: short(process, "interpreter"),
            path: text_of(process.get("path"), 4096).unwrap_or_default(),
            node_args: match &process["args"] {
                Value::Array(items) => items
                    .iter()
                    .take(100)
                    .map(|v| cut(&js::to_text(v), 4096).to_owned())
                    .collect(),
                _ => Vec::new(),
            },
            restart_time: natural("restart_time"),
            created_at: whole("created_at"),
            pm_uptime: whole("pm_uptime").unwrap_or(0),
            cpu: process["cpu"].as_f64().filter(|n| *n >= 0.0).unwrap_or(0.0),
            memory: natural("memory"),
            node_env: text_of(process.get("node_env"), SHORT),
            versioning: process.get("versioning").filter(|v| v.is_object()).cloned(),
            actions: actions
                .iter()
                .take(MAX_ACTIONS)
                .filter_map(ActionInfo::read)
                .collect(),
            metrics: metrics
                .into_iter()
                .flatten()
                .take(MAX_METRICS)
                .filter_map(|(name, metric)| Metric::read(name, metric))
                .collect(),
        })
    }
}

impl ActionInfo {
    fn read(action: &Value) -> Option<ActionInfo> {
        let name = text_of(action.get("action_name"), SHORT)?;
        let internal = name.starts_with("km:") || name.starts_with("internal:");
        let kind = text_of(action.get("action_type"), 32);
        Some(ActionInfo {
            kind: kind.unwrap_or_else(|| if internal { "internal" } else { "custom" }.into()),
            arity: action
                .get("arity")
                .and_then(js::as_int)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
            opts: action.get("opts").filter(|v| !v.is_null()).cloned(),
            name,
        })
    }
}

impl Metric {
    fn read(name: &str, metric: &Value) -> Option<Metric> {
        let (value, fields) = match metric {
            Value::Object(fields) => (fields.get("value")?, Some(fields)),
            plain => (plain, None),
        };
        let value = match value {
            Value::Number(_) | Value::Bool(_) => value.clone(),
            Value::String(text) => cut(text, SHORT).into(),
            _ => return None,
        };
        let field = |key: &str| text_of(fields.and_then(|f| f.get(key)), SHORT);
        Some(Metric {
            name: cut(name, SHORT).to_owned(),
            value,
            unit: field("unit"),
            id: field("type"),
            historic: fields
                .and_then(|f| f.get("historic"))
                .and_then(js::as_bool)
                .unwrap_or(true),
        })
    }
}

fn short(value: &Value, key: &str) -> String {
    text_of(value.get(key), SHORT).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Value {
        json!({
            "data": {
                "process": [
                    { "pid": 7, "name": "api", "pm_id": 0, "status": "online", "cpu": 3, "memory": 1024, "restart_time": 2,
                      "created_at": null, "pm_uptime": 5, "unique_id": "u", "args": ["--harmony"], "exec_mode": "fork_mode",
                      "axm_actions": [{ "action_name": "km:heapdump", "arity": 0 }, { "arity": 1 }, 7],
                      "axm_monitor": { "Heap / Size": { "value": "5.68", "unit": "MiB", "type": "internal/v8/heap/used", "historic": true }, "odd": {} } },
                    { "name": "no number" }, 5,
                ],
                "server": { "hostname": "h", "unique_id": "agent", "loadavg": [1, 2.5, 3], "total_mem": 5 },
            },
            "server_name": "web", "internal_ip": "10.0.0.1",
        })
    }

    #[test]
    fn a_status_is_read_field_by_field() {
        let read = Status::read(&status());
        assert_eq!(
            (read.server_name.as_str(), read.server.loadavg),
            ("web", Some([1.0, 2.5, 3.0]))
        );
        assert_eq!(read.processes.len(), 1);
        let api = &read.processes[0];
        assert_eq!((api.pid, api.created_at, api.node_args.len()), (7, None, 1));
        assert_eq!(
            api.actions,
            [ActionInfo {
                name: "km:heapdump".into(),
                kind: "internal".into(),
                arity: 0,
                opts: None
            }]
        );
        assert_eq!(api.metrics.len(), 1);
        assert_eq!(api.metrics[0].number(), Some(5.68));
        assert_eq!(Status::read(&json!(7)), Status::default());
    }

    #[test]
    fn numbers_hide_in_text() {
        for (text, number) in [
            ("12.01req/s", Some(12.01)),
            ("-0.5ms", Some(-0.5)),
            ("green", None),
            ("", None),
            ("1.2.3", None),
        ] {
            assert_eq!(leading_number(text), number, "{text}");
        }
    }

    #[test]
    fn patches_keep_the_document_current() {
        let mut doc = StatusDoc::new();
        let no_doc = doc.patch(json!([])).unwrap_err();
        assert!(no_doc.ask);
        assert!(!doc.patch(json!([])).unwrap_err().ask, "asked once");
        doc.full(status()).unwrap();
        doc.patch(json!([{ "op": "replace", "path": "/data/process/0/axm_monitor/Heap ~1 Size/value", "value": "6" }])).unwrap();
        assert_eq!(
            Status::read(doc.document().unwrap()).processes[0].metrics[0].number(),
            Some(6.0)
        );
        let half = json!([{ "op": "replace", "path": "/server_name", "value": "x" }, { "op": "remove", "path": "/nope" }]);
        assert!(doc.patch(half).unwrap_err().ask);
        assert_eq!(
            doc.document().unwrap()["server_name"],
            "web",
            "a patch applies whole or not at all"
        );
        assert!(
            doc.patch(json!([])).is_err(),
            "nothing builds on a doubtful document"
        );
        doc.full(status()).unwrap();
        assert!(doc.patch(json!([])).is_ok());
    }

    #[test]
    fn an_app_that_sends_on_status_does_no_harm() {
        let mut doc = StatusDoc::new();
        doc.full(status()).unwrap();
        assert_eq!(
            doc.full(json!({ "data": { "fake": 1 } })),
            Err(Refused("data.process is not an array"))
        );
        let process = status()["data"]["process"].clone();
        doc.patch(
            json!([{ "op": "remove", "path": "/data/process" }, { "op": "add", "path": "/at", "value": 1 }]),
        )
        .unwrap();
        assert_eq!(doc.document().unwrap()["data"]["process"], process);
        doc.patch(json!([{ "op": "add", "path": "/data/process", "value": process }, { "op": "remove", "path": "/at" }])).unwrap();
        assert_eq!(doc.document(), Some(&status()));
    }

    #[test]
    fn a_document_does_not_grow_for_ever() {
        let mut doc = StatusDoc::new();
        doc.full(status()).unwrap();
        let big = "x".repeat(8 << 20);
        let mut refused = false;
        for n in 0..12 {
            let patch = json!([{ "op": "add", "path": format!("/k{n}"), "value": big }]);
            refused |= doc.patch(patch).is_err();
        }
        assert!(refused);
        doc.full(status()).unwrap();
        for _ in 0..12 {
            doc.patch(json!([{ "op": "add", "path": "/k", "value": big }]))
                .unwrap();
        }
    }
}

//! Requests and replies on `rpc.sock`, for both ends.
//!
//! A request is `[json envelope, id]`, its reply `[json envelope, same id]`. The id is opaque. Replies may come in any order.

use crate::axon::{Arg, AxonError, encode};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

/// Names of the daemon's methods. The first thirty are PM2's, the ones under *ours* are additions.
pub mod method {
    #![expect(missing_docs, reason = "each constant is the name it holds")]
    pub const PREPARE: &str = "prepare";
    pub const GET_MONITOR_DATA: &str = "getMonitorData";
    pub const GET_SYSTEM_DATA: &str = "getSystemData";
    pub const START_PROCESS_ID: &str = "startProcessId";
    pub const STOP_PROCESS_ID: &str = "stopProcessId";
    pub const RESTART_PROCESS_ID: &str = "restartProcessId";
    pub const RELOAD_PROCESS_ID: &str = "reloadProcessId";
    pub const SOFT_RELOAD_PROCESS_ID: &str = "softReloadProcessId";
    pub const DELETE_PROCESS_ID: &str = "deleteProcessId";
    pub const DUPLICATE_PROCESS_ID: &str = "duplicateProcessId";
    pub const RESET_META_PROCESS_ID: &str = "resetMetaProcessId";
    pub const SEND_SIGNAL_TO_PROCESS_ID: &str = "sendSignalToProcessId";
    pub const SEND_SIGNAL_TO_PROCESS_NAME: &str = "sendSignalToProcessName";
    pub const SEND_LINE_TO_STDIN: &str = "sendLineToStdin";
    pub const SEND_DATA_TO_PROCESS_ID: &str = "sendDataToProcessId";
    pub const MSG_PROCESS: &str = "msgProcess";
    pub const NOTIFY_BY_PROCESS_ID: &str = "notifyByProcessId";
    pub const NOTIFY_KILL_PM2: &str = "notifyKillPM2";
    pub const KILL_ME: &str = "killMe";
    pub const STOP_WATCH: &str = "stopWatch";
    pub const START_WATCH: &str = "startWatch";
    pub const TOGGLE_WATCH: &str = "toggleWatch";
    pub const MONITOR: &str = "monitor";
    pub const UNMONITOR: &str = "unmonitor";
    pub const RELOAD_LOGS: &str = "reloadLogs";
    pub const PING: &str = "ping";
    pub const GET_VERSION: &str = "getVersion";
    pub const GET_REPORT: &str = "getReport";
    pub const PROFILE_CPU: &str = "profileCPU";
    pub const PROFILE_MEM: &str = "profileMEM";

    /// Every method of PM2, in the order in which `{"type":"methods"}` lists them.
    pub const ALL: [&str; 30] = [
        PREPARE,
        GET_MONITOR_DATA,
        GET_SYSTEM_DATA,
        START_PROCESS_ID,
        STOP_PROCESS_ID,
        RESTART_PROCESS_ID,
        DELETE_PROCESS_ID,
        SOFT_RELOAD_PROCESS_ID,
        RELOAD_PROCESS_ID,
        DUPLICATE_PROCESS_ID,
        RESET_META_PROCESS_ID,
        STOP_WATCH,
        START_WATCH,
        TOGGLE_WATCH,
        NOTIFY_BY_PROCESS_ID,
        NOTIFY_KILL_PM2,
        MONITOR,
        UNMONITOR,
        MSG_PROCESS,
        SEND_DATA_TO_PROCESS_ID,
        SEND_SIGNAL_TO_PROCESS_ID,
        SEND_SIGNAL_TO_PROCESS_NAME,
        SEND_LINE_TO_STDIN,
        PING,
        GET_VERSION,
        GET_REPORT,
        RELOAD_LOGS,
        KILL_ME,
        PROFILE_CPU,
        PROFILE_MEM,
    ];

    /// Ours: start the agent from the stored link.
    pub const AGENT_LINK: &str = "agentLink";
    /// Ours: end the agent.
    pub const AGENT_STOP: &str = "agentStop";
    /// Ours: let a newer program take over, without an app noticing.
    pub const REPLACE_PROGRAM: &str = "replaceProgram";
    /// Ours: what the agent is connected to.
    pub const AGENT_INFO: &str = "agentInfo";
    /// What the agent sent to the hub since a look; ours.
    pub const AGENT_INSPECT: &str = "agentInspect";
}

/// The opaque mark by which a reply finds its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(Arg);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Run a method.
    Method {
        /// Name as sent; possibly unknown.
        name: String,
        /// Arguments; their number is up to the client.
        args: Vec<Value>,
    },
    /// `{"type":"methods"}`: list the methods.
    Methods,
}

/// A request as the daemon sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// To be given back in the reply.
    pub id: Id,
    /// What is asked for.
    pub call: Call,
}

/// A frame that is not a proper request. `reply` is the frame to answer with, if the client can be answered at all.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("reading a request: {reason}")]
pub struct BadRequest {
    /// What was wrong.
    pub reason: String,
    /// Bytes to send back.
    pub reply: Option<Vec<u8>>,
}

impl Request {
    /// Reads a request out of a frame.
    pub fn parse(mut args: Vec<Arg>) -> Result<Request, BadRequest> {
        let bad = |reason: &str, id: Option<&Id>| BadRequest {
            reason: reason.into(),
            reply: id.and_then(|id| encode_error(id, reason, None).ok()),
        };
        if args.len() < 2 {
            return Err(bad("a request has an envelope and an id", None));
        }
        let Some(id) = args.pop().map(Id) else {
            return Err(bad("no id", None));
        };
        let Some(Value::Object(mut envelope)) = args.first().and_then(Arg::to_value) else {
            return Err(bad("the envelope is not a JSON object", Some(&id)));
        };
        match envelope.get("type").and_then(Value::as_str) {
            Some("methods") => Ok(Request {
                id,
                call: Call::Methods,
            }),
            Some("call") => {
                let Some(Value::String(name)) = envelope.remove("method") else {
                    return Err(bad(".method required", Some(&id)));
                };
                let Some(Value::Array(args)) = envelope.remove("args") else {
                    return Err(bad(".args required", Some(&id)));
                };
                Ok(Request {
                    id,
                    call: Call::Method { name, args },
                })
            }
            _ => Err(bad("the envelope's type is neither call nor methods", Some(&id))),
        }
    }
}

/// A client's request frame. `id` should be `<pid>:<n>`, as node's client does.
pub fn encode_request<T: Serialize + ?Sized>(id: &str, method: &str, args: &T) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct Envelope<'a, T: ?Sized> {
        r#type: &'static str,
        method: &'a str,
        args: &'a T,
    }
    encode(&[
        Arg::json(&Envelope {
            r#type: "call",
            method,
            args,
        })?,
        Arg::Text(id.into()),
    ])
}

/// The frame that answers a request with results: `results` is what the method's callback was given after the error,
/// so a tuple `(value,)`, an array or a `Vec`.
pub fn encode_reply<T: Serialize + ?Sized>(id: &Id, results: &T) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct Envelope<'a, T: ?Sized> {
        args: &'a T,
    }
    encode(&[Arg::json(&Envelope { args: results })?, id.0.clone()])
}

/// The frame that answers a request with an error. Clients keep their own stack if there is none.
pub fn encode_error(id: &Id, message: &str, stack: Option<&str>) -> Result<Vec<u8>, AxonError> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        stack: Option<&'a str>,
    }
    encode(&[
        Arg::json(&Envelope {
            error: message,
            stack,
        })?,
        id.0.clone(),
    ])
}

/// The frame that answers a call of a method nobody has.
pub fn encode_unknown_method(id: &Id, name: &str) -> Result<Vec<u8>, AxonError> {
    encode_error(id, &format!("method \"{name}\" does not exist"), None)
}

/// The frame that answers `{"type":"methods"}`.
pub fn encode_methods(id: &Id) -> Result<Vec<u8>, AxonError> {
    let methods: crate::Object = method::ALL
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                serde_json::json!({ "name": name, "params": [] }),
            )
        })
        .collect();
    encode(&[
        Arg::json(&serde_json::json!({ "methods": methods }))?,
        id.0.clone(),
    ])
}

/// A reply as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The request's id.
    pub id: String,
    /// Results, or the daemon's error text.
    pub result: Result<Vec<Value>, Failure>,
}

/// The daemon refused or failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Failure {
    /// The daemon's own words.
    pub message: String,
}

impl Reply {
    /// Reads a reply out of a frame; `None` if it is none.
    pub fn parse(mut args: Vec<Arg>) -> Option<Reply> {
        let id = match args.pop()? {
            Arg::Text(text) => text,
            Arg::Json(bytes) | Arg::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let Value::Object(mut envelope) = args.first()?.to_value()? else {
            return None;
        };
        let result = match envelope.remove("error") {
            Some(error) if crate::js::truthy(&error) => Err(Failure {
                message: error_text(&error),
            }),
            _ => match envelope.remove("args") {
                Some(Value::Array(args)) => Ok(args),
                _ => match envelope.remove("methods") {
                    Some(methods) => Ok(vec![methods]),
                    None => Ok(Vec::new()),
                },
            },
        };
        Some(Reply { id, result })
    }
}

fn error_text(error: &Value) -> String {
    match error.get("message").or_else(|| error.get("msg")) {
        Some(Value::String(message)) => message.clone(),
        _ => crate::js::to_text(error),
    }
}

/// A process id argument: clients send `0`, `"0"`, and for some methods `{id: 0}`, `{process_id: 0}` or `{pm_id: 0}`.
pub fn process_id(arg: &Value) -> Option<u32> {
    match arg {
        Value::Object(map) => ["id", "process_id", "pm_id"]
            .iter()
            .find_map(|key| map.get(*key))
            .and_then(plain_id),
        other => plain_id(other),
    }
}

fn plain_id(value: &Value) -> Option<u32> {
    match value {
        Value::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::String(s) if !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) => s.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axon::Decoder;
    use serde_json::json;

    fn frame(bytes: &[u8]) -> Vec<Arg> {
        let mut d = Decoder::default();
        d.push(bytes);
        d.next_frame().unwrap().unwrap()
    }

    fn request(envelope: &Value) -> Result<Request, BadRequest> {
        Request::parse(vec![Arg::json(envelope).unwrap(), Arg::Text("9:0".into())])
    }

    #[test]
    fn a_call_goes_there_and_back() {
        let bytes = encode_request("42:7", method::STOP_PROCESS_ID, &(3,)).unwrap();
        let request = Request::parse(frame(&bytes)).unwrap();
        assert_eq!(
            request.call,
            Call::Method {
                name: "stopProcessId".into(),
                args: vec![json!(3)]
            }
        );
        let reply = Reply::parse(frame(&encode_reply(&request.id, &({},)).unwrap())).unwrap();
        assert_eq!(
            reply,
            Reply {
                id: "42:7".into(),
                result: Ok(vec![json!(null)])
            }
        );
        let reply = Reply::parse(frame(
            &encode_error(&request.id, "3 : id unknown", Some("at x")).unwrap(),
        ))
        .unwrap();
        assert_eq!(reply.result.unwrap_err().to_string(), "3 : id unknown");
    }

    #[test]
    fn any_id_is_given_back_as_it_came() {
        for id in [
            Arg::Blob(vec![0, 255]),
            Arg::Json(b"{\"a\":1}".to_vec()),
            Arg::Text("x".into()),
        ] {
            let r = Request::parse(vec![Arg::Json(br#"{"type":"methods"}"#.to_vec()), id.clone()]).unwrap();
            assert_eq!(frame(&encode_methods(&r.id).unwrap()).pop(), Some(id));
        }
    }

    #[test]
    fn bad_requests_are_answered_with_the_words_clients_know() {
        let error = request(&json!({ "type": "call", "args": [] })).unwrap_err();
        let reply = Reply::parse(frame(&error.reply.unwrap())).unwrap();
        assert_eq!(reply.result.unwrap_err().message, ".method required");
        let error = request(&json!({ "type": "call", "method": "ping" })).unwrap_err();
        assert_eq!(error.reason, ".args required");
        assert!(request(&json!({ "type": "publish" })).is_err());
        assert!(request(&json!(7)).is_err());
        assert_eq!(
            Request::parse(vec![Arg::Text("x".into())]).unwrap_err().reply,
            None
        );
        assert_eq!(Request::parse(vec![]).unwrap_err().reply, None);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
        assert!(Request::parse(vec![Arg::Json(deep), Arg::Text("x".into())]).is_err());
    }

    #[test]
    fn ids_come_in_many_clothes() {
        assert_eq!(process_id(&json!(0)), Some(0));
        assert_eq!(process_id(&json!("12")), Some(12));
        assert_eq!(process_id(&json!({ "id": "3" })), Some(3));
        assert_eq!(process_id(&json!({ "process_id": 4 })), Some(4));
        for no in [
            json!("a"),
            json!(""),
            json!(-1),
            json!(1.5),
            json!(null),
            json!("99999999999"),
            json!({}),
        ] {
            assert_eq!(process_id(&no), None, "{no}");
        }
    }
}

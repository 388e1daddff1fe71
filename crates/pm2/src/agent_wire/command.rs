//! Frames that a server may send. An agent crashes on malformed commands, so only well-formed ones can be made here: every
//! payload is there and true, every PM2 method has its parameters and a target, every action has an addressee.

use crate::Object;
use serde_json::{Value, json};

/// The processes that a PM2 method is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One process by its number.
    Id(u32),
    /// All processes of a name.
    Name(String),
}

/// A PM2 method that agents accept from afar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Restart, also what is stopped.
    Restart(Target),
    /// Reload without a gap where the app can.
    Reload(Target),
    /// Set the counters to zero.
    Reset(Target),
    /// Ask for a sign of life.
    Ping(Target),
    /// Have this many instances.
    Scale {
        /// Name of the app.
        name: String,
        /// A count.
        number: u32,
    },
    /// Have this many instances more, or fewer.
    ScaleBy {
        /// Name of the app.
        name: String,
        /// Difference.
        by: i32,
    },
    /// Send logs for the next 120 s.
    StartLogging,
    /// Send no logs any more.
    StopLogging,
}

/// To whom an action goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// One process.
    Process(u32),
    /// Every process of the app that has the action.
    App(String),
}

impl Method {
    /// PM2's name of the method, as `trigger:pm2:result` repeats it.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Restart(_) => "restart",
            Method::Reload(_) => "reload",
            Method::Reset(_) => "reset",
            Method::Ping(_) => "ping",
            Method::Scale { .. } | Method::ScaleBy { .. } => "scale",
            Method::StartLogging => "startLogging",
            Method::StopLogging => "stopLogging",
        }
    }

    fn parameters(&self) -> Value {
        match self {
            Method::Restart(target)
            | Method::Reload(target)
            | Method::Reset(target)
            | Method::Ping(target) => match target {
                Target::Id(id) => json!({ "id": id }),
                Target::Name(name) => json!({ "name": name }),
            },
            Method::Scale { name, number } => json!({ "name": name, "number": number }),
            Method::ScaleBy { name, by } => json!({ "name": name, "number": format!("{by:+}") }),
            Method::StartLogging | Method::StopLogging => json!({}),
        }
    }
}

/// Asks for a full `status`; the next patches build on it.
pub fn status_resend() -> String {
    envelope("status:resend", json!({}))
}

/// Runs a PM2 method. The answer is `trigger:pm2:result` with the same method name; there is no other correlation.
pub fn pm2_action(method: &Method) -> String {
    envelope(
        "trigger:pm2:action",
        json!({ "method_name": method.name(), "parameters": method.parameters() }),
    )
}

/// Calls an action of an app. Accepted or refused by `trigger:action:*`, answered by `axm:reply`, if ever.
pub fn action(name: &str, to: &Addressee, opts: Option<&Value>) -> String {
    envelope("trigger:action", action_payload(name, to, opts).into())
}

/// Calls a scoped action; its output carries the `uuid`.
pub fn scoped_action(name: &str, to: &Addressee, opts: Option<&Value>, uuid: &str) -> String {
    let mut payload = action_payload(name, to, opts);
    payload.insert("uuid".into(), uuid.into());
    envelope("trigger:scoped_action", payload.into())
}

fn action_payload(name: &str, to: &Addressee, opts: Option<&Value>) -> Object {
    let mut payload = Object::new();
    payload.insert("action_name".into(), name.into());
    match to {
        Addressee::Process(id) => {
            payload.insert("process_id".into(), (*id).into());
        }
        Addressee::App(app) => {
            payload.insert("process".into(), json!({}));
            payload.insert("app_name".into(), app.as_str().into());
        }
    }
    if let Some(opts) = opts {
        payload.insert("opts".into(), opts.clone());
    }
    payload
}

fn envelope(channel: &str, payload: Value) -> String {
    json!({ "payload": payload, "channel": channel }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_shapes_that_agents_take() {
        assert_eq!(status_resend(), r#"{"payload":{},"channel":"status:resend"}"#);
        assert_eq!(
            pm2_action(&Method::Restart(Target::Id(0))),
            r#"{"payload":{"method_name":"restart","parameters":{"id":0}},"channel":"trigger:pm2:action"}"#
        );
        assert_eq!(
            pm2_action(&Method::Scale {
                name: "api".into(),
                number: 3
            }),
            r#"{"payload":{"method_name":"scale","parameters":{"name":"api","number":3}},"channel":"trigger:pm2:action"}"#
        );
        assert!(
            pm2_action(&Method::ScaleBy {
                name: "api".into(),
                by: 2
            })
            .contains(r#""number":"+2""#)
        );
        assert!(
            pm2_action(&Method::ScaleBy {
                name: "api".into(),
                by: -1
            })
            .contains(r#""number":"-1""#)
        );
        assert_eq!(
            pm2_action(&Method::StartLogging),
            r#"{"payload":{"method_name":"startLogging","parameters":{}},"channel":"trigger:pm2:action"}"#
        );
        assert_eq!(
            action(
                "km:heapdump",
                &Addressee::Process(0),
                Some(&json!({ "initiated": "manual" }))
            ),
            r#"{"payload":{"action_name":"km:heapdump","process_id":0,"opts":{"initiated":"manual"}},"channel":"trigger:action"}"#
        );
        assert_eq!(
            action("who", &Addressee::App("api".into()), None),
            r#"{"payload":{"action_name":"who","process":{},"app_name":"api"},"channel":"trigger:action"}"#
        );
        assert_eq!(
            scoped_action("lsof", &Addressee::Process(1), None, "u"),
            r#"{"payload":{"action_name":"lsof","process_id":1,"uuid":"u"},"channel":"trigger:scoped_action"}"#
        );
    }
}

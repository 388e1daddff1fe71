//! `POST …/api/node/verifyPM2`: the agent introduces itself.

use super::{SHORT, text_of};
use crate::js;
use serde_json::{Value, json};
use thiserror::Error;

/// Longest body that is looked at.
const MAX_BODY: usize = 1 << 20;

/// What an agent says of itself. Holds the secret key: never log it.
#[derive(Clone, PartialEq)]
pub struct VerifyRequest {
    /// Public key.
    pub public: String,
    /// Secret key, in clear.
    pub secret: String,
    /// Name under which the machine is shown.
    pub machine_name: String,
    /// Host name; empty if it was not told.
    pub hostname: String,
    /// Release of PM2; empty if it was not told.
    pub pm2_version: String,
    /// RAM in decimal megabytes, 0 if it was not told.
    pub memory_mb: f64,
    /// Logical CPUs.
    pub cpus: u32,
    /// Model of the first CPU.
    pub cpu_model: String,
}

impl std::fmt::Debug for VerifyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyRequest")
            .field("machine_name", &self.machine_name)
            .field("hostname", &self.hostname)
            .field("pm2_version", &self.pm2_version)
            .finish_non_exhaustive()
    }
}

/// A body that nobody can be recognised by.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Too long.
    #[error("reading a verify request: {0} bytes are too many")]
    TooLong(usize),
    /// Not JSON, even if what may be missing at the end is added.
    #[error("reading a verify request: not JSON: {0}")]
    Syntax(String),
    /// A field is missing or not text.
    #[error("reading a verify request: {0} is missing")]
    Missing(&'static str),
}

impl VerifyRequest {
    /// Reads the body of the request. Agents count characters instead of bytes in Content-Length, so with a name that is not
    /// ASCII the last bytes are missing: open brackets are closed then. Bytes behind the object are ignored.
    pub fn parse(body: &[u8]) -> Result<VerifyRequest, VerifyError> {
        if body.len() > MAX_BODY {
            return Err(VerifyError::TooLong(body.len()));
        }
        let body = String::from_utf8_lossy(body);
        let value = first_value(&body).or_else(|error| match closed(&body) {
            Some(whole) => first_value(&whole).map_err(|_| error),
            None => Err(error),
        });
        let value = value.map_err(VerifyError::Syntax)?;
        let data = value.get("data").cloned().unwrap_or_default();
        let needed = |value: Option<&Value>, name| {
            text_of(value, SHORT)
                .filter(|t| !t.is_empty())
                .ok_or(VerifyError::Missing(name))
        };
        let cpus = data.get("CPUS").and_then(Value::as_array);
        let first_cpu = cpus.and_then(|c| c.first());
        Ok(VerifyRequest {
            public: needed(value.get("public_id"), "public_id")?,
            secret: needed(value.get("private_id"), "private_id")?,
            machine_name: needed(data.get("MACHINE_NAME"), "data.MACHINE_NAME")?,
            hostname: text_of(data.get("HOSTNAME"), SHORT).unwrap_or_default(),
            pm2_version: text_of(data.get("PM2_VERSION"), SHORT).unwrap_or_default(),
            memory_mb: data
                .get("MEMORY")
                .and_then(Value::as_f64)
                .filter(|n| *n >= 0.0)
                .unwrap_or(0.0),
            // The releases before the present protocol send the count alone.
            cpus: match data.get("CPUS") {
                Some(Value::Array(cpus)) => cpus.len() as u32,
                Some(other) => js::as_int(other).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                None => 0,
            },
            cpu_model: text_of(first_cpu.and_then(|c| c.get("model")), SHORT).unwrap_or_default(),
        })
    }
}

/// The JSON value at the beginning of the text.
fn first_value(text: &str) -> Result<Value, String> {
    match serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .next()
    {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it is empty".into()),
    }
}

/// The text with what is open at its end closed, after the last point where a value was complete.
fn closed(text: &str) -> Option<String> {
    let mut open: Vec<char> = Vec::new();
    let mut in_string = false;
    let mut escaped = false;
    // The end of the last complete value, and what was open there.
    let mut complete: Option<(usize, Vec<char>)> = None;
    for (at, c) in text.char_indices() {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' => {
                if open.pop() != Some(c) {
                    return None;
                }
                complete = Some((at + 1, open.clone()));
            }
            ',' => complete = Some((at, open.clone())),
            _ => {}
        }
        if open.len() > 32 {
            return None;
        }
    }
    let (end, open) = complete?;
    Some(text[..end].chars().chain(open.into_iter().rev()).collect())
}

/// The answer to good keys. The agent compares the text of `endpoints` with the last one, so for the same addresses it is always
/// the same.
///
/// `separate`: further addresses for data and commands, which an agent takes that was told to (`AGENT_WEBSOCKET_ENDPOINT`).
pub fn verify_accepted(web: &str, ws: &str, separate: Option<(&str, &str)>) -> String {
    let endpoints = match separate {
        None => json!({ "web": web, "ws": ws }),
        Some((push, reverse)) => json!({ "web": web, "ws": ws, "push": push, "reverse": reverse }),
    };
    json!({
        "active": true, "pending": false, "disabled": false, "error": false, "msg": "", "endpoints": endpoints,
    })
    .to_string()
}

/// The answer to bad keys; `msg` is shown to the user. The WebSocket must refuse them too.
pub fn verify_refused(msg: &str) -> String {
    json!({ "error": true, "active": false, "msg": msg }).to_string()
}

/// The answer to good keys of a bucket that takes no further server. The command line, which looks for both of `active` and
/// `pending`, says so and fails; the agent asks again for a minute and a half, then ends.
pub fn verify_pending(msg: &str) -> String {
    json!({ "active": false, "pending": true, "disabled": false, "error": false, "msg": msg }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(name: &str) -> String {
        json!({
            "public_id": "pub", "private_id": "sec",
            "data": {
                "MACHINE_NAME": name, "PUBLIC_KEY": "pub", "RECYCLE": false, "PM2_VERSION": "7.0.4", "MEMORY": 25276.5,
                "HOSTNAME": "vm", "CPUS": [{ "model": "M", "speed": 0, "times": { "user": 1, "idle": 2 } }, { "model": "M" }],
            },
        })
        .to_string()
    }

    #[test]
    fn a_request_is_read() {
        let request = VerifyRequest::parse(body("web-01").as_bytes()).unwrap();
        assert_eq!((request.public.as_str(), request.secret.as_str()), ("pub", "sec"));
        assert_eq!(
            (request.cpus, request.cpu_model.as_str(), request.memory_mb),
            (2, "M", 25276.5)
        );
        assert!(!format!("{request:?}").contains("sec\""));
    }

    #[test]
    fn a_wrong_content_length_does_no_harm() {
        let body = body("srv-é-café");
        let request = VerifyRequest::parse(body.as_bytes()).unwrap();
        for missing in 1..40 {
            let cut = VerifyRequest::parse(&body.as_bytes()[..body.len() - missing]).unwrap();
            assert_eq!(
                (&cut.machine_name, cut.cpus.max(1)),
                (&request.machine_name, cut.cpus.max(1)),
                "{missing}"
            );
        }
        assert_eq!(
            VerifyRequest::parse(format!("{body}}}}}").as_bytes()).unwrap(),
            request
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = VerifyRequest::parse(br#"{"public_id":"p","data":{}}"#).unwrap_err();
        assert_eq!(error, VerifyError::Missing("private_id"));
        assert!(matches!(
            VerifyRequest::parse(b"GET /"),
            Err(VerifyError::Syntax(_))
        ));
        assert!(matches!(
            VerifyRequest::parse(&vec![b' '; MAX_BODY + 1]),
            Err(VerifyError::TooLong(_))
        ));
    }

    #[test]
    fn answers_are_constant_text() {
        assert_eq!(
            verify_accepted("https://h", "wss://h/interaction/pm2", None),
            r#"{"active":true,"pending":false,"disabled":false,"error":false,"msg":"","endpoints":{"web":"https://h","ws":"wss://h/interaction/pm2"}}"#
        );
        let separate = verify_accepted("http://h", "ws://h/i", Some(("ws://h:80/i", "ws://h:43554/i")));
        let expected = r#""endpoints":{"web":"http://h","ws":"ws://h/i","push":"ws://h:80/i","reverse":"ws://h:43554/i"}}"#;
        assert!(separate.ends_with(expected), "{separate}");
        assert_eq!(
            verify_refused("no"),
            r#"{"error":true,"active":false,"msg":"no"}"#
        );
        assert_eq!(
            verify_pending("full"),
            r#"{"active":false,"pending":true,"disabled":false,"error":false,"msg":"full"}"#
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, flip in any::<u8>()) {
            let _ = VerifyRequest::parse(&bytes);
            let mut body = body("x").into_bytes();
            let len = body.len();
            body[at % len] = flip;
            let _ = VerifyRequest::parse(&body);
        }
    }
}

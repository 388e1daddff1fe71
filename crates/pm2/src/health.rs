//! The attribute `health` (ours): how a process is checked, as people write it.

use std::time::Duration;

use serde_json::Value;
use supervisor::HealthRules;

use crate::{Object, js, units};

/// What is asked to find out whether a process is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A GET request: 2xx and 3xx are good.
    Http {
        /// Host name or address.
        host: String,
        /// `None`: the process's own `PORT`.
        port: Option<u16>,
        /// With the leading slash, query included.
        path: String,
    },
    /// A connection that is accepted.
    Tcp {
        /// Host name or address.
        host: String,
        /// `None`: the process's own `PORT`.
        port: Option<u16>,
    },
    /// A command line for the shell that exits with 0, run as the process's user in its directory with its variables.
    Command(String),
}

/// The whole attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// When to look, and what follows.
    pub rules: HealthRules,
    /// Where to look.
    pub check: Check,
}

const KEYS: [&str; 8] = [
    "http",
    "tcp",
    "command",
    "interval",
    "timeout",
    "retries",
    "start_period",
    "on_failure",
];
/// A look every few milliseconds would be a load, not a check.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const LOCAL: &str = "127.0.0.1";

impl HealthCheck {
    /// Reads the attribute.
    ///
    /// # Errors
    /// What is wrong with it, to be shown behind its name.
    pub fn parse(text: &Object) -> Result<Self, String> {
        if let Some(key) = text.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("\"{key}\" is not known; known are {}", KEYS.join(", ")));
        }
        let get = |key: &str| text.get(key).filter(|value| !value.is_null());
        let check = match (get("http"), get("tcp"), get("command")) {
            (Some(http), None, None) => parse_http(http)?,
            (None, Some(tcp), None) => parse_tcp(tcp)?,
            (None, None, Some(Value::String(command))) if !command.trim().is_empty() => {
                Check::Command(command.clone())
            }
            (None, None, Some(_)) => return Err("\"command\" should be a command line".into()),
            _ => return Err("it needs exactly one of http, tcp and command".into()),
        };
        let time = |key: &str, default: u64, least: Duration| {
            match get(key) {
            None => Ok(Duration::from_secs(default)),
            Some(value) => units::parse_millis(&js::to_text(value))
                .map(Duration::from_millis)
                .filter(|time| (least..=LONGEST).contains(time))
                .ok_or_else(|| {
                    format!("\"{key}\" should be milliseconds or a time such as \"10s\", from {least:?} to 24 hours")
                }),
        }
        };
        let retries = match get("retries") {
            None => 3,
            Some(value) => js::as_int(value)
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| (1..=1000).contains(n))
                .ok_or("\"retries\" should be a whole number from 1 to 1000")?,
        };
        let restart = match get("on_failure").map(|value| value.as_str()) {
            None | Some(Some("restart")) => true,
            Some(Some("none")) => false,
            Some(_) => return Err("\"on_failure\" should be \"restart\" or \"none\"".into()),
        };
        let rules = HealthRules {
            interval: time("interval", 10, SHORTEST)?,
            timeout: time("timeout", 5, SHORTEST)?,
            start_period: time("start_period", 0, Duration::ZERO)?,
            retries,
            restart,
        };
        Ok(Self { rules, check })
    }
}

/// `http://host:port/path`, or any part of it from the port on: `:8080/live`, `/live`.
fn parse_http(value: &Value) -> Result<Check, String> {
    let wrong =
        || "\"http\" should be a URL such as \"http://127.0.0.1:3000/live\", or a path such as \"/live\"";
    let url = value.as_str().ok_or_else(wrong)?.trim();
    if url.starts_with("https:") {
        return Err("\"http\" can't be a https URL; use \"command\" with a program such as curl".into());
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
    if (rest.is_empty() || url.contains("://") && rest == url) || !printable {
        return Err(wrong().into());
    }
    let (host, port) = parse_authority(authority).ok_or_else(wrong)?;
    Ok(Check::Http {
        host,
        port,
        path: path.to_owned(),
    })
}

fn parse_tcp(value: &Value) -> Result<Check, String> {
    let wrong = "\"tcp\" should be a port, or \"host:port\"";
    if !value.is_string() && !value.is_number() {
        return Err(wrong.into());
    }
    let text = js::to_text(value);
    let text = text.trim();
    if let Ok(port) = text.parse::<u16>() {
        return (port > 0)
            .then(|| Check::Tcp {
                host: LOCAL.into(),
                port: Some(port),
            })
            .ok_or_else(|| wrong.into());
    }
    let (host, port) = parse_authority(text).ok_or(wrong)?;
    if text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong.into());
    }
    Ok(Check::Tcp { host, port })
}

/// `host`, `host:port`, `:port`, `[::1]:port` or nothing.
fn parse_authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => None,
        digits => Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if !host.chars().all(known) || host.len() > 255 {
        return None;
    }
    let host = if host.is_empty() { LOCAL } else { host };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<HealthCheck, String> {
        HealthCheck::parse(value.as_object().expect("an object"))
    }

    fn http(url: &str) -> Option<(String, Option<u16>, String)> {
        match parse(json!({ "http": url })).ok()?.check {
            Check::Http { host, port, path } => Some((host, port, path)),
            _ => None,
        }
    }

    #[test]
    fn places_to_look_at() {
        let at = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(http("http://a.b:80/x?y=1"), at("a.b", Some(80), "/x?y=1"));
        assert_eq!(http("http://[::1]:80"), at("::1", Some(80), "/"));
        assert_eq!(http(":81/live"), at(LOCAL, Some(81), "/live"));
        assert_eq!(http("/live"), at(LOCAL, None, "/live"));
        for wrong in [
            "",
            "https://a/",
            "ftp://a/",
            "/a b",
            "http://a:0/",
            "http://a b/",
            "/a\r\nHost: x",
        ] {
            assert_eq!(http(wrong), None, "{wrong}");
        }
        let tcp = |value| parse(json!({ "tcp": value })).map(|check| check.check);
        let local = |port| Check::Tcp {
            host: LOCAL.into(),
            port: Some(port),
        };
        assert_eq!(tcp(json!(5432)), Ok(local(5432)));
        assert_eq!(tcp(json!("5432")), Ok(local(5432)));
        assert_eq!(tcp(json!(":1")), Ok(local(1)));
        for wrong in [json!(0), json!(70_000), json!(""), json!(true), json!([1])] {
            assert!(tcp(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_and_their_defaults() {
        let plain = parse(json!({ "command": "true" })).unwrap().rules;
        assert_eq!(
            (plain.interval.as_secs(), plain.timeout.as_secs(), plain.retries),
            (10, 5, 3)
        );
        assert!(plain.restart && plain.start_period.is_zero());
        let set = json!({ "command": "x", "interval": "1m", "timeout": 250, "retries": 1, "start_period": "2s", "on_failure": "none" });
        let set = parse(set).unwrap().rules;
        assert_eq!((set.interval.as_secs(), set.timeout.as_millis()), (60, 250));
        assert!(!set.restart);
    }

    #[test]
    fn mistakes_are_named() {
        let text = |value| parse(value).unwrap_err();
        assert!(text(json!({ "http": "/", "intervall": 1 })).contains("\"intervall\" is not known"));
        assert!(text(json!({ "http": "/", "tcp": 1 })).contains("exactly one"));
        assert!(text(json!({})).contains("exactly one"));
        assert!(text(json!({ "tcp": 1, "interval": 5 })).contains("\"interval\""));
        assert!(text(json!({ "tcp": 1, "timeout": "soon" })).contains("\"timeout\""));
        assert!(text(json!({ "tcp": 1, "on_failure": "panic" })).contains("on_failure"));
        assert!(text(json!({ "command": " " })).contains("command"));
    }
}

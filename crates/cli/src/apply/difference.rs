//! How one app differs from one of its processes.

use super::Desired;
use crate::process::Process;
use pm2::Object;
use pm2::schema::ATTRIBUTES;
use serde_json::Value;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) attribute: String,
    /// Null: not there. Values of variables are never told: they may be secrets.
    pub(crate) before: Value,
    pub(crate) after: Value,
    pub(crate) need: Need,
}

/// What it takes to make it true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A restart or reload takes the new value along.
    Restart,
    /// Only a new process has it.
    Replace,
}

/// Not attributes of what runs, or looked at in another way.
const SKIPPED: [&str; 14] = [
    "env",
    "instances",
    "username",
    "filter_env",
    "km_link",
    "force",
    "write",
    "name",
    "append_env_to_name",
    "execute_command",
    "io",
    "port",
    "pm_pid_path",
    "time",
];

/// What a restart does not change.
const FIXED: [&str; 12] = [
    "pm_exec_path",
    "pm_cwd",
    "exec_interpreter",
    "exec_mode",
    "namespace",
    "merge_logs",
    "pm_out_log_path",
    "pm_err_log_path",
    "pm_log_path",
    "uid",
    "gid",
    "instance_var",
];

/// What resolution turns into the `pm_*` paths; a restart leaves the words of the file there too.
const TRANSLATED: [&str; 6] = ["script", "cwd", "out_file", "error_file", "log_file", "pid_file"];

/// Files whose names got the id of the process.
const NUMBERED: [&str; 3] = ["pm_out_log_path", "pm_err_log_path", "pm_log_path"];

pub(super) fn differences(desired: &Desired, process: &Process) -> Vec<Difference> {
    let actual = &process.env.to_object();
    let mut out = Vec::new();
    for (key, after) in &desired.app {
        let key_skipped = SKIPPED.contains(&key.as_str()) || TRANSLATED.contains(&key.as_str());
        if key_skipped || key.starts_with("env_") {
            continue;
        }
        // `stop` turns watching off; the next start turns it on.
        if key == "watch" && process.status() != "online" {
            continue;
        }
        let before = actual.get(key).unwrap_or(&Value::Null);
        let same = if NUMBERED.contains(&key.as_str()) {
            same_file(after, before, process.pm_id)
        } else {
            same_value(after, before)
        };
        if !same {
            out.push(Difference {
                attribute: key.clone(),
                before: before.clone(),
                after: after.clone(),
                need: if FIXED.contains(&key.as_str()) {
                    Need::Replace
                } else {
                    Need::Restart
                },
            });
        }
    }
    out.extend(gone(desired, actual));
    out.extend(variables(desired, actual));
    out
}

/// Attributes that the process has and the file no longer names. A restart cannot take anything away.
fn gone(desired: &Desired, actual: &Object) -> Vec<Difference> {
    let env = actual.get("env").and_then(Value::as_object);
    ATTRIBUTES
        .iter()
        .map(|attribute| attribute.name)
        .filter(|name| !SKIPPED.contains(name) && !TRANSLATED.contains(name))
        .filter(|name| !desired.app.contains_key(*name))
        // Variables lie flat beside the attributes.
        .filter(|name| !env.is_some_and(|env| env.contains_key(*name)))
        .filter_map(|name| {
            let before = actual.get(name)?;
            let nothing = matches!(before, Value::Null | Value::Bool(false))
                || before.as_array().is_some_and(Vec::is_empty);
            (!nothing).then(|| Difference {
                attribute: name.to_owned(),
                before: before.clone(),
                after: Value::Null,
                need: Need::Replace,
            })
        })
        .collect()
}

/// The variables that the file names. What else the process has came from whoever started it, and may stay.
fn variables(desired: &Desired, actual: &Object) -> Vec<Difference> {
    let empty = Object::new();
    let of = |object: &Object, key: &str| object.get(key).map(pm2::js::to_text);
    let wanted = desired
        .app
        .get("env")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let has = actual.get("env").and_then(Value::as_object).unwrap_or(&empty);
    desired
        .variables
        .iter()
        .filter(|key| of(wanted, key) != of(has, key))
        .map(|key| Difference {
            attribute: format!("env.{key}"),
            before: Value::Null,
            after: Value::Null,
            need: Need::Restart,
        })
        .collect()
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Bool(false), Value::Null) => true,
        (Value::Array(list), Value::Null) => list.is_empty(),
        (a, b) => a == b,
    }
}

/// The same path, but for the id that the daemon put into it.
fn same_file(asked: &Value, actual: &Value, id: u32) -> bool {
    let (Some(asked), Some(actual)) = (asked.as_str(), actual.as_str()) else {
        return asked == actual;
    };
    if asked == actual {
        return true;
    }
    let stem = |path: &str| path.strip_suffix(".log").unwrap_or(path).to_owned();
    let plain = |path: &str| {
        let stem = stem(path);
        match stem.rsplit_once('-') {
            Some((rest, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                rest.to_owned()
            }
            _ => stem,
        }
    };
    stem(actual) == format!("{}-{id}", plain(asked))
}

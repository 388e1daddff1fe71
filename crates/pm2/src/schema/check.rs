//! From what was typed to checked attributes.

use super::table::attribute;
use super::validate::{validate, written};
use super::{Caller, Host, Level, Note, Rejected};
use crate::cron::Schedule;
use crate::log_rotation::LogRotation;
use crate::{Object, js, units};
use serde_json::Value;

/// An app whose attributes are known, of the right kind, and complete with defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub(super) app: Object,
    /// What to tell the user about it.
    pub notes: Vec<Note>,
}

impl Checked {
    /// The attributes, in PM2's order.
    pub fn as_object(&self) -> &Object {
        &self.app
    }

    /// The process name.
    pub fn name(&self) -> &str {
        self.app.get("name").and_then(Value::as_str).unwrap_or("")
    }

    /// The script as given: a path, a program in PATH, or a name.
    pub fn script(&self) -> Option<&str> {
        self.app.get("script").and_then(Value::as_str)
    }
}

/// Checks an app (options of the command line under the names of the table, or an element of a configuration file).
///
/// Options of the command line should hold `filter_env: []`, `namespace` and `watch` even if nothing was typed, as PM2's do.
/// Without a script (the options of a restart) nothing that needs one is done.
pub fn check(mut raw: Object, caller: &Caller, host: &dyn Host) -> Result<Checked, Rejected> {
    let mut notes = Vec::new();
    for alias in ["cmd", "command"] {
        if let Some(value) = raw.shift_remove(alias)
            && get(&raw, "script").is_none()
        {
            raw.insert("script".into(), value);
        }
    }
    if let Some(text) = get(&raw, "exec_mode").and_then(Value::as_str) {
        let mode = match text {
            "fork" => Some("fork_mode"),
            "cluster" => Some("cluster_mode"),
            _ => None,
        };
        if let Some(mode) = mode {
            put(&mut raw, "exec_mode", mode);
        }
    }
    env_as_object(&mut raw).map_err(|e| e.about("env"))?;
    if let Some(script) = get(&raw, "script").and_then(Value::as_str).map(str::to_owned) {
        if get(&raw, "name").is_none_or(|name| name.as_str() == Some("")) {
            put(&mut raw, "name", name_of(&script));
        }
        command_line(&mut raw, &script, caller, host).map_err(|e| e.about("script"))?;
    }
    if get(&raw, "execute_command").is_some_and(js::truthy) {
        put(&mut raw, "exec_mode", "fork_mode");
    }
    remove(&mut raw, "execute_command");
    put(&mut raw, "username", caller.username.as_str());
    if get(&raw, "time").is_some_and(js::truthy) || caller.env.get("ASZ_MODE").is_some_and(js::truthy) {
        put(&mut raw, "log_date_format", "YYYY-MM-DDTHH:mm:ss");
    }
    user_and_group(&mut raw, caller, host)?;
    if get(&raw, "deep_monitoring").is_none() && caller.env.get("PM2_DEEP_MONITORING").is_some_and(js::truthy)
    {
        put(&mut raw, "deep_monitoring", true);
    }
    if get(&raw, "automation").is_some_and(|v| js::as_bool(v) == Some(false)) {
        put(&mut raw, "pmx", false);
    }
    if get(&raw, "disable_trace").is_some_and(js::truthy) {
        put(&mut raw, "trace", false);
        remove(&mut raw, "disable_trace");
    }
    instances(&mut raw);
    let clustered = get(&raw, "exec_mode").and_then(Value::as_str) == Some("cluster_mode");
    // Only this very spelling counts, as in PM2.
    let said = raw.get("merge_logs").is_some_and(|v| !v.is_null());
    if !clustered && !said && !get(&raw, "instances").is_some_and(js::truthy) {
        put(&mut raw, "merge_logs", true);
    }
    cron(&mut raw, &mut notes).map_err(|e| e.about("cron_restart"))?;
    log_rotation(&raw)?;
    sockets(&raw).map_err(|e| e.about(crate::listen_sockets::SECTION))?;
    let app = validate(&raw)?;
    Ok(Checked { app, notes })
}

fn get<'a>(raw: &'a Object, name: &str) -> Option<&'a Value> {
    attribute(name).and_then(|a| written(a, raw))
}

/// Sets an attribute under its own name, which wins over any other spelling.
fn put(raw: &mut Object, name: &str, value: impl Into<Value>) {
    raw.insert(name.into(), value.into());
}

fn remove(raw: &mut Object, name: &str) {
    let Some(attribute) = attribute(name) else { return };
    raw.shift_remove(attribute.name);
    raw.shift_remove(&super::camel_case(attribute.name));
    for alias in attribute.aliases {
        raw.shift_remove(*alias);
    }
}

/// The last part of the path without its last extension.
fn name_of(script: &str) -> String {
    let base = script.trim_end_matches('/').rsplit('/').next().unwrap_or(script);
    match base.rfind('.') {
        Some(dot) if dot > 0 => base[..dot].to_owned(),
        _ => base.to_owned(),
    }
}

/// Text such as `A=1 B=2` is taken for variables; PM2 would fail later.
fn env_as_object(raw: &mut Object) -> Result<(), Rejected> {
    let Some(value) = get(raw, "env") else {
        put(raw, "env", Object::new());
        return Ok(());
    };
    let Value::String(text) = value else { return Ok(()) };
    let pairs: Option<Object> = units::split_words(text)
        .into_iter()
        .map(|word| word.split_once('=').map(|(k, v)| (k.to_owned(), Value::from(v))))
        .collect();
    match pairs {
        Some(pairs) => {
            put(raw, "env", pairs);
            Ok(())
        }
        None => Err(Rejected::one(
            Level::Error,
            "env should be an object of variables, or text such as \"A=1 B=2\"",
        )),
    }
}

/// A script with blanks is a command line for the shell, unless a file is called so.
fn command_line(raw: &mut Object, script: &str, caller: &Caller, host: &dyn Host) -> Result<(), Rejected> {
    if !script.contains(' ') {
        return Ok(());
    }
    let cwd = get(raw, "cwd")
        .and_then(Value::as_str)
        .map_or_else(|| caller.cwd.clone(), |cwd| caller.cwd.join(cwd));
    if host.exists(&cwd.join(script)) {
        return Ok(());
    }
    let Some(shell) = ["bash", "sh"]
        .into_iter()
        .find(|shell| host.find_program(shell).is_some())
    else {
        return Err(Rejected::one(
            Level::Error,
            format!("neither bash nor sh is in PATH to run: {script}"),
        ));
    };
    put(raw, "script", shell);
    put(raw, "args", vec!["-c".to_owned(), script.to_owned()]);
    Ok(())
}

fn user_and_group(raw: &mut Object, caller: &Caller, host: &dyn Host) -> Result<(), Rejected> {
    let text = |raw: &Object, name| {
        get(raw, name)
            .filter(|v| js::truthy(v) && !v.is_boolean())
            .map(js::to_text)
    };
    let (uid, gid) = (text(raw, "uid"), text(raw, "gid"));
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    if !caller.is_root {
        return Err(Rejected::one(
            Level::Error,
            "To use --uid and --gid please run pm2 as root",
        ));
    }
    if let Some(uid) = uid {
        let user = host.user(&uid);
        let user = user.ok_or_else(|| {
            Rejected::one(Level::Error, format!(" User {uid} cannot be found")).about("uid")
        })?;
        if let Some(Value::Object(env)) = raw.get_mut("env") {
            env.insert("HOME".into(), user.home.into());
        }
        put(raw, "uid", user.uid);
        if gid.is_none() {
            put(raw, "gid", user.gid);
        }
    }
    if let Some(gid) = gid {
        let number = host.group(&gid);
        let number = number.ok_or_else(|| {
            Rejected::one(Level::Error, format!(" Group {gid} cannot be found")).about("gid")
        })?;
        put(raw, "gid", number);
    }
    Ok(())
}

fn instances(raw: &mut Object) {
    if let Some(Value::String(text)) = get(raw, "instances") {
        let count = if text == "max" {
            Some(0)
        } else {
            js::parse_int(text)
        };
        if let Some(count) = count {
            put(raw, "instances", count);
        }
    }
}

fn cron(raw: &mut Object, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    // PM2 passes over a bare 0 in a file; whoever writes it means what the command line means by it.
    for key in ["cron_restart", "cronRestart", "cron"] {
        if raw.get(key).is_some_and(|value| value.as_f64() == Some(0.0)) {
            raw.insert(key.into(), "0".into());
        }
    }
    let Some(value) = get(raw, "cron_restart") else {
        return Ok(());
    };
    let pattern = js::to_text(value);
    if pattern == "0" {
        notes.push(Note::new(Level::Info, "disabling cron restart"));
        // As text it gets through where a bare 0 counts as not written.
        put(raw, "cron_restart", "0");
        return Ok(());
    }
    // What is neither is told by its type.
    if value.is_string() || value.is_number() {
        Schedule::parse(&pattern)
            .map_err(|error| Rejected::one(Level::Error, format!("Cron pattern error: {error}")))?;
        notes.push(Note::new(Level::Info, format!("cron restart at {pattern}")));
    }
    Ok(())
}

fn sockets(raw: &Object) -> Result<(), Rejected> {
    let written = get(raw, crate::listen_sockets::SECTION).unwrap_or(&Value::Null);
    match crate::listen_sockets::parse(written) {
        Ok(_) => Ok(()),
        Err(complaint) => Err(Rejected::one(Level::Error, complaint)),
    }
}

fn log_rotation(raw: &Object) -> Result<(), Rejected> {
    let written = get(raw, crate::log_rotation::SECTION).unwrap_or(&Value::Null);
    match LogRotation::default().overlay(written).first() {
        Some(complaint) => {
            Err(Rejected::one(Level::Error, format!("logrotate: {complaint}")).about("logrotate"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeHost, caller, object};
    use super::*;
    use serde_json::json;

    fn run(raw: Value) -> Result<Checked, String> {
        check(object(raw), &caller(), &FakeHost::default()).map_err(|e| e.to_string())
    }

    fn attr(raw: Value, name: &str) -> Value {
        run(raw)
            .unwrap()
            .as_object()
            .get(name)
            .cloned()
            .unwrap_or(Value::Null)
    }

    #[test]
    fn names_come_from_the_script() {
        for (script, name) in [
            ("app.js", "app"),
            ("./dir/my.app.js", "my.app"),
            ("ls", "ls"),
            (".hidden", ".hidden"),
            ("echo hi there; sleep 1", "echo hi there; sleep 1"),
            ("node -e 'x'", "node -e 'x'"),
        ] {
            assert_eq!(attr(json!({ "script": script }), "name"), name);
        }
        assert_eq!(attr(json!({ "script": "a.js", "name": "b" }), "name"), "b");
        assert_eq!(attr(json!({ "cmd": "a.js" }), "script"), "a.js");
    }

    #[test]
    fn blanks_make_a_command_line() {
        let checked = run(json!({ "script": "cc hello.c; ./a.out" })).unwrap();
        assert_eq!(checked.script(), Some("bash"));
        assert_eq!(checked.as_object()["args"], json!(["-c", "cc hello.c; ./a.out"]));
    }

    #[test]
    fn merge_logs_is_filled_in_for_a_single_fork() {
        assert_eq!(attr(json!({ "script": "a.js" }), "merge_logs"), true);
        assert_eq!(
            attr(json!({ "script": "a.js", "instances": "max" }), "merge_logs"),
            true
        );
        assert_eq!(
            attr(json!({ "script": "a.js", "instances": 2 }), "merge_logs"),
            Value::Null
        );
        assert_eq!(
            attr(json!({ "script": "a.js", "exec_mode": "cluster" }), "merge_logs"),
            Value::Null
        );
        assert_eq!(
            attr(json!({ "script": "a.js", "merge_logs": false }), "merge_logs"),
            Value::Null
        );
    }

    #[test]
    fn small_rules() {
        assert_eq!(attr(json!({ "instances": "2x" }), "instances"), 2);
        assert_eq!(attr(json!({ "instances": "max" }), "instances"), 0);
        assert_eq!(
            attr(json!({ "execute_command": true, "instances": 2 }), "exec_mode"),
            "fork_mode"
        );
        assert_eq!(attr(json!({ "automation": false }), "pmx"), false);
        assert_eq!(attr(json!({ "disable_trace": true }), "trace"), false);
        assert_eq!(
            attr(json!({ "time": true }), "log_date_format"),
            "YYYY-MM-DDTHH:mm:ss"
        );
        assert_eq!(
            attr(json!({ "env": "A=1 B='x y'" }), "env"),
            json!({ "A": "1", "B": "x y" })
        );
        assert!(run(json!({ "env": "nonsense" })).is_err());
        assert!(run(json!({ "instances": true })).is_err());
    }

    #[test]
    fn users_are_looked_up() {
        let checked = run(json!({ "user": "bob" })).unwrap();
        assert_eq!(
            (&checked.as_object()["uid"], &checked.as_object()["gid"]),
            (&json!(1001), &json!(1002))
        );
        assert_eq!(checked.as_object()["env"], json!({ "HOME": "/home/bob" }));
        assert_eq!(
            run(json!({ "uid": "nosuchuser" })).unwrap_err(),
            " User nosuchuser cannot be found"
        );
        let mut other = caller();
        other.is_root = false;
        assert!(check(object(json!({ "uid": "bob" })), &other, &FakeHost::default()).is_err());
    }

    #[test]
    fn cron_patterns_are_looked_at() {
        let checked = run(json!({ "cron": "*/5 * * * *" })).unwrap();
        assert_eq!(
            checked.notes,
            [Note::new(Level::Info, "cron restart at */5 * * * *")]
        );
        assert_eq!(attr(json!({ "cron_restart": "0" }), "cron_restart"), 0);
        assert!(
            run(json!({ "cron_restart": "* * *" }))
                .unwrap_err()
                .starts_with("Cron pattern error: ")
        );
        assert!(run(json!({ "cron_restart": "a b c ; d" })).is_err());
        assert!(
            run(json!({ "cron_restart": 5 }))
                .unwrap_err()
                .starts_with("Cron pattern error: ")
        );
    }
}

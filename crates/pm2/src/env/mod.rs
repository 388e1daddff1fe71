//! `pm2_env`: everything PM2 knows of one process, as one ordered JSON object.
//!
//! The order of the keys is part of what users see (`jlist`, `prettylist`), so all changes go through here:
//! [`prepare`](prepare()) makes entries from an app, [`Pm2Env::begin_launch`] and [`Pm2Env::observe`] keep the live part current,
//! [`Pm2Env::merge_restart`] takes what a restart brings, [`Pm2Env::child_env`] gives what the child will see.

mod child;
mod fields;
mod merge;
mod policy;
mod prepare;
mod render;
mod reports;
mod watch;

pub(crate) use fields::serialize_all;
pub use fields::{Field, FieldSeed, Fields};
pub use policy::PolicyDefaults;
pub use prepare::{Entry, PrepareError, PrepareFacts, duplicate, prepare, suffix_log_path, suffix_pid_path};
pub use render::{HealthShown, LimitsShown, ListElement, Monit};
pub use reports::{ActionReport, MetricReport};
pub use watch::{WatchTiming, WatchedFiles};

use crate::{Object, js};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// How the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecMode {
    /// A child of its own.
    Fork,
    /// A worker that shares its listening sockets with the other instances.
    Cluster,
}

/// One output of a process: where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat<'a> {
    /// As it came.
    Raw,
    /// Each line behind the date in this day.js pattern.
    Dated(&'a str),
    /// One JSON object per chunk; the pattern of its timestamp, or ISO 8601.
    Json(Option<&'a str>),
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Program: the interpreter, or the script itself where the interpreter is `none`.
    pub program: String,
    /// Arguments of the interpreter, without the script. Empty if there is no interpreter.
    pub interpreter_args: Vec<String>,
    /// The script, if an interpreter runs it.
    pub script: Option<String>,
    /// Arguments of the script.
    pub args: Vec<String>,
}

impl CommandLine {
    /// Everything behind the program, in order.
    pub fn argv(&self) -> impl Iterator<Item = &str> {
        self.interpreter_args
            .iter()
            .chain(self.script.iter())
            .chain(&self.args)
            .map(String::as_str)
    }
}

/// The object itself. Reading is lenient: a field of another type than expected counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Pm2Env(Fields);

impl From<Object> for Pm2Env {
    fn from(map: Object) -> Self {
        Pm2Env(map.into())
    }
}

impl Pm2Env {
    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// Puts a field behind the others; for readers, who know that none of them has its name.
    pub fn push(&mut self, name: &std::sync::Arc<str>, field: Field) {
        self.0.push(std::sync::Arc::clone(name), field);
    }

    /// The whole object.
    pub fn to_object(&self) -> Object {
        self.0.to_object()
    }

    /// Holds what another entry has too only once.
    pub fn share(&mut self, other: &Pm2Env) {
        self.0.share(&other.0);
    }

    /// A field; `null` counts as absent. [`Pm2Env::text`] and its kind copy nothing.
    pub fn get(&self, key: &str) -> Option<Cow<'_, Value>> {
        match self.field(key)? {
            Field::Other(value) => Some(Cow::Borrowed(value)),
            other => Some(Cow::Owned(other.to_value())),
        }
    }

    fn field(&self, key: &str) -> Option<&Field> {
        self.0.get(key).filter(|field| !matches!(field, Field::Null))
    }

    /// A field that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.field(key)?.as_text()
    }

    /// A field that is a whole number, also as text.
    pub fn int(&self, key: &str) -> Option<i64> {
        js::as_int(&*self.get(key)?)
    }

    /// A field that is true or false, also as text.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.field(key)? {
            Field::Bool(flag) => Some(*flag),
            Field::Text(text) => js::bool_text(text),
            _ => None,
        }
    }

    /// A field that is a list.
    pub fn array(&self, key: &str) -> Option<&[Value]> {
        match self.field(key)? {
            Field::Other(value) => value.as_array().map(Vec::as_slice),
            _ => None,
        }
    }

    /// A field that is an object, but for the variables.
    pub fn object(&self, key: &str) -> Option<&Object> {
        match self.field(key)? {
            Field::Other(value) => value.as_object(),
            _ => None,
        }
    }

    /// The variables that the app itself was given.
    pub fn vars(&self) -> Option<&Fields> {
        match self.field("env")? {
            Field::Vars(vars) => Some(vars),
            _ => None,
        }
    }

    fn vars_mut(&mut self) -> Option<&mut Fields> {
        match self.0.get_mut("env")? {
            Field::Vars(vars) => Some(vars),
            _ => None,
        }
    }

    /// A field that is a list or an object, to be changed; made anew by `new` if `fits` says that it is not of that kind.
    fn other_mut(&mut self, key: &str, fits: fn(&Value) -> bool, new: fn() -> Value) -> Option<&mut Value> {
        let present = match self.field(key) {
            Some(Field::Other(value)) => fits(value),
            _ => false,
        };
        if !present {
            self.set(key, new());
        }
        match self.0.get_mut(key)? {
            Field::Other(value) => Some(std::sync::Arc::make_mut(value)),
            _ => None,
        }
    }

    /// Sets a field: in its place if it is there, at the end if not.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.set(key, value);
    }

    /// Removes a field; the order of the others stays.
    pub fn unset(&mut self, key: &str) {
        self.0.unset(key);
    }

    /// Number in the list. During a reload PM2's own entries hold text such as `_old_3` here; these have no number.
    pub fn pm_id(&self) -> Option<u32> {
        self.int("pm_id").and_then(|id| u32::try_from(id).ok())
    }

    /// Name, `undefined` if there is none.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or("undefined")
    }

    /// Namespace, `default` if there is none.
    pub fn namespace(&self) -> &str {
        self.text("namespace").unwrap_or("default")
    }

    /// Status as PM2 writes it.
    pub fn status(&self) -> &str {
        self.text("status").unwrap_or("stopped")
    }

    /// Absolute path of the script.
    pub fn exec_path(&self) -> &str {
        self.text("pm_exec_path").unwrap_or("")
    }

    /// Working directory.
    pub fn cwd(&self) -> &str {
        self.text("pm_cwd").unwrap_or("/")
    }

    /// The interpreter, `node` if none is stored; `none` stands for "execute the script".
    pub fn interpreter(&self) -> &str {
        self.text("exec_interpreter")
            .filter(|s| !s.is_empty())
            .unwrap_or("node")
    }

    /// Whether the interpreter is node (by the last part of its path).
    pub fn is_node(&self) -> bool {
        self.interpreter().rsplit('/').next() == Some("node")
    }

    /// Sockets that are bound for the app. What can't be read is told by the schema, and is none here.
    pub fn sockets(&self) -> Vec<crate::listen_sockets::ListenSocket> {
        self.get(crate::listen_sockets::SECTION)
            .and_then(|value| crate::listen_sockets::parse(&value).ok())
            .unwrap_or_default()
    }

    /// Fork or cluster.
    pub fn exec_mode(&self) -> ExecMode {
        match self.text("exec_mode") {
            Some("cluster_mode" | "cluster") => ExecMode::Cluster,
            _ => ExecMode::Fork,
        }
    }

    /// What to execute in fork mode.
    pub fn command_line(&self) -> CommandLine {
        let args = self.list("args");
        if self.interpreter() == "none" {
            return CommandLine {
                program: self.exec_path().to_owned(),
                interpreter_args: Vec::new(),
                script: None,
                args,
            };
        }
        CommandLine {
            program: self.interpreter().to_owned(),
            interpreter_args: self.interpreter_args(),
            script: Some(self.exec_path().to_owned()),
            args,
        }
    }

    /// Path of the file for standard output; `None` if nothing is to be stored.
    pub fn out_log(&self) -> Option<&str> {
        self.log_path("pm_out_log_path")
    }

    /// Path of the file for standard error; `None` if nothing is to be stored.
    pub fn err_log(&self) -> Option<&str> {
        self.log_path("pm_err_log_path")
    }

    /// Path of the combined file, if one was asked for.
    pub fn combined_log(&self) -> Option<&str> {
        self.log_path("pm_log_path")
    }

    fn log_path(&self, key: &str) -> Option<&str> {
        self.text(key)
            .filter(|p| !p.is_empty() && !p.contains("NULL") && !p.contains("/dev/null"))
    }

    /// Path of the pid file.
    pub fn pid_path(&self) -> Option<&str> {
        self.text("pm_pid_path").filter(|p| !p.is_empty())
    }

    /// Nothing of the output is stored or published.
    pub fn logs_disabled(&self) -> bool {
        self.flag("disable_logs") == Some(true)
    }

    /// How output is written.
    pub fn log_format(&self) -> LogFormat<'_> {
        let pattern = self.text("log_date_format").filter(|p| !p.is_empty());
        match (self.text("log_type"), pattern) {
            (Some("json"), pattern) => LogFormat::Json(pattern),
            (_, Some(pattern)) => LogFormat::Dated(pattern),
            (_, None) => LogFormat::Raw,
        }
    }

    /// What the app says of putting its log files aside.
    pub fn log_rotation(&self) -> Option<Cow<'_, Value>> {
        self.get(crate::log_rotation::SECTION)
    }

    /// User to run as, a name or a number as text.
    pub fn uid(&self) -> Option<String> {
        self.get("uid")
            .filter(|v| v.is_string() || v.is_number())
            .map(|v| js::to_text(&v))
            .filter(|s| !s.is_empty())
    }

    /// Group to run as, a name or a number as text.
    pub fn gid(&self) -> Option<String> {
        self.get("gid")
            .filter(|v| v.is_string() || v.is_number())
            .map(|v| js::to_text(&v))
            .filter(|s| !s.is_empty())
    }

    /// How often it was restarted, by itself or by somebody.
    pub fn restarts(&self) -> u32 {
        self.count("restart_time")
    }

    /// How often in a row it died too soon.
    pub fn unstable_restarts(&self) -> u32 {
        self.count("unstable_restarts")
    }

    fn count(&self, key: &str) -> u32 {
        self.int(key).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    }

    /// When the present life began, in milliseconds since 1970; 0 if it never did.
    pub fn started_at(&self) -> u64 {
        self.time("pm_uptime")
    }

    /// When it was started or restarted by somebody, in milliseconds since 1970; 0 if unknown.
    pub fn created_at(&self) -> u64 {
        self.time("created_at")
    }

    fn time(&self, key: &str) -> u64 {
        self.int(key).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    }

    /// Arguments of the interpreter.
    pub fn interpreter_args(&self) -> Vec<String> {
        self.list("node_args")
    }

    /// The release of node that runs it, or nothing.
    pub fn node_version(&self) -> &str {
        self.text("node_version").unwrap_or_default()
    }

    /// The app's own version, or nothing.
    pub fn version(&self) -> &str {
        self.text("version").unwrap_or_default()
    }

    /// `NODE_ENV` as the app sees it, or nothing.
    pub fn node_env(&self) -> &str {
        self.text("NODE_ENV").unwrap_or_default()
    }

    /// What tells this process from all others, of any time; nothing if the entry is an old one.
    pub fn unique_id(&self) -> &str {
        self.text("unique_id").unwrap_or_default()
    }

    /// Node is to map stacks to the sources: always, unless the app says otherwise.
    pub fn wants_source_maps(&self) -> bool {
        self.is_node()
            && self.flag("disable_source_map_support") != Some(true)
            && self.flag("source_map_support") != Some(false)
    }

    /// The revision of its repository, if that was looked up.
    pub fn revision(&self) -> Option<&str> {
        self.object("versioning")?.get("revision")?.as_str()
    }

    /// Cron pattern of restarts; `0` means none.
    pub fn cron_restart(&self) -> Option<String> {
        self.get("cron_restart")
            .filter(|v| v.is_string() || v.is_number())
            .map(|v| js::to_text(&v))
            .filter(|s| !s.is_empty() && s != "0")
    }

    /// Whether files are watched: `watch` is true, or holds paths.
    pub fn watches(&self) -> bool {
        self.get("watch")
            .is_some_and(|v| js::as_bool(&v).unwrap_or_else(|| js::truthy(&v)))
    }

    /// It is one of PM2's modules: listed apart, not part of `all`, not dumped.
    pub fn is_module(&self) -> bool {
        self.flag("pmx_module") == Some(true)
    }

    /// Whether the hub may hear of it; only `unmonitor` makes this false.
    pub fn is_monitored(&self) -> bool {
        self.flag("_km_monitored") != Some(false)
    }

    /// A list attribute: an array (of anything, as text), or one text.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.text(key) {
            Some(text) if !text.is_empty() => vec![text.to_owned()],
            _ => {
                let items = self.array(key).into_iter().flatten();
                items.filter(|v| !v.is_null()).map(js::to_text).collect()
            }
        }
    }
}

/// A status as PM2 writes it.
pub fn status_text(status: supervisor::Status) -> &'static str {
    use supervisor::Status;
    match status {
        Status::Launching => "launching",
        Status::Online => "online",
        Status::Stopping => "stopping",
        Status::Stopped => "stopped",
        Status::Errored => "errored",
        Status::WaitingRestart => "waiting restart",
    }
}

/// Readiness as it is written in lists.
pub fn readiness_text(readiness: supervisor::Readiness) -> &'static str {
    use supervisor::Readiness;
    match readiness {
        Readiness::Down => "down",
        Readiness::Pending => "pending",
        Readiness::Ready => "ready",
        Readiness::Unhealthy => "unhealthy",
    }
}

/// Health as it is written in lists.
pub fn health_text(health: supervisor::Health) -> &'static str {
    use supervisor::Health;
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn env(value: Value) -> Pm2Env {
        match value {
            Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn command_lines() {
        let node = env(
            json!({ "exec_interpreter": "node", "node_args": ["--harmony"], "pm_exec_path": "/a.js", "args": ["x", 1] }),
        );
        let line = node.command_line();
        assert_eq!(line.program, "node");
        assert_eq!(line.argv().collect::<Vec<_>>(), ["--harmony", "/a.js", "x", "1"]);
        let none =
            env(json!({ "exec_interpreter": "none", "node_args": ["--no"], "pm_exec_path": "/bin/ls" }));
        assert_eq!(none.command_line().program, "/bin/ls");
        assert_eq!(none.command_line().argv().count(), 0);
    }

    #[test]
    fn nothing_odd_is_taken_for_a_value() {
        let odd = env(
            json!({ "name": 5, "pm_id": "_old_3", "pm_out_log_path": "/dev/null", "log_type": "json",
            "cron_restart": 0, "watch": "false", "autorestart": "false", "uid": true }),
        );
        assert_eq!(
            (odd.name(), odd.pm_id(), odd.out_log(), odd.cron_restart()),
            ("undefined", None, None, None)
        );
        assert_eq!(odd.log_format(), LogFormat::Json(None));
        assert!(!odd.watches() && odd.flag("autorestart") == Some(false) && odd.uid().is_none());
        assert!(env(json!({ "watch": ["src"] })).watches() && odd.is_monitored());
    }
}

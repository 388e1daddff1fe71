//! From a resolved app to its entries, and the steps of each launch.

use super::Pm2Env;
use crate::{Object, js};
use serde_json::Value;
use thiserror::Error;

/// What the daemon knows when it takes an app in.
#[derive(Clone, Debug)]
pub struct PrepareFacts<'a> {
    /// Counts the logical CPUs; asked only for `instances: 0` or less.
    pub cpus: fn() -> u32,
    /// Epoch time in ms.
    pub now_ms: i64,
    /// A fresh UUID; all instances of one call share it, as in PM2.
    pub unique_id: String,
    /// The lowest number for a new entry; following ones count up.
    pub next_id: u32,
    /// PM2_PROCESS_INSTANCE_VAR of the daemon.
    pub instance_var: Option<String>,
    /// All present entries.
    pub existing: &'a [&'a Pm2Env],
}

/// One entry to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub pm_id: u32,
    /// Its fields, ready for the first launch.
    pub env: Pm2Env,
    /// `false`: enter it as stopped.
    pub execute: bool,
}

/// An app that can't be taken in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PrepareError {
    /// The argument of `prepare` is no object with an `env`.
    #[error("preparing an app: {0}")]
    Shape(&'static str),
    /// More instances than anybody can mean.
    #[error("preparing app {name}: {instances} instances asked for, at most {limit} are started at once")]
    TooMany {
        /// The app.
        name: String,
        /// What was asked for.
        instances: i64,
        /// What is allowed.
        limit: i64,
    },
}

/// More than this at once is a typing error, and would take the host down.
const MAX_INSTANCES: i64 = 4096;

/// Makes the entries of a resolved app (the argument of RPC `prepare`): one per instance; one element of a dump
/// (which has no `instances`) makes one.
pub fn prepare(mut app: Object, facts: &PrepareFacts<'_>) -> Result<Vec<Entry>, PrepareError> {
    if !matches!(app.get("pm_exec_path"), Some(Value::String(path)) if !path.is_empty()) {
        return Err(PrepareError::Shape(
            "pm_exec_path is missing; send the resolved app, not the configuration",
        ));
    }
    match app.entry("env").or_insert_with(|| Value::Object(Object::new())) {
        Value::Object(env) => {
            env.insert("unique_id".into(), facts.unique_id.clone().into());
            if env.contains_key("vizion_running") {
                env.insert("vizion_running".into(), false.into());
            }
        }
        _ => return Err(PrepareError::Shape("env is not an object")),
    }
    let Some(instances) = app.get("instances").filter(|v| !v.is_null()) else {
        app.insert("vizion_running".into(), false.into());
        app.shift_remove("pm_id");
        let execute = app.get("status").and_then(Value::as_str) != Some("stopped");
        return Ok(vec![enter(
            Pm2Env::from(app),
            facts.next_id,
            facts.now_ms,
            execute,
        )]);
    };
    let wanted = js::as_int(instances).unwrap_or(if instances.as_str() == Some("max") { 0 } else { 1 });
    let count = if wanted <= 0 {
        (i64::from((facts.cpus)()) + wanted).max(1)
    } else {
        wanted
    };
    if count > MAX_INSTANCES {
        let name = Pm2Env::from(app).name().to_owned();
        return Err(PrepareError::TooMany {
            name,
            instances: count,
            limit: MAX_INSTANCES,
        });
    }
    app.insert("instances".into(), count.into());
    app.shift_remove("pm_id");
    let app = Pm2Env::from(app);
    let mut made: Vec<Entry> = Vec::new();
    for n in 0..count as u32 {
        let mut env = app.clone();
        env.set("vizion_running", false);
        let siblings = facts.existing.iter().copied().chain(made.iter().map(|e| &e.env));
        number(&mut env, siblings, facts.instance_var.as_deref());
        made.push(enter(env, facts.next_id + n, facts.now_ms, true));
    }
    Ok(made)
}

/// One more instance of a present process (RPC `duplicateProcessId`).
pub fn duplicate(of: &Pm2Env, facts: &PrepareFacts<'_>) -> Entry {
    let mut env = of.clone();
    for key in [
        "created_at",
        "pm_id",
        "unique_id",
        "exit_code",
        "prev_restart_delay",
    ] {
        env.unset(key);
    }
    if let Some(vars) = env.vars_mut() {
        vars.set("unique_id", facts.unique_id.clone());
    }
    env.set("unique_id", facts.unique_id.clone());
    number(
        &mut env,
        facts.existing.iter().copied(),
        facts.instance_var.as_deref(),
    );
    enter(env, facts.next_id, facts.now_ms, true)
}

/// Gives the entry its instance number, the lowest that no process of its name has, and counts `increment_var` on.
fn number<'a>(env: &mut Pm2Env, others: impl Iterator<Item = &'a Pm2Env> + Clone, var: Option<&str>) {
    let var = var
        .or_else(|| env.text("instance_var"))
        .unwrap_or("NODE_APP_INSTANCE")
        .to_owned();
    let siblings = others.filter(|e| e.name() == env.name());
    let taken: Vec<i64> = siblings.clone().filter_map(|e| e.int(&var)).collect();
    let free = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
    let counter = env.text("increment_var").filter(|v| !v.is_empty()).map(|key| {
        let last = siblings.filter_map(|e| e.int(key)).max();
        let first = || {
            let own = env.vars().and_then(|vars| vars.get(key));
            own.and_then(|own| js::as_int(&own.to_value())).unwrap_or(0)
        };
        (key.to_owned(), last.map_or_else(first, |n| n.saturating_add(1)))
    });
    env.set(&var, free);
    if let Some((key, value)) = counter {
        env.set(&key, value);
        if let Some(vars) = env.vars_mut() {
            vars.set(&key, value);
        }
    }
}

/// The steps that every new entry takes on top of a launch's.
fn enter(mut env: Pm2Env, pm_id: u32, now_ms: i64, execute: bool) -> Entry {
    if execute {
        env.begin_launch(now_ms);
    }
    env.set("pm_id", pm_id);
    env.set("restart_time", 0);
    env.set("unstable_restarts", 0);
    if let Some(path) = env.text("pm_pid_path").map(|p| suffix_pid_path(p, pm_id)) {
        env.set("pm_pid_path", path);
    }
    if env.flag("merge_logs") != Some(true) {
        for key in ["pm_log_path", "pm_out_log_path", "pm_err_log_path"] {
            if let Some(path) = env.text(key).map(|p| suffix_log_path(p, pm_id)) {
                env.set(key, path);
            }
        }
    }
    Entry { pm_id, env, execute }
}

impl Pm2Env {
    /// The changes at the beginning of each life: variables are laid over the entry, what the former life had reported
    /// is forgotten, and the status is `launching` (`stopped` if `autostart` is off).
    pub fn begin_launch(&mut self, now_ms: i64) {
        let vars = self.vars().cloned().unwrap_or_default();
        self.0.lay_over(vars.carried());
        let stopped = self.flag("autostart") == Some(false) && self.get("pm_id").is_none();
        self.set("status", if stopped { "stopped" } else { "launching" });
        self.set("pm_uptime", now_ms);
        self.forget_life();
        if self.fields().get("vizion_running").is_none() {
            self.set("vizion_running", false);
        }
        if self.get("created_at").is_none() {
            self.set("created_at", now_ms);
        }
    }

    /// Forgets what the process told of itself: its actions, metrics and options.
    pub fn forget_life(&mut self) {
        self.set("axm_actions", Vec::<Value>::new());
        for key in ["axm_monitor", "axm_options", "axm_dynamic"] {
            self.set(key, Object::new());
        }
        self.unset(Self::LOAD_ERROR);
    }
}

/// `app.pid` becomes `app-3.pid`; a former number is replaced.
pub fn suffix_pid_path(path: &str, pm_id: u32) -> String {
    suffix(path, ".pid", pm_id)
}

/// `app-out.log` becomes `app-out-3.log`; a former number is replaced; other endings stay.
pub fn suffix_log_path(path: &str, pm_id: u32) -> String {
    suffix(path, ".log", pm_id)
}

fn suffix(path: &str, ending: &str, pm_id: u32) -> String {
    let Some(stem) = path.strip_suffix(ending) else {
        return path.to_owned();
    };
    let bare = match stem.rsplit_once('-') {
        Some((head, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => head,
        _ => stem,
    };
    format!("{bare}-{pm_id}{ending}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use super::*;
    use serde_json::json;

    fn app(value: Value) -> Object {
        env(value).to_object()
    }

    fn facts<'a>(existing: &'a [&'a Pm2Env]) -> PrepareFacts<'a> {
        PrepareFacts {
            cpus: || 4,
            now_ms: 1000,
            unique_id: "u-1".into(),
            next_id: 0,
            instance_var: None,
            existing,
        }
    }

    #[test]
    fn a_fresh_entry_has_pm2s_order() {
        let app = app(json!({
            "name": "api", "env": { "A": "1", "api": {}, "name": "from env" }, "merge_logs": true, "pm_exec_path": "/a.js",
            "instances": 1, "pm_out_log_path": "/l/api-out.log", "pm_pid_path": "/p/api.pid", "km_link": false,
        }));
        let made = prepare(app, &facts(&[])).unwrap();
        assert_eq!(made.len(), 1);
        let keys: Vec<_> = made[0].env.fields().iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys.join(" "),
            "name env merge_logs pm_exec_path instances pm_out_log_path pm_pid_path km_link vizion_running \
             NODE_APP_INSTANCE A unique_id status pm_uptime axm_actions axm_monitor axm_options axm_dynamic created_at \
             pm_id restart_time unstable_restarts"
        );
        let env = &made[0].env;
        assert_eq!((env.name(), env.status()), ("from env", "launching"));
        assert_eq!(
            (env.out_log(), env.pid_path()),
            (Some("/l/api-out.log"), Some("/p/api-0.pid"))
        );
        assert_eq!(env.text("unique_id"), Some("u-1"));
    }

    #[test]
    fn instances_are_counted_by_cpus() {
        for (asked, count) in [
            (json!(0), 4),
            (json!("max"), 4),
            (json!(-1), 3),
            (json!(-100), 1),
            (json!(2), 2),
        ] {
            let made = prepare(
                app(json!({ "pm_exec_path": "/a", "instances": asked })),
                &facts(&[]),
            )
            .unwrap();
            assert_eq!(made.len(), count, "{asked}");
        }
        let error = prepare(
            app(json!({ "pm_exec_path": "/a", "instances": 1e9 })),
            &facts(&[]),
        )
        .unwrap_err();
        assert!(matches!(error, PrepareError::TooMany { .. }));
        assert!(prepare(Object::new(), &facts(&[])).is_err());
        assert!(prepare(app(json!({ "pm_exec_path": "/a", "env": "X=1" })), &facts(&[])).is_err());
    }

    #[test]
    fn free_instance_numbers_are_reused_and_counters_go_on() {
        let old: Vec<Pm2Env> = [2, 3]
            .iter()
            .map(|n| env(json!({ "name": "a", "NODE_APP_INSTANCE": n, "PORT": 3000 + n })))
            .collect();
        let others: Vec<&Pm2Env> = old.iter().collect();
        let app = app(json!({
            "name": "a", "pm_exec_path": "/a", "instances": 3, "increment_var": "PORT", "env": { "PORT": 3000 },
            "pm_out_log_path": "/l/a-out.log",
        }));
        let made = prepare(app, &facts(&others)).unwrap();
        let numbers: Vec<_> = made
            .iter()
            .map(|e| (e.env.int("NODE_APP_INSTANCE"), e.env.int("PORT")))
            .collect();
        assert_eq!(
            numbers,
            [
                (Some(0), Some(3004)),
                (Some(1), Some(3005)),
                (Some(4), Some(3006))
            ]
        );
        assert_eq!(made[2].env.get("env").unwrap()["PORT"], json!(3006));
        assert_eq!(made[1].env.out_log(), Some("/l/a-out-1.log"));
    }

    #[test]
    fn an_element_of_a_dump_starts_anew_under_a_new_number() {
        let dumped = app(json!({
            "name": "a", "pm_exec_path": "/a", "env": {}, "status": "online", "restart_time": 7, "created_at": 5,
            "pm_out_log_path": "/l/a-out-9.log", "pm_pid_path": "/p/a-9.pid",
        }));
        let mut facts = facts(&[]);
        facts.next_id = 3;
        let made = prepare(dumped.clone(), &facts).unwrap();
        let env = &made[0].env;
        assert!(made[0].execute);
        assert_eq!(
            (env.int("restart_time"), env.int("created_at"), env.pm_id()),
            (Some(0), Some(5), Some(3))
        );
        assert_eq!(
            (env.out_log(), env.pid_path()),
            (Some("/l/a-out-3.log"), Some("/p/a-3.pid"))
        );
        assert!(env.get("NODE_APP_INSTANCE").is_none());
        let mut stopped = dumped;
        stopped.insert("status".into(), "stopped".into());
        let made = prepare(stopped, &facts).unwrap();
        assert_eq!((made[0].execute, made[0].env.status()), (false, "stopped"));
    }

    #[test]
    fn a_duplicate_is_a_process_of_its_own() {
        let first = env(json!({
            "name": "a", "pm_id": 0, "NODE_APP_INSTANCE": 0, "created_at": 5, "unique_id": "u-0",
            "env": { "unique_id": "u-0" }, "pm_out_log_path": "/l/a-out-0.log", "restart_time": 4,
        }));
        let others = [&first];
        let mut facts = facts(&others);
        facts.next_id = 1;
        let copy = duplicate(&first, &facts);
        let env = copy.env;
        assert_eq!(
            (env.pm_id(), env.int("NODE_APP_INSTANCE"), env.int("restart_time")),
            (Some(1), Some(1), Some(0))
        );
        assert_eq!(
            (env.int("created_at"), env.text("unique_id")),
            (Some(1000), Some("u-1"))
        );
        assert_eq!(env.out_log(), Some("/l/a-out-1.log"));
    }

    #[test]
    fn suffixes() {
        assert_eq!(suffix_log_path("/l/a-out.log", 4), "/l/a-out-4.log");
        assert_eq!(suffix_log_path("/l/a-out-12.log", 4), "/l/a-out-4.log");
        assert_eq!(suffix_log_path("/l/a-.log", 4), "/l/a--4.log");
        assert_eq!(suffix_log_path("/dev/null", 4), "/dev/null");
        assert_eq!(suffix_pid_path("/p/a.pid", 0), "/p/a-0.pid");
    }

    #[test]
    fn autostart_off_is_entered_as_stopped() {
        let made = prepare(
            app(json!({ "pm_exec_path": "/a", "instances": 1, "autostart": false })),
            &facts(&[]),
        )
        .unwrap();
        assert_eq!(made[0].env.status(), "stopped");
    }
}

//! Which variables reach the child, from where, and in which order.

use super::check::Checked;
use super::{Caller, Level, Note, Origin};
use crate::{Object, js};
use serde_json::Value;

/// Names that a managed process finds in its environment because PM2 put them there. They say who *it* is, so its own
/// children must not inherit them.
const OWN: &[&str] = &[
    "name",
    "namespace",
    "pm_id",
    "pm_exec_path",
    "pm_cwd",
    "exec_mode",
    "exec_interpreter",
    "instances",
    "status",
    "pm_uptime",
    "created_at",
    "restart_time",
    "unstable_restarts",
    "pm_out_log_path",
    "pm_err_log_path",
    "pm_log_path",
    "pm_pid_path",
    "merge_logs",
    "vizion",
    "vizion_running",
    "autostart",
    "autorestart",
    "treekill",
    "pmx",
    "automation",
    "windowsHide",
    "kill_retry_time",
    "instance_var",
    "NODE_APP_INSTANCE",
    "username",
    "unique_id",
    "km_link",
    "_km_monitored",
    "node_args",
    "args",
    "env",
    "axm_actions",
    "axm_monitor",
    "axm_options",
    "axm_dynamic",
    "watch",
    "filter_env",
    "exit_code",
    "prev_restart_delay",
    "node_version",
    "version",
    "versioning",
    "wait_ready",
    "max_memory_restart",
    "cron_restart",
    "uid",
    "gid",
    "log_date_format",
    "kill_timeout",
    "restart_delay",
    "pmx_module",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
];

/// The caller's environment without what PM2 put there, if the caller is itself a managed process.
pub fn own_variables_removed(env: &Object) -> Object {
    if !env.contains_key("pm_id") {
        return env.clone();
    }
    env.iter()
        .filter(|(key, _)| !OWN.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// The whole environment of a new app. `python` adds what makes its output appear at once.
pub(super) fn full(app: &Object, caller: &Caller, origin: &Origin<'_>, python: bool) -> (Object, Vec<Note>) {
    let file = matches!(origin, Origin::File { .. });
    let mut env = filtered(own_variables_removed(&caller.env), app.get("filter_env"));
    if file {
        env.insert("PM2_JSON_PROCESSING".into(), "true".into());
    }
    if let Some(cwd) = app.get("cwd").and_then(Value::as_str) {
        let cwd = crate::home::clean(&caller.cwd.join(cwd));
        env.insert("PWD".into(), cwd.to_string_lossy().into_owned().into());
    }
    lay_over(&mut env, app.get("env"));
    if let Some(port) = app.get("port") {
        env.insert("PORT".into(), port.clone());
    }
    if let Some(io) = app.get("io") {
        env.insert("io".into(), io.to_string().into());
    }
    if python {
        env.entry("PYTHONUNBUFFERED").or_insert_with(|| "1".into());
    }
    env.insert(
        "PM2_HOME".into(),
        caller.home.root.to_string_lossy().into_owned().into(),
    );
    module_values(&mut env, app, caller, file);
    let notes = overlays(&mut env, app, origin);
    (env, notes)
}

/// The `env` of restartProcessId for options of the command line: the whole environment with `--update-env`, else
/// nothing but `current_conf`, which has no attribute that holds a default, so that a plain restart changes nothing.
pub fn restart_env_from_options(options: &Checked, name: &str, update_env: bool, caller: &Caller) -> Object {
    const DEFAULTS: [&str; 6] = [
        "vizion",
        "autostart",
        "autorestart",
        "pmx",
        "automation",
        "treekill",
    ];
    let mut conf = options.app.clone();
    for key in DEFAULTS {
        if conf.get(key) == Some(&Value::Bool(true)) {
            conf.shift_remove(key);
        }
    }
    conf.insert("km_link".into(), caller.km_link.into());
    let mut env = if update_env {
        own_variables_removed(&caller.env)
    } else {
        Object::new()
    };
    env.insert("current_conf".into(), conf.into());
    let mut named = Object::new();
    named.insert("name".into(), name.into());
    module_values(&mut env, &named, caller, false);
    env
}

/// The `env` of restartProcessId and reloadProcessId for an app of a configuration file: everything anew.
pub fn restart_env_from_file(app: &Checked, caller: &Caller, origin: &Origin<'_>) -> (Object, Vec<Note>) {
    let mut env = filtered(own_variables_removed(&caller.env), app.app.get("filter_env"));
    env.insert("PM2_JSON_PROCESSING".into(), "true".into());
    lay_over(&mut env, app.app.get("env"));
    if let Some(port) = app.app.get("port") {
        env.insert("PORT".into(), port.clone());
    }
    let notes = overlays(&mut env, &app.app, origin);
    // The daemon puts this in the place of the entry's `env`, so it holds the overlays as well.
    let mut own = Object::new();
    lay_over(&mut own, app.app.get("env"));
    overlays(&mut own, &app.app, origin);
    let mut conf = Object::new();
    conf.insert("env".into(), own.into());
    // The mode can't change while instances run.
    conf.extend(
        app.app
            .iter()
            .filter(|(k, _)| *k != "env" && *k != "exec_mode")
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    env.insert("current_conf".into(), conf.into());
    env.insert("updateEnv".into(), true.into());
    module_values(&mut env, &app.app, caller, false);
    (env, notes)
}

/// Drops what `filter_env` names: the variable of this name, or all whose name contains one of the texts. `true` drops nothing,
/// as measured with PM2 7.
fn filtered(mut env: Object, filter: Option<&Value>) -> Object {
    match filter {
        Some(Value::String(name)) => {
            env.shift_remove(name);
        }
        Some(Value::Array(parts)) => {
            let parts: Vec<String> = parts.iter().map(js::to_text).filter(|p| !p.is_empty()).collect();
            env.retain(|key, _| !parts.iter().any(|part| key.contains(part.as_str())));
        }
        _ => {}
    }
    env
}

/// Copies variables; objects, lists and null become JSON text, as no environment can hold them.
fn lay_over(env: &mut Object, over: Option<&Value>) {
    let Some(Value::Object(over)) = over else { return };
    for (key, value) in over {
        let value = match value {
            Value::Object(_) | Value::Array(_) | Value::Null => Value::String(value.to_string()),
            plain => plain.clone(),
        };
        env.insert(key.clone(), value);
    }
}

/// What `--env` lays over the app's `env`: the environment of the deployment, then the overlay of the app, which wins over
/// everything. PM2 7 has them in this order, as measured.
fn overlays(env: &mut Object, app: &Object, origin: &Origin<'_>) -> Vec<Note> {
    let Origin::File {
        env_name: Some(name),
        deploy,
    } = origin
    else {
        return Vec::new();
    };
    let deployed = deploy
        .and_then(|deploy| deploy.get(*name))
        .and_then(|d| d.get("env"));
    lay_over(env, deployed);
    match app.get(&format!("env_{name}")) {
        Some(overlay) => {
            lay_over(env, Some(overlay));
            Vec::new()
        }
        None => vec![Note::new(
            Level::Warn,
            format!("Environment [{name}] is not defined in process file"),
        )],
    }
}

/// What `set` stored for the app's name: the section under the name, and each of its keys.
fn module_values(env: &mut Object, app: &Object, caller: &Caller, as_text: bool) {
    let Some(name) = app.get("name").and_then(Value::as_str) else {
        return;
    };
    match caller.module_conf.get(name) {
        Some(Value::Object(section)) => {
            lay_over(env, Some(&Value::Object(section.clone())));
            env.insert(name.to_owned(), Value::Object(section.clone()).to_string().into());
        }
        _ if as_text => {
            env.insert(name.to_owned(), "{}".into());
        }
        _ => {
            env.insert(name.to_owned(), Object::new().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::fake::{FakeHost, caller, object};
    use super::*;
    use serde_json::json;

    fn checked(raw: Value) -> Checked {
        check(object(raw), &caller(), &FakeHost::default()).unwrap()
    }

    #[test]
    fn the_order_of_a_file_with_overlays_is_pm2s() {
        let app = checked(json!({
            "name": "full", "script": "app.js", "port": 4000, "env": { "A": 1, "OBJ": { "x": 1 }, "N": null, "ARR": [1] },
            "env_prod": { "A": 2, "B": true },
        }));
        let deploy = object(json!({ "prod": { "env": { "DEP": 1, "A": 9, "ARR": "deployed" } } }));
        let origin = Origin::File {
            env_name: Some("prod"),
            deploy: Some(&deploy),
        };
        let (env, notes) = full(app.as_object(), &caller(), &origin, false);
        assert_eq!(
            Value::Object(env).to_string(),
            r#"{"PATH":"/usr/bin","PM2_HOME":"/h","HOME":"/root","SECRET_X":"1","PM2_USAGE":"CLI","PM2_JSON_PROCESSING":"true","A":2,"OBJ":"{\"x\":1}","N":"null","ARR":"deployed","PORT":4000,"full":"{}","DEP":1,"B":true}"#
        );
        assert!(notes.is_empty());
        let origin = Origin::File {
            env_name: Some("nope"),
            deploy: None,
        };
        let (_, notes) = full(app.as_object(), &caller(), &origin, false);
        assert_eq!(
            notes,
            [Note::new(
                Level::Warn,
                "Environment [nope] is not defined in process file"
            )]
        );
    }

    #[test]
    fn variables_are_filtered() {
        let names = |filter: Value| {
            let app = object(json!({ "filter_env": filter }));
            let (env, _) = full(&app, &caller(), &Origin::Options, false);
            env.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(json!([])), "PATH PM2_HOME HOME SECRET_X PM2_USAGE");
        assert_eq!(names(json!(["SEC", ""])), "PATH PM2_HOME HOME PM2_USAGE");
        assert_eq!(names(json!("HOME")), "PATH PM2_HOME SECRET_X PM2_USAGE");
    }

    #[test]
    fn a_managed_caller_does_not_hand_on_who_it_is() {
        let mut caller = caller();
        caller.env.extend(object(
            json!({ "pm_id": "3", "name": "parent", "status": "launching", "MINE": "1" }),
        ));
        let (env, _) = full(
            &object(json!({ "name": "child" })),
            &caller,
            &Origin::Options,
            false,
        );
        assert!(!env.contains_key("pm_id") && !env.contains_key("status") && !env.contains_key("name"));
        assert_eq!((&env["MINE"], &env["child"]), (&json!("1"), &json!({})));
    }

    #[test]
    fn stored_values_reach_the_app() {
        let mut caller = caller();
        caller.module_conf = object(json!({ "echo": { "probes": "true" } }));
        let (env, _) = full(
            &object(json!({ "name": "echo" })),
            &caller,
            &Origin::Options,
            false,
        );
        assert_eq!(
            (&env["echo"], &env["probes"]),
            (&json!("{\"probes\":\"true\"}"), &json!("true"))
        );
    }

    #[test]
    fn a_bare_restart_brings_what_pm2s_does() {
        let options = checked(json!({ "filter_env": [] }));
        let env = restart_env_from_options(&options, "api", false, &caller());
        assert_eq!(
            Value::Object(env).to_string(),
            r#"{"current_conf":{"filter_env":[],"env":{},"merge_logs":true,"instance_var":"NODE_APP_INSTANCE","username":"root","windowsHide":true,"kill_retry_time":100,"km_link":false},"api":{}}"#
        );
        let env = restart_env_from_options(&options, "api", true, &caller());
        assert_eq!(
            env.keys().map(String::as_str).collect::<Vec<_>>().join(" "),
            "PATH PM2_HOME HOME SECRET_X PM2_USAGE current_conf api"
        );
    }

    #[test]
    fn a_restart_from_a_file_brings_everything() {
        let app = checked(json!({
            "name": "second", "script": "app.js", "namespace": "ns", "exec_mode": "cluster", "interpreter": "none", "env": {},
        }));
        let (env, _) = restart_env_from_file(
            &app,
            &caller(),
            &Origin::File {
                env_name: None,
                deploy: None,
            },
        );
        assert_eq!(
            env["current_conf"].to_string(),
            r#"{"env":{},"script":"app.js","name":"second","namespace":"ns","exec_interpreter":"none","vizion":true,"autostart":true,"autorestart":true,"instance_var":"NODE_APP_INSTANCE","pmx":true,"automation":true,"treekill":true,"username":"root","windowsHide":true,"kill_retry_time":100}"#
        );
        assert_eq!((&env["updateEnv"], &env["second"]), (&json!(true), &json!({})));
    }

    #[test]
    fn a_restart_from_a_file_brings_the_overlays_twice() {
        let app = checked(json!({
            "name": "a", "script": "app.js", "env": { "MODE": "a", "Z": 1, "O": { "x": 1 } }, "env_prod": { "MODE": "b", "Q": 3 },
        }));
        let deploy =
            object(json!({ "prod": { "env": { "DEP": "d", "MODE": "deployed", "Z": "deployed" } } }));
        let origin = Origin::File {
            env_name: Some("prod"),
            deploy: Some(&deploy),
        };
        let (env, _) = restart_env_from_file(&app, &caller(), &origin);
        let expected = json!({ "MODE": "b", "Z": "deployed", "O": "{\"x\":1}", "DEP": "d", "Q": 3 });
        assert_eq!(env["current_conf"]["env"], expected);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&env[key], value, "{key}");
        }
    }
}

//! The schema of configuration files as JSON Schema, so that editors complete and check them. Made from the one table.

use super::table::{ATTRIBUTES, Attribute, Default, Kind, Rule, camel_case};
use crate::Object;
use serde_json::{Value, json};

/// What the attributes mean, for those who edit a file.
const MEANINGS: &[(&str, &str)] = &[
    (
        "script",
        "what to run: a file, a program in PATH, or a command line",
    ),
    ("name", "name of the processes; default: the script's"),
    (
        "health",
        "how it is checked: { http | tcp | command, interval, timeout, retries, start_period, on_failure }",
    ),
    (
        "depends_on",
        "names of apps that have to be ready before it starts",
    ),
    (
        "limits",
        "what each process may take, held by the kernel: { memory_max, memory_high, cpu_max, cpu_weight, pids_max }",
    ),
    ("namespace", "group name, usable as a target"),
    ("cwd", "folder to run in; the other paths start from it"),
    ("args", "arguments of the script"),
    (
        "exec_interpreter",
        "program that runs the script; none executes it directly",
    ),
    ("node_args", "arguments of the interpreter"),
    (
        "exec_mode",
        "fork, or cluster, where Node processes share their sockets",
    ),
    (
        "instances",
        "number of processes; max is one per CPU, -1 one less",
    ),
    ("increment_var", "variable that is counted up with each process"),
    ("instance_var", "variable that holds the number of the process"),
    ("env", "variables"),
    ("filter_env", "which variables of the caller are left out"),
    ("append_env_to_name", "--env x makes the name end in -x"),
    ("port", "sets PORT"),
    ("out_file", "file for standard output; /dev/null keeps nothing"),
    ("error_file", "file for standard error; /dev/null keeps nothing"),
    ("log_file", "file for both together"),
    ("pid_file", "where the pid is written"),
    ("merge_logs", "one file for all processes of the app"),
    ("disable_logs", "store no output"),
    ("log_type", "json: one JSON object per piece of output"),
    ("log_date_format", "put this date before each line"),
    ("time", "put the date before each line"),
    (
        "logrotate",
        "when log files are put aside: false, or max_size, retain, max_age, compress, rotateInterval",
    ),
    (
        "logrotate",
        "when log files are put aside, and how many are kept; false: never",
    ),
    ("watch", "restart when files change; true, or paths"),
    ("ignore_watch", "files whose changes mean nothing"),
    ("watch_delay", "milliseconds between a change and the restart"),
    ("watch_options", "options of the watcher"),
    ("autorestart", "restart when it exits"),
    ("autostart", "false: entered as stopped"),
    ("max_restarts", "give up after this many unstable restarts"),
    ("min_uptime", "an earlier end counts as unstable"),
    ("restart_delay", "milliseconds before each restart"),
    (
        "exp_backoff_restart_delay",
        "milliseconds before restarts, longer each time",
    ),
    ("stop_exit_codes", "exit codes after which there is no restart"),
    ("cron_restart", "restart at these times; 0 ends it"),
    ("max_memory_restart", "restart above this memory, such as 300M"),
    ("kill_timeout", "milliseconds between the stop signal and SIGKILL"),
    (
        "kill_retry_time",
        "milliseconds between two looks whether it has ended",
    ),
    (
        "listen_timeout",
        "longest wait in milliseconds for the app to be ready",
    ),
    ("wait_ready", "the app tells when it is ready"),
    (
        "shutdown_with_message",
        "ask the app to stop by message, not by signal",
    ),
    ("treekill", "signal its children too"),
    ("uid", "user to run as"),
    ("gid", "group to run as"),
    ("vizion", "look up version control facts"),
    ("post_update", "commands after pull"),
    ("source_map_support", "map stack traces back to sources"),
    ("name_prefix", "put before the name, with a colon; for modules"),
    ("install_url", "where a module came from"),
    (
        "sockets",
        "addresses that are bound once and handed to every process by LISTEN_FDS",
    ),
    ("disable_source_map_support", "no mapping of stack traces"),
    ("execute_command", "run in fork mode"),
    ("force", "start once more although it runs"),
    ("trace", "trace transactions"),
    ("disable_trace", "no tracing"),
    ("v8", "collect metrics of V8"),
    ("event_loop_inspector", "inspect the event loop"),
    ("deep_monitoring", "all monitoring of a Node app"),
    ("pmx", "monitoring inside a Node app"),
    ("automation", "the same as pmx"),
    ("username", "filled in with the caller's name"),
    ("windowsHide", "accepted for PM2's sake"),
    ("write", "also write the options to <name>-pm2.json"),
    ("io", "configuration of the monitoring"),
];

/// The whole schema.
pub fn json_schema() -> Value {
    let list = |of: &str| {
        json!({
            "oneOf": [
                { "type": "array", "items": { "$ref": of } },
                { "$ref": of },
            ]
        })
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Apps and how to run them",
        "oneOf": [
            {
                "type": "object",
                "properties": {
                    "$schema": { "type": "string" },
                    "apps": list("#/$defs/app"),
                    "pm2": list("#/$defs/app"),
                    "static": list("#/$defs/site"),
                    "deploy": { "type": "object", "description": "environments of the verb deploy" },
                },
                "anyOf": [
                    { "required": ["apps"] },
                    { "required": ["pm2"] },
                    { "required": ["static"] },
                    { "required": ["deploy"] },
                ],
            },
            { "type": "array", "items": { "$ref": "#/$defs/app" } },
            { "$ref": "#/$defs/app" },
        ],
        "$defs": { "app": app(), "site": site() },
    })
}

fn app() -> Value {
    let mut properties = Object::new();
    let mut scripts = vec![json!({ "required": ["cmd"] }), json!({ "required": ["command"] })];
    for attribute in ATTRIBUTES {
        let schema = of(attribute);
        let camel = camel_case(attribute.name);
        let other = (camel != attribute.name).then_some(camel);
        let aliases = attribute.aliases.iter().map(|alias| (*alias).to_owned());
        for name in aliases.chain(other) {
            let mut second = schema.clone();
            second.insert(
                "description".into(),
                format!("the same as {}", attribute.name).into(),
            );
            if attribute.name == "script" {
                scripts.push(json!({ "required": [name] }));
            }
            properties.insert(name, second.into());
        }
        properties.insert(attribute.name.into(), schema.into());
    }
    scripts.push(json!({ "required": ["script"] }));
    for alias in ["cmd", "command"] {
        properties.insert(
            alias.into(),
            json!({ "type": "string", "description": "the same as script" }),
        );
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {
            "^env_\\S+$": {
                "type": ["object", "string"],
                "description": "variables on top of env, chosen by --env",
            },
        },
        "anyOf": scripts,
        "additionalProperties": false,
    })
}

fn of(attribute: &Attribute) -> Object {
    let mut schema = Object::new();
    if let Some((_, meaning)) = MEANINGS.iter().find(|(name, _)| *name == attribute.name) {
        schema.insert("description".into(), (*meaning).into());
    }
    let mut kinds: Vec<&str> = attribute.kinds.iter().map(|kind| kind.schema_name()).collect();
    if attribute.name == "instances" {
        kinds.push("string");
    }
    // Numbers may be written as text.
    if attribute.kinds == [Kind::Number] && !kinds.contains(&"string") {
        kinds.push("string");
    }
    let kinds: Value = match kinds.as_slice() {
        [one] => (*one).into(),
        many => many.to_vec().into(),
    };
    schema.insert("type".into(), kinds);
    let pattern = match attribute.rule {
        Rule::Bytes => Some("^\\d+(G|M|K)?$"),
        Rule::Millis => Some("^\\d+(h|m|s)?$"),
        _ if attribute.name == "instances" => Some("^(max|-?\\d+)$"),
        _ if attribute.kinds == [Kind::Number] => Some("^-?\\d+(\\.\\d+)?$"),
        _ => None,
    };
    if let Some(pattern) = pattern {
        schema.insert("pattern".into(), pattern.into());
    }
    if attribute.rule == Rule::ExecMode {
        schema.insert(
            "enum".into(),
            json!(["fork", "fork_mode", "cluster", "cluster_mode"]),
        );
    }
    if let Some(min) = attribute.min {
        schema.insert("minimum".into(), min.into());
    }
    let default: Option<Value> = match attribute.default {
        Default::Absent => None,
        Default::True => Some(true.into()),
        Default::Number(n) => Some(n.into()),
        Default::Text(text) => Some(text.into()),
    };
    if let Some(default) = default {
        schema.insert("default".into(), default);
    }
    schema
}

fn site() -> Value {
    json!({
        "type": "object",
        "description": "a folder that is served over HTTP",
        "properties": {
            "name": { "type": "string" },
            "path": { "type": "string", "description": "the folder" },
            "port": { "type": ["number", "string"] },
            "host": { "type": "string" },
            "spa": { "type": "boolean", "description": "answer what is not there with the home page" },
            "ftp": { "type": "boolean", "description": "list folders" },
            "directory": { "type": ["boolean", "string"] },
            "basic_auth": {
                "type": "object",
                "properties": { "username": { "type": "string" }, "password": { "type": "string" } },
            },
            "monitor": { "type": ["boolean", "string"] },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_is_there_under_all_its_names() {
        let schema = json_schema();
        let properties = &schema["$defs"]["app"]["properties"];
        for attribute in ATTRIBUTES {
            for name in std::iter::once(attribute.name.to_owned())
                .chain([camel_case(attribute.name)])
                .chain(attribute.aliases.iter().map(|alias| (*alias).to_owned()))
            {
                assert!(properties[&name].is_object(), "{name}");
            }
        }
        assert_eq!(properties["max_memory_restart"]["pattern"], "^\\d+(G|M|K)?$");
        assert_eq!(properties["instances"]["type"], json!(["number", "string"]));
        assert_eq!(properties["min_uptime"]["minimum"], 100);
    }

    #[test]
    fn every_attribute_has_a_meaning_and_no_meaning_is_of_one_that_is_gone() {
        for attribute in ATTRIBUTES {
            assert!(
                MEANINGS.iter().any(|(name, _)| *name == attribute.name),
                "{}",
                attribute.name
            );
        }
        for (name, _) in MEANINGS {
            assert!(
                ATTRIBUTES.iter().any(|attribute| attribute.name == *name),
                "{name}"
            );
        }
    }
}

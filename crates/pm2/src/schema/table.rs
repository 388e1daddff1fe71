//! The one table of attributes.

/// What may stand as the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A number.
    Number,
    /// Text.
    Text,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// As JSON Schema names it.
    pub fn schema_name(self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::Text => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }

    /// As JavaScript's `Object.prototype.toString` names it.
    pub fn js_name(self) -> &'static str {
        match self {
            Kind::Bool => "[object Boolean]",
            Kind::Number => "[object Number]",
            Kind::Text => "[object String]",
            Kind::Array => "[object Array]",
            Kind::Object => "[object Object]",
        }
    }
}

/// What is done with a value beyond its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Plain,
    /// `10M` becomes bytes.
    Bytes,
    /// `1h` becomes milliseconds.
    Millis,
    /// `fork`, `cluster`, each with or without `_mode`.
    ExecMode,
    /// A health check.
    Health,
    /// Limits that the kernel holds.
    Limits,
}

/// A value that is filled in when nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing is filled in.
    Absent,
    /// true.
    True,
    /// A number.
    Number(i64),
    /// Text.
    Text(&'static str),
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name. The camelCase of it is accepted too.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Kinds of value, in the order in which a complaint names them.
    pub kinds: &'static [Kind],
    /// What is done with the value.
    pub rule: Rule,
    /// Least number.
    pub min: Option<i64>,
    /// What is filled in.
    pub default: Default,
    /// The option of the command line that sets it, without dashes; empty if there is none.
    pub flag: &'static str,
}

const fn attr(name: &'static str, flag: &'static str, kinds: &'static [Kind]) -> Attribute {
    Attribute {
        name,
        aliases: &[],
        kinds,
        rule: Rule::Plain,
        min: None,
        default: Default::Absent,
        flag,
    }
}

impl Attribute {
    const fn or(mut self, aliases: &'static [&'static str]) -> Attribute {
        self.aliases = aliases;
        self
    }
    const fn rule(mut self, rule: Rule) -> Attribute {
        self.rule = rule;
        self
    }
    const fn min(mut self, min: i64) -> Attribute {
        self.min = Some(min);
        self
    }
    const fn default(mut self, default: Default) -> Attribute {
        self.default = default;
        self
    }
    /// A list that may also be written as text, split on blanks.
    pub fn is_word_list(&self) -> bool {
        matches!(self.kinds, [Kind::Array, Kind::Text])
    }
}

use Kind::{Array, Bool, Number, Object, Text};

/// Every attribute, in the order in which PM2 lists them in `jlist`.
pub const ATTRIBUTES: &[Attribute] = &[
    attr("script", "", &[Text]).or(&["exec"]),
    attr("name", "name", &[Text]),
    attr("name_prefix", "", &[Text]),
    attr("filter_env", "filter-env", &[Bool, Array, Text]),
    attr("namespace", "namespace", &[Text]),
    attr("install_url", "", &[Text]),
    attr("cwd", "cwd", &[Text]),
    attr("args", "", &[Array, Text]),
    attr("exec_interpreter", "interpreter", &[Text]).or(&["interpreter"]),
    attr("node_args", "node-args", &[Array, Text]).or(&["interpreterArgs", "interpreter_args"]),
    attr("out_file", "output", &[Text]).or(&["out", "output", "out_log"]),
    attr("error_file", "error", &[Text]).or(&["error", "err", "err_file", "err_log"]),
    attr("log_file", "log", &[Bool, Text]).or(&["log"]),
    attr("disable_logs", "disable-logs", &[Bool]),
    attr("log_type", "log-type", &[Text]),
    attr("log_date_format", "log-date-format", &[Text]),
    attr("time", "time", &[Bool]),
    attr("logrotate", "", &[Bool, Object]),
    attr("sockets", "", &[Array]),
    attr("env", "", &[Object, Text]),
    attr("max_memory_restart", "max-memory-restart", &[Text, Number]).rule(Rule::Bytes),
    attr("pid_file", "pid", &[Text]).or(&["pid"]),
    attr("restart_delay", "restart-delay", &[Number]),
    attr(
        "exp_backoff_restart_delay",
        "exp-backoff-restart-delay",
        &[Number],
    ),
    attr("source_map_support", "source-map-support", &[Bool]),
    attr(
        "disable_source_map_support",
        "disable-source-map-support",
        &[Bool],
    ),
    attr("wait_ready", "wait-ready", &[Bool]),
    attr("instances", "instances", &[Number]),
    attr("kill_timeout", "kill-timeout", &[Number]),
    attr("shutdown_with_message", "shutdown-with-message", &[Bool]),
    attr("listen_timeout", "listen-timeout", &[Number]),
    attr("cron_restart", "cron-restart", &[Text, Number]).or(&["cron"]),
    attr("merge_logs", "merge-logs", &[Bool]).or(&["combine_logs"]),
    attr("vizion", "no-vizion", &[Bool]).default(Default::True),
    attr("autostart", "no-autostart", &[Bool]).default(Default::True),
    attr("autorestart", "no-autorestart", &[Bool]).default(Default::True),
    attr("stop_exit_codes", "stop-exit-codes", &[Array, Number]),
    attr("watch_delay", "watch-delay", &[Number]),
    attr("watch", "watch", &[Bool, Array, Text]),
    attr("ignore_watch", "ignore-watch", &[Array, Text]),
    attr("watch_options", "", &[Object]),
    attr("min_uptime", "", &[Number, Text])
        .rule(Rule::Millis)
        .min(100),
    attr("max_restarts", "max-restarts", &[Number]).min(0),
    attr("execute_command", "execute-command", &[Bool]),
    attr("exec_mode", "", &[Text]).rule(Rule::ExecMode),
    attr("force", "force", &[Bool]),
    attr("append_env_to_name", "", &[Bool]),
    attr("post_update", "", &[Array]),
    attr("trace", "trace", &[Bool]),
    attr("disable_trace", "disable-trace", &[Bool]),
    attr("v8", "v8", &[Bool]),
    attr("event_loop_inspector", "event-loop-inspector", &[Bool]),
    attr("deep_monitoring", "deep-monitoring", &[Bool]),
    attr("increment_var", "", &[Text]),
    attr("instance_var", "", &[Text]).default(Default::Text("NODE_APP_INSTANCE")),
    attr("pmx", "no-pmx", &[Bool, Text]).default(Default::True),
    attr("automation", "no-automation", &[Bool]).default(Default::True),
    attr("treekill", "no-treekill", &[Bool]).default(Default::True),
    attr("port", "", &[Number]),
    attr("username", "", &[Text]),
    attr("uid", "uid", &[Number, Text]).or(&["user"]),
    attr("gid", "gid", &[Number, Text]),
    attr("windowsHide", "", &[Bool]).default(Default::True),
    attr("kill_retry_time", "", &[Number]).default(Default::Number(100)),
    attr("write", "write", &[Bool]),
    attr("io", "", &[Object]),
    // Ours, behind all of PM2's.
    attr("health", "", &[Object]).rule(Rule::Health),
    attr("depends_on", "", &[Array, Text]),
    attr("limits", "", &[Object]).rule(Rule::Limits),
];

/// The attribute of this exact name, camelCase name or alias.
pub fn attribute(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES
        .iter()
        .find(|a| a.name == name || a.aliases.contains(&name) || camel_chars(a.name).eq(name.chars()))
}

/// `max_memory_restart` → `maxMemoryRestart`.
pub fn camel_case(name: &str) -> String {
    camel_chars(name).collect()
}

/// The same letter by letter: hundreds of names are compared for each app.
fn camel_chars(name: &str) -> impl Iterator<Item = char> {
    let mut up = false;
    name.chars().filter_map(move |c| {
        let raised = std::mem::replace(&mut up, c == '_');
        match c {
            '_' => None,
            // Names are ASCII.
            c if raised => Some(c.to_ascii_uppercase()),
            c => Some(c),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_stands_for_two_attributes() {
        let mut seen = HashSet::new();
        for a in ATTRIBUTES {
            let names: HashSet<String> = std::iter::once(a.name.to_owned())
                .chain([camel_case(a.name)])
                .chain(a.aliases.iter().map(|s| (*s).to_owned()))
                .collect();
            for name in names {
                assert!(seen.insert(name.clone()), "{name}");
            }
        }
    }

    #[test]
    fn names_are_found() {
        for (written, name) in [
            ("script", "script"),
            ("maxMemoryRestart", "max_memory_restart"),
            ("err", "error_file"),
            ("cron", "cron_restart"),
        ] {
            assert_eq!(attribute(written).map(|a| a.name), Some(name));
        }
        assert!(
            attribute("combineLogs").is_none(),
            "PM2 knows no camelCase of aliases"
        );
    }
}

//! `env`: the environment of a process.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::number;

/// PM2's own facts, which are in the same object as the app's variables.
const OWN: &[&str] = &[
    "_km_monitored",
    "_pm2_version",
    "args",
    "automation",
    "autorestart",
    "autostart",
    "axm_actions",
    "axm_dynamic",
    "axm_monitor",
    "axm_options",
    "created_at",
    "env",
    "exec_interpreter",
    "exec_mode",
    "exit_code",
    "filter_env",
    "instance_var",
    "instances",
    "kill_retry_time",
    "km_link",
    "load_error",
    "merge_logs",
    "name",
    "namespace",
    "node_args",
    "pm_cwd",
    "pm_err_log_path",
    "pm_exec_path",
    "pm_id",
    "pm_log_path",
    "pm_out_log_path",
    "pm_pid_path",
    "pm_uptime",
    "pmx",
    "prev_restart_delay",
    "restart_time",
    "status",
    "treekill",
    "unstable_restarts",
    "username",
    "versioning",
    "vizion",
    "vizion_running",
    "watch",
    "windowsHide",
];

pub(crate) fn env(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let list = context.client()?.list(None)?;
    let Some(process) = list.iter().find(|p| number(target) == Some(p.pm_id)) else {
        return Err(Failure::Error(format!("Modules with id {target} not found")));
    };
    let shown = process.env.fields().iter();
    let shown = shown.filter_map(|(key, field)| {
        let own = OWN.contains(&key);
        field.as_var().filter(|_| !own).map(|text| (key, field, text))
    });
    if context.typed.on("json") {
        let object: pm2::Object = shown
            .map(|(key, field, _)| (key.to_owned(), field.to_value()))
            .collect();
        let object = serde_json::Value::Object(object);
        context.console.put(format_args!("{object:#}\n"));
        return Ok(Then::Done);
    }
    // The last one first, as PM2 has them.
    let shown: Vec<_> = shown.collect();
    for (key, _, text) in shown.into_iter().rev() {
        context
            .console
            .say(format_args!("{key}: {}", context.console.brush.green(text)));
    }
    Ok(Then::Done)
}

//! Everything about one process.

use super::list::{status, uptime};
use super::{Cell, Table};
use crate::process::{Health, Held, Process};
use crate::style::Brush;
use pm2::env::MetricReport;
use pm2::js::to_text;
use serde_json::Value;
use std::fmt::Write as _;

/// The blocks of `describe`. `local_env` are the variables of the caller, for the list of those that differ.
pub(crate) fn describe(
    p: &Process,
    now_ms: i64,
    local_env: &[(String, String)],
    (brush, width): (Brush, Option<u16>),
) -> String {
    let title = |text: &str| format!("{}\n", brush.inverse(brush.bold(format!(" {text} "))));
    let mut out = title(&format!(
        "Describing process with id {} - name {}",
        p.pm_id, p.name
    ));
    out.push_str(&Table::fitted(facts(p, now_ms)).within(width).render(brush));
    let rows = p.env.human_info();
    if !rows.is_empty() {
        let rows = rows
            .iter()
            .filter_map(Value::as_array)
            .map(|row| row.iter().map(|v| plain(v).into()).collect());
        out.insert_str(
            0,
            &format!(
                "{}{}",
                title("Module information"),
                Table::fitted(rows.collect()).within(width).render(brush)
            ),
        );
    }
    let versioning: Vec<Vec<Cell>> = p
        .env
        .object("versioning")
        .map(|map| {
            let keys = [
                "type",
                "url",
                "repo_path",
                "update_time",
                "revision",
                "comment",
                "branch",
            ];
            let label = |key: &str| match key {
                "type" => "revision control".to_owned(),
                "url" => "remote url".to_owned(),
                "repo_path" => "repository root".to_owned(),
                "update_time" => "last update".to_owned(),
                other => other.to_owned(),
            };
            keys.iter()
                .filter_map(|key| Some(vec![label(key).into(), plain(map.get(*key)?).into()]))
                .collect()
        })
        .unwrap_or_default();
    if !versioning.is_empty() {
        out.push_str(&title("Revision control metadata"));
        out.push_str(&Table::fitted(versioning).within(width).render(brush));
    }
    let actions: Vec<Vec<Cell>> = p.env.actions().map(|action| vec![action.name.into()]).collect();
    let hint = |text: String| format!("{}\n", brush.italic(brush.grey(text)));
    if !actions.is_empty() {
        out.push_str(&title("Actions available"));
        out.push_str(&Table::fitted(actions).within(width).render(brush));
        out.push_str(&hint(format!(
            " Trigger via: pm2 trigger {} <action_name>\n",
            word(&p.name)
        )));
    }
    let metrics: Vec<Vec<Cell>> = p
        .env
        .metrics()
        .map(|metric| vec![metric.name.into(), metric_text(&metric).into()])
        .collect();
    if !metrics.is_empty() {
        out.push_str(&title("Code metrics value"));
        out.push_str(&Table::fitted(metrics).within(width).render(brush));
    }
    out.push_str(&title("Divergent env variables from local env"));
    let divergent = divergent(p, local_env);
    if divergent.is_empty() {
        out.push('\n');
    } else {
        out.push_str(&Table::fitted(divergent).within(width).render(brush));
    }
    let _ = writeln!(out);
    let name = word(&p.name);
    let mut hints = vec![
        format!(" logs         pm2 logs {name} --lines 1000"),
        format!(" environment  pm2 env {}", p.pm_id),
    ];
    if p.status() == "errored" {
        hints.push(format!(" crashes      pm2 crashes {name}"));
    }
    for text in hints {
        out.push_str(&hint(text));
    }
    out
}

/// A name as one word of a shell's command line.
fn word(name: &str) -> std::borrow::Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@+,%".contains(c);
    if name.chars().all(plain) {
        name.into()
    } else {
        format!("'{}'", name.replace('\'', r"'\''")).into()
    }
}

fn health_cell(health: &Health) -> Cell {
    let mut text = health.status.clone();
    if health.failures > 0 {
        let _ = write!(text, ", {} failed in a row", health.failures);
    }
    if let Some(reason) = &health.reason {
        let _ = write!(text, ": {reason}");
    }
    match health.status.as_str() {
        "healthy" => Cell::painted(text, Brush::green),
        "unhealthy" => Cell::painted(text, Brush::red),
        _ => Cell::painted(text, Brush::blue),
    }
}

/// The limits as they were written, and whether they hold.
fn limits_cell(p: &Process, held: &Held) -> Cell {
    let written = p.env.object("limits");
    let written: Vec<String> = written
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key} {}", plain(value)))
        .collect();
    let written = written.join(", ");
    match &held.trouble {
        Some(trouble) => Cell::painted(format!("{written}; not held: {trouble}"), Brush::red),
        None => written.into(),
    }
}

fn facts(p: &Process, now_ms: i64) -> Vec<Vec<Cell>> {
    let text = |key: &str| {
        p.env
            .get(key)
            .map_or_else(|| "N/A".to_owned(), |value| plain(&value))
    };
    let list = |key: &str| match p.env.list(key) {
        list if list.is_empty() => "N/A".to_owned(),
        list => list.join(" "),
    };
    let mut rows: Vec<(&str, Cell)> = vec![
        ("status", status(p.status())),
        ("name", p.name.as_str().into()),
        ("namespace", p.env.namespace().into()),
        ("version", text("version").into()),
        (
            "restarts",
            p.env.int("restart_time").unwrap_or(0).to_string().into(),
        ),
    ];
    if let Some(limit) = p.env.int("max_memory_restart") {
        rows.push(("max memory restart", limit.to_string().into()));
    }
    if let Some(cron) = p.env.cron_restart() {
        rows.push(("cron restart", cron.into()));
    }
    rows.push(("uptime", uptime(p, now_ms).into()));
    if let Some(health) = &p.health {
        rows.insert(1, ("health", health_cell(health)));
    }
    if let Some(error) = p.env.load_error() {
        let text = format!("its main module could not be loaded: {error}");
        rows.insert(1, ("does nothing", Cell::painted(text, Brush::red)));
    }
    if let Some(held) = &p.limits {
        rows.push(("limits", limits_cell(p, held)));
        if let Some(cgroup) = &held.cgroup {
            rows.push(("cgroup", cgroup.as_str().into()));
        }
    }
    rows.push(("script path", text("pm_exec_path").into()));
    rows.push(("script args", list("args").into()));
    if p.env.get("pm_log_path").is_some() {
        rows.push(("entire log path", text("pm_log_path").into()));
    }
    let watches: Cell = if p.env.watches() {
        Cell::painted("✔", |b, text| b.green(b.bold(text)))
    } else {
        Cell::plain("✘")
    };
    rows.extend([
        ("error log path", text("pm_err_log_path").into()),
        ("out log path", text("pm_out_log_path").into()),
        ("pid path", text("pm_pid_path").into()),
        ("interpreter", text("exec_interpreter").into()),
        ("interpreter args", list("node_args").into()),
        ("script id", p.pm_id.to_string().into()),
        ("exec cwd", text("pm_cwd").into()),
        ("exec mode", text("exec_mode").into()),
        ("node.js version", text("node_version").into()),
        (
            "node env",
            p.env
                .vars()
                .and_then(|vars| vars.get("NODE_ENV"))
                .map_or("N/A".to_owned(), |field| plain(&field.to_value()))
                .into(),
        ),
        ("watch & reload", watches),
        (
            "unstable restarts",
            p.env.int("unstable_restarts").unwrap_or(0).to_string().into(),
        ),
        (
            "created at",
            p.env
                .int("created_at")
                .map_or("N/A".to_owned(), pm2::dates::iso)
                .into(),
        ),
    ]);
    if p.env.flag("_km_monitored") == Some(false) {
        rows.push(("monitored", Cell::painted("no, hidden from the hub", Brush::red)));
    }
    rows.into_iter()
        .map(|(key, value)| vec![key.into(), value])
        .collect()
}

pub(crate) fn metric_text(metric: &MetricReport<'_>) -> String {
    let value = plain(metric.value);
    match metric.unit {
        "" => value,
        unit => format!("{value} {unit}"),
    }
}

/// Variables that the process has with another value than the caller. Empty and multi-line ones are left out.
fn divergent(p: &Process, local: &[(String, String)]) -> Vec<Vec<Cell>> {
    const NOISE: [&str; 7] = ["PATH", "PM2_HOME", "PWD", "OLDPWD", "SHLVL", "_", "unique_id"];
    let Some(vars) = p.env.vars() else {
        return Vec::new();
    };
    let differs = |(key, text): &(&str, String)| {
        !NOISE.contains(key)
            && !text.contains('\n')
            && local
                .iter()
                .any(|(name, here)| name == key && here != text && here.len() < 300 && text.len() < 300)
    };
    vars.iter()
        .map(|(key, field)| (key, to_text(&field.to_value())))
        .filter(differs)
        .map(|(key, text)| vec![key.into(), text.into()])
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Object(_) => value.to_string(),
        other => to_text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;
    use serde_json::json;

    #[test]
    fn all_blocks() {
        let p = sample(
            3,
            "api",
            json!({
                "status": "online", "pm_uptime": 0, "created_at": 0, "pm_exec_path": "/srv/api.js", "args": ["-p", 80], "exec_mode": "fork_mode",
                "cron_restart": "* * * * *", "env": { "LANG": "C", "NODE_ENV": "production", "A": "x\ny" }, "_km_monitored": false,
                "axm_actions": [{ "action_name": "km:heapdump" }, { "odd": 1 }],
                "axm_monitor": { "Heap": { "value": "4.2", "unit": "MiB" }, "odd": 3 },
                "versioning": { "type": "git", "branch": "main" },
            }),
        );
        let local = [
            ("LANG".to_owned(), "de".to_owned()),
            ("A".to_owned(), "z".to_owned()),
        ];
        insta::assert_snapshot!(describe(&p, 61_000, &local, (Brush { on: false }, None)), @"
         Describing process with id 3 - name api 
        ┌───────────────────┬──────────────────────────┐
        │ status            │ online                   │
        │ name              │ api                      │
        │ namespace         │ default                  │
        │ version           │ N/A                      │
        │ restarts          │ 0                        │
        │ cron restart      │ * * * * *                │
        │ uptime            │ 61s                      │
        │ script path       │ /srv/api.js              │
        │ script args       │ -p 80                    │
        │ error log path    │ N/A                      │
        │ out log path      │ N/A                      │
        │ pid path          │ N/A                      │
        │ interpreter       │ N/A                      │
        │ interpreter args  │ N/A                      │
        │ script id         │ 3                        │
        │ exec cwd          │ N/A                      │
        │ exec mode         │ fork_mode                │
        │ node.js version   │ N/A                      │
        │ node env          │ production               │
        │ watch & reload    │ ✘                        │
        │ unstable restarts │ 0                        │
        │ created at        │ 1970-01-01T00:00:00.000Z │
        │ monitored         │ no, hidden from the hub  │
        └───────────────────┴──────────────────────────┘
         Revision control metadata 
        ┌──────────────────┬──────┐
        │ revision control │ git  │
        │ branch           │ main │
        └──────────────────┴──────┘
         Actions available 
        ┌─────────────┐
        │ km:heapdump │
        └─────────────┘
         Trigger via: pm2 trigger api <action_name>

         Code metrics value 
        ┌──────┬─────────┐
        │ Heap │ 4.2 MiB │
        │ odd  │ 3       │
        └──────┴─────────┘
         Divergent env variables from local env 
        ┌──────┬───┐
        │ LANG │ C │
        └──────┴───┘

         logs         pm2 logs api --lines 1000
         environment  pm2 env 3
        ");
    }
}

//! From an entry to what the hub is told of a process. Pure. The environment of an app never goes along.

use agent::telemetry::{
    ActionKind, AppAction, ExecMode, Metric, Process, ProcessStatus, Value as Figure, Versioning,
};
use agent::{ProcessObservation, redact};
use pm2::env::{ActionReport, MetricReport, Monit, Pm2Env};
use serde_json::Value;

/// What the hub is told; `None` for a process that is not monitored.
pub(crate) fn of(env: &Pm2Env, pid: u32, monit: Monit) -> Option<ProcessObservation> {
    let pm_id = env.pm_id().filter(|_| env.is_monitored())?;
    let process = Process {
        name: env.name().to_owned(),
        namespace: env.namespace().to_owned(),
        pid,
        status: ProcessStatus::from_name(env.status()).unwrap_or_default(),
        exec_mode: match env.exec_mode() {
            pm2::env::ExecMode::Fork => ExecMode::Fork,
            pm2::env::ExecMode::Cluster => ExecMode::Cluster,
        },
        cpu: (monit.cpu * 10.0).round() / 10.0,
        memory: monit.memory,
        restarts: env.restarts(),
        unstable_restarts: env.unstable_restarts(),
        started_at: env.started_at(),
        created_at: env.created_at(),
        interpreter: env.interpreter().to_owned(),
        interpreter_args: env.interpreter_args(),
        script: env.exec_path().to_owned(),
        node_version: env.node_version().to_owned(),
        version: env.version().to_owned(),
        node_env: env.node_env().to_owned(),
        unique_id: env.unique_id().to_owned(),
        actions: env.actions().map(action).collect(),
        metrics: env.metrics().map(|m| (m.name.to_owned(), metric(&m))).collect(),
        module: env.is_module(),
        versioning: env
            .get("versioning")
            .map(|facts| versioning(&facts))
            .unwrap_or_default(),
    };
    Some(ProcessObservation { pm_id, process })
}

fn versioning(facts: &Value) -> Versioning {
    let text = |key: &str| facts.get(key).and_then(Value::as_str).unwrap_or_default();
    let flag = |key: &str| facts.get(key).and_then(Value::as_bool).unwrap_or_default();
    Versioning {
        kind: text("type").to_owned(),
        // Some keep a password in the address of their remote.
        url: redact::addresses(text("url")),
        revision: text("revision").to_owned(),
        comment: redact::clip(text("comment"), 500).to_owned(),
        branch: text("branch").to_owned(),
        remote: text("remote").to_owned(),
        unstaged: flag("unstaged"),
        ahead: flag("ahead"),
        updated_at: text("update_time")
            .parse::<jiff::Timestamp>()
            .map_or(0, |at| u64::try_from(at.as_millisecond()).unwrap_or(0)),
        repo_path: text("repo_path").to_owned(),
    }
}

fn action(told: ActionReport<'_>) -> AppAction {
    let fallback = if told.internal {
        ActionKind::Internal
    } else {
        ActionKind::Custom
    };
    AppAction {
        name: told.name.to_owned(),
        kind: told.kind.and_then(ActionKind::from_name).unwrap_or(fallback),
        arity: told.arity,
        opts: told.opts.map(Value::to_string).unwrap_or_default(),
    }
}

fn metric(told: &MetricReport<'_>) -> Metric {
    Metric {
        value: figure(told.value),
        unit: told.unit.to_owned(),
        kind: told.kind.to_owned(),
        historic: told.historic,
    }
}

fn figure(value: &Value) -> Figure {
    match value {
        Value::Number(number) => number.as_f64().map_or(Figure::Null, Figure::number),
        Value::String(text) => Figure::Text(text.chars().take(1000).collect()),
        Value::Bool(flag) => Figure::Bool(*flag),
        Value::Null | Value::Array(_) | Value::Object(_) => Figure::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(value: Value) -> Pm2Env {
        match value {
            Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn what_an_app_tells_is_told_and_its_environment_is_not() {
        let monit = Monit { memory: 7, cpu: 1.26 };
        let seen = of(
            &env(json!({
                "name": "api", "pm_id": 3, "status": "waiting restart", "restart_time": 2, "env": { "SECRET": "s3cret" },
                "SECRET": "s3cret", "NODE_ENV": "production",
                "axm_monitor": { "Heap": { "value": "12.5", "unit": "MiB", "type": "t", "historic": false }, "n": 4 },
                "axm_actions": [{ "action_name": "km:x", "arity": 2 }, { "no": 1 }],
                "versioning": { "type": "git", "url": "https://me:s3cret@h/r.git", "revision": "51c94ac", "branch": "main",
                    "unstaged": true, "remote": null },
            })),
            9,
            monit,
        )
        .expect("monitored");
        assert_eq!((seen.pm_id, seen.process.pid, seen.process.memory), (3, 9, 7));
        assert_eq!(seen.process.status, ProcessStatus::WaitingRestart);
        assert_eq!(seen.process.cpu, 1.3);
        assert_eq!(seen.process.node_env, "production");
        assert_eq!(seen.process.metrics["Heap"].value, Figure::Text("12.5".into()));
        assert_eq!(seen.process.metrics["n"].value, Figure::Number(4.0));
        assert_eq!(seen.process.actions.len(), 1);
        assert_eq!(seen.process.actions[0].kind, ActionKind::Internal);
        let versioning = &seen.process.versioning;
        assert_eq!((versioning.branch.as_str(), versioning.unstaged), ("main", true));
        assert_eq!(versioning.url, "https://[redacted]@h/r.git");
        assert!(!format!("{seen:?}").contains("s3cret"));
        assert_eq!(
            of(&env(json!({ "pm_id": 1, "_km_monitored": false })), 1, monit),
            None
        );
    }
}

//! From an entry to what the hub is told of a process. Pure. The environment of an app never goes along.

use agent::ProcessObservation;
use agent::telemetry::{
    ActionKind, AppAction, ExecMode, Metric, Metrics, Process, ProcessStatus, Value as Figure,
};
use pm2::env::{Monit, Pm2Env};
use serde_json::Value;

/// What the hub is told; `None` for a process that is not monitored.
pub(crate) fn of(env: &Pm2Env, pid: u32, monit: Monit) -> Option<ProcessObservation> {
    let pm_id = env.pm_id().filter(|_| env.is_monitored())?;
    let text = |key: &str| env.text(key).unwrap_or_default().to_owned();
    let count = |key: &str| env.int(key).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let time = |key: &str| env.int(key).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
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
        restarts: count("restart_time"),
        unstable_restarts: count("unstable_restarts"),
        started_at: time("pm_uptime"),
        created_at: time("created_at"),
        interpreter: env.interpreter().to_owned(),
        interpreter_args: env.list("node_args"),
        script: env.exec_path().to_owned(),
        node_version: text("node_version"),
        version: text("version"),
        node_env: text("NODE_ENV"),
        unique_id: text("unique_id"),
        actions: actions(env.get("axm_actions")),
        metrics: metrics(env.get("axm_monitor")),
        module: env.is_module(),
        ..Process::default()
    };
    Some(ProcessObservation { pm_id, process })
}

fn actions(value: Option<&Value>) -> Vec<AppAction> {
    let Some(Value::Array(items)) = value else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| {
            let name = item.get("action_name")?.as_str()?.to_owned();
            let said = item
                .get("action_type")
                .and_then(Value::as_str)
                .and_then(ActionKind::from_name);
            let internal = name.starts_with("km:") || name.starts_with("internal:");
            let fallback = if internal {
                ActionKind::Internal
            } else {
                ActionKind::Custom
            };
            let arity = item
                .get("arity")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok());
            let opts = item
                .get("opts")
                .filter(|opts| !opts.is_null())
                .map(Value::to_string);
            Some(AppAction {
                name,
                kind: said.unwrap_or(fallback),
                arity: arity.unwrap_or(0),
                opts: opts.unwrap_or_default(),
            })
        })
        .collect()
}

fn metrics(value: Option<&Value>) -> Metrics {
    let Some(Value::Object(map)) = value else {
        return Metrics::default();
    };
    map.iter()
        .map(|(name, value)| (name.clone(), metric(value)))
        .collect()
}

fn metric(value: &Value) -> Metric {
    let Value::Object(fields) = value else {
        return Metric {
            value: figure(value),
            ..Metric::default()
        };
    };
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Metric {
        value: fields.get("value").map(figure).unwrap_or_default(),
        unit: text("unit"),
        kind: text("type"),
        historic: fields.get("historic").and_then(Value::as_bool).unwrap_or(true),
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
        assert!(!format!("{seen:?}").contains("s3cret"));
        assert_eq!(
            of(&env(json!({ "pm_id": 1, "_km_monitored": false })), 1, monit),
            None
        );
    }
}

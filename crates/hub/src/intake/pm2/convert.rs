//! From a PM2 agent's status to the live model, and from its messages to what is stored. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use pm2::agent_wire::{self, ProcessStatus, Status};
use serde_json::Value;

use crate::live::Hardware;
use crate::live::model::{ActionFact, Metric, Millis, Process, ProcessFacts, Reading, ServerFacts};
use crate::store::telemetry::Sample;

/// What the door knows of the agent beside its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    pub(super) address: Option<String>,
    pub(super) pm2_version: Option<String>,
    pub(super) hardware: Hardware,
    /// How far the host's clock is ahead of ours, as its messages show.
    pub(super) clock_ahead: Option<Millis>,
}

pub(super) fn server_facts(status: &Status, beside: &Beside) -> ServerFacts {
    let server = &status.server;
    ServerFacts {
        hostname: server.hostname.clone(),
        username: server.username.clone(),
        platform: told(&server.platform),
        os_type: None,
        pm2_version: told(&server.pm2_version).or_else(|| beside.pm2_version.clone()),
        node_version: told(&server.node_version),
        agent_version: told(&server.agent_version),
        cpus: beside.hardware.cpus,
        cpu_model: beside.hardware.cpu_model.clone(),
        total_mem: server.total_mem.or(beside.hardware.total_mem),
        free_mem: None,
        loadavg: server.loadavg,
        uptime: (server.uptime_s > 0.0).then_some(server.uptime_s),
        public_ip: beside.address.clone(),
        internal_ip: told(&status.internal_ip),
        unique_id: told(&server.unique_id),
        reverse_disabled: false,
        clock_ahead: beside.clock_ahead,
        // They sign nothing.
        manifest: None,
        allowed: Some(super::pending::POSSIBLE.map(str::to_owned).to_vec()),
    }
}

/// How far a host's clock is ahead, after a message that it dated `at` came in at `now`. A message may have waited on its way, so the
/// one that looks least late is right.
pub(super) fn clock_ahead(known: Option<Millis>, at: Millis, now: Millis) -> Millis {
    let ahead = at.saturating_sub(now);
    known.map_or(ahead, |known| known.max(ahead))
}

fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The processes of the last status, so that what did not change is shared.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<u32, Arc<ProcessFacts>>);

impl Known {
    pub(super) fn processes(&mut self, status: &Status) -> Vec<Process> {
        let processes: Vec<Process> = status.processes.iter().map(|p| self.process(p)).collect();
        self.0
            .retain(|pm_id, _| status.processes.iter().any(|p| p.pm_id == *pm_id));
        processes
    }

    fn process(&mut self, status: &ProcessStatus) -> Process {
        let fresh = facts(status);
        let facts = match self.0.get(&status.pm_id) {
            Some(known) if **known == fresh => known.clone(),
            _ => {
                let fresh = Arc::new(fresh);
                self.0.insert(status.pm_id, fresh.clone());
                fresh
            }
        };
        Process {
            pm_id: status.pm_id,
            facts,
            pid: status.pid,
            status: status.status.as_str().into(),
            cpu: status.cpu,
            memory: status.memory,
            restart_time: status.restart_time,
            pm_uptime: (status.pm_uptime > 0).then_some(status.pm_uptime),
            metrics: status.metrics.iter().map(metric).collect(),
        }
    }
}

fn facts(status: &ProcessStatus) -> ProcessFacts {
    ProcessFacts {
        name: status.name.clone(),
        namespace: "default".to_owned(),
        exec_mode: status.exec_mode.clone(),
        interpreter: status.interpreter.clone(),
        node_version: None,
        version: None,
        path: told(&status.path),
        args: (!status.node_args.is_empty()).then(|| status.node_args.clone()),
        node_env: status.node_env.clone(),
        unique_id: told(&status.unique_id),
        created_at: status.created_at,
        // Their agents leave modules' own marks out.
        module: false,
        versioning: status.versioning.clone(),
        actions: status.actions.iter().map(action).collect(),
    }
}

fn action(action: &agent_wire::ActionInfo) -> ActionFact {
    ActionFact {
        name: action.name.clone(),
        kind: action.kind.clone(),
        arity: action.arity,
        opts: action.opts.clone(),
    }
}

fn metric(metric: &agent_wire::Metric) -> Metric {
    let value = match &metric.value {
        Value::Bool(flag) => Reading::Flag(*flag),
        Value::String(text) => Reading::from_text(text),
        // Texts such as `12ms` have a number at their beginning; others are shown as they are.
        other => metric
            .number()
            .map_or_else(|| Reading::from_text(&other.to_string()), Reading::Number),
    };
    Metric {
        name: metric.name.as_str().into(),
        value,
        unit: metric.unit.as_deref().map(Arc::from),
        kind: metric.id.as_deref().map(Arc::from),
        historic: metric.historic,
    }
}

/// One second of a process, for the store.
pub(super) fn samples(process: &Process, at_ms: Millis) -> impl Iterator<Item = Sample> + '_ {
    let app: Arc<str> = process.facts.name.as_str().into();
    let no_unit: Arc<str> = "".into();
    process.samples().map(move |(metric, unit, value)| Sample {
        app: Some(app.clone()),
        pm_id: Some(process.pm_id),
        metric,
        unit: unit.unwrap_or_else(|| no_unit.clone()),
        at_ms,
        value,
    })
}

/// The status that an event of a process's life shows at once.
pub(super) fn hint(event: &str) -> Option<&'static str> {
    match event {
        "online" => Some("online"),
        "stop" => Some("stopped"),
        "restart overlimit" => Some("errored"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Status {
        Status::read(&json!({
            "server_name": "web",
            "internal_ip": "10.0.0.3",
            "data": {
                "server": {
                    "hostname": "host", "username": "root", "uptime": 12.5, "platform": "linux", "type": "Linux",
                    "pm2_version": "7.0.4", "node_version": "v20.1.0", "unique_id": "u1",
                    "loadavg": [1, 2, 3], "total_mem": 1024,
                },
                "process": [{
                    "pid": 10, "name": "api", "pm_id": 0, "status": "online", "cpu": 7, "memory": 2048,
                    "exec_mode": "cluster_mode", "interpreter": "node", "restart_time": 2, "pm_uptime": 1700000000000u64,
                    "axm_monitor": {
                        "Loop delay": { "value": "0.68", "unit": "ms", "type": "internal/x", "historic": true },
                        "State": { "value": "warm", "historic": true },
                        "Silent": { "value": 3, "historic": false },
                    },
                    "axm_actions": [{ "action_name": "km:heapdump", "action_type": "internal", "arity": 0 }],
                }],
            },
        }))
    }

    #[test]
    fn a_status_in_our_words() {
        let mut known = Known::default();
        let first = known.processes(&status());
        let second = known.processes(&status());
        assert!(
            Arc::ptr_eq(&first[0].facts, &second[0].facts),
            "unchanged facts are shared"
        );
        assert_eq!(first[0].metrics[0].value, Reading::Number(0.68));
        assert_eq!(first[0].facts.actions[0].kind, "internal");
        let facts = server_facts(&status(), &Beside::default());
        assert_eq!(
            (facts.loadavg, facts.total_mem, facts.unique_id.as_deref()),
            (Some([1.0, 2.0, 3.0]), Some(1024), Some("u1"))
        );
    }

    #[test]
    fn a_clock_is_judged_by_the_message_that_waited_least() {
        let seen = [(900, 1000), (1990, 2000), (2500, 3000)];
        let ahead = seen
            .into_iter()
            .fold(None, |known, (at, now)| Some(clock_ahead(known, at, now)));
        assert_eq!(ahead, Some(-10));
        assert_eq!(clock_ahead(Some(-10), 95_000, 5000), 90_000);
    }

    #[test]
    fn only_numbers_that_are_wanted_are_kept() {
        let processes = Known::default().processes(&status());
        let kept: Vec<_> = samples(&processes[0], 5)
            .map(|s| (s.metric.to_string(), s.unit.to_string(), s.value))
            .collect();
        let row = |name: &str, unit: &str, value| (name.to_owned(), unit.to_owned(), value);
        assert_eq!(
            kept,
            [
                row("cpu", "%", 7.0),
                row("memory", "B", 2048.0),
                row("Loop delay", "ms", 0.68)
            ]
        );
    }
}

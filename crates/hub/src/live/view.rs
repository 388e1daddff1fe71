//! How servers and processes look to our dashboard: JSON objects, and the difference between two of them. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::absence::Absence;
pub(super) use super::model::Object;
use super::model::{Millis, ProcessKey, ServerId, ServerState, number_json};
use super::server::{Entry, Server};

/// What watchers have been told about one server.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    server: Object,
    processes: BTreeMap<ProcessKey, Object>,
}

/// Fields that move every second while a server is online and that a reader can work out itself.
const QUIET: [&str; 1] = ["last_seen"];

/// The server as it is to be told now.
pub(super) fn baseline(server: &Server) -> Baseline {
    Baseline {
        server: server_fields(server),
        processes: server
            .processes
            .iter()
            .map(|(key, entry)| (key.clone(), process_fields(key, entry)))
            .collect(),
    }
}

/// The whole server; with the last minute of each process when `recent_until` is given.
pub(super) fn whole(server: &Server, fresh: &Baseline, recent_until: Option<Millis>) -> Object {
    let mut object = fresh.server.clone();
    let processes = fresh.processes.iter().map(|(key, fields)| {
        let mut fields = fields.clone();
        if let (Some(now), Some(entry)) = (recent_until, server.processes.get(key))
            && !entry.over_plan
        {
            fields.insert("recent".into(), entry.recent.to_json(now));
        }
        Value::Object(fields)
    });
    object.insert("processes".into(), processes.collect());
    object
}

/// What is new in `fresh`, or `None`.
pub(super) fn changes(id: ServerId, told: &Baseline, fresh: &Baseline) -> Option<Object> {
    let mut object = difference(&told.server, &fresh.server);
    for field in QUIET {
        if object.contains_key("state") {
            // What was left out before is told now.
            object.insert(field.into(), fresh.server[field].clone());
        } else {
            object.remove(field);
        }
    }
    let mut processes = Vec::new();
    for (key, fields) in &fresh.processes {
        let mut changed = match told.processes.get(key) {
            Some(before) => difference(before, fields),
            None => fields.clone(),
        };
        if !changed.is_empty() {
            changed.insert("key".into(), key.as_str().into());
            processes.push(Value::Object(changed));
        }
    }
    let removed: Vec<Value> = told
        .processes
        .keys()
        .filter(|key| !fresh.processes.contains_key(*key))
        .map(|key| key.as_str().into())
        .collect();
    if object.is_empty() && processes.is_empty() && removed.is_empty() {
        return None;
    }
    object.insert("id".into(), id.to_string().into());
    object.insert("processes".into(), processes.into());
    object.insert("removed".into(), removed.into());
    Some(object)
}

fn difference(before: &Object, after: &Object) -> Object {
    after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

fn server_fields(server: &Server) -> Object {
    let facts = &server.facts;
    let Value::Object(object) = json!({
        "id": server.id.to_string(),
        "name": server.name,
        "hostname": facts.hostname,
        "username": facts.username,
        "online": server.state == ServerState::Online,
        "state": server.state.as_str(),
        "last_seen": server.last_seen,
        "first_seen": server.first_seen,
        "agent": server.kind.as_str(),
        "versions": { "pm2": facts.pm2_version, "node": facts.node_version, "agent": facts.agent_version },
        "platform": facts.platform,
        "cpus": facts.cpus,
        "cpu_model": facts.cpu_model,
        "total_mem": facts.total_mem,
        "free_mem": facts.free_mem,
        "loadavg": facts.loadavg,
        "uptime": facts.uptime.map(|s| s.floor() as u64),
        "public_ip": facts.public_ip,
        "internal_ip": facts.internal_ip,
        "absence": server.absence.as_ref().map(Absence::to_json),
        "reverse": server.reverse(),
        "reverse_disabled": facts.reverse_disabled,
        "clock_ahead": facts.clock_ahead,
        "failure": server.failure,
        "allowed": facts.allowed,
        "manifest": facts.manifest,
    }) else {
        unreachable!("the literal above is an object")
    };
    object
}

fn process_fields(key: &ProcessKey, entry: &Entry) -> Object {
    let process = &entry.now;
    let facts = &process.facts;
    let metrics: Object = process
        .metrics
        .iter()
        .map(|m| {
            let fields =
                json!({ "value": m.value.to_json(), "unit": m.unit.as_deref(), "type": m.kind.as_deref() });
            (m.name.to_string(), fields)
        })
        .collect();
    let Value::Object(mut object) = json!({
        "key": key.as_str(),
        "pm_id": process.pm_id,
        "name": facts.name,
        "namespace": facts.namespace,
        "pid": process.pid,
        "status": &*process.status,
        "exec_mode": facts.exec_mode,
        "cpu": number_json(process.cpu),
        "memory": process.memory,
        "restart_time": process.restart_time,
        "pm_uptime": process.pm_uptime,
        "created_at": facts.created_at,
        "first_seen": entry.first_seen,
        // Whatever is not monitored never leaves its host, so everything here is.
        "monitored": true,
        "over_plan": entry.over_plan,
        "interpreter": facts.interpreter,
        "node_version": facts.node_version,
        "version": facts.version,
        "module": facts.module,
        "path": facts.path,
        "node_env": facts.node_env,
        "versioning": facts.versioning,
        "metrics": metrics,
        "actions": facts.actions.iter().map(action).collect::<Value>(),
    }) else {
        unreachable!("the literal above is an object")
    };
    if entry.over_plan {
        for field in ["cpu", "memory", "pid", "versioning"] {
            object.insert(field.into(), Value::Null);
        }
        object.insert("metrics".into(), json!({}));
        object.insert("actions".into(), json!([]));
    }
    object
}

fn action(action: &super::model::ActionFact) -> Value {
    json!({ "name": action.name, "type": action.kind, "arity": action.arity, "opts": action.opts })
}

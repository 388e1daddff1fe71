//! Servers and processes in the shapes that PM2's client and its users' programs read. Pure.
//!
//! Consumers call methods on `exec_mode`, `axm_actions` and `axm_monitor` without looking, so these are always there, and
//! "online" is read from three places, so it is written to three places.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::clock::iso;
use crate::ids::ServerId;
use crate::live::bucket::Bucket;
use crate::live::model::{Object, Process, number_json};
use crate::live::server::Server;

/// Names under which PM2's client knows the servers of a bucket. It takes names for identities and splits on `:`, so
/// here they are unique (the oldest keeps the plain name) and without colons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<ServerId, String>);

impl Names {
    /// The names of all servers that show.
    pub fn of(bucket: &Bucket) -> Self {
        let mut servers: Vec<_> = bucket
            .servers()
            .map(|s| (s.first_seen(), s.id(), plain(s.name())))
            .collect();
        servers.sort_unstable();
        let mut names: BTreeMap<ServerId, String> = BTreeMap::new();
        let mut taken = std::collections::BTreeSet::new();
        for (_, id, mut name) in servers {
            if !taken.insert(name.clone()) {
                let digits = id.to_string();
                name = format!("{name}-{}", &digits[digits.len() - 4..]);
                taken.insert(name.clone());
            }
            names.insert(id, name);
        }
        Self(names)
    }

    /// The name of a server.
    pub fn name(&self, id: ServerId) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// The server that goes by `name`.
    pub fn id(&self, name: &str) -> Option<ServerId> {
        self.0.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }
}

fn plain(name: &str) -> String {
    name.replace(':', "-")
}

/// One element of `data/status`, and the payload of the realtime event `status`.
pub fn status(server: &Server, name: &str) -> Value {
    status_of(server, name, server.processes())
}

/// One element of `data/status/blacklisted`; `None` when the plan covers everything of this server.
pub fn held_back(server: &Server, name: &str) -> Option<Value> {
    server
        .held_back()
        .next()
        .map(|_| status_of(server, name, server.held_back()))
}

fn status_of<'a>(server: &Server, name: &str, processes: impl Iterator<Item = &'a Process>) -> Value {
    let facts = server.facts();
    let active = server.state().is_active();
    json!({
        "_id": server.id(),
        "server_name": name,
        "internal_ip": facts.internal_ip,
        "public_ip": facts.public_ip,
        "updated_at": iso(server.last_seen()),
        "active": active,
        "data": {
            "active": active,
            "server": {
                "active": active,
                "username": facts.username,
                "hostname": facts.hostname,
                "uptime": facts.uptime,
                "platform": facts.platform,
                "type": facts.os_type,
                "pm2_version": facts.pm2_version,
                "pm2_agent_version": facts.agent_version,
                "node_version": facts.node_version,
                "unique_id": facts.unique_id,
                "loadavg": facts.loadavg,
                "total_mem": facts.total_mem,
                "free_mem": facts.free_mem,
                "cpu": { "number": facts.cpus, "info": facts.cpu_model },
            },
            "process": processes.map(process).collect::<Value>(),
        },
    })
}

fn process(process: &Process) -> Value {
    let facts = &process.facts;
    let actions: Value = facts
        .actions
        .iter()
        .map(|a| {
            let mut action = json!({ "action_name": a.name, "action_type": a.kind, "arity": a.arity });
            if let Some(opts) = &a.opts {
                action["opts"] = opts.clone();
            }
            action
        })
        .collect();
    let monitor: Object = process
        .metrics
        .iter()
        .map(|m| {
            let mut metric = json!({ "value": m.value.to_json(), "historic": m.historic });
            if let Some(unit) = &m.unit {
                metric["unit"] = Value::from(&**unit);
            }
            if let Some(kind) = &m.kind {
                metric["type"] = Value::from(&**kind);
            }
            (m.name.to_string(), metric)
        })
        .collect();
    json!({
        "pid": process.pid,
        "name": facts.name,
        "namespace": facts.namespace,
        "interpreter": facts.interpreter,
        "args": facts.args,
        "path": facts.path,
        "restart_time": process.restart_time,
        "created_at": facts.created_at,
        "exec_mode": facts.exec_mode,
        "pm_uptime": process.pm_uptime,
        "status": &*process.status,
        "pm_id": process.pm_id,
        "unique_id": facts.unique_id,
        "cpu": number_json(process.cpu),
        "memory": process.memory,
        "versioning": facts.versioning,
        "node_env": facts.node_env,
        "version": facts.version,
        "node_version": facts.node_version,
        "axm_actions": actions,
        "axm_monitor": monitor,
        "axm_options": {},
        "axm_dynamic": {},
    })
}

/// One element of `meta_servers`.
pub fn meta(server: &Server, name: &str) -> Value {
    let facts = server.facts();
    json!({
        "_id": server.id(),
        "name": name,
        "ip": facts.public_ip.as_ref().or(facts.internal_ip.as_ref()),
        "cpus": facts.cpus,
        "memory": facts.total_mem,
        "hostname": facts.hostname,
        "pm2_version": facts.pm2_version,
        "node_version": facts.node_version,
        "active": server.state().is_active(),
        "updated_at": iso(server.last_seen()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::absence::{Departure, Life};
    use crate::live::bucket::{Joining, Settings};
    use crate::live::link::Reverse;
    use crate::live::model::{AgentKind, LinkId};
    use crate::live::server::Identity;

    fn bucket(names: &[&str]) -> Bucket {
        let mut bucket = Bucket::new(Settings::default());
        for (n, name) in (0u8..).zip(names) {
            let id = ServerId::from_bytes([n; 12]);
            bucket.add(
                1_700_000_000_000 + i64::from(n),
                id,
                AgentKind::Pm2,
                Identity::Told,
            );
            bucket.attach(
                1_700_000_000_000,
                id,
                Joining {
                    link: LinkId(n.into()),
                    reverse: Reverse::Open,
                    life: Life::default(),
                },
                name,
                None,
            );
        }
        bucket
    }

    #[test]
    fn names_are_unique_and_the_oldest_keeps_its_own() {
        let bucket = bucket(&["web", "web", "a:b"]);
        let names = Names::of(&bucket);
        assert_eq!(names.name(ServerId::from_bytes([0; 12])), Some("web"));
        assert_eq!(names.name(ServerId::from_bytes([1; 12])), Some("web-0101"));
        assert_eq!(names.name(ServerId::from_bytes([2; 12])), Some("a-b"));
        assert_eq!(names.id("web-0101"), Some(ServerId::from_bytes([1; 12])));
        assert_eq!(names.id("nobody"), None);
    }

    #[test]
    fn active_is_said_in_all_three_places() {
        let mut bucket = bucket(&["web"]);
        let id = ServerId::from_bytes([0; 12]);
        let places = |bucket: &Bucket| {
            let status = status(bucket.server(id).unwrap(), "web");
            [
                status["active"].clone(),
                status["data"]["active"].clone(),
                status["data"]["server"]["active"].clone(),
            ]
        };
        assert_eq!(places(&bucket), [json!(true), json!(true), json!(true)]);
        bucket.detach(1_700_000_000_001, id, LinkId(0), Departure::Goodbye);
        assert_eq!(places(&bucket), [json!(false), json!(false), json!(false)]);
    }
}

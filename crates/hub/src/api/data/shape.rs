//! Servers and processes in the shapes that PM2's client and its users' programs read. Pure.
//!
//! Consumers call methods on `exec_mode`, `axm_actions` and `axm_monitor` without looking, so these are always there, and
//! "online" is read from three places, so it is written to three places.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::clock::iso;
use crate::ids::ServerId;
use crate::live::bucket::Bucket;
use crate::live::model::{ActionFact, Metric, Millis, Process, number_json};
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

/// One element of `data/status`, and the payload of the realtime event `status`. A thousand of these are written each second
/// for somebody who listens, so that it is written from what there is, without a copy.
#[derive(Serialize)]
pub struct Status<'a> {
    #[serde(rename = "_id")]
    id: ServerId,
    server_name: &'a str,
    internal_ip: &'a Option<String>,
    public_ip: &'a Option<String>,
    updated_at: String,
    active: bool,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    active: bool,
    server: Host<'a>,
    process: Vec<App<'a>>,
}

#[derive(Serialize)]
struct Host<'a> {
    active: bool,
    username: &'a Option<String>,
    hostname: &'a str,
    uptime: Option<f64>,
    platform: &'a Option<String>,
    #[serde(rename = "type")]
    os_type: &'a Option<String>,
    pm2_version: &'a Option<String>,
    pm2_agent_version: &'a Option<String>,
    node_version: &'a Option<String>,
    unique_id: &'a Option<String>,
    loadavg: Option<[f64; 3]>,
    total_mem: Option<u64>,
    free_mem: Option<u64>,
    cpu: Cpu<'a>,
}

#[derive(Serialize)]
struct Cpu<'a> {
    number: Option<u32>,
    info: &'a Option<String>,
}

#[derive(Serialize)]
struct App<'a> {
    pid: u32,
    name: &'a str,
    namespace: &'a str,
    interpreter: &'a str,
    args: &'a Option<Vec<String>>,
    path: &'a Option<String>,
    restart_time: u64,
    created_at: Option<Millis>,
    exec_mode: &'a str,
    pm_uptime: Option<Millis>,
    status: &'a str,
    pm_id: u32,
    unique_id: &'a Option<String>,
    cpu: Value,
    memory: u64,
    versioning: &'a Option<Value>,
    node_env: &'a Option<String>,
    version: &'a Option<String>,
    node_version: &'a Option<String>,
    #[serde(serialize_with = "actions")]
    axm_actions: &'a [ActionFact],
    #[serde(serialize_with = "monitor")]
    axm_monitor: &'a [Metric],
    axm_options: Empty,
    axm_dynamic: Empty,
}

/// `{}`: read without a look.
#[derive(Serialize)]
struct Empty {}

fn actions<S: Serializer>(actions: &[ActionFact], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Action<'a> {
        action_name: &'a str,
        action_type: &'a str,
        arity: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        opts: &'a Option<Value>,
    }
    to.collect_seq(actions.iter().map(|action| Action {
        action_name: &action.name,
        action_type: &action.kind,
        arity: action.arity,
        opts: &action.opts,
    }))
}

fn monitor<S: Serializer>(metrics: &[Metric], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        value: Value,
        historic: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'a str>,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        kind: Option<&'a str>,
    }
    to.collect_map(metrics.iter().map(|metric| {
        let shown = Shown {
            value: metric.value.to_json(),
            historic: metric.historic,
            unit: metric.unit.as_deref(),
            kind: metric.kind.as_deref(),
        };
        (&*metric.name, shown)
    }))
}

/// What there is to tell of a server, under this name.
pub fn status<'a>(server: &'a Server, name: &'a str) -> Status<'a> {
    status_of(server, name, server.processes())
}

/// The same of the processes that the plan holds back; `None` when it covers everything of this server.
pub fn held_back<'a>(server: &'a Server, name: &'a str) -> Option<Status<'a>> {
    server
        .held_back()
        .next()
        .map(|_| status_of(server, name, server.held_back()))
}

fn status_of<'a>(
    server: &'a Server,
    name: &'a str,
    processes: impl Iterator<Item = &'a Process>,
) -> Status<'a> {
    let facts = server.facts();
    let active = server.state().is_active();
    Status {
        id: server.id(),
        server_name: name,
        internal_ip: &facts.internal_ip,
        public_ip: &facts.public_ip,
        updated_at: iso(server.last_seen()),
        active,
        data: Data {
            active,
            server: Host {
                active,
                username: &facts.username,
                hostname: &facts.hostname,
                uptime: facts.uptime,
                platform: &facts.platform,
                os_type: &facts.os_type,
                pm2_version: &facts.pm2_version,
                pm2_agent_version: &facts.agent_version,
                node_version: &facts.node_version,
                unique_id: &facts.unique_id,
                loadavg: facts.loadavg,
                total_mem: facts.total_mem,
                free_mem: facts.free_mem,
                cpu: Cpu {
                    number: facts.cpus,
                    info: &facts.cpu_model,
                },
            },
            process: processes.map(app).collect(),
        },
    }
}

fn app(process: &Process) -> App<'_> {
    let facts = &process.facts;
    App {
        pid: process.pid,
        name: &facts.name,
        namespace: &facts.namespace,
        interpreter: &facts.interpreter,
        args: &facts.args,
        path: &facts.path,
        restart_time: process.restart_time,
        created_at: facts.created_at,
        exec_mode: &facts.exec_mode,
        pm_uptime: process.pm_uptime,
        status: &process.status,
        pm_id: process.pm_id,
        unique_id: &facts.unique_id,
        cpu: number_json(process.cpu),
        memory: process.memory,
        versioning: &facts.versioning,
        node_env: &facts.node_env,
        version: &facts.version,
        node_version: &facts.node_version,
        axm_actions: &facts.actions,
        axm_monitor: &process.metrics,
        axm_options: Empty {},
        axm_dynamic: Empty {},
    }
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
            let status = json!(status(bucket.server(id).unwrap(), "web"));
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

//! From `wire`'s telemetry to the live model and to what the store keeps. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wire::action::Verb;
use wire::live::{ApplyError, Delta, Snapshot, View};
use wire::message::Hello;
use wire::telemetry::{self, EventKind, SampleBatch};

use super::super::notices;
use crate::live::model::{
    self, ActionFact, Manifest, Metric, Millis, ProcessFacts, Reading, ServerFacts, cut,
};
use crate::live::server::{ProcessUpdate, Report};
use crate::store::telemetry::{Event, Sample};

/// Longest name of a stored event.
const MAX_EVENT_NAME: usize = 200;
/// Largest payload of a stored event.
const MAX_EVENT_DATA: usize = 256 * 1024;

/// What the view of one server may take, about, in bytes of memory. A host with 1,000 processes of 50 metrics each takes a tenth.
const MAX_WEIGHT: usize = 128 << 20;
/// Longest name, path, version and the like.
const MAX_FACT: usize = 1024;
/// Longest text of the options of an action.
const MAX_OPTIONS: usize = 16 * 1024;

/// The view of one server as its agent told it, and its processes as the live state wants them.
#[derive(Debug)]
pub(super) struct Mirror {
    hello: telemetry::ServerFacts,
    incarnation: String,
    address: Option<String>,
    reverse_disabled: bool,
    /// How far its clock was ahead of ours when it said hello.
    clock_ahead: Option<Millis>,
    allowed: Vec<Verb>,
    manifest: Option<Manifest>,
    view: View,
    /// What the view weighs at most.
    weight: usize,
    facts: BTreeMap<u32, Arc<ProcessFacts>>,
}

impl Mirror {
    pub(super) fn new(hello: &Hello, address: Option<String>, now: Millis) -> Self {
        Self {
            clock_ahead: (hello.now > 0).then(|| {
                Millis::try_from(hello.now)
                    .unwrap_or(Millis::MAX)
                    .saturating_sub(now)
            }),
            hello: bounded(hello.facts.clone()),
            incarnation: incarnation(hello),
            address,
            reverse_disabled: hello.reverse_disabled,
            allowed: hello.allowed.clone(),
            // One that is forged does not get here.
            manifest: hello
                .manifest
                .as_ref()
                .and_then(|seal| super::seal::open(&hello.machine, seal, now).ok()),
            view: View::default(),
            weight: 0,
            facts: BTreeMap::new(),
        }
    }

    pub(super) fn server_facts(&self) -> ServerFacts {
        let (hello, host) = (&self.hello, &self.view.host);
        let uptime = (host.booted_at > 0 && self.view.at > host.booted_at)
            .then(|| (self.view.at - host.booted_at) as f64 / 1000.0);
        ServerFacts {
            hostname: hello.hostname.clone(),
            username: told(&hello.user),
            platform: told(&hello.platform),
            os_type: told(&hello.platform).map(|p| capitalised(&p)),
            pm2_version: told(&hello.versions.pm2),
            node_version: told(&hello.versions.node),
            agent_version: told(&hello.versions.agent),
            cpus: (hello.cpus > 0).then_some(hello.cpus),
            cpu_model: told(&hello.cpu_model),
            total_mem: (hello.total_mem > 0).then_some(hello.total_mem),
            free_mem: (host.free_mem > 0).then_some(host.free_mem),
            loadavg: (self.view.rev > 0).then_some([host.load1, host.load5, host.load15]),
            uptime,
            public_ip: self.address.clone(),
            internal_ip: told(&host.internal_ip),
            unique_id: Some(self.incarnation.clone()),
            reverse_disabled: self.reverse_disabled,
            clock_ahead: self.clock_ahead,
            manifest: self.manifest.clone(),
            allowed: Some(self.allowed.iter().map(|verb| verb.as_str().to_owned()).collect()),
        }
    }

    /// The policy of the host has changed.
    pub(super) fn set_allowed(&mut self, verbs: Vec<Verb>) -> Report {
        self.allowed = verbs;
        self.report(None)
    }

    /// The whole view is new. On an error it is too much, and the view stays as it was.
    pub(super) fn reset(&mut self, snapshot: Snapshot) -> Result<Report, ApplyError> {
        let mut view = View::default();
        view.reset(snapshot);
        let weight = view.weight();
        if weight > MAX_WEIGHT {
            return Err(ApplyError::TooMuch);
        }
        (self.view, self.weight) = (view, weight);
        self.facts.clear();
        let ids: Vec<u32> = self.view.processes.keys().copied().collect();
        let processes = ids.into_iter().filter_map(|id| self.process(id)).collect();
        Ok(self.report(Some(ProcessUpdate::Full(processes))))
    }

    /// Something changed. On an error the view stays as it was and a snapshot must be asked for.
    pub(super) fn apply(&mut self, delta: Delta) -> Result<Report, ApplyError> {
        // What came before may be gone again: looked at only when all together would be too much.
        let more = wire::live::weight(&delta);
        if self.weight.saturating_add(more) > MAX_WEIGHT {
            self.weight = self.view.weight();
            if self.weight.saturating_add(more) > MAX_WEIGHT {
                return Err(ApplyError::TooMuch);
            }
        }
        let mut removed: Vec<_> = delta.removed.iter().filter_map(|id| self.key(*id)).collect();
        let before: Vec<_> = delta
            .changed
            .iter()
            .filter(|c| c.change.name.is_some())
            .filter_map(|c| self.key(c.pm_id))
            .collect();
        let ids: Vec<(u32, bool)> = delta
            .changed
            .iter()
            .map(|c| (c.pm_id, touches_facts(&c.change)))
            .collect();
        let gone = delta.removed.clone();
        self.view.apply(delta)?;
        self.weight = self.weight.saturating_add(more);
        for id in gone {
            self.facts.remove(&id);
        }
        // A number that now belongs to another app is another entry.
        removed.extend(
            before
                .into_iter()
                .filter(|key| self.key(key.pm_id()).as_ref() != Some(key)),
        );
        let changed = ids
            .into_iter()
            .filter_map(|(id, touched)| {
                if touched {
                    self.facts.remove(&id);
                }
                self.process(id)
            })
            .collect();
        Ok(self.report(Some(ProcessUpdate::Delta { changed, removed })))
    }

    fn report(&self, processes: Option<ProcessUpdate>) -> Report {
        Report {
            name: None,
            facts: Some(self.server_facts()),
            processes,
        }
    }

    fn key(&self, pm_id: u32) -> Option<model::ProcessKey> {
        self.view
            .processes
            .get(&pm_id)
            .map(|p| model::ProcessKey::new(pm_id, cut(&p.name, MAX_FACT)))
    }

    fn process(&mut self, pm_id: u32) -> Option<model::Process> {
        let process = self.view.processes.get(&pm_id)?;
        let facts = self
            .facts
            .entry(pm_id)
            .or_insert_with(|| Arc::new(facts(process)))
            .clone();
        Some(model::Process {
            pm_id,
            facts,
            pid: process.pid,
            status: process.status.as_str().into(),
            cpu: if process.cpu.is_finite() { process.cpu } else { 0.0 },
            memory: process.memory,
            restart_time: u64::from(process.restarts),
            pm_uptime: time(process.started_at),
            metrics: process
                .metrics
                .iter()
                .filter_map(|(name, metric)| reading(name, metric))
                .collect(),
        })
    }
}

/// Differs between copies of one image, not between agents of one machine.
pub(super) fn incarnation(hello: &Hello) -> String {
    let (boot, host) = (&hello.facts.boot_id, &hello.facts.hostname);
    format!("{}/{}", cut(boot, MAX_FACT), cut(host, MAX_FACT))
}

/// Empty means "not told".
fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| cut(text, MAX_FACT).to_owned())
}

fn time(ms: u64) -> Option<Millis> {
    (ms > 0).then(|| Millis::try_from(ms).unwrap_or(Millis::MAX))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn touches_facts(change: &telemetry::ProcessChange) -> bool {
    let telemetry::ProcessChange {
        name,
        namespace,
        exec_mode,
        created_at,
        interpreter,
        interpreter_args,
        script,
        node_version,
        version,
        node_env,
        unique_id,
        versioning,
        actions,
        module,
        ..
    } = change;
    name.is_some()
        || namespace.is_some()
        || exec_mode.is_some()
        || created_at.is_some()
        || interpreter.is_some()
        || interpreter_args.is_some()
        || script.is_some()
        || node_version.is_some()
        || version.is_some()
        || node_env.is_some()
        || unique_id.is_some()
        || versioning.is_some()
        || actions.is_some()
        || module.is_some()
}

/// What an agent says of its host, in lengths that names, releases and addresses have.
fn bounded(mut facts: telemetry::ServerFacts) -> telemetry::ServerFacts {
    let versions = &mut facts.versions;
    for text in [
        &mut facts.name,
        &mut facts.hostname,
        &mut facts.user,
        &mut facts.platform,
        &mut facts.cpu_model,
        &mut facts.home,
        &mut facts.boot_id,
        &mut versions.pm2,
        &mut versions.node,
        &mut versions.agent,
    ] {
        let end = cut(text, MAX_FACT).len();
        text.truncate(end);
    }
    facts
}

fn facts(process: &telemetry::Process) -> ProcessFacts {
    let short = |text: &str| cut(text, MAX_FACT).to_owned();
    ProcessFacts {
        name: short(&process.name),
        namespace: if process.namespace.is_empty() {
            "default".into()
        } else {
            short(&process.namespace)
        },
        exec_mode: process.exec_mode.as_str().to_owned(),
        interpreter: short(&process.interpreter),
        node_version: told(&process.node_version),
        version: told(&process.version),
        path: told(&process.script),
        args: (!process.interpreter_args.is_empty())
            .then(|| process.interpreter_args.iter().map(|arg| short(arg)).collect()),
        node_env: told(&process.node_env),
        unique_id: told(&process.unique_id),
        created_at: time(process.created_at),
        module: process.module,
        versioning: versioning(&process.versioning),
        actions: process
            .actions
            .iter()
            .map(|action| ActionFact {
                name: short(&action.name),
                kind: action.kind.as_str().to_owned(),
                arity: action.arity,
                opts: Some(&action.opts)
                    .filter(|text| text.len() <= MAX_OPTIONS)
                    .and_then(|text| json_text(text)),
            })
            .collect(),
    }
}

fn versioning(v: &telemetry::Versioning) -> Option<Value> {
    if v.kind.is_empty() {
        return None;
    }
    Some(json!({
        "type": cut(&v.kind, MAX_FACT),
        "url": cut(&v.url, MAX_FACT),
        "revision": cut(&v.revision, MAX_FACT),
        "comment": cut(&v.comment, MAX_FACT),
        "branch": cut(&v.branch, MAX_FACT),
        "remote": cut(&v.remote, MAX_FACT),
        "unstaged": v.unstaged,
        "ahead": v.ahead,
        "update_time": time(v.updated_at).map(crate::clock::iso),
        "repo_path": cut(&v.repo_path, MAX_FACT),
    }))
}

fn reading(name: &str, metric: &telemetry::Metric) -> Option<Metric> {
    let value = match &metric.value {
        telemetry::Value::Null => return None,
        telemetry::Value::Number(n) => Reading::Number(*n),
        telemetry::Value::Bool(b) => Reading::Flag(*b),
        telemetry::Value::Text(text) => Reading::from_text(text),
    };
    let text = |t: &str| (!t.is_empty()).then(|| Arc::from(cut(t, model::MAX_TEXT)));
    Some(Metric {
        name: cut(name, model::MAX_TEXT).into(),
        value,
        unit: text(&metric.unit),
        kind: text(&metric.kind),
        historic: metric.historic,
    })
}

/// JSON that came as text; what is not JSON is a text.
fn json_text(text: &str) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}

/// The values of a batch, row by row, without those that `held_back` names.
pub(super) fn samples(batch: &SampleBatch, held_back: impl Fn(u32) -> bool) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(batch.len());
    for series in &batch.series {
        if series.pm_id.is_some_and(&held_back) {
            continue;
        }
        let app: Option<Arc<str>> = (!series.app.is_empty()).then(|| series.app.as_str().into());
        let (metric, unit): (Arc<str>, Arc<str>) =
            (series.metric.as_str().into(), series.unit.as_str().into());
        for (at, value) in batch.at.iter().zip(&series.values) {
            let (Some(value), Ok(at_ms)) = (value, i64::try_from(*at)) else {
                continue;
            };
            samples.push(Sample {
                app: app.clone(),
                pm_id: series.pm_id,
                metric: metric.clone(),
                unit: unit.clone(),
                at_ms,
                value: *value,
            });
        }
    }
    samples
}

/// An event on its two ways: to the store, and in PM2's words to whoever listens.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) pm_id: Option<u32>,
    pub(super) at: Millis,
    pub(super) channel: String,
    pub(super) name: String,
    pub(super) app: Option<String>,
    pub(super) payload: Value,
}

impl Told {
    /// As the store keeps it; `None` when it is too large to keep.
    pub(super) fn to_stored(&self) -> Option<Event> {
        let data = serde_json::to_vec(&self.payload)
            .ok()
            .filter(|data| data.len() <= MAX_EVENT_DATA)?;
        Some(Event {
            at_ms: self.at,
            app: self.app.clone(),
            pm_id: self.pm_id,
            kind: self.channel.clone(),
            name: model::cut(&self.name, MAX_EVENT_NAME).to_owned(),
            data,
        })
    }
}

pub(super) fn event(event: &telemetry::Event, server: &str) -> Told {
    let at = Millis::try_from(event.at).unwrap_or(Millis::MAX);
    let data = json_text(&event.data);
    let process = event
        .process
        .as_ref()
        .map(|p| notices::process(p.pm_id, &p.name, &p.rev, server));
    let channel = match event.kind {
        EventKind::Process => "process:event".to_owned(),
        EventKind::Custom => "human:event".to_owned(),
        EventKind::Channel => event.name.clone(),
        other => other.as_str().to_owned(),
    };
    let mut payload = json!({ "at": at, "process": process });
    match event.kind {
        EventKind::Process => {
            payload["event"] = event.name.clone().into();
            payload["manually"] = event.manually.into();
            if let Some(data) = data {
                payload["data"] = data;
            }
        }
        _ => {
            payload["name"] = event.name.clone().into();
            payload["data"] = data.unwrap_or(Value::Null);
        }
    }
    Told {
        pm_id: event.process.as_ref().map(|p| p.pm_id),
        at,
        channel,
        name: event.name.clone(),
        app: event.process.as_ref().map(|p| p.name.clone()),
        payload,
    }
}

pub(super) fn exception(exception: &telemetry::Exception, server: &str) -> Told {
    let at = Millis::try_from(exception.at).unwrap_or(Millis::MAX);
    let process = &exception.process;
    let data = json!({
        "message": exception.message,
        "stack": exception.stack,
        "name": exception.name,
        "metadata": json_text(&exception.metadata),
        "callsite": exception.callsite,
        "context": exception.context,
        "last_logs": exception.last_logs,
    });
    Told {
        pm_id: Some(process.pm_id),
        at,
        channel: "process:exception".to_owned(),
        name: exception.message.clone(),
        app: Some(process.name.clone()),
        payload: json!({
            "at": at,
            "data": data,
            "process": notices::process(process.pm_id, &process.name, &process.rev, server),
        }),
    }
}

/// The status that an event of a process's life shows at once.
pub(super) fn hint(event: &telemetry::Event) -> Option<&'static str> {
    if event.kind != EventKind::Process {
        return None;
    }
    match event.name.as_str() {
        "online" => Some("online"),
        "stop" => Some("stopped"),
        "restart overlimit" => Some("errored"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wire::telemetry::{Process, ProcessStatus, Series};

    use super::*;

    fn view(rev: u64, processes: &[(u32, &str, f64)]) -> View {
        let processes = processes
            .iter()
            .map(|(id, name, cpu)| {
                let process = Process {
                    name: (*name).into(),
                    cpu: *cpu,
                    pid: 7,
                    status: ProcessStatus::Online,
                    ..Process::default()
                };
                (*id, process)
            })
            .collect();
        View {
            rev,
            at: 1_700_000_000_000,
            processes,
            ..View::default()
        }
    }

    fn mirror() -> Mirror {
        Mirror::new(&Hello::default(), None, 0)
    }

    #[test]
    fn a_delta_tells_only_what_changed() {
        let first = view(1, &[(0, "api", 1.0), (1, "job", 1.0)]);
        let second = view(2, &[(0, "api", 9.0), (1, "job", 1.0)]);
        let mut mirror = mirror();
        mirror.reset(first.snapshot()).unwrap();
        let report = mirror.apply(first.diff(&second)).unwrap();
        let Some(ProcessUpdate::Delta { changed, removed }) = report.processes else {
            panic!("a delta")
        };
        assert_eq!(
            changed.iter().map(|p| (p.pm_id, p.cpu)).collect::<Vec<_>>(),
            [(0, 9.0)]
        );
        assert!(removed.is_empty());
    }

    #[test]
    fn a_number_with_a_new_name_is_a_new_entry() {
        let first = view(1, &[(0, "api", 1.0)]);
        let second = view(2, &[(0, "other", 1.0)]);
        let mut mirror = mirror();
        mirror.reset(first.snapshot()).unwrap();
        let report = mirror.apply(first.diff(&second)).unwrap();
        let Some(ProcessUpdate::Delta { changed, removed }) = report.processes else {
            panic!("a delta")
        };
        assert_eq!(removed, [model::ProcessKey::new(0, "api")]);
        assert_eq!(changed[0].facts.name, "other");
    }

    #[test]
    fn a_delta_on_another_base_changes_nothing() {
        let first = view(1, &[(0, "api", 1.0)]);
        let mut mirror = mirror();
        assert!(mirror.apply(first.diff(&view(2, &[]))).is_err());
        mirror.reset(first.snapshot()).unwrap();
        assert!(mirror.apply(view(5, &[]).diff(&view(6, &[]))).is_err());
        assert_eq!(mirror.view, first);
    }

    #[test]
    fn what_deltas_add_up_to_is_bounded_and_what_is_gone_does_not_count() {
        // A frame of some hundred bytes unpacks to this.
        let large = |rev, pm_id| {
            let mut process = telemetry::Process {
                name: "api".into(),
                ..telemetry::Process::default()
            };
            process.version = "x".repeat(8 << 20);
            View {
                rev,
                processes: [(pm_id, process)].into(),
                ..View::default()
            }
        };
        let mut mirror = mirror();
        mirror.reset(view(1, &[]).snapshot()).unwrap();
        for rev in 1..100 {
            // The same process again and again: what it was is gone.
            let delta = view(rev, &[]).diff(&large(rev + 1, 0));
            mirror.apply(delta).unwrap();
        }
        let refused = (100..200).find_map(|rev| {
            let delta = view(rev, &[]).diff(&large(rev + 1, rev as u32));
            mirror.apply(delta).err()
        });
        assert_eq!(refused, Some(ApplyError::TooMuch));
        assert!(mirror.view.processes.len() < 20);
        mirror.reset(view(1, &[(0, "api", 1.0)]).snapshot()).unwrap();
    }

    #[test]
    fn names_of_any_length_are_shown_cut() {
        let long = "é".repeat(100_000);
        let first = view(1, &[(0, &long, 1.0)]);
        let mut hello = Hello::default();
        hello.facts.hostname.clone_from(&long);
        let mut mirror = Mirror::new(&hello, None, 0);
        let report = mirror.reset(first.snapshot()).unwrap();
        let Some(ProcessUpdate::Full(processes)) = report.processes else {
            panic!("the whole list")
        };
        assert_eq!(processes[0].facts.name.len(), MAX_FACT);
        assert_eq!(mirror.key(0), Some(processes[0].key()));
        assert_eq!(mirror.server_facts().hostname.len(), MAX_FACT);
        assert!(incarnation(&hello).len() <= 2 * MAX_FACT + 1);
    }

    #[test]
    fn samples_leave_out_gaps_and_what_is_held_back() {
        let series = |pm_id, values: Vec<Option<f64>>| Series {
            pm_id: Some(pm_id),
            app: "api".into(),
            metric: "cpu".into(),
            unit: "%".into(),
            values,
        };
        let batch = SampleBatch {
            at: vec![1000, 2000],
            series: vec![
                series(0, vec![Some(1.0), None]),
                series(1, vec![Some(5.0), Some(6.0)]),
            ],
        };
        let samples = samples(&batch, |pm_id| pm_id == 1);
        assert_eq!(
            samples
                .iter()
                .map(|s| (s.pm_id, s.at_ms, s.value))
                .collect::<Vec<_>>(),
            [(Some(0), 1000, 1.0)]
        );
    }

    #[test]
    fn an_event_in_pm2s_words() {
        let life = telemetry::Event {
            at: 5,
            name: "online".into(),
            process: Some(telemetry::ProcessRef {
                pm_id: 2,
                name: "api".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let told = event(&life, "web");
        assert_eq!(told.channel, "process:event");
        assert_eq!(
            told.payload,
            json!({
                "at": 5,
                "process": { "pm_id": 2, "name": "api", "rev": null, "server": "web" },
                "event": "online",
                "manually": false,
            })
        );
        assert_eq!(hint(&life), Some("online"));
    }
}

//! What one bucket looks like this second: every decision about it, and nothing that acts. Pure.
//!
//! `handle`-like methods take what came in, with the time; [`Bucket::poll`] tells what to do about it;
//! [`Bucket::flush`] and [`Bucket::snapshot`] yield what watchers are to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};
use wire::versions::TooOld;

use super::absence::{Departure, Life};
use super::identity::{self, Decision, Newcomer};
use super::link::Reverse;
use super::model::{
    AgentKind, Failure, LinkId, Millis, Object, Resealed, ServerFacts, ServerId, ServerState,
};
use super::server::{Effect, Identity, Link, Report, Server};
use super::stored::{StoredError, StoredServer};
use super::view;
use super::waiting::Waiting;
use crate::plans::{self, Candidate, Plan};

/// No data for so long: offline, unless the bucket says otherwise.
pub const OFFLINE_AFTER: Millis = 120_000;
/// A PM2 agent whose Node is too old is refused for so long after it told so; then it may show whether it is still so.
const REMEMBER_TOO_OLD: Millis = 30_000;
/// The store hears of a server that only got older this often.
const SAVE_EVERY: Millis = 60_000;

/// What the bucket's owner has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many processes may be watched.
    pub plan: Plan,
    /// Silence that makes a server offline.
    pub offline_after: Millis,
    /// A server that goes offline is forgotten: for hosts that come and go.
    pub delete_offline: bool,
    /// How many servers may be linked, if there is a limit. Whoever is linked when it is lowered stays.
    pub max_servers: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            plan: Plan::Unlimited,
            offline_after: OFFLINE_AFTER,
            delete_offline: false,
            max_servers: None,
        }
    }
}

/// Something to be done, or told, because of what came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this server to the store.
    Save(ServerId),
    /// Its state changed.
    State(ServerId, ServerState),
    /// The entries of this server that the plan holds back are now these ids.
    HeldBack(ServerId, BTreeSet<u32>),
    /// The set of held back entries of the whole bucket changed.
    PlanChanged,
    /// What the host of this server says that it sends changed.
    Resealed(ServerId, Resealed),
}

/// Changes to be told to everybody who watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Number of this state; one more than the one before.
    pub rev: u64,
    /// When it was taken.
    pub at: Millis,
    /// Changed servers, each with what changed.
    pub servers: Vec<Object>,
    /// Servers that are no more.
    pub gone: Vec<ServerId>,
}

/// A link that begins to speak for a server.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Its number.
    pub link: LinkId,
    /// Whether commands can be sent by it.
    pub reverse: Reverse,
    /// Which run of the agent it is of.
    pub life: Life,
}

/// What a home would meet in a bucket, for whoever asks before it links, or why it does not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prospect {
    /// It is a server of this bucket.
    pub linked: bool,
    /// It was deleted in the dashboard, and hides until it is linked anew.
    pub hidden: bool,
    /// There is no place for it.
    pub full: bool,
    /// How many of its processes the plan holds back.
    pub held_back: usize,
    /// What last went wrong with it.
    pub failure: Option<Failure>,
    /// Who else is linked under its name.
    pub twins: Vec<Twin>,
    /// The bucket's use of its plan.
    pub usage: Value,
}

/// Another server of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Twin {
    /// Its host.
    pub hostname: String,
    /// The user its agent runs as.
    pub username: Option<String>,
}

/// The live state of one bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    settings: Settings,
    servers: BTreeMap<ServerId, Server>,
    saved: BTreeMap<ServerId, Millis>,
    gone: Vec<ServerId>,
    rev: u64,
    watched: bool,
    /// Some server may be urgent: spares a look at all of them after each report.
    urgent: bool,
    waiting: Waiting,
    outputs: VecDeque<Output>,
}

impl Bucket {
    /// An empty bucket.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Puts back what the store knew. Errors concern details that could not be read.
    pub fn restore(&mut self, now: Millis, stored: Vec<StoredServer>) -> Vec<(ServerId, StoredError)> {
        let mut errors = Vec::new();
        for one in stored {
            let (mut server, outcome) = Server::from_stored(one);
            server.settle(now, self.settings.offline_after);
            if let Err(error) = outcome {
                errors.push((server.id, error));
            }
            self.saved.insert(server.id, now);
            self.servers.insert(server.id, server);
        }
        self.apply_plan();
        errors
    }

    /// Changes the rules; they hold at once.
    pub fn configure(&mut self, now: Millis, settings: Settings) {
        if self.settings != settings {
            self.settings = settings;
            self.apply_plan();
            self.tick(now);
        }
    }

    /// The rules in force.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// For whom a new link speaks.
    pub fn identify(&self, now: Millis, newcomer: &Newcomer) -> Decision {
        match identity::decide(now, self.servers.values(), newcomer) {
            Decision::New(_) if self.is_full() => Decision::NoPlace,
            // Out of sight it took no place.
            Decision::Known(id) | Decision::Adopted(id, _)
                if self.is_full() && self.servers.get(&id).is_some_and(|s| s.hidden) =>
            {
                Decision::NoPlace
            }
            decision => decision,
        }
    }

    /// Whether one server more would exceed the limit. Servers that are gone but not deleted take their places.
    pub fn is_full(&self) -> bool {
        let limit = self.settings.max_servers;
        limit.is_some_and(|limit| self.servers().count() >= limit as usize)
    }

    /// Whether a PM2 agent that introduces itself so may open a socket. Only its first status tells for sure whom it speaks
    /// for; one that cannot be any known server is spared that way, and noted as waiting.
    pub fn may_open(&mut self, now: Millis, name: &str, hostname: &str) -> bool {
        let is_known = |s: &Server| {
            s.kind == AgentKind::Pm2 && s.facts.hostname == hostname && (s.name == name || !s.is_linked())
        };
        let open = !self.is_full() || self.servers().any(is_known);
        if !open {
            self.turned_back(now, name, hostname, AgentKind::Pm2);
        }
        open
    }

    /// An agent found no place.
    pub fn turned_back(&mut self, now: Millis, name: &str, hostname: &str, kind: AgentKind) {
        self.waiting.note(now, name, hostname, kind, None);
    }

    /// Something went wrong between a server and the hub.
    pub fn failed(&mut self, now: Millis, id: ServerId, why: &str) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.failed(now, why);
            self.outputs.push_back(Output::Save(id));
        }
    }

    /// An agent of ours was not let in for what it told about itself: its server shows that, or the list of those who wait.
    pub fn refused(&mut self, now: Millis, machine: &str, name: &str, facts: ServerFacts, why: &str) {
        let is_it = |s: &&mut Server| matches!(&s.identity, Identity::Machine { machine: known, .. } if known == machine);
        if let Some(server) = self.servers.values_mut().find(is_it) {
            server.facts.pm2_version = facts.pm2_version;
            server.facts.node_version = facts.node_version;
            server.failed(now, why);
            self.outputs.push_back(Output::Save(server.id));
        } else {
            self.waiting
                .note(now, name, &facts.hostname, AgentKind::Pilothouse, Some(why));
        }
    }

    /// Why a PM2 agent that introduces itself so is refused: it told a moment ago that its Node is too old. Nothing but its status
    /// tells that, so it had to be let in once.
    pub fn too_old(&self, now: Millis, name: &str, hostname: &str) -> Option<TooOld> {
        let is_it = |s: &&Server| {
            s.kind == AgentKind::Pm2
                && s.name == name
                && s.facts.hostname == hostname
                && now.saturating_sub(s.last_seen) < REMEMBER_TOO_OLD
        };
        let told = |text: &Option<String>| text.clone().unwrap_or_default();
        self.servers().filter(is_it).find_map(|s| {
            wire::versions::check(&told(&s.facts.pm2_version), &told(&s.facts.node_version)).err()
        })
    }

    /// What a home that is to be linked, or is, would meet here.
    pub fn prospect(&self, machine: Option<&str>, name: &str) -> Prospect {
        let is_it = |s: &Server| matches!((&s.identity, machine), (Identity::Machine { machine: known, .. }, Some(machine)) if known == machine);
        let own = self.servers.values().find(|s| is_it(s));
        Prospect {
            linked: own.is_some_and(|s| !s.hidden),
            hidden: own.is_some_and(|s| s.hidden),
            full: own.is_none_or(|s| s.hidden) && self.is_full(),
            held_back: own.map_or(0, |s| s.held_back().count()),
            failure: own.and_then(|s| s.failure.clone()),
            twins: self
                .servers()
                .filter(|s| s.name == name && s.is_linked() && !is_it(s))
                .map(|s| Twin {
                    hostname: s.facts.hostname.clone(),
                    username: s.facts.username.clone(),
                })
                .collect(),
            usage: self.usage(),
        }
    }

    /// A server that PM2's agent reported is from now on reported by ours.
    pub fn adopt(&mut self, id: ServerId, kind: AgentKind, identity: Identity) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.kind = kind;
            server.identity = identity;
        }
    }

    /// Those who wait for a place.
    pub fn waiting(&self) -> Value {
        self.waiting.to_json()
    }

    /// Adds a server that nobody knew.
    pub fn add(&mut self, now: Millis, id: ServerId, kind: AgentKind, identity: Identity) {
        self.servers
            .entry(id)
            .or_insert_with(|| Server::new(id, kind, identity, now));
    }

    /// A link begins to speak for `id`. A hidden server shows again: only one that was linked anew gets here.
    pub fn attach(
        &mut self,
        now: Millis,
        id: ServerId,
        joining: Joining,
        name: &str,
        facts: Option<ServerFacts>,
    ) {
        let Joining { link, reverse, life } = joining;
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.links.insert(link, Link::new(now, reverse));
        server.ended = None;
        server.breath = None;
        server.knows_uptime = false;
        server.life = life;
        server.hidden = false;
        server.dirty = true;
        server.urgent = true;
        let effect = server.report(
            now,
            link,
            Report {
                name: Some(name.to_owned()),
                facts,
                processes: None,
            },
        );
        if let Some(what) = effect.resealed {
            self.outputs.push_back(Output::Resealed(id, what));
        }
        let hostname = server.facts.hostname.clone();
        self.waiting.admitted(name, &hostname);
        self.settle(now, id);
        self.outputs.push_back(Output::Save(id));
    }

    /// What an agent says.
    pub fn report(&mut self, now: Millis, id: ServerId, link: LinkId, report: Report) {
        let Some(server) = self.servers.get_mut(&id).filter(|s| s.links.contains_key(&link)) else {
            return;
        };
        let Effect {
            membership,
            worth_saving,
            resealed,
        } = server.report(now, link, report);
        if let Some(what) = resealed {
            self.outputs.push_back(Output::Resealed(id, what));
        }
        if membership {
            self.apply_plan();
        }
        if membership || worth_saving {
            self.outputs.push_back(Output::Save(id));
        }
        self.settle(now, id);
    }

    /// Data came in that says nothing about processes.
    pub fn alive(&mut self, now: Millis, id: ServerId, link: LinkId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.alive(now, link);
        }
        self.settle(now, id);
    }

    /// An agent shows that it is there, and tells nothing.
    pub fn breathes(&mut self, now: Millis, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.breath = Some(now);
        }
    }

    /// So many samples of the past came in, of the times from `first` to `last` by the hub's clock.
    pub fn filled(&mut self, now: Millis, id: ServerId, first: Millis, last: Millis, count: usize) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.filled(now, first, last, count);
            self.urgent |= server.urgent;
        }
    }

    /// An event says that a process is now `status`; shown at once, corrected by the next report.
    pub fn hint(&mut self, id: ServerId, pm_id: u32, status: &str) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.hint(pm_id, status);
            self.urgent |= server.urgent;
        }
    }

    /// The connection by which commands go to `link` came or went.
    pub fn set_reverse(&mut self, now: Millis, id: ServerId, link: LinkId, open: bool) {
        if let Some(server) = self.servers.get_mut(&id)
            && let Some(link) = server.links.get_mut(&link)
        {
            let reverse = if open { Reverse::Open } else { Reverse::Awaited };
            let last_report = link.last_report;
            *link = Link::new(now, reverse);
            link.last_report = last_report;
        }
        self.settle(now, id);
    }

    /// A link ended.
    pub fn detach(&mut self, now: Millis, id: ServerId, link: LinkId, departure: Departure) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if server.links.remove(&link).is_none() {
            return;
        }
        server.dirty = true;
        if server.links.is_empty() {
            server.ended = Some((now, departure));
            self.outputs.push_back(Output::Save(id));
        }
        self.settle(now, id);
    }

    /// Time goes by.
    pub fn tick(&mut self, now: Millis) {
        self.waiting.tick(now);
        let ids: Vec<_> = self.servers.keys().copied().collect();
        for id in ids {
            self.settle(now, id);
            if let Some(server) = self.servers.get_mut(&id) {
                server.note_second(now);
            }
            let saved = self.saved.get(&id).copied().unwrap_or(0);
            if self.servers[&id].last_seen > saved && now.saturating_sub(saved) >= SAVE_EVERY {
                self.outputs.push_back(Output::Save(id));
            }
        }
    }

    /// Forgets a server; its processes free their places at once.
    pub fn forget(&mut self, id: ServerId) -> bool {
        let known = self.servers.remove(&id).is_some();
        if known {
            self.saved.remove(&id);
            self.gone.push(id);
            self.urgent = true;
            self.apply_plan();
        }
        known
    }

    /// Hides a server until it is linked anew: it leaves every list, its links no longer count.
    pub fn hide(&mut self, now: Millis, id: ServerId) -> bool {
        let Some(server) = self.servers.get_mut(&id) else {
            return false;
        };
        server.hidden = true;
        server.hidden_at = now;
        server.turned_away = (!server.links.is_empty()).then_some(now);
        server.state = ServerState::Offline;
        server.links.clear();
        server.processes.clear();
        server.told = None;
        self.gone.push(id);
        self.urgent = true;
        self.apply_plan();
        self.outputs.push_back(Output::Save(id));
        true
    }

    /// An agent spoke for a hidden server.
    pub fn turned_away(&mut self, now: Millis, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.turned_away = Some(now);
        }
    }

    /// Next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The server to be written, as of `now`.
    pub fn stored(&mut self, now: Millis, id: ServerId) -> Option<StoredServer> {
        let server = self.servers.get(&id)?;
        self.saved.insert(id, now);
        Some(server.to_stored())
    }

    /// Whether something must be told at once.
    pub fn is_urgent(&self) -> bool {
        self.watched && self.urgent
    }

    /// What changed since the last time; `only_urgent` leaves mere numbers for the next second.
    pub fn flush(&mut self, now: Millis, only_urgent: bool) -> Option<Changes> {
        self.urgent = false;
        if !self.watched {
            self.gone.clear();
            return None;
        }
        let servers: Vec<Object> = self
            .servers
            .values_mut()
            .filter(|s| !s.hidden && s.dirty && (s.urgent || !only_urgent))
            .filter_map(Server::take_changes)
            .collect();
        if servers.is_empty() && self.gone.is_empty() {
            return None;
        }
        self.rev += 1;
        Some(Changes {
            rev: self.rev,
            at: now,
            servers,
            gone: std::mem::take(&mut self.gone),
        })
    }

    /// The whole state as of the last flush, for somebody who begins to watch. Flush first, for the others.
    pub fn snapshot(&mut self, now: Millis) -> (u64, Value) {
        self.watched = true;
        let mut all = Vec::new();
        for server in self.servers.values_mut().filter(|s| !s.hidden) {
            if server.told.is_none() || server.dirty {
                server.take_changes();
            }
            if let Some(told) = &server.told {
                all.push(Value::Object(view::whole(server, told, Some(now))));
            }
        }
        (self.rev, Value::Array(all))
    }

    /// Every server as it is now, with its last minute, hidden ones too; tells nobody else anything.
    pub fn describe(&self, now: Millis) -> Value {
        self.servers
            .values()
            .map(|server| {
                let mut object = view::whole(server, &view::baseline(server), Some(now));
                object.insert("hidden".into(), server.hidden.into());
                if server.hidden {
                    object.insert("state".into(), "hidden".into());
                }
                Value::Object(object)
            })
            .collect()
    }

    /// Nobody watches any more: nothing needs to be remembered for them.
    pub fn unwatch(&mut self) {
        self.watched = false;
        for server in self.servers.values_mut() {
            server.told = None;
        }
    }

    /// Servers that show, in the order of their ids.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values().filter(|s| !s.hidden)
    }

    /// One server, hidden or not.
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(&id)
    }

    /// The bucket's use of its plan.
    pub fn usage(&self) -> Value {
        let used = self
            .servers()
            .map(|s| s.processes().filter(|p| counts(&p.facts.name)).count())
            .sum::<usize>();
        let held_back = self.servers().map(|s| s.held_back().count()).sum::<usize>();
        json!({
            "limit": self.settings.plan.limit(),
            "used": used + held_back,
            "over_plan": held_back,
            "servers": self.servers().count(),
            "max_servers": self.settings.max_servers,
        })
    }

    /// Every entry with what the plan says to it: of each server, of each app on it.
    pub fn plan_table(&self) -> Value {
        let servers: Value = self
            .servers()
            .map(|server| {
                let entries: Value = server
                    .processes
                    .iter()
                    .map(|(key, entry)| {
                        let facts = &entry.now.facts;
                        let is_free = !counts(&facts.name);
                        json!({
                            "key": key.as_str(),
                            "pm_id": key.pm_id(),
                            "name": facts.name,
                            "module": facts.module,
                            "status": &*entry.now.status,
                            "first_seen": entry.first_seen,
                            "plan": match (is_free, entry.over_plan) {
                                (true, _) => "free",
                                (false, true) => "over",
                                (false, false) => "monitored",
                            },
                        })
                    })
                    .collect();
                json!({
                    "id": server.id,
                    "name": server.name,
                    "hostname": server.facts.hostname,
                    "state": server.state.as_str(),
                    "processes": entries,
                })
            })
            .collect();
        let free = self
            .servers()
            .flat_map(Server::processes)
            .filter(|p| !counts(&p.facts.name));
        let mut table = self.usage();
        table["free"] = free.count().into();
        table["free_modules"] = json!(plans::FREE_MODULES);
        table["servers"] = servers;
        table
    }

    fn settle(&mut self, now: Millis, id: ServerId) {
        let offline_after = self.settings.offline_after;
        let Some(server) = self.servers.get_mut(&id).filter(|s| !s.hidden) else {
            return;
        };
        if server.settle(now, offline_after) {
            self.outputs.push_back(Output::State(id, server.state));
        }
        self.urgent |= server.urgent;
    }

    /// Decides anew which entries the plan covers.
    fn apply_plan(&mut self) {
        let candidates = self.servers.values().filter(|s| !s.hidden).flat_map(|server| {
            server.processes.iter().map(|(key, entry)| Candidate {
                key: (server.id, key.clone()),
                name: &entry.now.facts.name,
                first_seen: entry.first_seen,
            })
        });
        let over = plans::over_plan(self.settings.plan, candidates);
        let mut any = false;
        for server in self.servers.values_mut() {
            let mut changed = false;
            for (key, entry) in &mut server.processes {
                let is_over = !over.is_empty() && over.contains(&(server.id, key.clone()));
                changed |= is_over != entry.over_plan;
                entry.over_plan = is_over;
            }
            if changed {
                server.dirty = true;
                server.urgent = true;
                self.urgent = true;
                any = true;
                let held = server
                    .processes
                    .iter()
                    .filter(|(_, e)| e.over_plan)
                    .map(|(k, _)| k.pm_id())
                    .collect();
                self.outputs.push_back(Output::HeldBack(server.id, held));
            }
        }
        if any {
            self.outputs.push_back(Output::PlanChanged);
        }
    }
}

fn counts(name: &str) -> bool {
    !plans::FREE_MODULES.contains(&name)
}

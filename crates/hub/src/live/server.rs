//! One server of a bucket: its links, its state, its processes. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::absence::{Absence, Dark, Departure, Life};
use super::link::{ActionError, Reverse};
use super::model::{
    AgentKind, Failure, LinkId, MAX_TEXT, Millis, Process, ProcessKey, Resealed, ServerFacts, ServerId,
    ServerState, cut,
};
use super::ring::Recent;
use super::view::{self, Baseline};

/// A linked server that says nothing for so long is no longer called online.
pub const SILENT_AFTER: Millis = 10_000;
/// A link that breaks may come back within this time without anybody noticing.
pub const RECONNECT_GRACE: Millis = 5_000;
/// A way for commands that is a connection of its own may be missing for so long before that is called trouble.
pub const REVERSE_WITHIN: Millis = 10_000;
/// PM2's agents ping every 5 s: one that did so within this time is there.
const BREATHES_WITHIN: Millis = 12_000;
/// What a server brings along is looked at for so long after its return.
const JUDGED_FOR: Millis = 600_000;
/// An agent that was turned away asks again before this: ours once a minute, PM2's sooner.
const ASKS_AGAIN: Millis = 180_000;
/// An entry that comes back within this time (a daemon that restarts) keeps its age.
const REMEMBER_AGE_FOR: Millis = 60_000;
/// More entries than this from one server are not believed.
pub const MAX_PROCESSES: usize = 10_000;
/// Longest name of a server.
pub const MAX_NAME: usize = 200;
/// Agent processes remembered per server: enough to know an old one when it speaks again.
const MAX_AGENTS: usize = 8;

/// How a server is known again when it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Our agent: the id stored in the home it supervises.
    Machine {
        /// One `$PM2_HOME` on one machine.
        machine: String,
        /// Set when a second live machine showed the same id (a copied image): what tells it apart.
        copy: Option<String>,
    },
    /// PM2's agent: nothing is stored there, so it is recognised by what it tells (see `identity`).
    Told,
}

/// One process and what the hub adds to it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) now: Process,
    pub(super) first_seen: Millis,
    pub(super) over_plan: bool,
    pub(super) recent: Recent,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Last time that it carried a report; `None` until it did.
    pub(super) last_report: Option<Millis>,
    /// Whether commands can be sent by it.
    pub(super) reverse: Reverse,
    /// Until when a way for commands that is not open yet counts as one.
    pub(super) awaited_until: Millis,
}

impl Link {
    pub(super) fn new(now: Millis, reverse: Reverse) -> Self {
        Self {
            last_report: None,
            reverse,
            awaited_until: now.saturating_add(REVERSE_WITHIN),
        }
    }

    /// As it is shown: one that comes in a moment is no trouble.
    fn shows_reverse(&self, now: Millis) -> bool {
        match self.reverse {
            Reverse::Open => true,
            Reverse::Awaited => now < self.awaited_until,
            Reverse::Closed => false,
        }
    }
}

/// A server of the bucket.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) id: ServerId,
    pub(super) kind: AgentKind,
    pub(super) identity: Identity,
    pub(super) name: String,
    pub(super) facts: ServerFacts,
    pub(super) state: ServerState,
    pub(super) first_seen: Millis,
    pub(super) last_seen: Millis,
    /// When and how the last link ended.
    pub(super) ended: Option<(Millis, Departure)>,
    /// Its present absence, or the last one.
    pub(super) absence: Option<Absence>,
    /// Which run of the agent, on which boot of its machine, spoke for it last.
    pub(super) life: Life,
    /// The uptime among the facts was told by that run.
    pub(super) knows_uptime: bool,
    /// When its agent last showed that it is there without telling anything.
    pub(super) breath: Option<Millis>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) processes: BTreeMap<ProcessKey, Entry>,
    /// Ages of entries that left a moment ago.
    retired: BTreeMap<ProcessKey, (Millis, Millis)>,
    /// What last went wrong between it and the hub.
    pub(super) failure: Option<Failure>,
    /// Ids of the agent processes that spoke for this server, newest last.
    pub(super) agents: VecDeque<String>,
    pub(super) hidden: bool,
    /// When it was hidden.
    pub(super) hidden_at: Millis,
    /// When an agent last spoke for it while it was hidden, or was cut off by the hiding.
    pub(super) turned_away: Option<Millis>,
    /// Whether watchers are shown that commands reach it.
    shows_reverse: bool,
    /// Something that watchers see changed since the last flush …
    pub(super) dirty: bool,
    /// … and it cannot wait for the next second.
    pub(super) urgent: bool,
    /// What watchers have been told; `None` while nobody watches or nothing was told yet.
    pub(super) told: Option<Baseline>,
}

/// What changed in a list of processes.
#[derive(Clone, Debug)]
pub enum ProcessUpdate {
    /// The whole list: whoever is not in it is gone.
    Full(Vec<Process>),
    /// Only what changed.
    Delta {
        /// New or changed entries, each complete.
        changed: Vec<Process>,
        /// Entries that left.
        removed: Vec<ProcessKey>,
    },
}

/// What an agent says about its server at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name the server goes by.
    pub name: Option<String>,
    /// Facts, when told.
    pub facts: Option<ServerFacts>,
    /// Processes, when told.
    pub processes: Option<ProcessUpdate>,
}

/// What a report changed beyond numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Entries came or left: the plan must be looked at again.
    pub(super) membership: bool,
    /// Name or facts worth saving changed.
    pub(super) worth_saving: bool,
    /// What the host says that it sends is not what it said before.
    pub(super) resealed: Option<Resealed>,
}

impl Server {
    pub(super) fn new(id: ServerId, kind: AgentKind, identity: Identity, now: Millis) -> Self {
        Self {
            id,
            kind,
            identity,
            name: String::new(),
            facts: ServerFacts::default(),
            state: ServerState::Lost,
            first_seen: now,
            last_seen: now,
            ended: None,
            absence: None,
            life: Life::default(),
            knows_uptime: false,
            breath: None,
            links: BTreeMap::new(),
            processes: BTreeMap::new(),
            retired: BTreeMap::new(),
            failure: None,
            agents: VecDeque::new(),
            hidden: false,
            hidden_at: 0,
            turned_away: None,
            shows_reverse: false,
            dirty: true,
            urgent: true,
            told: None,
        }
    }

    /// The link that commands go to: the one that carried the latest report (an older one may be idle, or never read).
    pub(super) fn command_link(&self) -> Option<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.reverse == Reverse::Open)
            .max_by_key(|(id, link)| (link.last_report, **id))
            .map(|(id, _)| *id)
    }

    /// Whether commands reach it, as it is shown.
    pub(super) fn reverse(&self) -> bool {
        self.shows_reverse
    }

    pub(super) fn report(&mut self, now: Millis, link: LinkId, report: Report) -> Effect {
        self.alive(now, link);
        let mut effect = Effect::default();
        if let Some(name) = report.name {
            effect.worth_saving |= self.rename(&name);
        }
        if let Some(facts) = report.facts {
            self.knows_uptime |= facts.uptime.is_some();
            let mut facts = facts;
            effect.resealed = self.compare_manifest(&mut facts);
            effect.worth_saving |= self.learn(facts) || effect.resealed.is_some();
            self.judge(now);
        }
        match report.processes {
            None => {}
            Some(ProcessUpdate::Full(list)) => {
                let keys: std::collections::BTreeSet<_> = list.iter().map(Process::key).collect();
                let gone: Vec<_> = self
                    .processes
                    .keys()
                    .filter(|k| !keys.contains(*k))
                    .cloned()
                    .collect();
                effect.membership |= self.remove(now, &gone);
                effect.membership |= self.upsert(now, list);
            }
            Some(ProcessUpdate::Delta { changed, removed }) => {
                effect.membership |= self.remove(now, &removed);
                effect.membership |= self.upsert(now, changed);
            }
        }
        self.dirty = true;
        effect
    }

    /// Notes this second of every process. Agents tell only what changed, so what they do not mention is as it was.
    pub(super) fn note_second(&mut self, now: Millis) {
        if self.state == ServerState::Online {
            for entry in self.processes.values_mut() {
                entry.recent.note(now, &entry.now);
            }
        }
    }

    /// Something went wrong between it and the hub.
    pub(super) fn failed(&mut self, now: Millis, why: &str) {
        self.failure = Some(Failure {
            at: now,
            text: cut(why, MAX_TEXT).to_owned(),
        });
        self.dirty = true;
    }

    /// Notes that data came in on `link`.
    pub(super) fn alive(&mut self, now: Millis, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.last_report = Some(now);
        }
        self.last_seen = self.last_seen.max(now);
    }

    fn rename(&mut self, name: &str) -> bool {
        let name = cut(name, MAX_NAME);
        if name.is_empty() || name == self.name {
            return false;
        }
        name.clone_into(&mut self.name);
        self.urgent = true;
        self.dirty = true;
        true
    }

    /// A manifest is as old as it has been the same. One that is not told any more is remembered: that its host ran an agent that tells none
    /// for a while changes nothing.
    fn compare_manifest(&self, facts: &mut ServerFacts) -> Option<Resealed> {
        let before = self.facts.manifest.as_ref()?;
        let Some(now) = &mut facts.manifest else {
            facts.manifest = Some(before.clone());
            return None;
        };
        if now.key != before.key {
            return Some(Resealed::Key);
        }
        if now.digest != before.digest {
            return Some(Resealed::List);
        }
        now.since = before.since;
        None
    }

    fn learn(&mut self, mut facts: ServerFacts) -> bool {
        // The address is seen by the hub, not told by the agent.
        facts.public_ip = facts.public_ip.or_else(|| self.facts.public_ip.take());
        facts.cpus = facts.cpus.or(self.facts.cpus);
        facts.total_mem = facts.total_mem.or(self.facts.total_mem);
        facts.cpu_model = facts.cpu_model.or_else(|| self.facts.cpu_model.take());
        let lasting = facts.hostname != self.facts.hostname
            || facts.pm2_version != self.facts.pm2_version
            || facts.unique_id != self.facts.unique_id
            || facts.manifest != self.facts.manifest;
        if let Some(id) = &facts.unique_id
            && !self.agents.contains(id)
        {
            if self.agents.len() == MAX_AGENTS {
                self.agents.pop_front();
            }
            self.agents.push_back(id.clone());
        }
        self.facts = facts;
        lasting
    }

    fn upsert(&mut self, now: Millis, list: Vec<Process>) -> bool {
        let mut membership = false;
        for process in list {
            let full = self.processes.len() >= MAX_PROCESSES;
            let key = process.key();
            match self.processes.get_mut(&key) {
                Some(entry) => {
                    self.urgent |= entry.now.status != process.status
                        || entry.now.pid != process.pid
                        || entry.now.restart_time != process.restart_time;
                    entry.recent.note(now, &process);
                    entry.now = process;
                }
                None if full => {}
                None => {
                    membership = true;
                    self.urgent = true;
                    let first_seen = self
                        .retired
                        .remove(&key)
                        .map_or(now, |(first_seen, _)| first_seen);
                    let mut recent = Recent::default();
                    recent.note(now, &process);
                    self.processes.insert(
                        key,
                        Entry {
                            now: process,
                            first_seen,
                            over_plan: false,
                            recent,
                        },
                    );
                }
            }
        }
        membership
    }

    fn remove(&mut self, now: Millis, gone: &[ProcessKey]) -> bool {
        let mut membership = false;
        for key in gone {
            if let Some(entry) = self.processes.remove(key) {
                membership = true;
                self.urgent = true;
                // Ages are a nicety: who changes its list without end is not remembered without end.
                if self.retired.len() < MAX_PROCESSES {
                    self.retired.insert(key.clone(), (entry.first_seen, now));
                }
            }
        }
        membership
    }

    /// Shows at once what an event says; the next report corrects it.
    pub(super) fn hint(&mut self, pm_id: u32, status: &str) {
        for (_, entry) in self.processes.iter_mut().filter(|(key, _)| key.pm_id() == pm_id) {
            if *entry.now.status != *status {
                entry.now.status = Arc::from(status);
                self.dirty = true;
                self.urgent = true;
            }
        }
    }

    /// Works out the state at `now`; `true` when it changed.
    pub(super) fn settle(&mut self, now: Millis, offline_after: Millis) -> bool {
        self.retired
            .retain(|_, (_, left)| now.saturating_sub(*left) < REMEMBER_AGE_FOR);
        let shows_reverse = self.links.values().any(|link| link.shows_reverse(now));
        if shows_reverse != self.shows_reverse {
            self.shows_reverse = shows_reverse;
            self.dirty = true;
            self.urgent = true;
        }
        let silence = now.saturating_sub(self.last_seen);
        let state = match self.ended {
            None if silence < SILENT_AFTER => ServerState::Online,
            Some((_, Departure::Goodbye)) => ServerState::Stopped,
            Some((at, _))
                if self.state == ServerState::Online && now.saturating_sub(at) < RECONNECT_GRACE =>
            {
                ServerState::Online
            }
            _ if silence >= offline_after => ServerState::Offline,
            _ => ServerState::Lost,
        };
        let changed = state != self.state;
        if changed {
            self.state = state;
            self.dirty = true;
            self.urgent = true;
        }
        self.explain(now, silence, offline_after);
        changed
    }

    /// Keeps the reason of an absence in step with the state.
    fn explain(&mut self, now: Millis, silence: Millis, offline_after: Millis) {
        let changed = if self.state == ServerState::Online {
            match self.absence.take_if(|absence| absence.is_open()) {
                Some(absence) => {
                    self.absence = absence.end(now);
                    self.judge(now);
                    true
                }
                None => false,
            }
        } else {
            let dark = Dark {
                departure: self.ended.map(|(_, departure)| departure),
                is_breathing: self
                    .breath
                    .is_some_and(|at| now.saturating_sub(at) < BREATHES_WITHIN),
                silence,
                offline_after,
            };
            match &mut self.absence {
                Some(absence) if absence.is_open() => absence.guess(dark),
                _ => {
                    self.absence = Some(Absence::begin(self.last_seen, self.life.clone(), dark));
                    true
                }
            }
        };
        self.dirty |= changed;
        self.urgent |= changed;
    }

    /// Looks again at why it was away.
    fn judge(&mut self, now: Millis) {
        // Seconds of a machine's uptime are far below what a float cannot count.
        let uptime = self.facts.uptime.map(|seconds| (seconds * 1000.0) as Millis);
        // What was told before the absence says nothing of it.
        let uptime = uptime.filter(|_| self.knows_uptime);
        if let Some(absence) = &mut self.absence
            && absence.ended_within(now, JUDGED_FOR)
            && absence.judge(now, &self.life, uptime)
        {
            self.dirty = true;
            self.urgent = true;
        }
    }

    /// Samples of the past came in: times by the hub's clock.
    pub(super) fn filled(&mut self, now: Millis, first: Millis, last: Millis, count: usize) {
        if let Some(absence) = &mut self.absence
            && absence.fill(first, last, count)
        {
            self.dirty = true;
            self.judge(now);
        }
    }

    /// What watchers do not know yet, and notes that they know it now.
    pub(super) fn take_changes(&mut self) -> Option<view::Object> {
        self.dirty = false;
        self.urgent = false;
        let fresh = view::baseline(self);
        let changes = match &self.told {
            Some(told) => view::changes(self.id, told, &fresh),
            None => Some(view::whole(self, &fresh, None)),
        };
        self.told = Some(fresh);
        changes
    }
}

impl Server {
    /// How many ages it remembers of entries that left.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.retired.len()
    }

    /// Links that speak for it.
    pub fn links(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    /// The server's id.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Name it goes by; not unique.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which agent reports it.
    pub fn kind(&self) -> AgentKind {
        self.kind
    }

    /// How it stands towards the hub.
    pub fn state(&self) -> ServerState {
        self.state
    }

    /// Facts, as last told.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// When data last came in.
    pub fn last_seen(&self) -> Millis {
        self.last_seen
    }

    /// When the hub first heard of it.
    pub fn first_seen(&self) -> Millis {
        self.first_seen
    }

    /// The entry with this number, and whether the plan holds it back.
    pub fn entry(&self, pm_id: u32) -> Option<(&Process, bool)> {
        self.processes
            .values()
            .find(|e| e.now.pm_id == pm_id)
            .map(|e| (&e.now, e.over_plan))
    }

    /// Whether it is out of sight until it is linked anew.
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Whether an agent asked for it a moment ago and was turned away, because it is hidden.
    pub fn is_asked_for(&self, now: Millis) -> bool {
        self.hidden
            && self
                .turned_away
                .is_some_and(|at| now.saturating_sub(at) < ASKS_AGAIN)
    }

    /// Whether an agent speaks for it right now.
    pub fn is_linked(&self) -> bool {
        !self.links.is_empty()
    }

    /// What stands in the way of commands, if anything.
    pub fn reachable(&self) -> Result<(), ActionError> {
        match (self.state, self.command_link()) {
            (_, Some(_)) => Ok(()),
            (ServerState::Online, None) => Err(ActionError::NoReverse),
            (state, None) => Err(ActionError::NotLinked(state.as_str())),
        }
    }

    /// Processes that the plan covers.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|e| !e.over_plan).map(|e| &e.now)
    }

    /// Processes held back by the plan.
    pub fn held_back(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|e| e.over_plan).map(|e| &e.now)
    }
}

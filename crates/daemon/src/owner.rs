//! The owner: the one place where the state of this daemon changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use keeper::client::Respawn;
use os::proc::Sampler;
use pm2::bus::ProcessRef;
use pm2::env::Pm2Env;
use pm2::home::Home;
use pm2::rpc::Call;
use serde_json::Value;
use supervisor::{
    Command, Effect, Event as News, Incarnation, Input, Mono, ProcId, Refusal, Status, Supervisor, Ticket,
};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use crate::agent_host::AgentHost;
use crate::app::{App, Life};
use crate::app_sockets::AppSockets;
use crate::bus::Bus;
use crate::clock;
use crate::cluster::Cluster;
use crate::crashes::CrashWatch;
use crate::cron::Crons;
use crate::disk::Disk;
use crate::ending::Ending;
use crate::event::Event;
use crate::host_metrics::HostMetrics;
use crate::jobs::{JobId, Jobs};
use crate::journal::{Journal, Level};
use crate::keeper_link::KeeperLink;
use crate::ledger::Ledger;
use crate::limits::Cgroups;
use crate::methods;
use crate::preload::Preload;
use crate::profile::Profile;
use crate::pump::LogPump;
use crate::record;
use crate::replacing::Replacing;
use crate::rest::Rest;
use crate::rotation::LogRules;
use crate::rpc::{Door, Responder};
use crate::settings::Settings;
use crate::versions::{AppVersions, NodeVersions};
use crate::watch::Watching;

/// Whose lives are that belong to no entry any more; no entry ever has this number.
const NOBODY: ProcId = ProcId(u32::MAX);

/// All state of the daemon.
pub(crate) struct Daemon {
    pub(crate) home: Arc<Home>,
    pub(crate) settings: Settings,
    pub(crate) started_at_ms: i64,
    pub(crate) sup: Supervisor,
    pub(crate) apps: BTreeMap<ProcId, App>,
    pub(crate) lives: BTreeMap<Incarnation, Life>,
    pub(crate) next_id: u32,
    pub(crate) jobs: Jobs<Then>,
    pub(crate) keeper: KeeperLink,
    pub(crate) ledger: Ledger,
    pub(crate) cluster: Cluster,
    pub(crate) app_sockets: AppSockets,
    pub(crate) cgroups: Cgroups,
    pub(crate) preload: Preload,
    pub(crate) respawn: Respawn,
    pub(crate) pump: LogPump,
    /// When log files are put aside.
    pub(crate) rules: LogRules,
    /// Ends that nobody asked for.
    pub(crate) crashes: CrashWatch,
    pub(crate) bus: Bus,
    pub(crate) journal: Journal,
    pub(crate) disk: Disk,
    pub(crate) sampler: Sampler,
    /// Scratch space for reading channels.
    pub(crate) scratch: Vec<u8>,
    /// Channels that had more to say than fits in one turn.
    pub(crate) talkative: VecDeque<Incarnation>,
    pub(crate) host: HostMetrics,
    /// A profile of the loop, while somebody wants one.
    pub(crate) profile: Option<Profile>,
    pub(crate) node_versions: NodeVersions,
    pub(crate) app_versions: AppVersions,
    /// When it may rest.
    pub(crate) rest: Rest,
    pub(crate) agent: AgentHost,
    /// The task that serves `interactor.sock` while an agent runs.
    pub(crate) interactor: Option<AbortHandle>,
    /// Copies of the listening sockets, for a new keeper.
    pub(crate) listeners: Vec<(&'static str, OwnedFd)>,
    pub(crate) events: Sender<Event>,
    pub(crate) next_worker_run: Mono,
    pub(crate) watching: Watching,
    pub(crate) crons: Crons,
    /// Clients that have announced the end of this daemon, and may still bring it about.
    pub(crate) killers: usize,
    pub(crate) ending: Option<Ending>,
    /// A newer program is taking over.
    pub(crate) replacing: Option<Replacing>,
    /// Room for looks at the health of processes.
    pub(crate) looks: Arc<Semaphore>,
    /// Room for verbs of the command line that the hub asks for.
    pub(crate) chores: Arc<Semaphore>,
}

/// What follows when all commands of a job are answered.
#[derive(Debug)]
pub(crate) enum Then {
    /// Answer with the one process.
    ShowOne(Responder),
    /// Answer with the one process as it was: it has ended and is about to be forgotten.
    ShowGone(Responder),
    /// Answer with the whole list.
    ShowEverything(Responder),
    /// They are new: tell the bus, and answer with the one or with all.
    Started { responder: Responder, one: bool },
    /// Answer the hub.
    Agent(crate::agent_host::Waiting),
    /// The daemon can end now.
    End,
}

impl Daemon {
    /// Something came from a task.
    pub(crate) fn on_event(&mut self, event: Event) {
        match event {
            Event::Request {
                door,
                call,
                peer_pid,
                responder,
            } => match (door, call) {
                (_, Call::Methods) => responder.methods(),
                (Door::Rpc, Call::Method { name, args }) => {
                    methods::call(self, &name, args, peer_pid, responder);
                }
                (Door::Interactor, Call::Method { name, .. }) => {
                    methods::agent::interactor(self, &name, responder);
                }
            },
            Event::ClientCutOff { reason } => {
                self.complain(&format!("a client of the RPC socket was cut off: {reason}"));
            }
            Event::BusJoined { number, outbox } => {
                self.bus.join(number, outbox);
                self.listen_to_logs();
            }
            Event::BusLeft { number } => {
                self.bus.leave(number);
                self.listen_to_logs();
            }
            Event::ChannelReady { incarnation } => self.read_channel(incarnation),
            Event::Connections { listener } => self.connections_wait(listener),
            Event::WitnessEnded => self.stay_witnessed(),
            Event::KillerEnded => self.killer_ended(),
            Event::TreeGone {
                id,
                incarnation,
                round,
            } => {
                if let Some(life) = self.lives.get_mut(&incarnation) {
                    life.tree
                        .retain(|pidfd| !os::process::has_exited(pidfd).unwrap_or(true));
                }
                self.handle(Input::TreeGone {
                    id,
                    incarnation,
                    round,
                });
            }
            Event::LastWordsOver { incarnation } => self.write_crash(incarnation),
            Event::CrashWritten { report, written } => self.crash_written(&report, written),
            Event::ModuleConf(text) => self.take_log_rules(&text),
            Event::FormerAgentEnded { responder } => self.start_agent_now(responder),
            Event::FileChanged {
                watch,
                path,
                changed_at_ms,
            } => self.on_file_changed(watch, path, changed_at_ms),
            Event::Versioning {
                id,
                incarnation,
                versioning,
            } => self.told_versioning(id, incarnation, versioning),
            Event::Alarm { clock_was_set } => self.on_alarm(clock_was_set),
            Event::WatchTrouble { watch, text } => self.on_watch_trouble(watch, &text),
            Event::AgentSaidGoodBye => {
                if let Some(ending) = &mut self.ending {
                    ending.agent_has_gone();
                }
            }
            Event::ChoreEnded { what, outcome } => match outcome {
                Ok(()) => self.say(Level::Log, &format!("{what}: done")),
                Err(why) => self.say(Level::Error, &format!("{what}: {why}")),
            },
            Event::NodeVersion {
                id,
                incarnation,
                version,
            } => self.told_node_version(id, incarnation, version),
            Event::Probed {
                id,
                incarnation,
                round,
                seen,
            } => self.on_probed(id, incarnation, round, seen),
            Event::Versions(versions) => self.told_versions(versions),
        }
    }

    /// Tell the supervisor. Its wishes are carried out by [`Daemon::settle`], at the end of the turn.
    pub(crate) fn handle(&mut self, input: Input) {
        self.sup.handle(clock::now(), input);
    }

    /// A command whose answer belongs to a job.
    pub(crate) fn command_for(&mut self, job: JobId, id: ProcId, command: Command) {
        let ticket = Some(self.jobs.ticket(job, id));
        self.handle(Input::Command { ticket, command });
    }

    /// When the loop has to wake up by itself.
    pub(crate) fn next_wake(&self) -> Option<Mono> {
        [
            self.sup.next_deadline(),
            Some(self.next_worker_run),
            self.agent.next_sample(),
            self.agent.next_line(),
            self.watching.next_due(),
            self.crashes.next_look(),
            self.next_cluster_wake(),
            self.next_look_at_end(),
            self.profile_end(),
            self.leave_at(),
            self.rest.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self) {
        let now = clock::now();
        if self.sup.next_deadline().is_some_and(|at| at <= now.mono) {
            self.sup.handle_timeout(now);
        }
        self.on_cluster_time(now.mono);
        self.end_profile(now.mono);
        if self.next_worker_run <= now.mono {
            self.next_worker_run = now.mono.after(self.settings.worker_interval);
            self.check_memory();
            self.stay_witnessed();
            self.rotate_by_clock();
            self.look_at_host();
        }
        if self.watching.next_due().is_some_and(|at| at <= now.mono) {
            self.restart_changed();
        }
        self.look_at_processes();
        self.rest.time_is(now.mono);
        if self.agent.next_line().is_some_and(|at| at <= now.mono) {
            let lines = self.agent.overdue_lines();
            self.tell_lines(lines);
        }
        if self.agent.next_sample().is_some_and(|at| at <= now.mono) {
            self.observe_for_agent();
        }
    }

    /// Carry out everything the supervisor and the cluster's primary want.
    pub(crate) fn settle(&mut self) {
        loop {
            self.settle_supervisor();
            if !self.settle_cluster() {
                break;
            }
        }
        self.leave_if_replaced();
        if self.can_end() {
            self.end_now();
        }
    }

    fn settle_supervisor(&mut self) {
        // One record for all that becomes of a process in this turn: no answer leaves before it has ended.
        let mut changed = BTreeSet::new();
        while let Some(effect) = self.sup.poll_effect() {
            match effect {
                Effect::Spawn { id, incarnation } => self.spawn(id, incarnation),
                Effect::Signal {
                    id,
                    incarnation,
                    pid,
                    signal,
                    tree,
                    round,
                } => {
                    self.withdraw_worker(incarnation);
                    self.signal_life(id, incarnation, pid, signal, tree.then_some(round));
                }
                Effect::AskToStop { incarnation, .. } => {
                    self.withdraw_worker(incarnation);
                    // A channel that breaks now is told to the supervisor by its end; the kill timeout does the rest.
                    let _ = self.send_to_child(incarnation, &node::message::shutdown());
                }
                Effect::Reply { ticket, result } => self.settle_ticket(ticket, result),
                Effect::Notify { id, event, status } => self.on_news(id, event, status),
                Effect::Probe {
                    id,
                    incarnation,
                    round,
                } => self.probe(id, incarnation, round),
                Effect::Retire { incarnation, .. } => self.retire(incarnation),
                Effect::Changed(id) => {
                    self.cluster_has_changed();
                    self.refresh(id);
                    self.forget_former_env(id);
                    changed.insert(id);
                }
                Effect::Removed(id) => {
                    self.cluster_has_changed();
                    self.removed(id);
                }
            }
        }
        for id in changed {
            // The record of a launch is written with the launch, see `spawn`.
            if !self.is_launching(id) {
                self.keep(id);
            }
        }
    }

    /// Whether the keeper was asked for a process that has not come yet: what comes of that is recorded.
    pub(crate) fn is_launching(&self, id: ProcId) -> bool {
        let phase = self.sup.restorable(id).map(|kept| kept.phase);
        matches!(phase, Some(supervisor::Phase::Launching(_, None)))
    }

    /// A command is answered.
    pub(crate) fn settle_ticket(&mut self, ticket: Ticket, result: Result<(), Refusal>) {
        if let Some(job) = self.jobs.settle(ticket, result) {
            self.finish_job(job);
        }
    }

    /// Bring the shown fields of an entry up to date.
    pub(crate) fn refresh(&mut self, id: ProcId) {
        if let (Some(app), Some(view)) = (self.apps.get_mut(&id), self.sup.view(id)) {
            app.env.observe(&view);
        }
    }

    /// Store the record of a process with the keeper.
    pub(crate) fn keep(&mut self, id: ProcId) {
        let (Some(app), Some(restored)) = (self.apps.get(&id), self.sup.restorable(id)) else {
            return;
        };
        let mut lives = app.lives.clone();
        lives.extend(self.sup.lives(id).filter(|life| !app.lives.contains(life)));
        let bytes = record::write(&app.env, app.former_env.as_ref(), &restored, &lives);
        self.note_in_ledger(id, &bytes);
        let name = record::store_name(id);
        let stored =
            os::memfd::with_content("record", &bytes).and_then(|memfd| self.keeper.put(&name, vec![memfd]));
        if let Err(error) = stored {
            self.complain(&format!("storing the record of process {}: {error}", id.0));
        }
    }

    fn removed(&mut self, id: ProcId) {
        self.strike_from_ledger(id);
        if let Err(error) = self.keeper.remove(&record::store_name(id)) {
            self.complain(&format!("removing the record of process {}: {error}", id.0));
        }
        self.stop_watching(id);
        self.forget_cron(id);
        self.apps.remove(&id);
        // What a former life still writes must not be taken for the words of the next process of this number.
        for life in self.lives.values_mut().filter(|life| life.id == id) {
            life.id = NOBODY;
        }
        if self.apps.is_empty() {
            self.next_id = 0;
        }
    }

    fn on_news(&mut self, id: ProcId, news: News, status: Status) {
        match news {
            News::ReloadFailed(cause) => return self.reload_failed(id, cause),
            News::Health(health) => return self.health_changed(id, health),
            News::FormerExit { exit, .. } => return self.former_ended(id, exit),
            _ => {}
        }
        let Some(app) = self.apps.get_mut(&id) else { return };
        let label = format!("{}:{}", app.env.name(), id.0);
        let (topic, line) = match news {
            News::Online => (
                Some("online"),
                Some((Level::Log, format!("App [{label}] online"))),
            ),
            News::Exit { exit: Some(exit) } => {
                app.env.forget_reports();
                let text = exit_line(&label, exit);
                if let Some(path) = app.env.pid_path() {
                    self.disk.remove(path);
                }
                (Some("exit"), Some((Level::Log, text)))
            }
            News::Exit { exit: None } => (Some("exit"), None),
            News::RestartOverlimit => {
                let text = format!(
                    "Script {} had too many unstable restarts ({}). Stopped. \"errored\"",
                    app.env.exec_path(),
                    self.sup.policy(id).map_or(0, |policy| policy.max_restarts),
                );
                (Some("restart overlimit"), Some((Level::Error, text)))
            }
            News::SpawnFailed | News::ReloadFailed(_) | News::Health(_) | News::FormerExit { .. } => {
                (None, None)
            }
            News::MemoryExceeded { rss, limit } => {
                let text = format!(
                    "App [{label}] takes {} of memory, more than its {}; restarting it",
                    pm2::units::bytes_text(rss),
                    pm2::units::bytes_text(limit)
                );
                (None, Some((Level::Log, text)))
            }
            News::Killed => (
                None,
                Some((
                    Level::Log,
                    format!("App [{label}] did not stop in time, killing it"),
                )),
            ),
            News::Unkillable => (
                None,
                Some((Level::Error, format!("App [{label}] could not be stopped"))),
            ),
        };
        if let Some((level, line)) = line {
            self.say(level, &line);
        }
        self.look_for_rotators();
        if let Some(topic) = topic {
            self.publish_event(id, topic, false, Some(status));
        }
    }

    /// Tell the bus and the hub what happened to a process; `status` if it differs from the entry's.
    pub(crate) fn publish_event(&mut self, id: ProcId, event: &str, manually: bool, status: Option<Status>) {
        self.refresh(id);
        let Some(app) = self.apps.get_mut(&id) else { return };
        let at = clock::wall_ms();
        let shown = app.env.status().to_owned();
        if let Some(status) = status {
            app.env.set("status", pm2::env::status_text(status));
        }
        if self.bus.has_listeners()
            && let Ok(frame) = pm2::bus::process_event(event, manually, &app.env, at)
        {
            let newly_slow = self.bus.publish(frame);
            self.tell_slow(newly_slow);
        }
        if let Some(app) = self.apps.get_mut(&id) {
            self.agent.process_event(&app.env, event, manually, at);
            app.env.set("status", shown);
        }
    }

    /// Tell the bus alone of an entry that is no part of the list.
    pub(crate) fn publish_entry(&mut self, event: &str, manually: bool, env: &Pm2Env) {
        if self.bus.has_listeners()
            && let Ok(frame) = pm2::bus::process_event(event, manually, env, clock::wall_ms())
        {
            let newly_slow = self.bus.publish(frame);
            self.tell_slow(newly_slow);
        }
    }

    /// A message that a process (or the daemon about it) sends to everybody.
    pub(crate) fn publish_message(&mut self, id: ProcId, topic: &str, data: &Value) {
        let Some(app) = self.apps.get(&id) else { return };
        let at = clock::wall_ms();
        self.agent.message(&app.env, topic, data, at);
        if self.bus.has_listeners() {
            let frame = pm2::bus::typed_message(topic, &process_ref(&app.env, id), at, data);
            if let Ok(frame) = frame {
                let newly_slow = self.bus.publish(frame);
                self.tell_slow(newly_slow);
            }
        }
    }

    /// A line for the daemon's log.
    pub(crate) fn say(&mut self, level: Level, text: &str) {
        let at = clock::wall_ms();
        let Some(line) = self.journal.write(at, level, text) else {
            return;
        };
        if self.bus.has_listeners()
            && let Ok(frame) = pm2::bus::log_pm2(at, &line)
        {
            // Nothing is said about slow clients here: that line would come back to the same place.
            let _ = self.bus.publish(frame);
        }
    }

    /// Something that should not be.
    pub(crate) fn complain(&mut self, text: &str) {
        self.say(Level::Error, text);
    }

    pub(crate) fn tell_slow(&mut self, clients: usize) {
        if clients > 0 {
            let lost = self.bus.lost();
            self.complain(&format!(
                "a client of the bus reads too slowly and loses messages ({lost} so far)"
            ));
        }
    }

    /// The pid of a process while it lives, else 0.
    pub(crate) fn pid_of(&self, id: ProcId) -> u32 {
        self.sup.view(id).and_then(|view| view.pid).unwrap_or(0)
    }

    /// The present life of a process.
    pub(crate) fn life_of(&self, id: ProcId) -> Option<&Life> {
        self.lives.get(&self.sup.view(id)?.incarnation?)
    }

    /// The present life of a process, to be changed.
    pub(crate) fn life_of_mut(&mut self, id: ProcId) -> Option<&mut Life> {
        self.lives.get_mut(&self.sup.view(id)?.incarnation?)
    }
}

/// What the daemon's log says of an exit.
pub(crate) fn exit_line(label: &str, exit: supervisor::Exit) -> String {
    let signal = match exit {
        supervisor::Exit::Signal(number) => os::signal::name(number).unwrap_or("a realtime signal"),
        // What PM2 writes for an exit by code.
        supervisor::Exit::Code(_) => "SIGINT",
        supervisor::Exit::Unknown => "unknown",
    };
    format!(
        "App [{label}] exited with code [{}] via signal [{signal}]",
        exit.code()
    )
}

/// How messages name a process.
pub(crate) fn process_ref(env: &Pm2Env, id: ProcId) -> ProcessRef<'_> {
    ProcessRef {
        pm_id: Value::from(id.0),
        name: env.name(),
        rev: env.revision(),
        namespace: env.namespace(),
    }
}

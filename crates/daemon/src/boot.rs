//! The start of a daemon: what the former one left with the keeper is taken over, then the loop runs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use keeper::client::{ClientError, Keeper};
use keeper::protocol::{ChildInfo, Event as Told};
use os::channel::Stash;
use os::proc::Sampler;
use supervisor::{Incarnation, Living, ProcId, Supervisor};
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{Receiver, channel};

use crate::agent_host::AgentHost;
use crate::app::App;
use crate::app_sockets::AppSockets;
use crate::bus::{self, Bus};
use crate::child_news::stash_of;
use crate::clock;
use crate::cluster::{self, Cluster};
use crate::crashes::CrashWatch;
use crate::cron::Crons;
use crate::disk::Disk;
use crate::event::Event;
use crate::jobs::Jobs;
use crate::journal::{Journal, Level};
use crate::keeper_link::KeeperLink;
use crate::ledger::Ledger;
use crate::limits::Cgroups;
use crate::owner::Daemon;
use crate::preload::Preload;
use crate::pump::{LogPump, PASSAGE, PumpNews};
use crate::record;
use crate::rest::Rest;
use crate::rotation::LogRules;
use crate::rpc::{self, Door};
use crate::settings::Settings;
use crate::sockets::{self, SocketError};
use crate::versions::{AppVersions, NodeVersions};
use crate::watch::Watching;
use crate::{DaemonOptions, host_metrics::HostMetrics};

/// Events that wait for the loop. Whoever sends more, waits.
const QUEUE: usize = 1024;
/// How long the keeper may take to hand over.
const HANDOVER: Duration = Duration::from_secs(10);
const RPC_LISTENER: &str = "listener/rpc";
const PUB_LISTENER: &str = "listener/pub";

/// Why a daemon could not start, or go on.
#[derive(Debug, Error)]
pub(crate) enum BootError {
    #[error("starting the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("taking over from the keeper: {0}")]
    Keeper(#[from] ClientError),
    #[error("taking over from the keeper: it did not hand over in time")]
    Handover,
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Pump(#[from] logs::Error),
    #[error("{step}: {source}")]
    Step {
        step: &'static str,
        #[source]
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> BootError {
    move |source| BootError::Step { step, source }
}

/// The daemon and what its loop listens to.
pub(crate) struct Booted {
    pub(crate) daemon: Daemon,
    pub(crate) events: Receiver<Event>,
    pub(crate) pump: PumpNews,
}

/// What the keeper holds.
#[derive(Default)]
struct Handover {
    children: Vec<ChildInfo>,
    stored: BTreeMap<String, Vec<OwnedFd>>,
    daemon_starts: u64,
}

impl Handover {
    fn one(&mut self, name: &str) -> Option<OwnedFd> {
        self.stored.remove(name)?.into_iter().next()
    }
}

/// Set everything up. Must be called inside the runtime.
pub(crate) async fn boot(options: DaemonOptions) -> Result<Booted, BootError> {
    let settings = Settings::from_env(|name| std::env::var(name).ok());
    let home = Arc::new(options.home);
    for folder in [&home.log_dir, &home.pid_dir] {
        std::fs::create_dir_all(folder).map_err(step("making the folders of the home"))?;
    }
    let mut keeper =
        KeeperLink::new(Keeper::from_socket(options.keeper)).map_err(step("watching the keeper"))?;
    let handed = tokio::time::timeout(HANDOVER, take_over(&mut keeper)).await;
    let mut handed = handed.map_err(|_| BootError::Handover)??;

    let (sender, events) = channel(QUEUE);
    let mut listeners = Vec::new();
    for (path, name, is_bus) in [
        (&home.rpc_sock, RPC_LISTENER, false),
        (&home.pub_sock, PUB_LISTENER, true),
    ] {
        let (listener, new) = sockets::listen(path, handed.one(name), settings.socket_owner)?;
        if let Some(fd) = new {
            keeper
                .put(name, vec![fd])
                .map_err(step("keeping a listening socket"))?;
        }
        listeners.push((
            name,
            os::fd::duplicate(&listener).map_err(step("copying a listening socket"))?,
        ));
        let listener = UnixListener::from_std(listener).map_err(step("watching a listening socket"))?;
        if is_bus {
            tokio::spawn(bus::serve(listener, sender.clone()));
        } else {
            tokio::spawn(rpc::serve(Door::Rpc, listener, sender.clone()));
        }
    }

    let disk = Disk::start(&home.log_file).map_err(step("starting the disk thread"))?;
    // What the keeper handed on may be a file that was put aside since.
    disk.reopen_log();
    let passage = handed.stored.remove(PASSAGE);
    let (log_pump, pump) = LogPump::start(home.log_times.clone(), passage, &mut keeper)?;
    let journal = Journal::new(disk.clone(), settings.log_date.clone());
    let now = clock::now();
    let ledger = Ledger::new(&home.ledger_dir);
    let mut daemon = Daemon {
        next_worker_run: now.mono.after(settings.worker_interval),
        preload: Preload::of_home(&home),
        home,
        settings,
        started_at_ms: now.wall_ms,
        // Higher than whatever a former daemon gave out, if it gave out less than a thousand in a millisecond.
        sup: Supervisor::new(Incarnation(now.mono.0.saturating_mul(1024).max(1))),
        apps: BTreeMap::new(),
        lives: BTreeMap::new(),
        next_id: 0,
        jobs: Jobs::default(),
        keeper,
        ledger,
        cluster: Cluster::new(),
        app_sockets: AppSockets::default(),
        cgroups: Cgroups::default(),
        respawn: options.respawn,
        pump: log_pump,
        rules: LogRules::default(),
        crashes: CrashWatch::default(),
        bus: Bus::default(),
        journal,
        disk,
        sampler: Sampler::new().map_err(step("opening /proc"))?,
        host: HostMetrics::default(),
        profile: None,
        node_versions: NodeVersions::default(),
        app_versions: AppVersions::default(),
        rest: Rest::default(),
        scratch: Vec::new(),
        talkative: VecDeque::new(),
        agent: AgentHost::default(),
        interactor: None,
        listeners,
        events: sender,
        watching: Watching::default(),
        crons: Crons::default(),
        killers: 0,
        ending: None,
        replacing: None,
        looks: crate::health::room(),
        chores: std::sync::Arc::new(tokio::sync::Semaphore::new(crate::chores::AT_ONCE)),
    };
    let stored = std::fs::read_to_string(&daemon.home.module_conf_file).unwrap_or_default();
    daemon.take_log_rules(&stored);
    daemon.host = HostMetrics::wanted(&stored);
    daemon.begin_crash_watch();
    daemon.greet(handed.daemon_starts);
    daemon.disk.write(
        daemon.home.pid_file.clone(),
        std::process::id().to_string(),
        0o644,
    );
    // Whoever is told that we are ready may look for the pid file at once. What the entries give the disk to do is not waited for.
    daemon.disk.finish();
    daemon.carry_on(handed);
    for folder in [&daemon.home.root, &daemon.home.pid_dir] {
        daemon.disk.sweep(folder);
    }
    daemon.look_at_host();
    if daemon.home.agent_conf.exists() && !daemon.settings.stays_alone {
        daemon.start_agent(None);
    }
    Ok(Booted { daemon, events, pump })
}

async fn take_over(keeper: &mut KeeperLink) -> Result<Handover, ClientError> {
    let mut handed = Handover::default();
    loop {
        match keeper.next().await? {
            Told::Welcome { daemon_starts, .. } => handed.daemon_starts = daemon_starts,
            Told::Child(child) => handed.children.push(child),
            Told::Stored { name, fds } => {
                handed.stored.insert(name, fds);
            }
            Told::Ready => return Ok(handed),
            Told::Spawned(_) | Told::SpawnFailed { .. } | Told::Exited { .. } | Told::Refused { .. } => {}
        }
    }
}

impl Daemon {
    fn greet(&mut self, daemon_starts: u64) {
        let how = if daemon_starts > 1 {
            " (taking over from one that ended unexpectedly)"
        } else {
            ""
        };
        self.say(
            Level::Log,
            &format!(
                "New PM2 Daemon started{how}: pilothouse {}, as pm2 {}, home {}, pid {}",
                env!("CARGO_PKG_VERSION"),
                pm2::COMPAT_VERSION,
                self.home.root.display(),
                std::process::id()
            ),
        );
    }

    /// Take over what a former daemon left.
    fn carry_on(&mut self, handed: Handover) {
        let now = clock::now();
        let mut stashes = BTreeMap::new();
        let mut records = BTreeMap::new();
        let mut sockets = BTreeMap::new();
        for (name, fds) in handed.stored {
            if let Some(id) = record::process_of(&name) {
                let read = match fds.first() {
                    Some(fd) => {
                        os::memfd::read_all(fd, record::MAX_RECORD).map_err(|error| error.to_string())
                    }
                    None => Err("it is empty".into()),
                };
                match read.and_then(|bytes| record::read(&bytes).map_err(|error| error.to_string())) {
                    Ok(record) => {
                        records.insert(id, record);
                    }
                    // It stays with the keeper, for a release that can read it.
                    Err(error) => self.complain(&format!("the record of process {}: {error}", id.0)),
                }
            } else if AppSockets::is_ours(&name) {
                if let Err(error) = self.app_sockets.restore(&name, fds) {
                    self.complain(&format!("taking over the sockets of an app: {error}"));
                }
            } else if cluster::is_ours(&name) {
                sockets.insert(name, fds);
            } else if let Some(incarnation) = stash_of(&name)
                && let Ok(stash) = Stash::restore(fds)
            {
                stashes.insert(incarnation, stash);
            }
        }
        let taken = self.consult_ledger(|id| records.contains_key(&id));
        let taken_back: Vec<_> = taken.records.keys().copied().collect();
        records.extend(taken.records);
        let mut children = handed.children;
        children.extend(taken.children);
        // Entries first, then their lives, then the decisions, and at last the ends of lives that nobody has seen.
        let mut owners = BTreeMap::new();
        for (id, kept) in &records {
            self.next_id = self.next_id.max(id.0.saturating_add(1));
            owners.extend(kept.lives.iter().map(|life| (*life, *id)));
            let mut app = App::new(kept.env.clone());
            app.former_env.clone_from(&kept.former_env);
            self.apps.insert(*id, app);
            self.share_with_neighbour(*id);
        }
        let mut alive: BTreeMap<ProcId, Vec<Living>> = BTreeMap::new();
        let mut exits = Vec::new();
        for child in children {
            let incarnation = Incarnation(child.key);
            self.sup.reserve(incarnation);
            if let Some(report) = &child.exited {
                exits.push((incarnation, *report));
            }
            match owners.get(&incarnation) {
                Some(id) => {
                    alive.entry(*id).or_default().push(Living {
                        incarnation,
                        pid: child.pid,
                        channel: child.fds.ipc.is_some(),
                    });
                    self.begin_life(*id, child, stashes.remove(&incarnation));
                }
                None if child.exited.is_some() => {}
                None => {
                    let text = format!(
                        "process {} runs, but its record is lost: it is left alone",
                        child.pid
                    );
                    self.complain(&text);
                }
            }
        }
        for id in &taken_back {
            if records.get(id).is_some_and(record::Kept::is_unborn) {
                self.end_strays(*id);
            }
        }
        for (id, kept) in records {
            let policy = kept.env.to_policy(&self.settings.defaults);
            let former = kept.former_env.as_ref();
            let former = former.map(|env| env.to_policy(&self.settings.defaults));
            let living = alive.get(&id).map_or(&[][..], Vec::as_slice);
            self.sup.adopt(now, id, policy, former, kept.restored, living);
            // A change that happened while there was no daemon counts too.
            let since_ms = match living {
                [] => now.wall_ms,
                _ => kept.restored.facts.started_at,
            };
            self.follow_entry(id, since_ms);
            // Its launch was recorded before its version was found.
            if self
                .apps
                .get(&id)
                .is_some_and(|app| app.env.text("version").is_none())
            {
                self.look_up_version(id);
            }
        }
        self.pump.all_attached();
        self.carry_on_cluster(sockets);
        for id in taken_back {
            self.keep(id);
        }
        self.settle();
        for (incarnation, exit) in exits {
            self.on_exited(incarnation, &exit);
        }
        self.cgroups.sweep(&self.home.root);
    }

    /// The keeper has gone: start another one, and give it everything.
    pub(crate) fn replace_keeper(&mut self, error: &ClientError) -> Result<(), BootError> {
        self.complain(&format!("{error}; starting another keeper"));
        self.keeper_died_while_replaced();
        let keeper = Keeper::respawn(&self.respawn)?;
        let keeper = KeeperLink::new(keeper).map_err(step("watching the keeper"))?;
        let former = std::mem::replace(&mut self.keeper, keeper);
        if let Some(child) = former.into_child() {
            tokio::spawn(collect(child));
        }
        self.hand_over();
        self.starts_lost();
        Ok(())
    }
}

/// A keeper that this daemon started has closed its connection. That is not its end yet, but comes shortly before.
async fn collect(child: os::spawn::Child) {
    let _ = crate::tree::wait_for_all(vec![child.pidfd]).await;
    let _ = os::wait::reap_one(child.pid);
}

//! The shell around the decisions: one thread, one loop. It turns what happens into inputs of the machines and their
//! effects into socket and file work, and decides nothing itself.

mod actions;
mod addresses;
mod ask;
mod dial;
mod facts;
mod hub;
pub(crate) mod look;
mod push;
mod reverse;
mod socket;
mod tls;

pub use ask::{Ask, AskError, ask};

use crate::api::{AgentConfig, Control, Handle, Observation, Request, Requests, StartError, StopReason};
use crate::config;
use crate::identity;
use crate::info::{LinkStatus, Shared, Told};
use crate::journal::Journal;
use crate::link::{ConnId, Effect, Input, Link, Moment, OpenError, State};
use crate::observe::{Happened, Live, Logs, MAX_DATA, Samples, Update};
use crate::policy::PolicyFile;
use crate::ports::{Way, Ways};
use crate::rules::{Rules, RulesFile};
use crate::spool::Spool;
use actions::Actions;
use addresses::Addresses;
use facts::{HostProbe, now_ms};
use reverse::Reverse;
use socket::{Conn, ConnEvent};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use wire::action::Verb;
use wire::manifest::Seal;
use wire::message::{Allowed, Bye, ByeReason, Hello, Ping, Report, ReportBody, Settings};
use wire::telemetry::ServerFacts;
use wire::{AgentMessage, MachineId, SessionId};

/// Observations that may wait for the agent.
const OBSERVATIONS: usize = 4096;
/// Requests that may wait for the daemon.
const REQUESTS: usize = 128;
/// What happened is reported this long after the first of it, so that what belongs together is one report …
const GATHER: Duration = Duration::from_millis(5);
/// … and this long after the report before it, so that a burst is few.
const APART: Duration = Duration::from_millis(50);
/// Reports on their way without acknowledgement; what is behind them waits on disk.
const WINDOW: usize = 32;

/// Starts an agent on a thread of its own. An agent of the same home that was asked to stop must have
/// [ended](Handle::ended) before.
pub fn start(config: AgentConfig) -> Result<(Handle, Requests), StartError> {
    let file_error = |path: std::path::PathBuf| move |source| StartError::File { path, source };
    let lock_path = config.home.join("agent.lock");
    let lock = os::lock::FileLock::try_exclusive(&lock_path)
        .map_err(file_error(lock_path))?
        .ok_or_else(|| StartError::AlreadyRunning(config.home.clone()))?;
    let machine = identity::machine_id(&config.home, &identity::machine_fingerprint())?;
    let session = SessionId(identity::random_id()?);
    let seal = crate::seal::seal(&config.home, machine);
    let spool =
        Spool::open(&config.home, config.spool_max_bytes, now_ms()).map_err(|e| StartError::File {
            path: e.path,
            source: e.source,
        })?;
    let tls =
        tls::client_config(&config.authorities).map_err(|e| StartError::Thread(std::io::Error::other(e)))?;
    let settings = &config.settings;
    let addresses = Addresses::new(settings, machine, &tls)?;
    let shared = Arc::new(Shared {
        observations_lost: AtomicU64::new(0),
        log_lines_lost: AtomicU64::new(0),
        reports_waiting: AtomicU64::new(spool.len() as u64),
        reports_dropped: AtomicU64::new(spool.dropped()),
        told: Mutex::new(Told {
            public_key: settings.public_key.clone(),
            secret_key: settings.secret_key.clone(),
            remote_host: settings.root.clone(),
            places: addresses.places(),
            commands_trouble: None,
        }),
        machine_name: settings.machine_name.clone(),
        socket_path: addresses.of(Way::Main).url.clone(),
        home: config.home.clone(),
        reverse: settings.reverse,
        by_websocket: true.into(),
        commands: true.into(),
        inspector: crate::inspect::Inspector::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (observations, observed) = mpsc::channel(OBSERVATIONS);
    let (control, controlled) = mpsc::channel(2 * actions::MAX_PENDING);
    let (requests, requested) = mpsc::channel(REQUESTS);
    let (status, status_seen) = watch::channel(LinkStatus::Idle);
    let (conn_events, conn_event) = mpsc::channel(64);
    let seed = u64::from_le_bytes(session.0[..8].try_into().unwrap_or([1; 8]));
    let secrets = vec![settings.secret_key.clone(), settings.public_key.clone()];
    let mut journal = Journal::open(&config.home, secrets);
    if let Err(error) = &seal {
        journal.line(format!("what this host sends cannot be signed: {error}"));
    }
    let agent = Agent {
        facts: facts::server_facts(&config),
        journal,
        policy: PolicyFile::open(&config.home),
        rules: RulesFile::open(&config.home),
        rules_since: spool.next_seq(),
        probe: HostProbe::new(),
        link: Link::new(seed),
        live: Live::default(),
        samples: Samples::default(),
        happened: Happened::default(),
        logs: Logs::default(),
        actions: Actions::default(),
        settings: Settings::default(),
        conn: None,
        ways: Ways::new(settings.ports.separate.is_some()),
        reverse: None,
        tls,
        room: Arc::new(Notify::new()),
        sampling: Wish::new(true),
        log_wish: Wish::new(false),
        flush_at: None,
        next_flush: Moment::ZERO,
        live_at: None,
        allowed_told: Vec::new(),
        started: Instant::now(),
        shared: shared.clone(),
        config,
        addresses,
        machine,
        seal: seal.ok(),
        session,
        spool,
        spool_trouble: None,
        requests,
        status,
        conn_events,
    };
    std::thread::Builder::new()
        .name("agent".to_owned())
        .spawn(move || {
            let controlled = runtime.block_on(agent.run(observed, controlled, conn_event));
            // In this order: whoever sees the end of the control queue may start the next agent.
            drop(lock);
            drop(controlled);
        })
        .map_err(StartError::Thread)?;
    Ok((
        Handle {
            observations,
            control,
            shared,
            status: status_seen,
        },
        Requests(requested),
    ))
}

/// Something the daemon is to do or not to do; told when it changed, again if its queue was full.
struct Wish {
    wanted: bool,
    told: bool,
}

impl Wish {
    fn new(wanted: bool) -> Self {
        Self { wanted, told: false }
    }
}

struct Agent {
    config: AgentConfig,
    facts: ServerFacts,
    machine: MachineId,
    /// What this host says that it sends; absent where its key cannot be kept.
    seal: Option<Seal>,
    session: SessionId,
    addresses: Addresses,
    /// Which trust addresses need.
    tls: Arc<rustls::ClientConfig>,
    ways: Ways,
    /// The connection for commands alone, while ports are separate and there is a link.
    reverse: Option<Reverse>,
    journal: Journal,
    policy: PolicyFile,
    /// What the host keeps to itself.
    rules: RulesFile,
    /// The first report that was gathered under the present rules.
    rules_since: u64,
    probe: HostProbe,
    link: Link,
    live: Live,
    samples: Samples,
    happened: Happened,
    logs: Logs,
    actions: Actions,
    spool: Spool,
    /// While the disk refuses reports: how many had been lost before.
    spool_trouble: Option<u64>,
    settings: Settings,
    conn: Option<Conn>,
    /// The writer has room for another report.
    room: Arc<Notify>,
    sampling: Wish,
    log_wish: Wish,
    /// When what was gathered is to be sent.
    flush_at: Option<Moment>,
    /// When the next of it may be sent.
    next_flush: Moment,
    /// When the next live update may be sent.
    live_at: Option<Moment>,
    /// What the hub was told that this host allows.
    allowed_told: Vec<Verb>,
    started: Instant,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    status: watch::Sender<LinkStatus>,
    conn_events: mpsc::Sender<(ConnId, ConnEvent)>,
}

impl Agent {
    async fn run(
        mut self,
        mut observed: mpsc::Receiver<Observation>,
        mut controlled: mpsc::Receiver<Control>,
        mut conn_event: mpsc::Receiver<(ConnId, ConnEvent)>,
    ) -> mpsc::Receiver<Control> {
        let room = self.room.clone();
        self.link.handle(self.now(), Input::Start);
        let reason = loop {
            self.do_effects();
            self.tell_wishes();
            self.show_counters();
            let deadline = self.next_deadline().map(|at| self.started + at);
            tokio::select! {
                control = controlled.recv() => match control {
                    Some(Control::Reply(id, reply)) => self.replied(id, reply),
                    Some(Control::Progress(id, data)) => self.progressed(id, &data),
                    Some(Control::Stop(reason)) => break reason,
                    None => break StopReason::Shutdown,
                },
                Some((conn, event)) = conn_event.recv() => self.on_conn(conn, event),
                Some(observation) = observed.recv() => self.observed(observation),
                () = room.notified() => self.send_reports(),
                () = sleep_until(deadline) => self.on_time(),
            }
        };
        // What was told before the stop counts.
        while let Ok(observation) = observed.try_recv() {
            self.observed(observation);
        }
        self.finish(reason).await;
        controlled
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    fn next_deadline(&self) -> Option<Moment> {
        [
            self.link.next_deadline(),
            self.flush_at,
            self.actions.next_deadline(),
            self.logs.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_time(&mut self) {
        let now = self.now();
        self.link.handle_timeout(now);
        self.expire_actions(now);
        self.expire_logs(now);
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    fn observed(&mut self, observation: Observation) {
        // A hub that refused gets nothing later of the time in which it refused.
        if !self.sampling.wanted {
            return;
        }
        self.look_at_rules();
        // What cannot be cleaned is not even kept.
        let Ok(rules) = self.rules.rules() else { return };
        let soon = (self.now() + GATHER).max(self.next_flush);
        match observation {
            Observation::Processes(processes) => {
                let (at, host) = (now_ms(), self.probe.read());
                self.live.observe(at, host, processes, rules);
                self.tick(at);
            }
            Observation::Event(event) => {
                self.happened.event(event, rules);
                self.flush_at.get_or_insert(soon);
            }
            Observation::Exception(exception) => {
                self.happened.exception(exception, rules);
                self.flush_at.get_or_insert(soon);
            }
            Observation::Log(line) => {
                self.logs.line(line, rules);
                if self.logs.has_lines() {
                    self.flush_at.get_or_insert(soon);
                }
            }
        }
        if self.happened.is_full() {
            self.flush();
        }
    }

    /// Other rules count at once, also for what was gathered under those before; rules that are not understood end the link.
    fn look_at_rules(&mut self) {
        if !self.rules.look() {
            return;
        }
        let mut gathered = self.happened.take();
        gathered.extend(self.samples.take());
        self.logs.drop_lines();
        self.live = Live::default();
        match self.rules.rules() {
            Ok(rules) => {
                gathered.iter_mut().for_each(|body| rules.report(body, MAX_DATA));
                gathered.into_iter().for_each(|body| self.report(body));
                self.journal
                    .line("other rules for what leaves this host are in force");
                self.link.handle(self.now(), Input::Retry);
            }
            Err(error) => {
                let why = error.to_string();
                match self.link.conn() {
                    Some(conn) => self.link.handle(self.now(), Input::Closed(conn, why)),
                    None => self.journal.line(why),
                }
            }
        }
        self.rules_since = self.spool.next_seq();
    }

    fn tick(&mut self, at: u64) {
        self.samples.add(self.live.view());
        let every = or_default(self.settings.samples_interval_ms, 5_000);
        // The tick itself may be late by some milliseconds; half a second decides.
        if self.samples.is_full() || self.samples.age(at).is_some_and(|age| age + 500 >= every) {
            self.report_samples();
        }
        let now = self.now();
        self.tell_allowed();
        if self.live_at.is_none_or(|due| due <= now) {
            let every = or_default(self.settings.live_interval_ms, 1_000);
            self.live_at = Some(now + Duration::from_millis(every.saturating_sub(500)));
            self.send_live();
        }
    }

    fn report_samples(&mut self) {
        if let Some(body) = self.samples.take() {
            self.report(body);
            self.send_reports();
        }
    }

    fn report(&mut self, body: ReportBody) {
        self.spool.append(|seq| {
            AgentMessage::from(Report {
                seq,
                dropped: 0,
                body,
            })
            .to_frame()
            .ok()
        });
        self.tell_spool_trouble();
    }

    /// The disk begins to refuse reports, or takes them again.
    fn tell_spool_trouble(&mut self) {
        match (self.spool.trouble(), self.spool_trouble) {
            (Some(why), None) => {
                self.journal.line(format!(
                    "reports cannot be written to $PM2_HOME/{}: {why}; a little of them waits in memory, the rest is lost",
                    crate::spool::DIR
                ));
                self.spool_trouble = Some(self.spool.dropped());
            }
            (None, Some(before)) => {
                let lost = self.spool.dropped() - before;
                self.journal
                    .line(format!("reports can be written again; {lost} of them were lost"));
                self.spool_trouble = None;
            }
            _ => {}
        }
    }

    /// Sends what was gathered.
    fn flush(&mut self) {
        self.flush_at = None;
        self.next_flush = self.now() + APART;
        if !self.happened.is_empty() {
            for body in self.happened.take() {
                self.report(body);
            }
            self.send_reports();
        }
        self.send_logs();
    }

    fn is_linked(&self) -> bool {
        matches!(self.link.state(), State::Linked { .. })
    }

    /// Queues a message that goes first; false if there is no room, or no link.
    fn send(&self, message: &AgentMessage) -> bool {
        let Some(conn) = &self.conn else { return false };
        match message.to_frame() {
            Ok(frame) => conn.live.try_send(frame).is_ok(),
            Err(_) => false,
        }
    }

    fn send_live(&mut self) {
        if !self.is_linked() || self.live.view().at == 0 {
            return;
        }
        let message = match self.live.update() {
            None => return,
            Some(Update::Whole(snapshot)) => AgentMessage::from(snapshot),
            Some(Update::Change(delta)) => AgentMessage::from(delta),
        };
        // If it finds no room the next one holds its changes too.
        if self.send(&message) {
            self.live.mark_told();
        }
    }

    fn send_reports(&mut self) {
        if !self.is_linked() {
            return;
        }
        let Some(conn) = &self.conn else { return };
        while self.spool.in_flight() < WINDOW {
            let Ok(permit) = conn.bulk.try_reserve() else {
                return;
            };
            let Some(record) = self.spool.next_unsent() else {
                return;
            };
            let frame = match self.rules.rules() {
                Ok(rules) if record.seq < self.rules_since && !rules.is_empty() => {
                    cleaned(record.payload, rules)
                }
                Ok(_) => record.payload,
                // The link is about to end.
                Err(_) => return,
            };
            permit.send(with_drops(frame, record.dropped));
        }
    }

    fn do_effects(&mut self) {
        while let Some(effect) = self.link.poll_effect() {
            match effect {
                Effect::Open(id) => {
                    self.look_at_rules();
                    if let Err(error) = self.rules.rules() {
                        let held = OpenError::Failed(error.to_string());
                        self.link.handle(self.now(), Input::OpenFailed(id, held));
                        continue;
                    }
                    let address = self.addresses.of(self.ways.begin()).clone();
                    self.journal.line(format!("connecting to {}", address.host_port));
                    let (events, room) = (self.conn_events.clone(), self.room.clone());
                    let shared = self.shared.clone();
                    self.conn = Some(Conn::open(id, address, shared, events, room));
                }
                Effect::Hello(_) => {
                    let hello = self.hello();
                    if !self.send(&AgentMessage::from(hello)) {
                        self.journal.line("saying hello: no room");
                    }
                }
                Effect::Ping(_) => {
                    let token = u64::try_from(self.now().as_millis()).unwrap_or(0);
                    self.send(&AgentMessage::from(Ping { token }));
                }
                Effect::Close(id, why) => {
                    let text = format!("closing the connection to {}: {why}", self.place());
                    self.journal.line(text);
                    if let Some(conn) = self.conn.take_if(|conn| conn.id == id) {
                        tokio::spawn(conn.close());
                    }
                    self.unlinked();
                }
                Effect::Changed => self.show_state(),
            }
        }
    }

    fn allowed(&mut self) -> Vec<Verb> {
        if self.config.settings.reverse {
            self.policy.current().allowed().to_vec()
        } else {
            Vec::new()
        }
    }

    /// The owner of the host may have changed the policy: whoever looks at the dashboard sees what is possible now.
    fn tell_allowed(&mut self) {
        if !self.is_linked() {
            return;
        }
        let verbs = self.allowed();
        if verbs != self.allowed_told && self.send(&AgentMessage::from(Allowed { verbs: verbs.clone() })) {
            self.allowed_told = verbs;
        }
    }

    fn hello(&mut self) -> Hello {
        self.allowed_told = self.allowed();
        Hello {
            protocol: wire::PROTOCOL,
            machine: self.machine,
            session: self.session,
            facts: self.facts.clone(),
            stream: self.spool.stream(),
            first_seq: self.spool.first_seq(),
            now: now_ms(),
            allowed: self.allowed_told.clone(),
            reverse_disabled: !self.config.settings.reverse,
            linked_at: config::linked_at(&self.config.home),
            manifest: self.seal.map(Box::new),
        }
    }

    /// `host:port` of the connection, or of the last one.
    fn place(&self) -> &str {
        &self.addresses.of(self.ways.now()).host_port
    }

    /// The connection is gone: who waited on it waits no more.
    fn unlinked(&mut self) {
        self.reverse = None;
        self.shared.commands_trouble(None);
        for pending in self.actions.abandon() {
            self.journal.line(format!(
                "action {}: the link ended before its result",
                pending.what
            ));
        }
        self.logs.clear();
        self.log_wish.wanted = false;
        self.live.forget();
    }

    fn show_state(&mut self) {
        let now = self.now();
        let status = match self.link.state() {
            State::Idle => LinkStatus::Idle,
            State::Connecting { .. } | State::Handshaking { .. } => LinkStatus::Connecting,
            State::Linked { .. } => LinkStatus::Linked,
            State::Waiting { until, cause } => {
                let wait = until.saturating_sub(now);
                self.journal
                    .line(format!("{cause}; next try in {:.1} s", wait.as_secs_f64()));
                let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                LinkStatus::Waiting {
                    cause: self.ways.failed(cause),
                    retry_in_ms,
                }
            }
            State::Refused {
                reason,
                pending,
                until,
            } => {
                let wait = until.saturating_sub(now).as_secs();
                let text = format!("refused by {}: {reason}; asking again in {wait} s", self.place());
                self.journal.line(text);
                let reason = reason.clone();
                if *pending {
                    LinkStatus::Pending { reason }
                } else {
                    LinkStatus::Refused { reason }
                }
            }
            State::Stopped => LinkStatus::Stopped,
        };
        match status {
            LinkStatus::Linked => {
                self.sampling.wanted = true;
                self.ways.held();
            }
            LinkStatus::Refused { .. } | LinkStatus::Pending { .. } | LinkStatus::Stopped => {
                self.sampling.wanted = false;
            }
            _ => {}
        }
        self.status.send_replace(status);
    }

    fn tell_wishes(&mut self) {
        for (wish, make) in [
            (&mut self.sampling, Request::Sampling as fn(bool) -> Request),
            (&mut self.log_wish, Request::Logs as fn(bool) -> Request),
        ] {
            if wish.wanted != wish.told && self.requests.try_send(make(wish.wanted)).is_ok() {
                wish.told = wish.wanted;
            }
        }
    }

    fn show_counters(&self) {
        self.shared
            .reports_waiting
            .store(self.spool.len() as u64, Ordering::Relaxed);
        self.shared
            .reports_dropped
            .store(self.spool.dropped(), Ordering::Relaxed);
    }

    async fn finish(mut self, reason: StopReason) {
        if let Some(body) = self.samples.take() {
            self.report(body);
        }
        self.flush();
        if self.is_linked() {
            self.send_reports();
            let reason = match reason {
                StopReason::Stopped => ByeReason::Stopped,
                StopReason::Shutdown => ByeReason::Shutdown,
                StopReason::Relink => ByeReason::Relink,
            };
            let bye = AgentMessage::from(Bye { reason });
            if let Some(conn) = self.conn.take() {
                // Behind the reports, so that the hub still reads them; before them if there is no room.
                if let Ok(frame) = bye.to_frame()
                    && let Err(full) = conn.bulk.try_send(frame)
                {
                    let _ = conn.live.try_send(full.into_inner());
                }
                conn.close().await;
            }
        }
        self.link.handle(self.now(), Input::Stop);
        self.do_effects();
        self.spool.close();
        self.show_counters();
        self.journal.line("stopped");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn or_default(ms: u32, default: u64) -> u64 {
    if ms == 0 {
        default
    } else {
        u64::from(ms).clamp(250, 60_000)
    }
}

/// The frame of a report that was gathered under other rules, as the present ones want it.
fn cleaned(frame: Vec<u8>, rules: &Rules) -> Vec<u8> {
    let Ok(AgentMessage::Report(mut report)) = AgentMessage::from_frame(&frame) else {
        return frame;
    };
    let seq = report.seq;
    rules.report(&mut report.body, MAX_DATA);
    // What grew beyond the bound by its cleaning is told by its number alone, so that the hub acknowledges it.
    AgentMessage::from(report).to_frame().unwrap_or_else(|_| {
        let body = ReportBody::Events(wire::message::Events::default());
        let empty = Report {
            seq,
            dropped: 0,
            body,
        };
        AgentMessage::from(empty).to_frame().unwrap_or_default()
    })
}

/// The frame of a report, with the number of those that were dropped before it.
fn with_drops(frame: Vec<u8>, dropped: u64) -> Vec<u8> {
    if dropped == 0 {
        return frame;
    }
    match AgentMessage::from_frame(&frame) {
        Ok(AgentMessage::Report(report)) => AgentMessage::from(Report { dropped, ..report })
            .to_frame()
            .unwrap_or(frame),
        _ => frame,
    }
}

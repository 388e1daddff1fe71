//! One socket of a PM2 agent, of possibly many.
//!
//! A socket speaks for a server from its first status on; what comes before is kept for a moment. Sockets that never carry
//! a status stay open and idle: closing one makes the agent drop its good one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pm2::agent_wire::command::{Method, pm2_action, status_resend};
use pm2::agent_wire::{Exception, Incoming, Message, ProcessRef, ScopedStep, Status, StatusDoc};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::Visitor;
use super::convert::{self, Beside, Known};
use super::lines::Lines;
use super::pending::{Pending, Situation};
use super::recorder::Recorder;
use crate::intake::trace::Trace;
use crate::intake::{keys, notices};
use crate::live::absence::{Departure, Life};
use crate::live::attempts::{Problem, Step};
use crate::live::identity::Newcomer;
use crate::live::link::{ActionError, Command, Request};
use crate::live::logs::{Interest, LogBatch, LogLine};
use crate::live::model::{AgentKind, LinkId, Millis, Process, cut};
use crate::live::server::{MAX_NAME, ProcessUpdate, Report};
use crate::live::{BucketHandle, Caller, Closed, Hardware, HubEvent, KeysInUse, Link, Received};
use crate::state::AppState;
use crate::store::telemetry::Event;

/// A write that takes longer means that nobody reads.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// These agents ping every 5 s; one that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// The agent ends log streaming 120 s after it was last asked.
const RENEW_LOGS: Duration = Duration::from_secs(60);
/// Messages kept until it is known for whom the socket speaks, and the largest of them.
const MAX_EARLY: usize = 256;
const MAX_EARLY_BYTES: usize = 64 * 1024;
/// Largest payload of a stored event.
const MAX_EVENT_DATA: usize = 256 * 1024;
/// Events older than that, or so far ahead, were dated by a clock that is off, ms.
const LONGEST_OUTAGE: Millis = 7 * 86_400_000;
const CLOCK_TOLERANCE: Millis = 300_000;
/// Exceptions remembered to know a repeat.
const MAX_RECENT_EXCEPTIONS: usize = 32;
/// Repeats of an exception carry the same time, within this.
const SAME_MOMENT: Millis = 10;

const HIDDEN: &str = "this server was deleted in the dashboard; run `pm2 link` there again to bring it back";

/// How a socket ends.
#[derive(Debug)]
enum Ending {
    /// The agent closed it in order.
    Goodbye,
    /// The host closed it without a word of the agent.
    Cut,
    /// Nothing comes through any more.
    Lost,
    Stopping,
    /// The bucket is gone.
    Gone,
    Violation(String),
}

impl Ending {
    /// What went wrong, if something did, for the people who look at that server.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Goodbye | Self::Stopping | Self::Gone => None,
            Self::Cut | Self::Lost => {
                Some("The connection broke without a goodbye, or was silent for too long.".to_owned())
            }
            Self::Violation(why) => Some(format!("The agent was refused: {why}")),
        }
    }
}

type Sink = SplitSink<WebSocket, Frame>;
type Stream = SplitStream<WebSocket>;

pub(super) async fn serve(state: AppState, visitor: Visitor, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let (name, address) = (visitor.name.clone(), visitor.address.clone().unwrap_or_default());
    let id = visitor.bucket.id;
    tracing::info!(bucket = %id, name, address, "a PM2 agent opened a socket");
    let trace = visitor.trace.clone();
    trace.step(Step::Open { socket: true });
    let mut session = Session::new(&state, visitor);
    let ending = session.run(&mut sink, &mut stream).await;
    if let Ending::Violation(reason) = &ending {
        trace.step(Step::Refused(Problem::Protocol, reason.clone()));
    }
    trace.step(Step::Ended);
    if let Some(link) = session.link.take() {
        if let Some(why) = ending.failure() {
            link.failed(why).await;
        }
        link.end(match ending {
            Ending::Goodbye => Departure::Goodbye,
            Ending::Cut => Departure::Cut,
            Ending::Stopping => Departure::HubDown,
            Ending::Lost | Ending::Gone | Ending::Violation(_) => Departure::Lost,
        })
        .await;
    }
    match ending {
        Ending::Violation(reason) => {
            tracing::warn!(bucket = %id, name, address, reason, "a PM2 agent's socket was closed");
            let reason = Utf8Bytes::from(cut(&reason, 120).to_owned());
            let close = Frame::Close(Some(CloseFrame { code: 1008, reason }));
            let _ = tokio::time::timeout(WRITE_LIMIT, sink.send(close)).await;
        }
        ending => tracing::info!(bucket = %id, name, address, ending = ?ending, "a PM2 agent's socket ended"),
    }
}

struct Session<'a> {
    state: &'a AppState,
    bucket: BucketHandle,
    keys: KeysInUse,
    beside: Beside,
    id: LinkId,
    name: Arc<str>,
    document: StatusDoc,
    known: Known,
    link: Option<Link>,
    commands: Option<mpsc::Receiver<Command>>,
    interest: Option<watch::Receiver<Interest>>,
    /// When the first status came.
    since: Option<Millis>,
    /// Full and patched statuses seen: they tell how the agent was started.
    full: u32,
    patched: u32,
    resent: bool,
    early: VecDeque<Incoming>,
    /// Entries of the last status, and those that left it.
    listed: BTreeSet<u32>,
    left: BTreeSet<u32>,
    processes: Vec<Process>,
    pending: Pending,
    lines: Lines,
    recorder: Recorder,
    exceptions: VecDeque<(u32, Millis, u64)>,
    streaming: bool,
    trace: Trace,
    max_servers: Option<u32>,
}

impl<'a> Session<'a> {
    fn new(state: &'a AppState, visitor: Visitor) -> Self {
        let bucket = state.live.bucket(visitor.bucket.id);
        Self {
            state,
            keys: bucket.keys_of(&visitor.bucket),
            bucket,
            beside: Beside {
                address: visitor.address,
                pm2_version: visitor.pm2_version,
                hardware: Hardware::default(),
                clock_ahead: None,
            },
            id: state.live.next_link(),
            name: visitor.name.into(),
            document: StatusDoc::new(),
            known: Known::default(),
            link: None,
            commands: None,
            interest: None,
            since: None,
            full: 0,
            patched: 0,
            resent: false,
            early: VecDeque::new(),
            listed: BTreeSet::new(),
            left: BTreeSet::new(),
            processes: Vec::new(),
            pending: Pending::default(),
            lines: Lines::default(),
            recorder: Recorder::new(state.clone(), visitor.bucket.id),
            exceptions: VecDeque::new(),
            streaming: false,
            trace: visitor.trace,
            max_servers: visitor.bucket.max_servers,
        }
    }

    async fn run(&mut self, sink: &mut Sink, stream: &mut Stream) -> Ending {
        let stopping = self.state.stopping();
        tokio::pin!(stopping);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut heard = Instant::now();
        let mut renewed = Instant::now();
        loop {
            let server = self.link.as_ref().map(Link::server);
            let step = tokio::select! {
                frame = stream.next() => {
                    heard = Instant::now();
                    self.take_frame(frame).await
                }
                () = self.recorder.write(server) => Ok(Vec::new()),
                command = next(&mut self.commands) => match command {
                    Some(command) => {
                        let situation = self.situation(&command.request);
                        Ok(self.pending.start(command, situation).into_iter().collect())
                    }
                    None => {
                        // Deleted or hidden: the next status asks anew.
                        self.leave();
                        Ok(Vec::new())
                    }
                },
                () = changed(&mut self.interest) => Ok(self.follow_interest()),
                _ = second.tick() => {
                    self.flush_lines();
                    if heard.elapsed() > SILENCE {
                        Err(Ending::Lost)
                    } else if renewed.elapsed() > RENEW_LOGS {
                        renewed = Instant::now();
                        Ok(self.renew_logs())
                    } else {
                        Ok(Vec::new())
                    }
                }
                () = self.keys.replaced() => Err(Ending::Violation(keys::REPLACED.to_owned())),
                () = &mut stopping => Err(Ending::Stopping),
            };
            let frames = match step {
                Ok(frames) => frames,
                Err(ending) => return ending,
            };
            for text in frames {
                match tokio::time::timeout(WRITE_LIMIT, sink.send(Frame::Text(text.into()))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Ending::Lost,
                }
            }
        }
    }

    /// Takes a frame of the agent; what is to be sent because of it.
    async fn take_frame(&mut self, frame: Option<Result<Frame, axum::Error>>) -> Result<Vec<String>, Ending> {
        let (incoming, length) = match frame {
            None => return Err(Ending::Cut),
            Some(Ok(Frame::Close(close))) => {
                let in_order = close.is_some_and(|close| close.code == 1000);
                return Err(if in_order { Ending::Goodbye } else { Ending::Lost });
            }
            Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {
                if let Some(link) = &self.link {
                    link.breathes().await.map_err(|Closed| Ending::Gone)?;
                }
                return Ok(Vec::new());
            }
            Some(Ok(Frame::Text(text))) => (Incoming::parse(&text), text.len()),
            Some(Ok(Frame::Binary(bytes))) => match std::str::from_utf8(&bytes) {
                Ok(text) => (Incoming::parse(text), text.len()),
                Err(_) => return Err(Ending::Violation("a frame is not UTF-8".to_owned())),
            },
            Some(Err(error)) if error.to_string().contains("too long") => {
                return Err(Ending::Violation(format!(
                    "frame is larger than the {} bytes that are accepted",
                    super::MAX_FRAME
                )));
            }
            Some(Err(error)) if crate::intake::is_cut(&error) => return Err(Ending::Cut),
            Some(Err(_)) => return Err(Ending::Lost),
        };
        let incoming = incoming.map_err(|error| Ending::Violation(error.to_string()))?;
        self.take(incoming, length).await.map_err(|Closed| Ending::Gone)
    }

    async fn take(&mut self, incoming: Incoming, length: usize) -> Result<Vec<String>, Closed> {
        match incoming.channel.as_str() {
            "status" => self.take_full(incoming.payload).await,
            "status:patch" => self.take_patch(incoming.payload).await,
            _ if self.link.is_none() => {
                if length > MAX_EARLY_BYTES {
                    return Ok(Vec::new());
                }
                if self.early.len() == MAX_EARLY {
                    self.early.pop_front();
                }
                self.early.push_back(incoming);
                Ok(Vec::new())
            }
            _ => {
                if let Some(at) = incoming.at_ms() {
                    let ahead = convert::clock_ahead(self.beside.clock_ahead, at, self.state.now_ms());
                    self.beside.clock_ahead = Some(ahead);
                }
                self.take_message(incoming).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn take_full(&mut self, payload: Value) -> Result<Vec<String>, Closed> {
        if let Err(error) = self.document.full(payload) {
            tracing::debug!(name = &*self.name, %error, "a status was ignored");
            return Ok(Vec::new());
        }
        if !std::mem::take(&mut self.resent) {
            self.full += 1;
        }
        self.status_came().await
    }

    async fn take_patch(&mut self, payload: Value) -> Result<Vec<String>, Closed> {
        match self.document.patch(payload) {
            Ok(()) => {
                self.patched += 1;
                self.status_came().await
            }
            Err(need) if need.ask => {
                tracing::debug!(
                    name = &*self.name,
                    reason = need.reason,
                    "a status was lost: a whole one is asked for"
                );
                self.resent = true;
                Ok(vec![status_resend()])
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn status_came(&mut self) -> Result<Vec<String>, Closed> {
        let Some(document) = self.document.document() else {
            return Ok(Vec::new());
        };
        let status = Status::read(document);
        let now = self.state.now_ms();
        if self.link.is_none() && !self.join(now, &status).await? {
            return Ok(Vec::new());
        }
        let Some(link) = &mut self.link else {
            return Ok(Vec::new());
        };
        let took_over = link.tap().take_over(self.id);
        let processes = self.known.processes(&status);
        let listed: BTreeSet<u32> = processes.iter().map(|p| p.pm_id).collect();
        self.left.extend(self.listed.difference(&listed));
        self.left.retain(|id| !listed.contains(id));
        self.listed = listed;
        link.report(Report {
            name: Some(status.server_name.clone()),
            facts: Some(convert::server_facts(&status, &self.beside)),
            processes: Some(ProcessUpdate::Full(processes.clone())),
        })
        .await?;
        let kept = processes.iter().filter(|p| !link.is_held_back(p.pm_id));
        self.recorder.samples(kept.flat_map(|p| convert::samples(p, now)));
        self.processes = processes;
        self.name = cut(&status.server_name, MAX_NAME).into();
        for early in std::mem::take(&mut self.early) {
            self.take_message(early).await?;
        }
        // Another socket of this agent may have been the one that asked for logs.
        if took_over {
            self.streaming = false;
            return Ok(self.follow_interest());
        }
        Ok(Vec::new())
    }

    /// Asks for whom this socket speaks; `false` when that is not known yet, or when the server is hidden.
    async fn join(&mut self, now: Millis, status: &Status) -> Result<bool, Closed> {
        let since = *self.since.get_or_insert(now);
        let relinked = match (self.patched, self.full) {
            (1.., _) => Some(true),
            (0, 2..) => Some(false),
            _ => None,
        };
        self.beside.hardware = self
            .bucket
            .introduced(&status.server_name, &status.server.hostname);
        let facts = convert::server_facts(status, &self.beside);
        let life = Life {
            session: facts.unique_id.clone(),
            boot: None,
        };
        let (commands, queue) = BucketHandle::command_queue();
        let caller = Caller {
            link: self.id,
            kind: AgentKind::Pm2,
            newcomer: Newcomer::Told {
                since,
                name: cut(&status.server_name, MAX_NAME).to_owned(),
                hostname: facts.hostname.clone(),
                username: facts.username.clone(),
                unique_id: facts.unique_id.clone(),
                processes: status
                    .processes
                    .iter()
                    .map(|p| p.unique_id.clone())
                    .filter(|id| !id.is_empty())
                    .collect(),
                relinked,
            },
            name: status.server_name.clone(),
            facts: Some(facts),
            commands,
            reverse: crate::live::link::Reverse::Open,
            life,
        };
        match self.bucket.receive(caller).await? {
            Received::Joined(link) => {
                self.trace.step(Step::Linked {
                    server: link.server(),
                    disabled: false,
                });
                self.trace.step(Step::Data);
                self.interest = Some(link.tap().interest());
                self.commands = Some(queue);
                self.link = Some(link);
                Ok(true)
            }
            Received::Wait => Ok(false),
            // The next status asks again.
            other @ (Received::Hidden | Received::NoPlace) => {
                self.trace.step(match other {
                    Received::Hidden => Step::Refused(Problem::Hidden, HIDDEN.to_owned()),
                    _ => Step::Refused(Problem::NoPlace, crate::intake::no_place(self.max_servers)),
                });
                self.early.clear();
                Ok(false)
            }
        }
    }

    fn leave(&mut self) {
        self.link = None;
        self.commands = None;
        self.interest = None;
        self.streaming = false;
        self.since = None;
        self.pending = Pending::default();
    }

    fn situation(&self, request: &Request) -> Situation {
        let app = request.app();
        let instances = self.processes.iter().filter(|p| app == Some(&p.facts.name));
        let (mut all, mut running) = (0, 0);
        for process in instances {
            all += 1;
            let is_target = request.pm_id().is_none_or(|id| id == process.pm_id);
            running += u32::from(is_target && process.pid > 0);
        }
        Situation {
            instances: all,
            running,
        }
    }

    async fn take_message(&mut self, incoming: Incoming) -> Result<(), Closed> {
        let process = incoming.process();
        let pm_id = process.as_ref().and_then(|p| p.pm_id);
        // These agents filter events by name, so some of an unmonitored sibling come through: they are not for us.
        if pm_id.is_some_and(|id| {
            self.left.contains(&id) || self.link.as_ref().is_some_and(|l| l.is_held_back(id))
        }) {
            return Ok(());
        }
        let now = self.state.now_ms();
        let at = incoming.at_ms().filter(|at| is_possible(*at, now)).unwrap_or(now);
        let channel = incoming.channel.clone();
        let mut payload = incoming.payload.clone();
        if let Some(told) = payload.get_mut("at") {
            *told = at.into();
        }
        match Message::read(incoming) {
            Message::Event(event) => {
                if let (Some(id), Some(status), Some(link)) = (pm_id, convert::hint(&event.event), &self.link)
                    && (self.state.now_ms() - at).abs() < 5_000
                {
                    link.hint(id, status).await?;
                }
                self.record(&channel, at, process.as_ref(), &event.event, &payload);
                self.publish(&channel, pm_id, at, payload);
            }
            Message::Human { name, .. } => {
                self.record(&channel, at, process.as_ref(), &name, &payload);
                self.publish(&channel, pm_id, at, payload);
            }
            Message::Exception(exception) => {
                if !self.is_repeat(pm_id, at, &exception) {
                    let message = exception.message.as_deref().unwrap_or("error without a message");
                    self.record(&channel, at, process.as_ref(), message, &payload);
                    self.publish(&channel, pm_id, at, payload);
                }
            }
            Message::Log(chunk) => {
                if let (Some(process), Some(id)) = (process, pm_id) {
                    let app: Arc<str> = process.name.into();
                    let lines = self.lines.push(at, id, &app, chunk.stream == "err", &chunk.data);
                    self.pass_lines(lines);
                }
            }
            Message::Reply(reply) => {
                let app = process.map(|p| p.name).unwrap_or_default();
                self.publish(&channel, pm_id, at, payload);
                self.pending
                    .action_answered(&reply.action_name, pm_id, &app, reply.value);
            }
            Message::Scoped(output) => {
                self.publish(&channel, pm_id, at, payload);
                match output.step {
                    ScopedStep::Stream => self.pending.scoped_said(&output.uuid, &output.data),
                    ScopedStep::End => self.pending.scoped_ended(&output.uuid, Ok(output.data)),
                    ScopedStep::Error => {
                        let why = output.data.as_str().map(str::to_owned);
                        let error = ActionError::Refused(why.unwrap_or_else(|| output.data.to_string()));
                        self.pending.scoped_ended(&output.uuid, Err(error));
                    }
                }
            }
            Message::ActionAccepted { pm_id, .. } => self.publish(&channel, pm_id, at, payload),
            Message::ActionRefused {
                action_name,
                pm_id,
                error,
            } => {
                self.publish(&channel, pm_id, at, payload);
                self.pending.action_refused(&action_name, pm_id, &error);
            }
            Message::Pm2Result(result) => {
                // Its data holds the whole environment of the app: it goes nowhere.
                if let Some(ret) = payload.get_mut("ret").and_then(Value::as_object_mut) {
                    ret.remove("data");
                }
                let known = self.pending.method_ended(
                    &result.method_name,
                    result.app_name.as_deref(),
                    result.error.as_deref(),
                );
                // Nobody asked for the results of what the hub does by itself.
                if known || !matches!(result.method_name.as_str(), "startLogging" | "stopLogging") {
                    self.publish(&channel, pm_id, at, payload);
                }
            }
            Message::Profile(profile) => {
                let told = json!({
                    "at": profile.at_ms, "type": profile.kind, "duration": profile.duration_ms,
                    "initiated": profile.initiated, "uuid": profile.uuid, "process": payload.get("process"),
                });
                self.publish("profiling", pm_id, at, told);
            }
            Message::Span(_) | Message::Transaction(_) | Message::Other(_) => {
                self.publish(&channel, pm_id, at, payload);
            }
            Message::Malformed(reason) => {
                tracing::debug!(
                    name = &*self.name,
                    channel,
                    reason,
                    "a message of a PM2 agent was ignored"
                );
            }
            Message::Status(_) | Message::StatusPatch(_) | Message::Dependencies | Message::ProcessMsg(_) => {
            }
        }
        Ok(())
    }

    /// PM2 6 tells every exception twice.
    fn is_repeat(&mut self, pm_id: Option<u32>, at: Millis, exception: &Exception) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&exception.stack, &exception.message).hash(&mut hasher);
        let (pm_id, hash) = (pm_id.unwrap_or(u32::MAX), hasher.finish());
        let known = self
            .exceptions
            .iter()
            .any(|(id, when, h)| *id == pm_id && *h == hash && (at - when).abs() <= SAME_MOMENT);
        if self.exceptions.len() == MAX_RECENT_EXCEPTIONS {
            self.exceptions.pop_front();
        }
        self.exceptions.push_back((pm_id, at, hash));
        known
    }

    fn record(
        &mut self,
        channel: &str,
        at: Millis,
        process: Option<&ProcessRef>,
        name: &str,
        payload: &Value,
    ) {
        let data = serde_json::to_vec(payload).unwrap_or_default();
        if data.len() > MAX_EVENT_DATA {
            tracing::warn!(
                name = &*self.name,
                channel,
                bytes = data.len(),
                "an event is too large to keep"
            );
            return;
        }
        self.recorder.event(Event {
            at_ms: at,
            app: process.map(|p| p.name.clone()),
            pm_id: process.and_then(|p| p.pm_id),
            kind: channel.to_owned(),
            name: cut(name, 200).to_owned(),
            data,
        });
    }

    fn publish(&self, channel: &str, pm_id: Option<u32>, at: Millis, payload: Value) {
        let Some(link) = self.link.as_ref().filter(|_| self.bucket.has_listeners()) else {
            return;
        };
        self.bucket.publish(HubEvent {
            server: link.server(),
            server_name: self.name.clone(),
            at,
            pm_id,
            channel: channel.into(),
            payload,
        });
    }

    fn flush_lines(&mut self) {
        let lines = self.lines.overdue(self.state.now_ms());
        self.pass_lines(lines);
    }

    fn pass_lines(&self, lines: Vec<LogLine>) {
        if let Some(link) = &self.link {
            let (server, server_name) = (link.server(), self.name.clone());
            notices::pass_logs(
                link,
                LogBatch {
                    server,
                    server_name,
                    lines,
                    dropped: 0,
                    before: 0,
                },
            );
        }
    }

    fn wanted(&mut self) -> bool {
        self.interest
            .as_mut()
            .is_some_and(|interest| !interest.borrow_and_update().is_none())
    }

    /// Turns streaming on or off. The switch is one per agent, and only the socket that carries its status acts.
    fn follow_interest(&mut self) -> Vec<String> {
        let wanted = self.wanted();
        let current = self
            .link
            .as_ref()
            .is_some_and(|link| link.tap().is_current(self.id));
        if !current || wanted == self.streaming {
            return Vec::new();
        }
        self.streaming = wanted;
        vec![pm2_action(if wanted {
            &Method::StartLogging
        } else {
            &Method::StopLogging
        })]
    }

    fn renew_logs(&mut self) -> Vec<String> {
        let current = self
            .link
            .as_ref()
            .is_some_and(|link| link.tap().is_current(self.id));
        if current && self.streaming {
            vec![pm2_action(&Method::StartLogging)]
        } else {
            Vec::new()
        }
    }
}

/// Whether an event can have this time. These agents do not tell their clock; but what they keep through an outage is little,
/// and nothing comes from the future.
fn is_possible(at: Millis, now: Millis) -> bool {
    (now - LONGEST_OUTAGE..=now + CLOCK_TOLERANCE).contains(&at)
}

/// The next command; never, while the socket speaks for nobody.
async fn next(commands: &mut Option<mpsc::Receiver<Command>>) -> Option<Command> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the interest changed; never, while there is none to follow.
async fn changed(interest: &mut Option<watch::Receiver<Interest>>) {
    if let Some(receiver) = interest {
        if receiver.changed().await.is_ok() {
            return;
        }
        *interest = None;
    }
    std::future::pending::<()>().await;
}

//! One link of our agent, from its greeting to its end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use wire::message::{Ack, Hello, KeyOrder, Ping, Pong, Refuse, RefuseCode, Resend, Settings, Welcome};
use wire::{AgentMessage, HubMessage};

use super::commands::{Finished, Pending};
use super::convert::{Mirror, incarnation};
use super::reports::Reports;
use super::reverse::{Commands, Reverses};
use super::seal;
use super::skew::Skew;
use super::subscriptions::{self, Subscriptions};
use super::{Order, Visitor, Way};
use crate::intake::trace::Trace;
use crate::intake::{keys, notices};
use crate::live::absence::{Departure, Life};
use crate::live::attempts::{Problem, Step};
use crate::live::bucket::Bucket;
use crate::live::identity::Newcomer;
use crate::live::link::{ActionError, Command, Reverse};
use crate::live::logs::{Interest, LogBatch, LogLine};
use crate::live::model::{AgentKind, Millis, cut};
use crate::live::server::MAX_NAME;
use crate::live::{BucketHandle, Caller, Closed, HubEvent, KeysInUse, Link, Received};
use crate::state::AppState;

/// An agent that was let in says hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// An agent that says nothing for so long is gone, whatever the network thinks.
const SILENCE: Duration = Duration::from_secs(45);
/// The hub asks for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A write that takes longer means that nobody reads.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// Longest log line passed on.
const MAX_LINE: usize = 64 * 1024;

/// How a link ends.
#[derive(Debug)]
enum Ending {
    /// The agent said goodbye.
    Bye,
    /// The host closed the connection without a word of the agent.
    Cut,
    /// Nothing comes through any more, or the agent gave the connection up.
    Lost,
    /// Nothing was heard for too long.
    Silent,
    /// The hub stops.
    Stopping,
    /// The agent is told why.
    Refused(RefuseCode, String),
}

impl Ending {
    /// What went wrong, if something did, for the people who look at that server.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Bye | Self::Stopping => None,
            Self::Cut | Self::Lost => Some("The connection broke without a goodbye.".to_owned()),
            Self::Silent => Some(format!(
                "Nothing was heard for {} s, so the connection was closed.",
                SILENCE.as_secs()
            )),
            // Deleted, hidden, or another agent of the same home: that is no fault of the link.
            Self::Refused(RefuseCode::Hidden | RefuseCode::Replaced | RefuseCode::Unavailable, _) => None,
            Self::Refused(_, why) => Some(format!("The agent was refused: {why}")),
        }
    }

    /// What people can do something about.
    fn to_step(&self) -> Option<Step> {
        let Self::Refused(code, message) = self else {
            return None;
        };
        let problem = match code {
            RefuseCode::Hidden => Problem::Hidden,
            RefuseCode::Pending => Problem::NoPlace,
            RefuseCode::Versions => Problem::Versions,
            RefuseCode::Protocol | RefuseCode::Violation => Problem::Protocol,
            _ => return None,
        };
        Some(Step::Refused(problem, message.clone()))
    }
}

/// Nobody takes what is said.
#[derive(Debug)]
pub(super) struct Unheard;

/// What the hub says, whichever way it takes.
pub(super) type Sink = Pin<Box<dyn futures_util::Sink<Message, Error = Unheard> + Send>>;
/// What the agent says.
pub(super) type Stream = Pin<Box<dyn futures_util::Stream<Item = Result<Message, axum::Error>> + Send>>;

pub(super) async fn serve(state: AppState, visitor: Visitor, mut sink: Sink, mut stream: Stream) {
    let bucket = visitor.bucket.id;
    let address = visitor.address.clone().unwrap_or_default();
    let trace = Trace::begin(&state, state.live.bucket(bucket), visitor.who());
    trace.step(Step::Open {
        socket: visitor.socket,
    });
    let ending = match greet(&state, &visitor, &trace, &mut stream).await {
        Ok((hello, link, commands)) => {
            let server = link.server();
            let name = cut(&hello.facts.name, MAX_NAME).to_owned();
            tracing::info!(%bucket, %server, name, address, "an agent linked");
            let ending = converse(
                &state,
                visitor,
                (hello, link, trace.clone()),
                commands,
                &mut sink,
                &mut stream,
            )
            .await;
            tracing::info!(%bucket, %server, name, address, ending = ?ending, "a link ended");
            ending
        }
        Err(ending) => {
            tracing::warn!(%bucket, address, ending = ?ending, "an agent was not let in");
            ending
        }
    };
    if let Some(step) = ending.to_step() {
        trace.step(step);
    }
    trace.step(Step::Ended);
    // When the hub stops, the connection just ends: the agent comes back by itself.
    if let Ending::Refused(code, message) = ending {
        let refusal = HubMessage::Refuse(Refuse {
            code,
            message: message.clone(),
        });
        if send(&mut sink, &refusal).await.is_ok() {
            let reason = cut(&message, 120).to_owned().into();
            let close = Message::Close(Some(CloseFrame {
                code: close_code(code),
                reason,
            }));
            let _ = tokio::time::timeout(WRITE_LIMIT, sink.send(close)).await;
        }
    }
}

fn close_code(code: RefuseCode) -> u16 {
    match code {
        RefuseCode::Violation => 1008,
        RefuseCode::Unavailable => 1013,
        _ => 4403,
    }
}

fn violation(message: impl Into<String>) -> Ending {
    Ending::Refused(RefuseCode::Violation, message.into())
}

/// The next message; what cannot be read ends the link with a reason.
async fn receive(stream: &mut Stream) -> Result<AgentMessage, Ending> {
    loop {
        match stream.next().await {
            None => return Err(Ending::Cut),
            Some(Ok(Message::Close(_))) => return Err(Ending::Lost),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_))) => return Err(violation("text where a binary frame belongs")),
            Some(Ok(Message::Binary(frame))) => {
                return AgentMessage::from_frame(&frame).map_err(|error| violation(chain(&error)));
            }
            Some(Err(error)) => {
                let text = chain(&error);
                // A frame above the limit is told; a broken connection cannot be.
                return Err(
                    if text.contains("too long") || text.contains("too large") || text.contains("Space limit")
                    {
                        violation(format!(
                            "frame is larger than the {} bytes that are accepted",
                            wire::frame::FROM_AGENT.frame
                        ))
                    } else if crate::intake::is_cut(&error) {
                        Ending::Cut
                    } else {
                        Ending::Lost
                    },
                );
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

async fn send(sink: &mut Sink, message: &HubMessage) -> Result<(), Ending> {
    let frame = message.to_frame().map_err(|error| {
        tracing::error!(kind = message.kind(), %error, "a message to an agent cannot be sent");
        Ending::Lost
    })?;
    match tokio::time::timeout(WRITE_LIMIT, sink.send(Message::Binary(Bytes::from(frame)))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ending::Lost),
    }
}

async fn greet(
    state: &AppState,
    visitor: &Visitor,
    trace: &Trace,
    stream: &mut Stream,
) -> Result<(Hello, Link, mpsc::Receiver<Command>), Ending> {
    let hello = match tokio::time::timeout(HELLO_WITHIN, receive(stream)).await {
        Ok(Ok(AgentMessage::Hello(hello))) => hello,
        Ok(Ok(other)) => return Err(violation(format!("{} before hello", other.kind()))),
        Ok(Err(ending)) => return Err(ending),
        Err(_) => return Err(violation("no hello in time")),
    };
    if hello.protocol == 0 {
        let message = format!(
            "protocol {} is not spoken here; this hub speaks {}",
            hello.protocol,
            wire::PROTOCOL
        );
        return Err(Ending::Refused(RefuseCode::Protocol, message));
    }
    trace.step(Step::Named {
        name: name(&hello),
        hostname: hello.facts.hostname.clone(),
    });
    if let Some(seal) = &hello.manifest {
        seal::open(&hello.machine, seal, state.now_ms()).map_err(|forged| violation(forged.to_string()))?;
    }
    let facts = Mirror::new(&hello, visitor.address.clone(), state.now_ms()).server_facts();
    let versions = &hello.facts.versions;
    if let Err(unfit) = wire::versions::check(&versions.pm2, &versions.node) {
        let message =
            format!("{unfit}: install a newer Node.js, restart the apps with it, then `link` again");
        // A bucket that closes has nobody to show it to.
        let _ = state
            .live
            .bucket(visitor.bucket.id)
            .refused(
                state.now_ms(),
                hello.machine.to_string(),
                name(&hello),
                facts,
                message.clone(),
            )
            .await;
        return Err(Ending::Refused(RefuseCode::Versions, message));
    }
    let (port, commands) = BucketHandle::command_queue();
    let caller = Caller {
        link: state.live.next_link(),
        kind: AgentKind::Pilothouse,
        newcomer: Newcomer::Machine {
            name: name(&hello),
            hostname: facts.hostname.clone(),
            username: facts.username.clone(),
            machine: hello.machine.to_string(),
            incarnation: incarnation(&hello),
            linked_at: linked_at(state, &hello),
        },
        name: name(&hello),
        facts: Some(facts),
        commands: port,
        reverse: match visitor.commands {
            _ if hello.reverse_disabled => Reverse::Closed,
            Way::Same => Reverse::Open,
            Way::Apart => Reverse::Awaited,
            Way::None => Reverse::Closed,
        },
        life: Life {
            session: Some(hello.session.to_string()),
            boot: Some(hello.facts.boot_id.clone()).filter(|id| !id.is_empty()),
        },
    };
    match state.live.bucket(visitor.bucket.id).receive(caller).await {
        Ok(Received::Joined(link)) => {
            trace.step(Step::Linked {
                server: link.server(),
                disabled: hello.reverse_disabled,
            });
            Ok((hello, link, commands))
        }
        Ok(Received::Hidden | Received::Wait) => Err(hidden()),
        Ok(Received::NoPlace) => {
            let message = crate::intake::no_place(visitor.bucket.max_servers);
            Err(Ending::Refused(RefuseCode::Pending, message))
        }
        Err(Closed) => Err(unavailable()),
    }
}

/// When the user linked this home, by the hub's clock.
fn linked_at(state: &AppState, hello: &Hello) -> Millis {
    if hello.linked_at == 0 {
        return 0;
    }
    let age = Millis::try_from(hello.now.saturating_sub(hello.linked_at)).unwrap_or(Millis::MAX);
    state.now_ms().saturating_sub(age)
}

fn hidden() -> Ending {
    let message = "this server was deleted in the dashboard; `link` it again to bring it back";
    Ending::Refused(RefuseCode::Hidden, message.to_owned())
}

fn unavailable() -> Ending {
    Ending::Refused(
        RefuseCode::Unavailable,
        "the hub cannot take this agent right now".to_owned(),
    )
}

fn name(hello: &Hello) -> String {
    let name = if hello.facts.name.is_empty() {
        &hello.facts.hostname
    } else {
        &hello.facts.name
    };
    cut(name, MAX_NAME).to_owned()
}

async fn converse(
    state: &AppState,
    visitor: Visitor,
    (hello, link, trace): (Hello, Link, Trace),
    mut commands: mpsc::Receiver<Command>,
    sink: &mut Sink,
    stream: &mut Stream,
) -> Ending {
    let (bucket, server, stream_name) = (visitor.bucket.id, link.server(), hello.stream.to_string());
    let stored = match state
        .telemetry
        .stored_up_to(bucket, server, stream_name.clone())
        .await
    {
        Ok(stored) => stored.unwrap_or(0),
        Err(error) => {
            tracing::error!(%server, %error, "cannot look up what is stored of a server");
            return unavailable();
        }
    };
    // Before it is welcomed: it opens the other connection at once.
    let (_place, mut reverses) = match visitor.commands {
        Way::Apart => {
            let (place, coming) = Reverses::await_for(state, bucket, hello.session);
            (Some(place), Some(coming))
        }
        Way::Same | Way::None => (None, None),
    };
    let ports = state.ports.told(&visitor.root);
    let welcome = Welcome {
        protocol: wire::PROTOCOL,
        server_id: server.to_string(),
        ack: stored,
        now: u64::try_from(state.now_ms()).unwrap_or_default(),
        settings: Settings::default(),
        key_order: if visitor.order == Order::Swapped {
            KeyOrder::Swapped
        } else {
            KeyOrder::Canonical
        },
        web_url: format!("{}/#/bucket/{bucket}", visitor.root),
        push_url: ports.as_ref().map_or_else(String::new, |told| told.push.clone()),
        reverse_url: ports.map_or_else(String::new, |told| told.reverse),
    };
    if let Err(ending) = send(sink, &HubMessage::Welcome(welcome)).await {
        return ending;
    }
    let mut session = Session {
        state,
        mirror: Mirror::new(&hello, visitor.address.clone(), state.now_ms()),
        skew: Skew::of(hello.now, state.now_ms()),
        name: name(&hello).into(),
        keys: link.bucket().keys_of(&visitor.bucket),
        public_key: visitor.bucket.public_id,
        reports: Reports::new(state.clone(), bucket, server, stream_name, stored),
        pending: Pending::default(),
        logs: Subscriptions::default(),
        commands: visitor.commands,
        reverse: None,
        interest: link.tap().interest(),
        resend_asked: false,
        trace: Some(trace),
        link,
    };
    if session.skew.is_off() {
        let theirs = hello.now;
        tracing::warn!(%bucket, %server, name = &*session.name, theirs, "the clock of a server is off: what it dates is dated by the hub's");
    }
    session.link.tap().take_over(session.link.id());
    let ending = session.run(&mut commands, &mut reverses, sink, stream).await;
    if let Some(why) = ending.failure() {
        session.link.failed(why).await;
    }
    session.link.end(departure(&ending)).await;
    ending
}

fn departure(ending: &Ending) -> Departure {
    match ending {
        Ending::Bye => Departure::Goodbye,
        Ending::Cut => Departure::Cut,
        Ending::Stopping => Departure::HubDown,
        Ending::Lost | Ending::Silent | Ending::Refused(..) => Departure::Lost,
    }
}

struct Session<'a> {
    state: &'a AppState,
    link: Link,
    mirror: Mirror,
    skew: Skew,
    name: Arc<str>,
    keys: KeysInUse,
    public_key: String,
    reports: Reports,
    pending: Pending,
    logs: Subscriptions,
    /// How commands get to the agent.
    commands: Way,
    /// The connection for commands alone, while there is one.
    reverse: Option<Commands>,
    interest: watch::Receiver<Interest>,
    resend_asked: bool,
    /// Until the first data has come.
    trace: Option<Trace>,
}

impl Session<'_> {
    async fn run(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        reverses: &mut Option<mpsc::Receiver<Commands>>,
        sink: &mut Sink,
        stream: &mut Stream,
    ) -> Ending {
        let stopping = self.state.stopping();
        tokio::pin!(stopping);
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut renew = tokio::time::interval(subscriptions::LEASE / 2);
        renew.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut heard = Instant::now();
        self.interest.mark_changed();
        loop {
            let step = tokio::select! {
                message = receive(stream), if self.reports.has_room() => {
                    heard = Instant::now();
                    match message {
                        Ok(message) => self.take(message).await,
                        Err(ending) => Err(ending),
                    }
                }
                written = self.reports.written() => match written {
                    Ok(seq) => Ok(vec![HubMessage::Ack(Ack { seq })]),
                    Err(error) => {
                        // Not acknowledged: the agent keeps it and brings it again.
                        tracing::error!(server = %self.link.server(), %error, "cannot store what a server reported");
                        Err(unavailable())
                    }
                },
                command = commands.recv() => match command {
                    Some(command) if !self.hears() => {
                        let _ = command.reply.send(Err(ActionError::NoReverse));
                        Ok(Vec::new())
                    }
                    Some(command) => Ok(self.pending.start(command).map(HubMessage::Action).into_iter().collect()),
                                        None => Err(why_ended(&self.link).await),
                },
                changed = self.interest.changed() => match changed {
                    Ok(()) => {
                        let interest = self.interest.borrow_and_update().clone();
                        Ok(if self.hears() { self.logs.follow(&interest) } else { Vec::new() })
                    }
                    Err(_) => Err(unavailable()),
                },
                Some(reverse) = next(reverses) => {
                    self.reverse = Some(reverse);
                    self.set_reverse(true).await
                }
                () = closed(&self.reverse) => {
                    self.reverse = None;
                    self.set_reverse(false).await
                }
                _ = renew.tick() => Ok(self.logs.renew()),
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE { Err(Ending::Silent) } else { Ok(vec![HubMessage::Ping(Ping { token: 0 })]) }
                }
                () = self.keys.replaced() => Err(Ending::Refused(RefuseCode::BadKeys, keys::REPLACED.to_owned())),
                () = &mut stopping => Err(Ending::Stopping),
            };
            let messages = match step {
                Ok(messages) => messages,
                Err(ending) => return ending,
            };
            for message in messages {
                let apart = matches!(
                    message,
                    HubMessage::Action(_) | HubMessage::LogSubscribe(_) | HubMessage::LogUnsubscribe(_)
                );
                if apart && self.commands == Way::Apart {
                    // What finds no room, or nobody any more, runs into its time; the end is noticed at once.
                    if let Some(reverse) = &self.reverse {
                        let _ = reverse.try_send(message);
                    }
                } else if let Err(ending) = send(sink, &message).await {
                    return ending;
                }
            }
        }
    }

    /// Whether the agent can be told anything but what it waits for.
    fn hears(&self) -> bool {
        match self.commands {
            Way::Same => true,
            Way::Apart => self.reverse.is_some(),
            Way::None => false,
        }
    }

    /// The connection for commands came or went. What was subscribed by the last one is subscribed anew.
    async fn set_reverse(&mut self, open: bool) -> Result<Vec<HubMessage>, Ending> {
        self.link
            .set_reverse(open)
            .await
            .map_err(|Closed| unavailable())?;
        self.logs = Subscriptions::default();
        self.interest.mark_changed();
        Ok(Vec::new())
    }

    /// Takes one message; what is to be answered.
    async fn take(&mut self, mut message: AgentMessage) -> Result<Vec<HubMessage>, Ending> {
        let nothing = Ok(Vec::new());
        self.skew.correct(&mut message, self.state.now_ms());
        match message {
            AgentMessage::Hello(_) => Err(violation("a second hello")),
            AgentMessage::Reverse(_) => Err(violation("commands are asked for where data is brought")),
            AgentMessage::Snapshot(snapshot) => {
                self.resend_asked = false;
                let report = self
                    .mirror
                    .reset(snapshot)
                    .map_err(|error| violation(error.to_string()))?;
                self.link.report(report).await.map_err(|Closed| unavailable())?;
                if let Some(trace) = self.trace.take() {
                    trace.step(Step::Data);
                }
                nothing
            }
            AgentMessage::Delta(delta) => match self.mirror.apply(delta) {
                Ok(report) => {
                    self.link.report(report).await.map_err(|Closed| unavailable())?;
                    nothing
                }
                Err(error) => {
                    self.link.alive().await.map_err(|Closed| unavailable())?;
                    if std::mem::replace(&mut self.resend_asked, true) {
                        return nothing;
                    }
                    tracing::debug!(server = %self.link.server(), %error, "a delta did not fit: a snapshot is asked for");
                    Ok(vec![HubMessage::Resend(Resend {})])
                }
            },
            AgentMessage::Report(report) if !Reports::is_acceptable(&report) => {
                Err(violation("a report with too many values"))
            }
            AgentMessage::Report(report) => {
                let past = self
                    .reports
                    .of_the_past(&report, self.state.now_ms() - self.skew.left());
                if let Some(lost) = self.reports.newly_lost(&report) {
                    self.link.failed(lost).await;
                }
                let link = &self.link;
                let news = self
                    .reports
                    .take(report, &self.name, |pm_id| link.is_held_back(pm_id));
                for one in news {
                    // An old event says nothing about now.
                    let fresh = (self.state.now_ms() - one.told.at).abs() < 5_000;
                    if let (Some(status), Some(pm_id), true) = (one.hint, one.told.pm_id, fresh) {
                        self.link
                            .hint(pm_id, status)
                            .await
                            .map_err(|Closed| unavailable())?;
                    }
                    self.publish(&one.told.channel, one.told.pm_id, one.told.at, one.told.payload);
                }
                if let Some((first, last, count)) = past {
                    let left = self.skew.left();
                    let (first, last) = (first.saturating_add(left), last.saturating_add(left));
                    let filled = self.link.filled(first, last, count).await;
                    filled.map_err(|Closed| unavailable())?;
                }
                nothing
            }
            AgentMessage::Logs(batch) => {
                self.pass_logs(batch);
                nothing
            }
            AgentMessage::Allowed(allowed) => {
                let report = self.mirror.set_allowed(allowed.verbs);
                self.link.report(report).await.map_err(|Closed| unavailable())?;
                nothing
            }
            AgentMessage::Progress(progress) => {
                self.pending.said(progress.id, &progress.data);
                if let Some((request, uuid)) = self.pending.scope(progress.id) {
                    let data = serde_json::from_str(&progress.data)
                        .unwrap_or(serde_json::Value::String(progress.data));
                    let at = self.state.now_ms();
                    let (pm_id, app) = (request.pm_id(), request.app().unwrap_or_default());
                    let payload = serde_json::json!({
                        "at": at,
                        "data": { "data": data, "uuid": uuid, "action_name": request.name() },
                        "process": notices::process(pm_id.unwrap_or_default(), app, "", &self.name),
                    });
                    self.publish("axm:scoped_action:stream", pm_id, at, payload);
                }
                nothing
            }
            AgentMessage::Result(result) => {
                if let Some(Finished {
                    request,
                    reply,
                    outcome,
                }) = self.pending.finish(result)
                {
                    let at = self.state.now_ms();
                    for (channel, payload) in
                        notices::action_ended(&request, &outcome, &self.name, &self.public_key, at)
                    {
                        self.publish(channel, request.pm_id(), at, payload);
                    }
                    // Whoever gave up waiting is no error.
                    let _ = reply.send(outcome);
                }
                nothing
            }
            AgentMessage::Ping(ping) => Ok(vec![HubMessage::Pong(Pong { token: ping.token })]),
            AgentMessage::Pong(_) => nothing,
            AgentMessage::Bye(_) => Err(Ending::Bye),
            AgentMessage::LogsEnded(ended) => match ended.error {
                None => Ok(self.logs.ended(ended.id).into_iter().collect()),
                Some(error) => {
                    tracing::info!(server = %self.link.server(), reason = error.message, "a host does not give its logs");
                    nothing
                }
            },
            AgentMessage::Unknown(_) => nothing,
        }
    }

    fn publish(&self, channel: &str, pm_id: Option<u32>, at: Millis, payload: serde_json::Value) {
        if self.link.bucket().has_listeners() {
            self.link.bucket().publish(HubEvent {
                server: self.link.server(),
                server_name: self.name.clone(),
                at,
                pm_id,
                channel: channel.into(),
                payload,
            });
        }
    }

    fn pass_logs(&self, batch: wire::message::LogBatch) {
        let mut names: BTreeMap<String, Arc<str>> = BTreeMap::new();
        let lines: Vec<LogLine> = batch
            .lines
            .into_iter()
            .filter(|line| !self.link.is_held_back(line.pm_id))
            .map(|line| LogLine {
                at: Millis::try_from(line.at).unwrap_or(Millis::MAX),
                pm_id: line.pm_id,
                app: names
                    .entry(line.name)
                    .or_insert_with_key(|name| name.as_str().into())
                    .clone(),
                err: line.stream == wire::telemetry::LogStream::Err,
                text: cut(&line.data, MAX_LINE).to_owned(),
            })
            .collect();
        notices::pass_logs(
            &self.link,
            LogBatch {
                server: self.link.server(),
                server_name: self.name.clone(),
                lines,
                dropped: batch.dropped,
                before: 0,
            },
        );
    }
}

/// The next connection for commands. Waits for ever where none is awaited.
async fn next(reverses: &mut Option<mpsc::Receiver<Commands>>) -> Option<Commands> {
    match reverses {
        Some(reverses) => reverses.recv().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the connection for commands is gone, and never while there is none.
async fn closed(reverse: &Option<Commands>) {
    match reverse {
        Some(reverse) => reverse.closed().await,
        None => std::future::pending().await,
    }
}

/// Why the owner of the bucket ended this link.
async fn why_ended(link: &Link) -> Ending {
    let (server, id) = (link.server(), link.id());
    let look = move |bucket: &Bucket| {
        let server = bucket.server(server)?;
        Some((server.is_hidden(), server.links().iter().any(|l| *l != id)))
    };
    match link.bucket().ask(look).await {
        Ok(Some((true, _))) => hidden(),
        Ok(Some((false, true))) => Ending::Refused(
            RefuseCode::Replaced,
            "another agent took over for this server".to_owned(),
        ),
        // Deleted: the next greeting is told what it may do.
        Ok(_) | Err(Closed) => unavailable(),
    }
}

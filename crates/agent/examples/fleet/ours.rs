//! Our agent, reduced to its link, its live view, its samples and its probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::link::{Effect, Input, Link, OpenError, State};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use wire::live::View;
use wire::message::{Events, Hello, Ping, Report, ReportBody};
use wire::telemetry::{
    Event, Metric, Process, ProcessRef, ProcessStatus, SampleBatch, Series, ServerFacts, Value, Versions,
};
use wire::{AgentMessage, HubMessage, MachineId, SessionId, StreamId};

use crate::browser::PROBE;
use crate::counted::{Socket, open};
use crate::{Failure, Fleet, Noise, now_ms};

/// Ticks in a batch of samples, as the agent has it.
const TICKS: usize = 5;
const METRICS: [(&str, &str); 3] = [
    ("Event Loop Latency", "ms"),
    ("Used Heap Size", "MiB"),
    ("HTTP", "req/min"),
];

/// Runs one agent for ever.
pub(crate) async fn run(fleet: Arc<Fleet>, number: u64, probes: bool) {
    let started = Instant::now();
    let mut link = Link::new(number);
    let mut host = Host::new(&fleet, number);
    link.handle(started.elapsed(), Input::Start);
    loop {
        let Some(effect) = link.poll_effect() else {
            let Some(deadline) = link.next_deadline() else {
                return;
            };
            tokio::time::sleep_until(started + deadline).await;
            link.handle_timeout(started.elapsed());
            continue;
        };
        let Effect::Open(conn) = effect else { continue };
        let (socket, stored) = match connect(&fleet, &host).await {
            Ok(linked) => linked,
            Err(error) => {
                let failed = Input::OpenFailed(conn, OpenError::Failed(error.to_string()));
                link.handle(started.elapsed(), failed);
                continue;
            }
        };
        link.handle(started.elapsed(), Input::Opened(conn));
        link.handle(started.elapsed(), Input::Welcomed(conn));
        fleet.linked.fetch_add(1, Ordering::Relaxed);
        host.welcomed(stored);
        let ended = match talk(&fleet, &mut host, socket, probes).await {
            Ok(()) => "closed".to_owned(),
            Err(error) => error.to_string(),
        };
        fleet.linked.fetch_sub(1, Ordering::Relaxed);
        fleet.lost.fetch_add(1, Ordering::Relaxed);
        link.handle(started.elapsed(), Input::Closed(conn, ended));
        debug_assert!(matches!(link.state(), State::Waiting { .. }));
    }
}

fn request(fleet: &Fleet) -> Result<Request, Failure> {
    let mut request = format!("ws://{}{}", fleet.address, wire::PATH).into_client_request()?;
    let bearer = format!("Bearer {}.{}", fleet.public, fleet.secret);
    request.headers_mut().insert("authorization", bearer.parse()?);
    Ok(request)
}

/// Opens a link; gives also the number up to which the hub has stored reports.
async fn connect(fleet: &Arc<Fleet>, host: &Host) -> Result<(Socket, u64), Failure> {
    let opening = async {
        let mut socket = open(fleet, request(fleet)?).await?;
        say(fleet, &mut socket, &AgentMessage::Hello(host.hello())).await?;
        while let Some(message) = socket.next().await {
            if let Message::Binary(frame) = message? {
                return match HubMessage::from_frame(&frame)? {
                    HubMessage::Welcome(welcome) => Ok((socket, welcome.ack)),
                    other => Err(format!("{} instead of welcome", other.kind()).into()),
                };
            }
        }
        Err("it ended before the welcome".into())
    };
    tokio::time::timeout(agent::link::CONNECT_TIMEOUT, opening).await?
}

async fn talk(fleet: &Arc<Fleet>, host: &mut Host, mut socket: Socket, probes: bool) -> Result<(), Failure> {
    let mut second = tokio::time::interval_at(
        Instant::now() + Duration::from_millis(host.noise.below(1000)),
        Duration::from_secs(1),
    );
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ping = tokio::time::interval(agent::link::PING_EVERY);
    let mut probe = Instant::now() + fleet.probes;
    let mut fresh = true;
    loop {
        tokio::select! {
            _ = second.tick() => {
                let live = host.second(fresh);
                fresh = false;
                say(fleet, &mut socket, &live).await?;
                if let Some(samples) = host.samples() {
                    say(fleet, &mut socket, &samples).await?;
                }
            }
            _ = ping.tick() => say(fleet, &mut socket, &AgentMessage::Ping(Ping { token: 1 })).await?,
            () = tokio::time::sleep_until(probe), if probes && !fleet.probes.is_zero() => {
                // Never in step with the seconds of anybody.
                probe = Instant::now() + fleet.probes / 2 + Duration::from_millis(host.noise.below(fleet.probes.as_millis() as u64));
                let (number, report) = host.probe();
                fleet.probe_leaves(number);
                say(fleet, &mut socket, &report).await?;
            }
            message = socket.next() => match message {
                None => return Ok(()),
                Some(message) => if let Message::Binary(frame) = message?
                    && let HubMessage::Ping(ping) = HubMessage::from_frame(&frame)? {
                    let pong = AgentMessage::Pong(wire::message::Pong { token: ping.token });
                    say(fleet, &mut socket, &pong).await?;
                },
            },
        }
    }
}

async fn say(fleet: &Fleet, socket: &mut Socket, message: &AgentMessage) -> Result<(), Failure> {
    fleet.messages.fetch_add(1, Ordering::Relaxed);
    socket.send(Message::Binary(message.to_frame()?.into())).await?;
    Ok(())
}

/// One host and what its agent would see.
struct Host {
    number: u64,
    noise: Noise,
    told: View,
    now: View,
    at: Vec<u64>,
    values: Vec<Vec<Option<f64>>>,
    seq: u64,
}

impl Host {
    fn new(fleet: &Fleet, number: u64) -> Self {
        let mut noise = Noise::new(number);
        let mut now = View::default();
        for id in 0..fleet.processes {
            let process = Process {
                name: format!("app-{id}"),
                namespace: "default".into(),
                pid: 1000 + id,
                status: ProcessStatus::Online,
                memory: (40 << 20) + noise.below(4096) * 4096,
                started_at: now_ms(),
                created_at: now_ms(),
                interpreter: "node".into(),
                script: format!("/srv/app-{id}/server.js"),
                node_version: "24.1.0".into(),
                ..Process::default()
            };
            now.processes.insert(id, process);
        }
        Self {
            number,
            noise,
            told: View::default(),
            now,
            at: Vec::new(),
            values: Vec::new(),
            seq: 0,
        }
    }

    fn id(&self) -> [u8; 16] {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.number.to_be_bytes());
        id
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: wire::PROTOCOL,
            machine: MachineId(self.id()),
            session: SessionId(self.id()),
            stream: StreamId(self.id()),
            facts: ServerFacts {
                name: format!("host-{}", self.number),
                hostname: format!("host-{}", self.number),
                user: "deploy".into(),
                platform: "linux".into(),
                cpus: 4,
                total_mem: 8 << 30,
                versions: Versions {
                    pm2: "7.0.4".into(),
                    node: "24.1.0".into(),
                    agent: "0.1.0".into(),
                },
                home: "/home/deploy/.pm2".into(),
                boot_id: format!("boot-{}", self.number),
                ..ServerFacts::default()
            },
            first_seq: 1,
            now: now_ms(),
            ..Hello::default()
        }
    }

    fn welcomed(&mut self, stored: u64) {
        self.seq = self.seq.max(stored);
    }

    /// A second goes by: what is to be told of it.
    fn second(&mut self, whole: bool) -> AgentMessage {
        self.now.at = now_ms();
        self.now.rev = self.told.rev + 1;
        self.now.host.free_mem = (2 << 30) + self.noise.below(1 << 16) * 4096;
        let noise = &mut self.noise;
        for process in self.now.processes.values_mut() {
            process.cpu = noise.below(200) as f64 / 10.0;
            process.memory = process
                .memory
                .saturating_add_signed((noise.below(25) as i64 - 12) * 4096);
            for (n, (name, unit)) in METRICS.iter().enumerate() {
                let value = [
                    noise.below(300) as f64 / 100.0,
                    noise.below(900) as f64 / 100.0,
                    noise.below(400) as f64,
                ][n];
                let metric = Metric {
                    value: Value::Number(value),
                    unit: (*unit).into(),
                    ..Metric::default()
                };
                process.metrics.0.insert((*name).to_owned(), metric);
            }
        }
        self.note();
        let message = if whole {
            AgentMessage::Snapshot(self.now.snapshot())
        } else {
            AgentMessage::Delta(self.told.diff(&self.now))
        };
        self.told = self.now.clone();
        message
    }

    /// Keeps this second's values for the next batch.
    fn note(&mut self) {
        self.at.push(self.now.at);
        let columns = self.now.processes.values().flat_map(|process| {
            let own = METRICS
                .iter()
                .map(|(name, _)| process.metrics.0.get(*name).and_then(|m| m.value.as_number()));
            [Some(process.cpu), Some(process.memory as f64)]
                .into_iter()
                .chain(own)
        });
        let columns: Vec<Option<f64>> = columns.collect();
        self.values.resize(columns.len(), Vec::new());
        for (column, value) in self.values.iter_mut().zip(columns) {
            column.push(value);
        }
    }

    /// A batch, when it is full.
    fn samples(&mut self) -> Option<AgentMessage> {
        if self.at.len() < TICKS {
            return None;
        }
        let mut values = std::mem::take(&mut self.values).into_iter();
        let mut series = Vec::new();
        for (id, process) in &self.now.processes {
            let names = [("cpu", "%"), ("memory", "B")].into_iter().chain(METRICS);
            for ((metric, unit), values) in names.zip(values.by_ref()) {
                series.push(Series {
                    pm_id: Some(*id),
                    app: process.name.clone(),
                    metric: metric.into(),
                    unit: unit.into(),
                    values,
                });
            }
        }
        let body = ReportBody::Samples(SampleBatch {
            at: std::mem::take(&mut self.at),
            series,
        });
        Some(self.report(body))
    }

    /// An event whose name says which it is.
    fn probe(&mut self) -> (u64, AgentMessage) {
        let number = self.seq + 1;
        let event = Event {
            at: now_ms(),
            name: format!("{PROBE}{number}"),
            process: Some(ProcessRef {
                pm_id: 0,
                name: "app-0".into(),
                ..ProcessRef::default()
            }),
            ..Event::default()
        };
        let report = self.report(ReportBody::Events(Events { list: vec![event] }));
        (number, report)
    }

    fn report(&mut self, body: ReportBody) -> AgentMessage {
        self.seq += 1;
        AgentMessage::Report(Report {
            seq: self.seq,
            dropped: 0,
            body,
        })
    }
}

//! An agent of ours, reduced to what it says.

use futures_util::SinkExt;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wire::live::View;
use wire::message::{Hello, Report, ReportBody, Welcome};
use wire::telemetry::{Process, ProcessStatus, SampleBatch, Series, ServerFacts, Versions};
use wire::{AgentMessage, HubMessage, MachineId, SessionId, StreamId};

use crate::lab::{Lab, Socket, next};

pub(crate) struct WireAgent {
    pub(crate) socket: Socket,
    pub(crate) view: View,
    pub(crate) welcome: Welcome,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

pub(crate) fn hello(machine: u8, name: &str) -> Hello {
    let mut hello = hello_of(u16::from_be_bytes([machine, machine]), name);
    hello.facts.hostname = format!("host-{machine}");
    hello.facts.boot_id = format!("boot-{machine}");
    hello
}

/// The same where a byte is not enough to tell machines apart.
pub(crate) fn hello_of(machine: u16, name: &str) -> Hello {
    let id: [u8; 16] = std::array::from_fn(|n| machine.to_be_bytes()[n % 2]);
    Hello {
        protocol: wire::PROTOCOL,
        machine: MachineId(id),
        session: SessionId(id),
        stream: StreamId(id),
        facts: ServerFacts {
            name: name.into(),
            hostname: format!("host-{machine}"),
            user: "root".into(),
            platform: "linux".into(),
            cpus: 2,
            total_mem: 8 << 30,
            versions: Versions {
                pm2: "7.0.4".into(),
                node: "20.1.0".into(),
                agent: "0.1.0".into(),
            },
            home: "/root/.pm2".into(),
            boot_id: format!("boot-{machine}"),
            ..ServerFacts::default()
        },
        first_seq: 1,
        now: now(),
        ..Hello::default()
    }
}

pub(crate) fn process(name: &str, pid: u32) -> Process {
    Process {
        name: name.into(),
        namespace: "default".into(),
        pid,
        status: if pid == 0 {
            ProcessStatus::Stopped
        } else {
            ProcessStatus::Online
        },
        cpu: 1.5,
        memory: 50 << 20,
        started_at: now(),
        created_at: now(),
        interpreter: "node".into(),
        ..Process::default()
    }
}

/// What the hub says to somebody with these keys, before any greeting.
pub(crate) async fn knock(lab: &Lab, keys: &str) -> Result<Socket, (u16, String)> {
    match knock_at(&lab.address(), keys).await {
        Err((0, error)) => panic!("no upgrade and no answer: {error}"),
        answered => answered,
    }
}

/// The same where the hub may not be there: then the status is 0.
pub(crate) async fn knock_at(address: &str, keys: &str) -> Result<Socket, (u16, String)> {
    let mut request = format!("ws://{address}{}", wire::PATH)
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {keys}").parse().unwrap());
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            let body = response
                .body()
                .as_deref()
                .map(|b| String::from_utf8_lossy(b).into_owned());
            Err((response.status().as_u16(), body.unwrap_or_default()))
        }
        Err(error) => Err((0, error.to_string())),
    }
}

impl WireAgent {
    pub(crate) async fn link(lab: &Lab, hello: Hello) -> Self {
        let keys = format!("{}.{}", lab.public_key, lab.secret_key);
        Self::greet(knock(lab, &keys).await.unwrap(), hello)
            .await
            .unwrap()
    }

    /// Says hello; an error is what the hub said instead of welcome, if anything.
    pub(crate) async fn greet(socket: Socket, hello: Hello) -> Result<Self, Option<HubMessage>> {
        let mut agent = Self {
            socket,
            view: View {
                rev: 1,
                ..View::default()
            },
            welcome: Welcome::default(),
        };
        if !agent.try_say(&AgentMessage::Hello(hello)).await {
            return Err(None);
        }
        match agent.hear().await {
            Some(HubMessage::Welcome(welcome)) => {
                agent.welcome = welcome;
                Ok(agent)
            }
            other => Err(other),
        }
    }

    pub(crate) async fn say(&mut self, message: &AgentMessage) {
        assert!(self.try_say(message).await, "the socket takes what is said");
    }

    /// False when the link is gone.
    pub(crate) async fn try_say(&mut self, message: &AgentMessage) -> bool {
        let frame = message.to_frame().unwrap();
        self.socket.send(Message::Binary(frame.into())).await.is_ok()
    }

    /// The next message but pings; `None` when the socket ended.
    pub(crate) async fn hear(&mut self) -> Option<HubMessage> {
        loop {
            match next(&mut self.socket, "a message of the hub").await? {
                Message::Binary(frame) => match HubMessage::from_frame(&frame).unwrap() {
                    HubMessage::Ping(_) => {}
                    message => return Some(message),
                },
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Waits, for as long as the link lasts.
    pub(crate) async fn until_it_ends(&mut self) {
        use futures_util::StreamExt;
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    pub(crate) async fn snapshot(&mut self, processes: &[(u32, Process)]) {
        self.view.rev += 1;
        self.view.at = now();
        self.view.processes = processes.iter().cloned().collect();
        self.say(&AgentMessage::Snapshot(self.view.snapshot())).await;
    }

    /// Tells what changed since the last view.
    pub(crate) async fn change(&mut self, edit: impl FnOnce(&mut View)) {
        let mut next = self.view.clone();
        next.rev += 1;
        next.at = now();
        edit(&mut next);
        let delta = self.view.diff(&next);
        self.view = next;
        self.say(&AgentMessage::Delta(delta)).await;
    }

    pub(crate) async fn report(&mut self, seq: u64, body: ReportBody) {
        assert!(self.try_report(seq, body).await, "the socket takes a report");
    }

    /// False when the link is gone.
    pub(crate) async fn try_report(&mut self, seq: u64, body: ReportBody) -> bool {
        let report = Report {
            seq,
            dropped: 0,
            body,
        };
        self.try_say(&AgentMessage::Report(report)).await
    }

    /// Reports values of the metric `cpu` of app 0, and waits for their acknowledgement.
    pub(crate) async fn report_cpu(&mut self, seq: u64, app: &str, values: &[(u64, f64)]) {
        let series = Series {
            pm_id: Some(0),
            app: app.into(),
            metric: "cpu".into(),
            unit: "%".into(),
            values: values.iter().map(|(_, value)| Some(*value)).collect(),
        };
        let at = values.iter().map(|(at, _)| *at).collect();
        self.report(
            seq,
            ReportBody::Samples(SampleBatch {
                at,
                series: vec![series],
            }),
        )
        .await;
        self.acknowledged(seq).await;
    }

    pub(crate) async fn acknowledged(&mut self, seq: u64) {
        assert!(
            self.try_acknowledged(seq).await,
            "the link ended before the acknowledgement of {seq}"
        );
    }

    /// False when the link ended before.
    pub(crate) async fn try_acknowledged(&mut self, seq: u64) -> bool {
        loop {
            match self.hear().await {
                Some(HubMessage::Ack(ack)) if ack.seq >= seq => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
}

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
    Hello {
        protocol: wire::PROTOCOL,
        machine: MachineId([machine; 16]),
        session: SessionId([machine; 16]),
        stream: StreamId([machine; 16]),
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
    let mut request = format!("ws://{}{}", lab.address(), wire::PATH)
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
        Err(error) => panic!("no upgrade and no answer: {error}"),
    }
}

impl WireAgent {
    pub(crate) async fn link(lab: &Lab, hello: Hello) -> Self {
        let keys = format!("{}.{}", lab.public_key, lab.secret_key);
        Self::greet(knock(lab, &keys).await.unwrap(), hello)
            .await
            .unwrap()
    }

    /// Says hello; an error is what the hub said instead of welcome.
    pub(crate) async fn greet(socket: Socket, hello: Hello) -> Result<Self, HubMessage> {
        let mut agent = Self {
            socket,
            view: View {
                rev: 1,
                ..View::default()
            },
            welcome: Welcome::default(),
        };
        agent.say(&AgentMessage::Hello(hello)).await;
        match agent.hear().await.expect("an answer to hello") {
            HubMessage::Welcome(welcome) => {
                agent.welcome = welcome;
                Ok(agent)
            }
            other => Err(other),
        }
    }

    pub(crate) async fn say(&mut self, message: &AgentMessage) {
        self.socket
            .send(Message::Binary(message.to_frame().unwrap().into()))
            .await
            .unwrap();
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
        self.say(&AgentMessage::Report(Report {
            seq,
            dropped: 0,
            body,
        }))
        .await;
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
        loop {
            match self.hear().await {
                Some(HubMessage::Ack(ack)) if ack.seq >= seq => return,
                Some(_) => {}
                None => panic!("the link ended before the acknowledgement of {seq}"),
            }
        }
    }
}

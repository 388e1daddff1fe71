//! A hub just large enough to test an agent against, on a real socket of the loopback.

use agent::config::LinkSettings;
use agent::telemetry::{Event, Process, SampleBatch};
use agent::{AgentConfig, Handle, Observation, ProcessObservation, Request, Requests};
use futures_util::{SinkExt as _, StreamExt as _};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Upgrade, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use wire::message::{Ack, Hello, Report, ReportBody, Welcome};
use wire::{AgentMessage, HubMessage};

pub(crate) const PUBLIC: &str = "publickey0123456";
pub(crate) const SECRET: &str = "secretkey0123456";

/// Everything that is waited for comes within this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    soon(what, async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) struct Hub {
    listener: TcpListener,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) async fn start_on(port: u16) -> Self {
        Self {
            listener: TcpListener::bind(("127.0.0.1", port)).await.unwrap(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) fn config(&self, home: &Path) -> AgentConfig {
        let settings = LinkSettings {
            public_key: PUBLIC.into(),
            secret_key: SECRET.into(),
            machine_name: "web-1".into(),
            root: format!("http://127.0.0.1:{}", self.port()),
            reverse: true,
            proxy: None,
            proxy_address: String::new(),
            ports: agent::ports::PortSettings::default(),
        };
        AgentConfig {
            pm2_version: "7.0.4".into(),
            ..AgentConfig::new(home, settings)
        }
    }

    /// The next upgrade; keys in either order are right.
    pub(crate) async fn accept(&self) -> Result<Session, StatusCode> {
        let (tcp, _) = soon("a connection", self.listener.accept()).await.unwrap();
        let mut refused = None;
        #[expect(clippy::result_large_err, reason = "the shape that tungstenite asks for")]
        let check = |request: &Upgrade, response: Response| -> Result<Response, ErrorResponse> {
            let header = |name: &str| {
                request
                    .headers()
                    .get(name)
                    .map(|v| v.to_str().unwrap().to_owned())
            };
            let keys = header("authorization").unwrap_or_default();
            let right = [
                format!("Bearer {PUBLIC}.{SECRET}"),
                format!("Bearer {SECRET}.{PUBLIC}"),
            ];
            assert_eq!(request.uri().path(), "/interaction/wire");
            assert_eq!(header("x-pilothouse-machine").unwrap().len(), 32);
            if right.contains(&keys) {
                return Ok(response);
            }
            refused = Some(StatusCode::UNAUTHORIZED);
            let mut answer = ErrorResponse::new(Some("{\"msg\":\"no such keys here\"}".to_owned()));
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            Err(answer)
        };
        match tokio_tungstenite::accept_hdr_async(tcp, check).await {
            Ok(ws) => Ok(Session { ws }),
            Err(e) => Err(refused.unwrap_or_else(|| panic!("{e}"))),
        }
    }

    /// The next link: hello taken, welcome said.
    pub(crate) async fn link(&self, ack: u64) -> (Session, Hello) {
        self.link_with(Welcome { ack, ..welcome() }).await
    }

    pub(crate) async fn link_with(&self, welcome: Welcome) -> (Session, Hello) {
        let mut session = self.accept().await.unwrap();
        let hello = session.hello().await;
        session.send(welcome).await;
        (session, hello)
    }
}

pub(crate) fn welcome() -> Welcome {
    // Samples at once, so that tests need not wait for a batch.
    let settings = wire::message::Settings {
        samples_interval_ms: 250,
        live_interval_ms: 250,
    };
    Welcome {
        protocol: 1,
        server_id: "s1".into(),
        settings,
        ..Welcome::default()
    }
}

/// One end of a link; `S` is what it runs over.
pub(crate) struct Session<S = TcpStream> {
    ws: WebSocketStream<S>,
}

impl<S> Session<S> {
    pub(crate) fn over(ws: WebSocketStream<S>) -> Self {
        Self { ws }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) async fn hello(&mut self) -> Hello {
        match self.next().await {
            AgentMessage::Hello(hello) => hello,
            other => panic!("expected a hello, got {other:?}"),
        }
    }

    /// The next message that is not a sign of life.
    pub(crate) async fn next(&mut self) -> AgentMessage {
        self.next_or_end().await.expect("the agent closed the connection")
    }

    pub(crate) async fn next_or_end(&mut self) -> Option<AgentMessage> {
        loop {
            match soon("a message of the agent", self.ws.next()).await {
                Some(Ok(Message::Binary(bytes))) => match AgentMessage::from_frame(&bytes).unwrap() {
                    AgentMessage::Ping(ping) => self.send(wire::message::Pong { token: ping.token }).await,
                    message => return Some(message),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next message that `pick` wants; others are skipped.
    pub(crate) async fn pick<T>(&mut self, mut pick: impl FnMut(AgentMessage) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn report(&mut self) -> Report {
        self.pick(|m| {
            if let AgentMessage::Report(r) = m {
                Some(r)
            } else {
                None
            }
        })
        .await
    }

    pub(crate) async fn send(&mut self, message: impl Into<HubMessage>) {
        self.send_bytes(message.into().to_frame().unwrap()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        // The agent may be gone already; then the test sees it at its next read.
        let _ = self.ws.send(Message::binary(bytes)).await;
    }

    pub(crate) async fn ack(&mut self, seq: u64) {
        self.send(Ack { seq }).await;
    }
}

/// What a daemon would tell of one app.
pub(crate) fn processes(cpu: f64) -> Observation {
    let process = Process {
        name: "api".into(),
        pid: 4242,
        cpu,
        memory: 1 << 20,
        ..Process::default()
    };
    Observation::Processes(vec![ProcessObservation { pm_id: 0, process }])
}

pub(crate) fn event(name: &str) -> Observation {
    Observation::Event(Event {
        at: 1_767_225_600_000,
        name: name.into(),
        ..Event::default()
    })
}

pub(crate) fn event_names(report: &Report) -> Vec<String> {
    match &report.body {
        ReportBody::Events(events) => events.list.iter().map(|e| e.name.clone()).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn samples(report: &Report) -> Option<&SampleBatch> {
    if let ReportBody::Samples(batch) = &report.body {
        Some(batch)
    } else {
        None
    }
}

pub(crate) async fn next_request(requests: &mut Requests, wanted: impl Fn(&Request) -> bool) -> Request {
    soon("a request", async {
        loop {
            let request = requests.recv().await.expect("the agent ended");
            if wanted(&request) {
                return request;
            }
        }
    })
    .await
}

pub(crate) async fn stop(handle: Handle) {
    handle.stop(agent::StopReason::Stopped);
    soon("the end of the agent", handle.ended()).await;
}

pub(crate) fn journal(home: &Path) -> String {
    std::fs::read_to_string(home.join("agent.log")).unwrap_or_default()
}

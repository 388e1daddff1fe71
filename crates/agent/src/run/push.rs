//! The link where no WebSocket gets through: what the agent has to say is posted, once a second, and what the hub has to say
//! comes back in the answers. The hub then shows that its commands do not reach this host.

use super::dial::{Line, dial};
use super::socket::{Address, ConnEvent, Outbox};
use crate::info::Shared;
use crate::link::ConnId;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsConnector;
use wire::{HubMessage, push};

/// What gathers for so long goes out together.
const EVERY: Duration = Duration::from_secs(1);
/// One request, from the first byte to the last of the answer.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// Between two looks whether a WebSocket gets through by now.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// Bytes in one body: the rest waits for the next.
const BODY: usize = 2 << 20;

/// A way to the hub by plain requests.
pub(super) struct Push {
    address: Address,
    requests: SendRequest<Full<Bytes>>,
    session: Option<HeaderValue>,
    pub(super) local_ip: Option<IpAddr>,
}

impl Push {
    /// Opens the stream; nothing is said on it yet.
    pub(super) async fn open(address: &Address) -> Result<Self, String> {
        let (requests, local_ip) = connect(address).await?;
        Ok(Self {
            address: address.clone(),
            requests,
            session: None,
            local_ip,
        })
    }

    /// Carries messages both ways until it ends; says why it ended.
    pub(super) async fn carry(
        mut self,
        id: ConnId,
        mut outbox: Outbox,
        shared: &Shared,
        events: &mpsc::Sender<(ConnId, ConnEvent)>,
        room: &Notify,
    ) -> String {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look_at = Instant::now() + LOOK_EVERY;
        let mut look: Option<JoinHandle<bool>> = None;
        loop {
            // The first thing to say is hello: it does not wait.
            if self.session.is_some() {
                ticks.tick().await;
            } else if outbox.wait().await.is_none() {
                return "closed by this agent".to_owned();
            }
            let mut body = Vec::new();
            let mut count = 0;
            while body.len() < BODY && count < push::MAX_FRAMES {
                let Some(frame) = outbox.take(room) else { break };
                shared.inspector.sent(&frame);
                push::append(&mut body, &frame);
                count += 1;
            }
            let over = outbox.is_over();
            let answer = match tokio::time::timeout(REQUEST_TIME, self.post(body)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(why)) => return why,
                Err(_) => return format!("no answer to a POST within {} s", REQUEST_TIME.as_secs()),
            };
            if over {
                return "closed by this agent".to_owned();
            }
            let frames = match push::frames(&answer) {
                Ok(frames) => frames,
                Err(e) => return format!("the hub sent what is not understood: {e}"),
            };
            for frame in frames {
                let message = match HubMessage::from_frame(frame) {
                    Ok(message) => message,
                    Err(e) => return format!("the hub sent what is not understood: {e}"),
                };
                if events.send((id, ConnEvent::Message(message))).await.is_err() {
                    return "the agent ended".to_owned();
                }
            }
            if let Some(ended) = look.take_if(|look| look.is_finished()) {
                if ended.await.unwrap_or(false) {
                    return "a WebSocket gets through again".to_owned();
                }
                look_at = Instant::now() + LOOK_EVERY;
            }
            if look.is_none() && Instant::now() >= look_at {
                let address = self.address.clone();
                // Beside the posts: a look may take its time, and data must not.
                look = Some(tokio::spawn(async move {
                    super::socket::gets_through(&address).await
                }));
            }
        }
    }

    async fn post(&mut self, body: Vec<u8>) -> Result<Bytes, String> {
        // A proxy may have closed the idle stream; nothing was said on it since.
        if self.requests.ready().await.is_err() {
            (self.requests, self.local_ip) = connect(&self.address).await?;
        }
        let answer = self
            .requests
            .send_request(self.request(body)?)
            .await
            .map_err(|e| format!("posting: {e}"))?;
        let status = answer.status();
        if let Some(session) = answer.headers().get(push::SESSION_HEADER) {
            self.session = Some(session.clone());
        }
        let body = read(answer).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::GONE => Err("the hub ended this link".to_owned()),
            status => Err(format!(
                "the hub answered a POST with HTTP status {}",
                status.as_u16()
            )),
        }
    }

    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let uri: hyper::Uri = self.address.url.parse().map_err(|_| "a bad address".to_owned())?;
        let path = format!("{}/push", uri.path());
        let host = uri.authority().map_or("", |a| a.as_str());
        let mut request = Request::post(path)
            .header("host", host)
            .header("content-type", "application/octet-stream")
            .header("user-agent", &self.address.user_agent)
            .header(wire::MACHINE_HEADER, &self.address.machine);
        if let Some(session) = &self.session {
            request = request.header(push::SESSION_HEADER, session);
        }
        // The value is a credential: no error shows it.
        let mut keys =
            HeaderValue::from_str(&self.address.authorization).map_err(|_| "bad keys".to_owned())?;
        keys.set_sensitive(true);
        request
            .header("authorization", keys)
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())
    }
}

async fn read(answer: Response<hyper::body::Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(answer.into_body(), push::MAX_BODY).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|e| format!("reading the answer to a POST: {e}"))
}

async fn connect(address: &Address) -> Result<(SendRequest<Full<Bytes>>, Option<IpAddr>), String> {
    let Line { io, local_ip } = dial(&address.host_port, address.proxy.as_ref(), &address.tls).await?;
    let failed = |e: hyper::Error| format!("speaking HTTP with {}: {e}", address.host_port);
    let requests = if address.url.starts_with("wss:") {
        let uri: hyper::Uri = address.url.parse().map_err(|_| "a bad address".to_owned())?;
        let host = uri.host().unwrap_or_default().to_owned();
        let name = rustls::pki_types::ServerName::try_from(host).map_err(|e| e.to_string())?;
        let tls = TlsConnector::from(address.tls.clone())
            .connect(name, io)
            .await
            .map_err(|e| format!("securing the connection to {}: {e}", address.host_port))?;
        let (requests, connection) = handshake(TokioIo::new(tls)).await.map_err(failed)?;
        tokio::spawn(connection);
        requests
    } else {
        let (requests, connection) = handshake(TokioIo::new(io)).await.map_err(failed)?;
        tokio::spawn(connection);
        requests
    };
    Ok((requests, local_ip))
}

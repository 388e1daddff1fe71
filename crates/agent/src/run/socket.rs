//! One WebSocket: opened step by step, read and written by a task each.

use super::dial::{Io, Line, dial};
use super::push::Push;
use crate::info::Shared;
use crate::link::{ConnId, OpenError};
use crate::proxy::Proxy;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use wire::HubMessage;

type Ws = WebSocketStream<MaybeTlsStream<Box<dyn Io>>>;

/// Live updates and answers that may wait for the socket.
const LIVE_QUEUE: usize = 64;
/// Reports that may wait for the socket; the rest waits on disk.
const BULK_QUEUE: usize = 4;
/// What a closing connection still may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// What a look whether a WebSocket gets through may take.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// Most of an HTTP answer that is looked at for its reason.
const MAX_REASON: usize = 16 << 10;

/// Where to connect and as whom.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) url: String,
    /// `host:port`, for people.
    pub(super) host_port: String,
    /// What stands in between.
    pub(super) proxy: Option<Proxy>,
    /// Which trust a `wss` address needs.
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) authorization: String,
    pub(super) machine: String,
    pub(super) user_agent: String,
}

impl Address {
    /// `host:port` of what is connected to first: the proxy's, if there is one.
    pub(super) fn first_stop(&self) -> String {
        match &self.proxy {
            Some(proxy) if proxy.host.contains(':') => format!("[{}]:{}", proxy.host, proxy.port),
            Some(proxy) => format!("{}:{}", proxy.host, proxy.port),
            None => self.host_port.clone(),
        }
    }
}

/// What a connection reports.
pub(super) enum ConnEvent {
    Opened {
        local_ip: Option<IpAddr>,
        /// Whether the hub's commands can come in by it.
        commands: bool,
    },
    OpenFailed(OpenError),
    Message(HubMessage),
    /// The connection for commands alone is open.
    ReverseOpened,
    /// It ended, or could not be opened, and why.
    ReverseClosed(String),
    Closed(String),
}

/// A connection that is open or being opened. Dropping it closes it.
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// Sent first.
    pub(super) live: mpsc::Sender<Vec<u8>>,
    /// Sent when there is nothing live.
    pub(super) bulk: mpsc::Sender<Vec<u8>>,
    task: Option<JoinHandle<()>>,
}

impl Conn {
    /// Begins to open a connection.
    pub(super) fn open(
        id: ConnId,
        address: Address,
        shared: Arc<Shared>,
        events: mpsc::Sender<(ConnId, ConnEvent)>,
        room: Arc<Notify>,
    ) -> Self {
        let (live, live_queue) = mpsc::channel(LIVE_QUEUE);
        let (bulk, bulk_queue) = mpsc::channel(BULK_QUEUE);
        let outbox = Outbox {
            live: live_queue,
            bulk: bulk_queue,
            kept: None,
            over: false,
        };
        let task = tokio::spawn(async move {
            let event = run(id, &address, outbox, &shared, &events, &room).await;
            let _ = events.send((id, event)).await;
        });
        Self {
            id,
            live,
            bulk,
            task: Some(task),
        }
    }

    /// Sends what is queued, says good-bye and closes; bounded in time.
    pub(super) async fn close(mut self) {
        let task = self.task.take();
        drop(self);
        if let Some(mut task) = task
            && tokio::time::timeout(CLOSE_TIME, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// What waits to be sent.
pub(super) struct Outbox {
    live: mpsc::Receiver<Vec<u8>>,
    bulk: mpsc::Receiver<Vec<u8>>,
    /// What a wait has taken.
    kept: Option<Vec<u8>>,
    over: bool,
}

impl Outbox {
    /// Waits for something live; `None` when the agent let go.
    pub(super) async fn wait(&mut self) -> Option<()> {
        if self.kept.is_none() {
            self.kept = self.live.recv().await;
        }
        self.kept.as_ref().map(|_| ())
    }

    /// The next frame that is there: what is live goes first.
    pub(super) fn take(&mut self, room: &Notify) -> Option<Vec<u8>> {
        if let Some(frame) = self.kept.take() {
            return Some(frame);
        }
        match self.live.try_recv() {
            Ok(frame) => return Some(frame),
            Err(mpsc::error::TryRecvError::Disconnected) => self.over = true,
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        let frame = self.bulk.try_recv().ok()?;
        room.notify_one();
        Some(frame)
    }

    /// Whether the agent let go.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// Opens the WebSocket, or where none gets through, the way by plain requests; carries until the end.
async fn run(
    id: ConnId,
    address: &Address,
    outbox: Outbox,
    shared: &Shared,
    events: &mpsc::Sender<(ConnId, ConnEvent)>,
    room: &Notify,
) -> ConnEvent {
    let opened = |local_ip, commands| {
        let event = ConnEvent::Opened { local_ip, commands };
        async move { events.send((id, event)).await.is_ok() }
    };
    match open(address).await {
        Ok((ws, local_ip)) => {
            if !opened(local_ip, true).await {
                return ConnEvent::Closed("the agent ended".to_owned());
            }
            ConnEvent::Closed(carry(id, ws, outbox, shared, events, room).await)
        }
        Err((error, Blocked::Yes)) => match Push::open(address).await {
            Ok(push) => {
                if !opened(push.local_ip, false).await {
                    return ConnEvent::Closed("the agent ended".to_owned());
                }
                ConnEvent::Closed(push.carry(id, outbox, shared, events, room).await)
            }
            Err(_) => ConnEvent::OpenFailed(error),
        },
        Err((error, Blocked::No)) => ConnEvent::OpenFailed(error),
    }
}

/// Whether it was the WebSocket that did not get through, where plain HTTP may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    Yes,
    No,
}

/// Whether a WebSocket can be opened. The hub takes one that says nothing for a look.
pub(super) async fn gets_through(address: &Address) -> bool {
    matches!(tokio::time::timeout(LOOK_TIME, open(address)).await, Ok(Ok(_)))
}

/// Opens a WebSocket and lets it go; the cause if none gets through.
pub(super) async fn try_open(address: &Address) -> Result<(), OpenError> {
    open(address).await.map(|_| ()).map_err(|(error, _)| error)
}

pub(super) async fn open(address: &Address) -> Result<(Ws, Option<IpAddr>), (OpenError, Blocked)> {
    let at = &address.host_port;
    let failed = |step: &str, cause: String| {
        let error = OpenError::Failed(format!("{step} {at}: {cause}"));
        (error, Blocked::No)
    };
    let Line { io, local_ip } = dial(at, address.proxy.as_ref(), &address.tls)
        .await
        .map_err(|why| (OpenError::Failed(why), Blocked::No))?;
    let mut request = address
        .url
        .as_str()
        .into_client_request()
        .map_err(|e| failed("asking", e.to_string()))?;
    for (name, value) in [
        ("Authorization", &address.authorization),
        (wire::MACHINE_HEADER, &address.machine),
        ("User-Agent", &address.user_agent),
    ] {
        // The value is a credential: the error must not show it.
        let mut value =
            HeaderValue::from_str(value).map_err(|_| failed("asking", format!("bad {name} header")))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    let limits = WebSocketConfig::default()
        .max_message_size(Some(wire::frame::FROM_HUB.frame))
        .max_frame_size(Some(wire::frame::FROM_HUB.frame))
        .max_write_buffer_size(2 * wire::frame::FROM_AGENT.frame);
    let connector = Connector::Rustls(address.tls.clone());
    match tokio_tungstenite::client_async_tls_with_config(request, io, Some(limits), Some(connector)).await {
        Ok((ws, _)) => Ok((ws, local_ip)),
        Err(WsError::Http(answer)) => {
            let status = answer.status().as_u16();
            // These two are the hub's own word on the keys.
            let blocked = if matches!(status, 401 | 403) {
                Blocked::No
            } else {
                Blocked::Yes
            };
            Err((
                OpenError::Status(status, reason(answer.body().as_deref())),
                blocked,
            ))
        }
        Err(WsError::Io(e)) if matches!(e.get_ref(), Some(e) if e.is::<rustls::Error>()) => {
            Err(failed("securing the connection to", e.to_string()))
        }
        Err(WsError::Tls(e)) => Err(failed("securing the connection to", e.to_string())),
        Err(e) => {
            let (error, _) = failed("opening the WebSocket at", e.to_string());
            Err((error, Blocked::Yes))
        }
    }
}

/// What the hub says in an HTTP answer: the `msg` of a JSON object, if it is one.
pub(super) fn reason(body: Option<&[u8]>) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        msg: String,
    }
    let body = body.unwrap_or_default();
    let said: Option<Said> = serde_json::from_slice(&body[..body.len().min(MAX_REASON)]).ok();
    said.map_or_else(String::new, |said| crate::redact::clip(&said.msg, 500).to_owned())
}

/// Carries messages both ways until either side ends; says why it ended.
async fn carry(
    id: ConnId,
    ws: Ws,
    outbox: Outbox,
    shared: &Shared,
    events: &mpsc::Sender<(ConnId, ConnEvent)>,
    room: &Notify,
) -> String {
    let (mut sink, mut stream) = ws.split();
    let Outbox {
        mut live, mut bulk, ..
    } = outbox;
    let write = async {
        loop {
            let frame = tokio::select! {
                biased;
                frame = live.recv() => match frame {
                    Some(frame) => frame,
                    // The agent let go: what is still queued goes out, then the good-bye of the protocol.
                    None => {
                        while let Ok(frame) = bulk.try_recv() {
                            shared.inspector.sent(&frame);
                            if sink.send(Message::binary(frame)).await.is_err() {
                                break;
                            }
                        }
                        let _ = sink.close().await;
                        return "closed by this agent".to_owned();
                    }
                },
                Some(frame) = bulk.recv() => {
                    room.notify_one();
                    frame
                }
            };
            shared.inspector.sent(&frame);
            if let Err(e) = sink.send(Message::binary(frame)).await {
                return format!("sending: {e}");
            }
        }
    };
    let read = async {
        loop {
            let message = match stream.next().await {
                None => return "the hub closed the connection".to_owned(),
                Some(Err(WsError::Capacity(e))) => return format!("the hub sent too much: {e}"),
                Some(Err(e)) => return format!("receiving: {e}"),
                Some(Ok(Message::Binary(bytes))) => match HubMessage::from_frame(&bytes) {
                    Ok(message) => message,
                    Err(e) => return format!("the hub sent what is not understood: {}", with_sources(&e)),
                },
                Some(Ok(Message::Text(_))) => {
                    return "the hub sent text; is this the address of a hub?".to_owned();
                }
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map_or_else(String::new, |f| format!(": {} {}", f.code, f.reason));
                    return format!("the hub closed the connection{why}");
                }
                Some(Ok(_)) => continue,
            };
            if events.send((id, ConnEvent::Message(message))).await.is_err() {
                return "the agent ended".to_owned();
            }
        }
    };
    tokio::select! {
        why = write => why,
        why = read => why,
    }
}

pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text.push_str(": ");
        text.push_str(&e.to_string());
        source = e.source();
    }
    text
}

/// `host:port` of a WebSocket address.
pub(super) fn host_port(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else {
        return url.to_owned();
    };
    let default = if uri.scheme_str() == Some("wss") { 443 } else { 80 };
    format!(
        "{}:{}",
        uri.host().unwrap_or_default(),
        uri.port_u16().unwrap_or(default)
    )
}

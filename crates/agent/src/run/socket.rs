//! One WebSocket: opened step by step, read and written by a task each.

use crate::info::Shared;
use crate::link::{ConnId, OpenError};
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use wire::HubMessage;

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Live updates and answers that may wait for the socket.
const LIVE_QUEUE: usize = 64;
/// Reports that may wait for the socket; the rest waits on disk.
const BULK_QUEUE: usize = 4;
/// What a closing connection still may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// Most of an HTTP answer that is looked at for its reason.
const MAX_REASON: usize = 16 << 10;

/// Where to connect and as whom.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) url: String,
    /// `host:port`, for people.
    pub(super) host_port: String,
    /// Which trust a `wss` address needs.
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) authorization: String,
    pub(super) machine: String,
    pub(super) user_agent: String,
}

/// What a connection reports.
pub(super) enum ConnEvent {
    Opened { local_ip: Option<IpAddr> },
    OpenFailed(OpenError),
    Message(HubMessage),
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
        let task = tokio::spawn(async move {
            let event = match open(&address).await {
                Ok((ws, local_ip)) => {
                    if events.send((id, ConnEvent::Opened { local_ip })).await.is_err() {
                        return;
                    }
                    ConnEvent::Closed(carry(id, ws, live_queue, bulk_queue, &shared, &events, &room).await)
                }
                Err(error) => ConnEvent::OpenFailed(error),
            };
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

async fn open(address: &Address) -> Result<(Ws, Option<IpAddr>), OpenError> {
    let at = &address.host_port;
    let failed = |step: &str, cause: String| OpenError::Failed(format!("{step} {at}: {cause}"));
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(at)
        .await
        .map_err(|e| failed("looking up", e.to_string()))?
        .collect();
    let tcp = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(|e| failed("connecting to", e.to_string()))?;
    // Live updates are small and each is wanted at once.
    let _ = tcp.set_nodelay(true);
    let local_ip = tcp.local_addr().ok().map(|a| a.ip());
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
    match tokio_tungstenite::client_async_tls_with_config(request, tcp, Some(limits), Some(connector)).await {
        Ok((ws, _)) => Ok((ws, local_ip)),
        Err(WsError::Http(answer)) => Err(OpenError::Status(
            answer.status().as_u16(),
            reason(answer.body().as_deref()),
        )),
        Err(WsError::Io(e)) if matches!(e.get_ref(), Some(e) if e.is::<rustls::Error>()) => {
            Err(failed("securing the connection to", e.to_string()))
        }
        Err(WsError::Tls(e)) => Err(failed("securing the connection to", e.to_string())),
        Err(e) => Err(failed("opening the WebSocket at", e.to_string())),
    }
}

/// What the hub says in an HTTP answer: the `msg` of a JSON object, if it is one.
fn reason(body: Option<&[u8]>) -> String {
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
    mut live: mpsc::Receiver<Vec<u8>>,
    mut bulk: mpsc::Receiver<Vec<u8>>,
    shared: &Shared,
    events: &mpsc::Sender<(ConnId, ConnEvent)>,
    room: &Notify,
) -> String {
    let (mut sink, mut stream) = ws.split();
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

fn with_sources(error: &dyn std::error::Error) -> String {
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

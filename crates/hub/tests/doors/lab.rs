//! A running hub, and the means to look at it. Everything waits for facts, with a deadline.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hub::options::{HubOptions, OwnerPreset};
use hub::server::{Running, start};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Nothing here takes longer on a machine that is very busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Lab {
    pub(crate) hub: Running,
    pub(crate) bucket: String,
    pub(crate) public_key: String,
    pub(crate) secret_key: String,
    pub(crate) token: String,
    pub(crate) folder: TempDir,
}

const PASSWORD: &str = "correct horse battery staple";

/// How every hub here is started.
pub(crate) fn options_in(folder: &Path) -> HubOptions {
    let mut options = HubOptions::new(folder);
    options.owner = OwnerPreset {
        email: Some("owner@example.org".into()),
        password: Some(PASSWORD.into()),
    };
    options
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut HubOptions)) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), change).await
    }

    async fn in_folder(folder: TempDir, change: impl FnOnce(&mut HubOptions)) -> Self {
        let mut options = options_in(folder.path());
        change(&mut options);
        let hub = start(options).await.unwrap();
        let bucket = hub.welcome.as_ref().unwrap().bucket.clone();
        let mut lab = Self {
            hub,
            bucket: bucket.id.to_string(),
            public_key: bucket.public_id,
            secret_key: bucket.secret_id,
            token: String::new(),
            folder,
        };
        lab.token = log_in(&lab.address()).await;
        lab
    }

    /// Stops the hub and starts it again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { hub, folder, .. } = self;
        hub.stop().await;
        Self::in_folder(folder, |_| {}).await
    }

    pub(crate) fn address(&self) -> String {
        self.hub.address.to_string()
    }

    /// One request on a connection of its own: status and body.
    pub(crate) async fn http(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        self.raw_http(method, path, body.as_bytes(), body.len()).await
    }

    /// The same with a length of one's own choice.
    pub(crate) async fn raw_http(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        length: usize,
    ) -> (u16, Value) {
        request(&self.address(), &self.token, method, path, body, length).await
    }

    pub(crate) async fn get(&self, rest: &str) -> Value {
        let (status, body) = self
            .http("GET", &format!("/api/bucket/{}{rest}", self.bucket), None)
            .await;
        assert_eq!(status, 200, "{rest}: {body}");
        body
    }

    pub(crate) async fn post(&self, rest: &str, body: Value) -> (u16, Value) {
        self.http("POST", &format!("/api/bucket/{}{rest}", self.bucket), Some(body))
            .await
    }

    /// What the live state says, when `find` finds it.
    pub(crate) async fn server(&self, what: &str, find: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            let answer = self.get("/servers").await;
            answer["servers"]
                .as_array()
                .unwrap()
                .iter()
                .find(|s| find(s))
                .cloned()
        })
        .await
    }

    /// A dashboard that watches the servers, with the snapshot that it got.
    pub(crate) async fn dashboard(&self) -> (Dashboard, Value) {
        let mut dashboard = Dashboard::connect(self, &self.token).await;
        dashboard
            .say(json!({ "op": "watch", "id": 1, "bucket": self.bucket, "topic": "servers" }))
            .await;
        let snapshot = dashboard.hear("the snapshot", |m| m["op"] == "snapshot").await;
        (dashboard, snapshot)
    }
}

/// The owner of a hub that runs elsewhere.
pub(crate) struct Owner {
    address: String,
    bucket: String,
    token: String,
}

impl Owner {
    /// Logs in there.
    pub(crate) async fn of(address: &str, bucket: &str) -> Self {
        Self {
            address: address.to_owned(),
            bucket: bucket.to_owned(),
            token: log_in(address).await,
        }
    }

    pub(crate) async fn get(&self, rest: &str) -> Value {
        let path = format!("/api/bucket/{}{rest}", self.bucket);
        let (status, body) = request(&self.address, &self.token, "GET", &path, b"", 0).await;
        assert_eq!(status, 200, "{rest}: {body}");
        body
    }
}

async fn log_in(address: &str) -> String {
    let login = json!({
        "grant_type": "password", "username": "owner@example.org", "password": PASSWORD, "client_id": "795984050",
    });
    let body = login.to_string();
    let (status, answer) = request(
        address,
        "",
        "POST",
        "/api/oauth/token",
        body.as_bytes(),
        body.len(),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn request(
    address: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &[u8],
    length: usize,
) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n",
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer))
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {method} {path}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn unchunk(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || length > rest.len() {
            break;
        }
        whole.push_str(&rest[..length]);
        text = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next message of a socket; `None` when it ended.
pub(crate) async fn next(socket: &mut Socket, what: &str) -> Option<Message> {
    match tokio::time::timeout(PATIENCE, socket.next()).await {
        Ok(Some(Ok(message))) => Some(message),
        Ok(Some(Err(_)) | None) => None,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A socket that speaks JSON text.
pub(crate) struct Dashboard(pub(crate) Socket);

impl Dashboard {
    pub(crate) async fn connect(lab: &Lab, token: &str) -> Self {
        let (socket, _) = connect_async(format!("ws://{}/api/live?token={token}", lab.address()))
            .await
            .unwrap();
        Self(socket)
    }

    pub(crate) async fn primus(lab: &Lab, token: &str) -> Self {
        let (socket, _) = connect_async(format!("ws://{}/primus?token={token}", lab.address()))
            .await
            .unwrap();
        Self(socket)
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0
            .send(Message::Text(message.to_string().into()))
            .await
            .unwrap();
    }

    /// Reads until `wanted` is found.
    pub(crate) async fn hear(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match next(&mut self.0, what).await {
                Some(Message::Text(text)) => {
                    let message = serde_json::from_str(&text).unwrap();
                    if wanted(&message) {
                        return message;
                    }
                }
                Some(Message::Close(frame)) => panic!("closed while waiting for {what}: {frame:?}"),
                Some(_) => {}
                None => panic!("the socket ended while waiting for {what}"),
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
        }
    }

    /// The code that the socket is closed with.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match next(&mut self.0, "the close").await {
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                Some(_) => {}
                None => panic!("the socket ended without a close"),
            }
        }
    }
}

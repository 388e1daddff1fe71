//! `/primus`: the socket that PM2's client knows (`@pm2/js-api`).
//!
//! Its peculiarities, and why this is as it is: a frame without `data[1]` crashes the client, so there are no others and no
//! Primus heartbeats; a refused upgrade leaves it waiting for ever, so the socket is taken and closed instead; after a
//! clean close it never returns, so a hub that stops drops the connection; its list of filters is not reliable, so
//! in doubt everything is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::StreamExt;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::conversation::{self, Ending, Party};
use super::socket::{self, CLOSE_UNAUTHORIZED};
use crate::api::data::shape::{self, Names};
use crate::auth::{Session, authenticate};
use crate::ids::ServerId;
use crate::live::model::{Millis, ServerState};
use crate::live::{BucketHandle, HubEvent};
use crate::state::AppState;

/// Buckets that one socket may follow.
const MAX_SUBSCRIPTIONS: usize = 8;
/// Filters that are looked at.
const MAX_FILTERS: usize = 64;

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    token: String,
}

pub(super) async fn connect(
    State(state): State<AppState>,
    Query(params): Query<Params>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .read_buffer_size(socket::READ_BUFFER)
        .max_message_size(socket::MAX_MESSAGE)
        .max_frame_size(socket::MAX_MESSAGE)
        .on_upgrade(move |socket| serve(state, params.token, socket))
}

/// What the client says.
#[derive(Debug, Deserialize)]
struct Ask {
    action: String,
    #[serde(default)]
    public_id: String,
    #[serde(default)]
    filters: Vec<Value>,
}

/// Which events a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Everything,
    Only(Vec<String>),
}

impl Filter {
    /// An empty list or an empty entry wants everything: the client sends these for `**` and for listeners it cannot
    /// name.
    fn of(filters: &[Value]) -> Self {
        let names: Vec<&str> = filters.iter().filter_map(Value::as_str).collect();
        if names.is_empty() || names.iter().any(|n| n.is_empty()) || names.len() > MAX_FILTERS {
            return Self::Everything;
        }
        Self::Only(names.into_iter().map(str::to_owned).collect())
    }

    fn wants(&self, event: &str) -> bool {
        match self {
            Self::Everything => true,
            // Too much is harmless, too little is not: whatever follows a star matches.
            Self::Only(names) => names.iter().any(|name| match name.split_once('*') {
                None => name == event,
                Some((start, _)) => event.starts_with(start),
            }),
        }
    }
}

/// PM2's client reads `data[1]` and emits one event per key but `server_name`. An app may call its channel so: such an event
/// cannot be told.
fn frame(server_name: &str, event: &str, payload: &impl Serialize) -> Utf8Bytes {
    struct Told<'a, P>(&'a str, &'a str, &'a P);
    impl<P: Serialize> Serialize for Told<'_, P> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let Self(server_name, event, payload) = self;
            let mut map = to.serialize_map(None)?;
            map.serialize_entry("server_name", server_name)?;
            if *event != "server_name" {
                map.serialize_entry(event, payload)?;
            }
            map.end()
        }
    }
    #[derive(Serialize)]
    struct Frame<T> {
        r#type: u8,
        data: (&'static str, T),
    }
    let frame = Frame {
        r#type: 0,
        data: ("data:incoming", Told(server_name, event, payload)),
    };
    // Nothing in it has keys that are no text, which is all that could fail.
    serde_json::to_string(&frame).unwrap_or_default().into()
}

/// Events that agents used to send in batches, and that clients read as lists.
fn is_list(event: &str) -> bool {
    matches!(
        event,
        "process:exception" | "human:event" | "process:event" | "logs"
    )
}

async fn serve(state: AppState, token: String, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let session = match authenticate(&state, &token).await {
        Ok(session) => session,
        Err(error) => return socket::close(&mut sink, CLOSE_UNAUTHORIZED, &error.to_string()).await,
    };
    // Old Primus clients wait for this one.
    let hello = Message::Text(
        json!({ "type": 0, "data": ["connection:success", {}] })
            .to_string()
            .into(),
    );
    if socket::send(&mut sink, hello).await.is_err() {
        return;
    }
    let (out, outgoing) = mpsc::channel(socket::OUTGOING);
    let subscriptions = Subscriptions {
        state: state.clone(),
        session,
        out,
        running: BTreeMap::new(),
    };
    conversation::hold(&state, sink, stream, outgoing, subscriptions).await;
}

/// Answers the heartbeat of Primus 4 clients, and of nobody else.
fn heartbeat(text: &str) -> Option<Utf8Bytes> {
    let number = text.strip_prefix("\"primus::ping::")?.strip_suffix('"')?;
    let is_number = number.len() <= 20 && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| format!("\"primus::pong::{number}\"").into())
}

struct Subscriptions {
    state: AppState,
    session: Session,
    out: mpsc::Sender<Utf8Bytes>,
    running: BTreeMap<String, (BucketHandle, AbortHandle)>,
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

impl Subscriptions {
    async fn ask(&mut self, text: &str) {
        let Ok(ask) = serde_json::from_str::<Ask>(text) else {
            return;
        };
        let filter = match ask.action.as_str() {
            "sub" => Filter::of(&ask.filters),
            "active" => Filter::Everything,
            "inactive" | "unsub" => {
                if let Some((_, task)) = self.running.remove(&ask.public_id) {
                    task.abort();
                }
                return;
            }
            _ => return,
        };
        // A new list of filters replaces the old one.
        let bucket = match self.running.remove(&ask.public_id) {
            Some((bucket, task)) => {
                task.abort();
                bucket
            }
            None if self.running.len() >= MAX_SUBSCRIPTIONS => return,
            None => match self.member_of(&ask.public_id).await {
                Some(bucket) => bucket,
                None => return,
            },
        };
        let task = tokio::spawn(follow(bucket.clone(), filter, self.out.clone()));
        self.running.insert(ask.public_id, (bucket, task.abort_handle()));
    }

    async fn member_of(&self, public_id: &str) -> Option<BucketHandle> {
        let bucket = self
            .state
            .catalog
            .bucket_by_public(public_id.to_owned())
            .await
            .ok()??;
        self.state
            .catalog
            .role(bucket.id, self.session.user.id)
            .await
            .ok()??;
        Some(self.state.live.bucket(bucket.id))
    }
}

impl Party for Subscriptions {
    async fn hear(&mut self, text: &str) -> Option<Utf8Bytes> {
        let pong = heartbeat(text);
        if pong.is_none() {
            self.ask(text).await;
        }
        pong
    }

    /// The client keeps a socket whose access token ran out, by design. Who was deleted, or whose login was revoked (by signing
    /// out, by a new password), loses it.
    async fn recheck(&mut self) -> Result<(), Ending> {
        let user = self.session.user.id;
        if let Ok(None) = self.state.catalog.user(user).await {
            return Err(Ending::Dropped);
        }
        if let (Some(login), Ok(good)) = (self.session.parent, self.state.catalog.refresh_tokens(user).await)
            && !good.iter().any(|token| token.id == login)
        {
            return Err(Ending::Dropped);
        }
        let mut ended = Vec::new();
        for (public_id, (bucket, _)) in &self.running {
            if let Ok(None) = self.state.catalog.role(bucket.id(), user).await {
                ended.push(public_id.clone());
            }
        }
        for public_id in ended {
            if let Some((_, task)) = self.running.remove(&public_id) {
                task.abort();
            }
        }
        Ok(())
    }
}

/// What was last told about a server: told again when it differs.
type Seen = BTreeMap<ServerId, (Millis, ServerState)>;

/// Statuses and events go side by side: telling a thousand statuses takes a while, and events must not wait for it.
async fn follow(bucket: BucketHandle, filter: Filter, out: mpsc::Sender<Utf8Bytes>) {
    let events = bucket.events();
    let (tell_names, names) = watch::channel(Names::default());
    tokio::select! {
        () = follow_servers(&bucket, &filter, &tell_names, &out) => {}
        () = follow_events(events, &filter, names, &out) => {}
    }
}

/// Tells every second which servers have something new, and what they are called. Ends with the bucket or the client.
async fn follow_servers(
    bucket: &BucketHandle,
    filter: &Filter,
    names: &watch::Sender<Names>,
    out: &mpsc::Sender<Utf8Bytes>,
) {
    let wanted = filter.wants("status");
    let mut seen = Seen::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        second.tick().await;
        let before = std::mem::take(&mut seen);
        let Ok((fresh, now_seen, statuses)) = bucket.ask(move |b| news(b, before, wanted)).await else {
            return;
        };
        names.send_replace(fresh);
        seen = now_seen;
        for status in statuses {
            if out.send(status).await.is_err() {
                return;
            }
        }
    }
}

/// Tells events as they come. Ends with the bucket or the client.
async fn follow_events(
    mut events: broadcast::Receiver<Arc<HubEvent>>,
    filter: &Filter,
    names: watch::Receiver<Names>,
    out: &mpsc::Sender<Utf8Bytes>,
) {
    loop {
        match events.recv().await {
            Ok(event) if filter.wants(&event.channel) => {
                let frame = event_frame(&names.borrow(), &event);
                if out.send(frame).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "a client reads slowly and lost events");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn event_frame(names: &Names, event: &HubEvent) -> Utf8Bytes {
    let name = names.name(event.server).unwrap_or(&event.server_name);
    if is_list(&event.channel) {
        let list = match &event.payload {
            Value::Array(_) => event.payload.clone(),
            one => Value::Array(vec![one.clone()]),
        };
        frame(name, &event.channel, &list)
    } else {
        frame(name, &event.channel, &event.payload)
    }
}

/// Servers with something new since `seen`.
fn news(bucket: &crate::live::bucket::Bucket, mut seen: Seen, wanted: bool) -> (Names, Seen, Vec<Utf8Bytes>) {
    let names = Names::of(bucket);
    let mut statuses = Vec::new();
    let mut now_seen = Seen::new();
    for server in bucket.servers() {
        let mark = (server.last_seen(), server.state());
        if wanted && seen.remove(&server.id()) != Some(mark) {
            let name = names.name(server.id()).unwrap_or(server.name());
            statuses.push(frame(name, "status", &shape::status(server, name)));
        }
        now_seen.insert(server.id(), mark);
    }
    (names, now_seen, statuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHub;

    #[test]
    fn filters() {
        let of = |names: &[&str]| Filter::of(&names.iter().map(|n| json!(n)).collect::<Vec<_>>());
        assert_eq!(of(&[]), Filter::Everything);
        assert_eq!(of(&["status", ""]), Filter::Everything);
        let some = of(&["status", "axm:*"]);
        assert!(some.wants("status") && some.wants("axm:reply") && !some.wants("logs"));
        assert!(of(&["**"]).wants("logs"));
    }

    #[tokio::test]
    async fn a_socket_outlives_its_access_token_but_not_its_login() {
        let hub = TestHub::start().await;
        let (kept, revoked) = (hub.owner().await, hub.owner().await);
        let mut sockets = Vec::new();
        for client in [&kept, &revoked] {
            let token = client.token.clone().unwrap();
            let (out, _outgoing) = mpsc::channel(socket::OUTGOING);
            sockets.push(Subscriptions {
                state: hub.state.clone(),
                session: authenticate(&hub.state, &token).await.unwrap(),
                out,
                running: BTreeMap::new(),
            });
        }
        // Access tokens that ran out are swept away.
        let expired_ms = sockets[0].session.expires_at_ms;
        assert!(hub.state.catalog.remove_expired(expired_ms).await.unwrap() >= 2);
        for socket in &mut sockets {
            assert!(socket.recheck().await.is_ok());
        }
        let login = sockets[1].session.parent.unwrap();
        hub.state
            .catalog
            .revoke_token(hub.welcome.owner.id, login)
            .await
            .unwrap();
        assert!(sockets[0].recheck().await.is_ok());
        assert!(matches!(sockets[1].recheck().await, Err(Ending::Dropped)));
    }

    #[test]
    fn only_heartbeats_are_answered() {
        assert_eq!(
            heartbeat("\"primus::ping::123\"").as_deref(),
            Some("\"primus::pong::123\"")
        );
        for text in [
            "primus::ping::1",
            "\"primus::ping::x\"",
            "{}",
            "\"primus::ping::1",
        ] {
            assert_eq!(heartbeat(text), None, "{text}");
        }
    }

    #[test]
    fn every_frame_has_an_object_in_the_second_place() {
        let text = frame("web", "status", &Value::Null);
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            parsed,
            json!({ "type": 0, "data": ["data:incoming", { "server_name": "web", "status": null }] })
        );
    }
}

//! The way for commands alone: `GET /interaction/wire/reverse`, where the hub has a port of its own for them.
//!
//! The agent opens it beside its link and names the run that holds that. From then on that link's session sends its commands
//! here; everything that comes of them goes the way of the data. While it is not open, the server is shown, and refused, as
//! without a reverse connection.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::message::{Ping, Pong, Refuse, RefuseCode};
use wire::{AgentMessage, HubMessage, SessionId};

use super::{admit, session};
use crate::api::input::Peer;
use crate::ids::BucketId;
use crate::state::AppState;

/// What an agent that opened it says first comes within this time.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
/// Agents ask for a sign of life every 5 s; one that is silent for so long is behind a wall.
const SILENCE: Duration = Duration::from_secs(15);
/// A write that takes longer means that nobody reads.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Commands that wait for a slow agent.
const WAITING: usize = 64;
/// What such a connection may say at once: names and signs of life.
const MAX_FRAME: usize = 1024;

/// Where the commands to an agent go; closed when its connection is.
pub(super) type Commands = mpsc::Sender<HubMessage>;

/// Links that fetch their commands by a port of its own.
#[derive(Debug, Default)]
pub struct Reverses(Mutex<Awaited>);

type Awaited = HashMap<(BucketId, SessionId), mpsc::Sender<Commands>>;

/// A link's place in the table, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    state: AppState,
    key: (BucketId, SessionId),
    mine: mpsc::Sender<Commands>,
}

impl Reverses {
    fn lock(&self) -> std::sync::MutexGuard<'_, Awaited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a link; each connection that comes for it is handed over.
    pub(super) fn await_for(
        state: &AppState,
        bucket: BucketId,
        session: SessionId,
    ) -> (Place, mpsc::Receiver<Commands>) {
        let (mine, coming) = mpsc::channel(1);
        let key = (bucket, session);
        state.reverses.lock().insert(key, mine.clone());
        let state = state.clone();
        (Place { state, key, mine }, coming)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut awaited = self.state.reverses.lock();
        // A later link of the same run may have taken the place.
        if awaited
            .get(&self.key)
            .is_some_and(|present| present.same_channel(&self.mine))
        {
            awaited.remove(&self.key);
        }
    }
}

pub(super) async fn connect(
    State(state): State<AppState>,
    Peer(address): Peer,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let address = address.map(|ip| ip.to_string());
    let bucket = match admit(&state, &headers, address.as_deref()).await {
        Ok((bucket, _)) => bucket.id,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME)
        .on_upgrade(move |socket| serve(state, bucket, socket))
}

async fn serve(state: AppState, bucket: BucketId, mut socket: WebSocket) {
    let Some(session) = named(&mut socket).await else {
        return;
    };
    let link = state.reverses.lock().get(&(bucket, session)).cloned();
    let (commands, waiting) = mpsc::channel(WAITING);
    // Handed over, or its link ended in this moment.
    let taken = match link {
        Some(link) => link.send(commands).await.is_ok(),
        None => false,
    };
    if !taken {
        let refusal = Refuse {
            code: RefuseCode::Unavailable,
            message: "there is no link whose commands these would be".to_owned(),
        };
        let _ = say(&mut socket, refusal).await;
        return;
    }
    tracing::debug!(%bucket, %session, "an agent fetches its commands");
    carry(&state, socket, waiting).await;
}

/// Whose commands are asked for.
async fn named(socket: &mut WebSocket) -> Option<SessionId> {
    let first = tokio::time::timeout(NAMED_WITHIN, socket.next())
        .await
        .ok()??
        .ok()?;
    let Message::Binary(frame) = first else {
        return None;
    };
    match AgentMessage::from_frame(&frame).ok()? {
        AgentMessage::Reverse(reverse) => Some(reverse.session),
        _ => None,
    }
}

/// Passes commands on until either end lets go; dropping what waits tells the link.
async fn carry(state: &AppState, mut socket: WebSocket, mut waiting: mpsc::Receiver<HubMessage>) {
    let stopping = state.stopping();
    tokio::pin!(stopping);
    let mut heard = Instant::now();
    // By this the agent knows that it was taken.
    if say(&mut socket, Ping { token: 0 }).await.is_err() {
        return;
    }
    loop {
        let message = tokio::select! {
            command = waiting.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            frame = socket.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Message::Binary(frame))) => match AgentMessage::from_frame(&frame) {
                        Ok(AgentMessage::Ping(ping)) => Some(Pong { token: ping.token }.into()),
                        // Nothing else is said here that counts.
                        Ok(_) => None,
                        Err(_) => return,
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                    Some(Ok(Message::Text(_) | Message::Close(_)) | Err(_)) | None => return,
                }
            }
            () = tokio::time::sleep_until(heard + SILENCE) => return,
            () = &mut stopping => return,
        };
        if let Some(message) = message
            && say(&mut socket, message).await.is_err()
        {
            return;
        }
    }
}

async fn say(socket: &mut WebSocket, message: impl Into<HubMessage>) -> Result<(), session::Unheard> {
    let message = message.into();
    let frame = message.to_frame().map_err(|error| {
        tracing::error!(kind = message.kind(), %error, "a command cannot be sent");
        session::Unheard
    })?;
    let sent = tokio::time::timeout(WRITE_LIMIT, socket.send(Message::Binary(frame.into()))).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(session::Unheard),
    }
}

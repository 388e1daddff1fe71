//! The connection for commands alone, where ports are separate: beside a link, opened again whenever it ends.
//!
//! It carries commands in and, but for its name and signs of life, nothing out: what comes of them goes with the data.

use super::socket::{Address, ConnEvent, with_sources};
use crate::info::Shared;
use crate::link::ConnId;
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Message;
use wire::message::{Ping, Reverse as Named};
use wire::{AgentMessage, HubMessage, SessionId};

/// Opening it: a port that opens is to be noticed within seconds, so no try hangs on.
const OPEN_WITHIN: Duration = Duration::from_secs(4);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two signs of life that the hub is asked for.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which it counts as dead.
const SILENCE: Duration = Duration::from_secs(15);

/// A connection for commands, open or being opened. Dropping it closes it.
pub(super) struct Reverse(JoinHandle<()>);

impl Drop for Reverse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reverse {
    /// Keeps one open for the link on `conn`.
    pub(super) fn keep(
        conn: ConnId,
        address: Address,
        session: SessionId,
        shared: Arc<Shared>,
        events: mpsc::Sender<(ConnId, ConnEvent)>,
    ) -> Self {
        Self(tokio::spawn(async move {
            loop {
                let why = once(conn, &address, session, &shared, &events).await;
                if events.send((conn, ConnEvent::ReverseClosed(why))).await.is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

/// Opens it and carries commands until it ends; says why it did.
async fn once(
    conn: ConnId,
    address: &Address,
    session: SessionId,
    shared: &Shared,
    events: &mpsc::Sender<(ConnId, ConnEvent)>,
) -> String {
    let at = &address.host_port;
    let ws = match tokio::time::timeout(OPEN_WITHIN, super::socket::open(address)).await {
        Ok(Ok((ws, _))) => ws,
        Ok(Err((error, _))) => return error.to_string(),
        Err(_) => return format!("connecting to {at}: no answer within {} s", OPEN_WITHIN.as_secs()),
    };
    let (mut sink, mut stream) = ws.split();
    let mut say = async |message: AgentMessage| {
        let frame = message.to_frame().map_err(|e| e.to_string())?;
        shared.inspector.sent(&frame);
        let sent = sink.send(Message::binary(frame)).await;
        sent.map_err(|e| format!("sending to {at}: {e}"))
    };
    if let Err(why) = say(Named { session }.into()).await {
        return why;
    }
    let mut is_open = false;
    let mut heard = Instant::now();
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let bytes = tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(_))) => return format!("{at} sent text; is this a port of the hub?"),
                Some(Ok(Message::Close(_))) | None => return format!("{at} closed the connection"),
                Some(Ok(_)) => continue,
                Some(Err(e)) => return format!("receiving from {at}: {e}"),
            },
            _ = ping.tick() => {
                if let Err(why) = say(Ping { token: 0 }.into()).await {
                    return why;
                }
                continue;
            }
            () = tokio::time::sleep_until(heard + SILENCE) => {
                return format!("{at} was silent for {} s", SILENCE.as_secs());
            }
        };
        heard = Instant::now();
        let message = match HubMessage::from_frame(&bytes) {
            Ok(message) => message,
            Err(e) => return format!("{at} sent what is not understood: {}", with_sources(&e)),
        };
        if let HubMessage::Refuse(refuse) = message {
            return format!("{at}: {}", crate::redact::clip(&refuse.message, 500));
        }
        if !std::mem::replace(&mut is_open, true)
            && events.send((conn, ConnEvent::ReverseOpened)).await.is_err()
        {
            return "the agent ended".to_owned();
        }
        let is_command = matches!(
            message,
            HubMessage::Action(_) | HubMessage::LogSubscribe(_) | HubMessage::LogUnsubscribe(_)
        );
        if is_command && events.send((conn, ConnEvent::Message(message))).await.is_err() {
            return "the agent ended".to_owned();
        }
    }
}

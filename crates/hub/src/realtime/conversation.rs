//! The loop behind every socket to a browser or API client: it carries frames both ways, keeps time, and ends. What is said is
//! the affair of a [`Party`].

use std::future::Future;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::socket::{self, PING_EVERY, RECHECK_EVERY, SILENCE, Sink, Unreachable};
use crate::state::AppState;

/// How a conversation ends.
pub(super) enum Ending {
    /// The connection is dropped without a close frame, so that clients come back by themselves.
    Dropped,
    /// The other side is told why.
    Told {
        /// Sent before the close.
        farewell: Option<Utf8Bytes>,
        /// Of the close frame.
        code: u16,
        /// Of the close frame.
        reason: String,
    },
}

impl From<Unreachable> for Ending {
    fn from(_: Unreachable) -> Self {
        Self::Dropped
    }
}

/// Our side of a conversation: what it answers, and how long it may go on.
pub(super) trait Party: Send {
    /// Takes what the client said; what is answered at once.
    fn hear(&mut self, text: &str) -> impl Future<Output = Option<Utf8Bytes>> + Send;

    /// A frame that is no text.
    fn hear_binary(&mut self) -> Result<(), Ending> {
        Ok(())
    }

    /// Looks again whether the client may still listen, and ends what it may no longer hear.
    fn recheck(&mut self) -> impl Future<Output = Result<(), Ending>> + Send;

    /// How long it may last, and how it ends then.
    fn deadline(&self) -> Option<(Duration, Ending)> {
        None
    }
}

/// Talks until either side ends it, or the hub stops. `outgoing` is what the party's tasks have to say.
pub(super) async fn hold(
    state: &AppState,
    mut sink: Sink,
    stream: SplitStream<WebSocket>,
    outgoing: mpsc::Receiver<Utf8Bytes>,
    party: impl Party,
) {
    let ending = talk(state, &mut sink, stream, outgoing, party).await;
    if let Ending::Told {
        farewell,
        code,
        reason,
    } = ending
    {
        if let Some(frame) = farewell {
            let _ = socket::send(&mut sink, Message::Text(frame)).await;
        }
        socket::close(&mut sink, code, &reason).await;
    }
}

async fn talk(
    state: &AppState,
    sink: &mut Sink,
    mut stream: SplitStream<WebSocket>,
    mut outgoing: mpsc::Receiver<Utf8Bytes>,
    mut party: impl Party,
) -> Ending {
    let stopping = state.stopping();
    tokio::pin!(stopping);
    let (lasts, mut at_deadline) = party.deadline().unzip();
    let deadline = async {
        match lasts {
            Some(lasts) => tokio::time::sleep(lasts).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let mut ping = every(PING_EVERY);
    let mut recheck = every(RECHECK_EVERY);
    let mut heard = Instant::now();
    loop {
        let step = tokio::select! {
            message = stream.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => match party.hear(&text).await {
                        Some(answer) => socket::send(sink, Message::Text(answer)).await.map_err(Ending::from),
                        None => Ok(()),
                    },
                    Some(Ok(Message::Binary(_))) => party.hear_binary(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Ending::Dropped),
                }
            }
            Some(frame) = outgoing.recv() => socket::send(sink, Message::Text(frame)).await.map_err(Ending::from),
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    Err(Ending::Dropped)
                } else {
                    socket::send(sink, Message::Ping(Default::default())).await.map_err(Ending::from)
                }
            }
            _ = recheck.tick() => party.recheck().await,
            () = &mut deadline => Err(at_deadline.take().unwrap_or(Ending::Dropped)),
            () = &mut stopping => Err(Ending::Dropped),
        };
        if let Err(ending) = step {
            return ending;
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

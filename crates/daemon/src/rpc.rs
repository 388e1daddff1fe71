//! The server side of `rpc.sock`: connections become requests for the owner loop, answers go back.
//!
//! Requests of one connection reach the owner in the order in which they were sent. How many of them may be unanswered is bounded: a
//! client that sends more is not read any further until answers have left.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pm2::axon::{Arg, AxonError, Decoder};
use pm2::rpc::{Id, Request};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::event::Event;
use crate::outbox::{Outbox, outbox, write_out};

/// Largest request. An app with a big environment is a few hundred kilobytes; data for an app may be more.
const MAX_REQUEST: usize = 64 * 1024 * 1024;
/// Larger requests are read by another thread, so that the loop is not held up.
const LARGE_REQUEST: usize = 1024 * 1024;
/// Bytes of answers that wait for a client that does not read. Past that it is cut off.
const MAX_ANSWERS: usize = 64 * 1024 * 1024;
/// Requests of one connection without an answer yet.
const MAX_PIPELINE: usize = 256;
/// Connections at a time.
const MAX_CLIENTS: usize = 1024;

/// Which socket a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `rpc.sock`.
    Rpc,
    /// `interactor.sock`, where PM2's CLI speaks to the agent.
    Interactor,
}

/// Answers one request, once. Dropped without an answer, the client gets none (some methods are like that).
#[derive(Debug)]
pub(crate) struct Responder {
    id: Id,
    outbox: Outbox,
    _slot: OwnedSemaphorePermit,
}

impl Responder {
    /// Answer with results, an array or a tuple.
    pub(crate) fn reply<T: Serialize + ?Sized>(self, results: &T) {
        let frame = pm2::rpc::encode_reply(&self.id, results);
        self.send(frame);
    }

    /// Answer with one result.
    pub(crate) fn value<T: Serialize + ?Sized>(self, result: &T) {
        self.reply(&(result,));
    }

    /// Answer with an error.
    pub(crate) fn error(self, message: &str) {
        let frame = pm2::rpc::encode_error(&self.id, message, None);
        self.send(frame);
    }

    /// Answer that nobody has such a method.
    pub(crate) fn unknown_method(self, name: &str) {
        let frame = pm2::rpc::encode_unknown_method(&self.id, name);
        self.send(frame);
    }

    /// Answer with the list of methods.
    pub(crate) fn methods(self) {
        let frame = pm2::rpc::encode_methods(&self.id);
        self.send(frame);
    }

    fn send(self, frame: Result<Vec<u8>, AxonError>) {
        let frame = frame.or_else(|error| pm2::rpc::encode_error(&self.id, &error.to_string(), None));
        if let Ok(frame) = frame {
            // A client that has gone, or does not read its answers, has nothing to complain about.
            let _ = self.outbox.send(Bytes::from(frame));
        }
    }
}

/// Accept connections for ever.
pub(crate) async fn serve(door: Door, listener: UnixListener, events: Sender<Event>) {
    let slots = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let events = events.clone();
                tokio::spawn(async move {
                    // Whoever merely goes away in the middle of a word is nobody's business.
                    if let Err(error) = converse(door, socket, &events).await
                        && error.kind() == io::ErrorKind::InvalidData
                    {
                        let reason = error.to_string();
                        let _ = events.send(Event::ClientCutOff { reason }).await;
                    }
                    drop(slot);
                });
            }
            // Out of descriptors, for instance: others must go first.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// What is not the protocol: the connection is of no more use.
fn foreign(error: AxonError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn converse(door: Door, socket: UnixStream, events: &Sender<Event>) -> io::Result<()> {
    let peer_pid = os::socket::peer_credentials(&socket).map_or(0, |peer| peer.pid);
    let (mut reader, writer) = socket.into_split();
    let (outbox, outgoing) = outbox(MAX_ANSWERS);
    tokio::spawn(write_out(outgoing, writer));
    let pipeline = Arc::new(Semaphore::new(MAX_PIPELINE));
    let mut decoder = Decoder::new(MAX_REQUEST);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        decoder.push(buffer.get(..read).unwrap_or_default());
        while let Some(frame) = decoder.next_frame().map_err(foreign)? {
            let parsed = if frame.iter().map(Arg::len).sum::<usize>() > LARGE_REQUEST {
                tokio::task::spawn_blocking(|| Request::parse(frame))
                    .await
                    .map_err(io::Error::other)?
            } else {
                Request::parse(frame)
            };
            match parsed {
                Ok(request) => {
                    let slot = Arc::clone(&pipeline)
                        .acquire_owned()
                        .await
                        .map_err(io::Error::other)?;
                    let responder = Responder {
                        id: request.id,
                        outbox: outbox.clone(),
                        _slot: slot,
                    };
                    let event = Event::Request {
                        door,
                        call: request.call,
                        peer_pid,
                        responder,
                    };
                    if events.send(event).await.is_err() {
                        return Ok(());
                    }
                }
                Err(bad) => {
                    if let Some(reply) = bad.reply {
                        let _ = outbox.send(Bytes::from(reply));
                    }
                }
            }
        }
    }
}

//! The server side of `pub.sock`: every frame goes to every client.
//!
//! A client that reads too slowly loses frames; nobody else does. The loss is counted, and told once in the daemon's log.

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::sync::mpsc::Sender;

use crate::event::Event;
use crate::outbox::{Outbox, Refused, outbox, write_out};

/// Bytes that wait for one client.
const MAX_QUEUED: usize = 8 * 1024 * 1024;
/// Clients at a time.
const MAX_CLIENTS: usize = 1024;

/// The clients, as the owner loop sees them.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    clients: Vec<Client>,
    lost_by_departed: u64,
}

#[derive(Debug)]
struct Client {
    number: u64,
    outbox: Outbox,
    complained: bool,
}

impl Bus {
    /// Somebody connected.
    pub(crate) fn join(&mut self, number: u64, outbox: Outbox) {
        if self.clients.len() < MAX_CLIENTS {
            self.clients.push(Client {
                number,
                outbox,
                complained: false,
            });
        }
    }

    /// Somebody left.
    pub(crate) fn leave(&mut self, number: u64) {
        self.clients.retain(|client| {
            let stays = client.number != number;
            if !stays {
                self.lost_by_departed += client.outbox.lost();
            }
            stays
        });
    }

    /// Whether every client has been sent all there was for it.
    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.iter().all(|client| client.outbox.is_empty())
    }

    /// Whether anybody listens: if not, nothing need be encoded.
    pub(crate) fn has_listeners(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Bytes that wait for clients. A frame that waits for several is counted for each.
    pub(crate) fn queued(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| client.outbox.queued() as u64)
            .sum()
    }

    /// How many listen now.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Frames lost by slow clients since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_by_departed
            + self
                .clients
                .iter()
                .map(|client| client.outbox.lost())
                .sum::<u64>()
    }

    /// Send a frame to all. Returns how many clients have just lost their first one.
    pub(crate) fn publish(&mut self, frame: Vec<u8>) -> usize {
        let frame = Bytes::from(frame);
        let mut newly = 0;
        for client in &mut self.clients {
            if client.outbox.send(frame.clone()) == Err(Refused::Full) && !client.complained {
                client.complained = true;
                newly += 1;
            }
        }
        newly
    }
}

/// Accept connections for ever.
pub(crate) async fn serve(listener: UnixListener, events: Sender<Event>) {
    let mut number = 0;
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        number += 1;
        let (mut reader, writer) = socket.into_split();
        let (outbox, outgoing) = outbox(MAX_QUEUED);
        tokio::spawn(write_out(outgoing, writer));
        if events.send(Event::BusJoined { number, outbox }).await.is_err() {
            return;
        }
        let events = events.clone();
        tokio::spawn(async move {
            // Clients have nothing to say here; whatever they send is passed over until they leave.
            let mut scrap = [0; 256];
            while matches!(reader.read(&mut scrap).await, Ok(read) if read > 0) {}
            let _ = events.send(Event::BusLeft { number }).await;
        });
    }
}

//! A server as the store keeps it, so that a hub that starts again shows what it last knew. Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::absence::{Absence, Departure, Life};
use super::model::{AgentKind, Failure, Millis, Process, ServerFacts, ServerId};
use super::ring::Recent;
use super::server::{Entry, Identity, Server};

/// Format of the bytes below; a reader refuses what it does not know.
const FORMAT: u32 = 1;

/// One server to be written to, or read from, the catalog.
#[derive(Clone, Debug)]
pub struct StoredServer {
    /// Its id.
    pub id: ServerId,
    /// Which agent reports it.
    pub kind: AgentKind,
    /// How it is known again.
    pub identity: Identity,
    /// Its name.
    pub name: String,
    /// Its host's name.
    pub hostname: String,
    /// When the hub first heard of it.
    pub first_seen: Millis,
    /// When data last came in.
    pub last_seen: Millis,
    /// Hidden until linked anew.
    pub hidden: bool,
    /// What [`Server`] keeps beyond this, opaque to the store.
    pub snapshot: Vec<u8>,
}

/// What could be wrong with stored bytes.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Written by a newer hub.
    #[error("reading the last state of a server: format {0} is not known to this version")]
    Format(u32),
    /// Not what we write.
    #[error("reading the last state of a server: {0}")]
    Parse(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    facts: ServerFacts,
    agents: VecDeque<String>,
    processes: Vec<StoredProcess>,
    /// What the record's columns cannot tell: which of several machines with one id this is.
    #[serde(default)]
    copy: Option<String>,
    #[serde(default)]
    hidden_at: Millis,
    #[serde(default)]
    stopped: bool,
    #[serde(default)]
    failure: Option<Failure>,
    #[serde(default)]
    absence: Option<Absence>,
    #[serde(default)]
    life: Life,
}

#[derive(Serialize, Deserialize)]
struct StoredProcess {
    first_seen: Millis,
    process: Process,
}

impl Server {
    /// The server as it is to be stored.
    pub(super) fn to_stored(&self) -> StoredServer {
        let snapshot = Snapshot {
            format: FORMAT,
            facts: self.facts.clone(),
            agents: self.agents.clone(),
            processes: self
                .processes
                .values()
                .map(|entry| StoredProcess {
                    first_seen: entry.first_seen,
                    process: entry.now.clone(),
                })
                .collect(),
            hidden_at: self.hidden_at,
            copy: match &self.identity {
                Identity::Machine { copy, .. } => copy.clone(),
                Identity::Told => None,
            },
            failure: self.failure.clone(),
            stopped: matches!(self.ended, Some((_, Departure::Goodbye))),
            absence: self.absence.clone(),
            life: self.life.clone(),
        };
        StoredServer {
            id: self.id,
            kind: self.kind,
            identity: self.identity.clone(),
            name: self.name.clone(),
            hostname: self.facts.hostname.clone(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            hidden: self.hidden,
            // Maps with text keys and finite numbers only: it cannot fail; if it did, an empty state is the truth we have.
            snapshot: serde_json::to_vec(&snapshot).unwrap_or_default(),
        }
    }

    /// A server as it was, with no link yet. An unreadable snapshot costs the details, never the server.
    pub(super) fn from_stored(stored: StoredServer) -> (Self, Result<(), StoredError>) {
        let mut server = Self::new(stored.id, stored.kind, stored.identity, stored.first_seen);
        server.name = stored.name;
        server.facts.hostname = stored.hostname;
        server.last_seen = stored.last_seen;
        server.hidden = stored.hidden;
        server.ended = Some((stored.last_seen, Departure::HubDown));
        let outcome = if stored.snapshot.is_empty() {
            Ok(())
        } else {
            server.restore_snapshot(&stored.snapshot)
        };
        (server, outcome)
    }

    fn restore_snapshot(&mut self, bytes: &[u8]) -> Result<(), StoredError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.format != FORMAT {
            return Err(StoredError::Format(head.format));
        }
        let snapshot: Snapshot = serde_json::from_slice(bytes)?;
        self.facts = snapshot.facts;
        self.agents = snapshot.agents;
        self.hidden_at = snapshot.hidden_at;
        self.failure = snapshot.failure;
        if let Identity::Machine { copy, .. } = &mut self.identity {
            *copy = snapshot.copy;
        }
        self.absence = snapshot.absence;
        self.life = snapshot.life;
        let departure = if snapshot.stopped {
            Departure::Goodbye
        } else {
            Departure::HubDown
        };
        self.ended = Some((self.last_seen, departure));
        for stored in snapshot.processes {
            let entry = Entry {
                first_seen: stored.first_seen,
                now: stored.process,
                over_plan: false,
                recent: Recent::default(),
            };
            self.processes.insert(entry.now.key(), entry);
        }
        Ok(())
    }
}

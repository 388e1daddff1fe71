//! Between the live state and the catalog's record of a server. Pure.

use super::model::AgentKind;
use super::server::Identity;
use super::stored::StoredServer;
use crate::ids::BucketId;
use crate::store::catalog::ServerRecord;

pub(super) fn to_record(bucket: BucketId, stored: StoredServer) -> ServerRecord {
    let machine = match stored.identity {
        Identity::Machine { machine, .. } => Some(machine),
        Identity::Told => None,
    };
    ServerRecord {
        id: stored.id,
        bucket,
        name: stored.name,
        machine,
        home: None,
        hostname: stored.hostname,
        agent: stored.kind.as_str().to_owned(),
        hidden: stored.hidden,
        first_seen_ms: stored.first_seen,
        last_seen_ms: stored.last_seen,
        snapshot: (!stored.snapshot.is_empty()).then_some(stored.snapshot),
    }
}

pub(super) fn from_record(record: ServerRecord) -> StoredServer {
    let identity = match record.machine {
        Some(machine) => Identity::Machine { machine, copy: None },
        None => Identity::Told,
    };
    StoredServer {
        id: record.id,
        kind: if record.agent == AgentKind::Pilothouse.as_str() {
            AgentKind::Pilothouse
        } else {
            AgentKind::Pm2
        },
        identity,
        name: record.name,
        hostname: record.hostname,
        first_seen: record.first_seen_ms,
        last_seen: record.last_seen_ms,
        hidden: record.hidden,
        snapshot: record.snapshot.unwrap_or_default(),
    }
}

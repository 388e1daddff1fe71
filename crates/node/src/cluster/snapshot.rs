//! What of the primary must survive the shell, as text.
//!
//! Version 1 is an object `{v, next_listener, next_number, listeners, workers}`. Fields may be added; a reader passes over what it does
//! not know and takes the default for what is absent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Policy, SockName};
use crate::internal::{Address, Dialect};

/// A snapshot that can't be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Not JSON, or of an unexpected shape.
    #[error("reading the record of cluster sockets: {0}")]
    Shape(#[from] serde_json::Error),
    /// Written by something newer.
    #[error(
        "reading the record of cluster sockets: its version is {0}, this release knows 1; start the release that wrote it"
    )]
    Version(u32),
}

/// All that must survive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    pub(super) v: u32,
    #[serde(default)]
    pub(super) next_listener: u64,
    #[serde(default)]
    pub(super) next_number: u64,
    #[serde(default)]
    pub(super) listeners: BTreeMap<u64, ListenerText>,
    #[serde(default)]
    pub(super) workers: BTreeMap<u64, WorkerText>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ListenerText {
    pub(super) key: String,
    pub(super) address: AddressText,
    #[serde(default)]
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) sockname: Option<SockName>,
    #[serde(default)]
    pub(super) data: Value,
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WorkerText {
    #[serde(default)]
    pub(super) group: String,
    #[serde(default)]
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) dialect: Dialect,
    #[serde(default)]
    pub(super) withdrawn: bool,
    #[serde(default)]
    pub(super) last_seq: Option<u64>,
    /// Socket, query, and whether it listens there.
    #[serde(default)]
    pub(super) open: Vec<(u64, u64, bool)>,
    #[serde(default)]
    pub(super) listening: BTreeSet<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum AddressText {
    Tcp {
        host: Option<String>,
        port: u16,
        v6_only: bool,
    },
    Udp {
        host: Option<String>,
        port: u16,
        v6: bool,
        v6_only: bool,
        reuse: bool,
    },
    Unix {
        path: String,
        readable_all: bool,
        writable_all: bool,
    },
    Descriptor {
        number: u32,
    },
}

impl From<Address> for AddressText {
    fn from(address: Address) -> Self {
        match address {
            Address::Tcp { host, port, v6_only } => Self::Tcp { host, port, v6_only },
            Address::Udp {
                host,
                port,
                v6,
                v6_only,
                reuse,
            } => Self::Udp {
                host,
                port,
                v6,
                v6_only,
                reuse,
            },
            Address::Unix {
                path,
                readable_all,
                writable_all,
            } => Self::Unix {
                path,
                readable_all,
                writable_all,
            },
            Address::Descriptor(number) => Self::Descriptor { number },
        }
    }
}

impl From<AddressText> for Address {
    fn from(address: AddressText) -> Self {
        match address {
            AddressText::Tcp { host, port, v6_only } => Self::Tcp { host, port, v6_only },
            AddressText::Udp {
                host,
                port,
                v6,
                v6_only,
                reuse,
            } => Self::Udp {
                host,
                port,
                v6,
                v6_only,
                reuse,
            },
            AddressText::Unix {
                path,
                readable_all,
                writable_all,
            } => Self::Unix {
                path,
                readable_all,
                writable_all,
            },
            AddressText::Descriptor { number } => Self::Descriptor(number),
        }
    }
}

impl Snapshot {
    /// The bytes to keep.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        // Text keys and plain values always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the bytes hold.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let snapshot: Self = serde_json::from_slice(bytes)?;
        if snapshot.v == 1 {
            Ok(snapshot)
        } else {
            Err(SnapshotError::Version(snapshot.v))
        }
    }
}

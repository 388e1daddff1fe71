//! What leaves a host: every field of every packet of an agent, with what it is, what for, and an example.
//!
//! The list is a text ([`TEXT`]) that is part of the program, and a test holds it against the types of this crate: a field that
//! leaves and is not listed fails it. What there is beside packets is said in its [`preamble`].
//!
//! A host seals the list when it links ([`Seal`]): it signs [`sealed`] with a key of its own. So a hub can tell that the host is the one it was,
//! and everybody can see when what it says that it sends has changed.

use crate::ids::MachineId;
use minicbor::{Decode, Encode};

/// The list, as it is sealed.
///
/// After a preamble sections begin with `[Name] packets` and a line that says what for; each further line is a field: `name | what it is | an example`.
pub const TEXT: &str = include_str!("manifest.txt");

/// A part of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name in this crate.
    pub name: &'static str,
    /// The packets that it is in, by [`AgentMessage::kind`](crate::AgentMessage::kind).
    pub packets: Vec<&'static str>,
    /// Why it leaves the host.
    pub why: &'static str,
    /// What it is made of.
    pub fields: Vec<Field>,
}

/// A field that leaves the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in this crate.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it looks like.
    pub example: &'static str,
}

/// What a host says of the list: signed by a key that it made when it was first linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seal {
    /// SHA-256 of [`TEXT`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The host's public key, Ed25519.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// Its signature of [`sealed`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// The bytes that a host signs: that this machine sends what this list says.
pub fn sealed(machine: &MachineId, digest: &[u8; 32]) -> Vec<u8> {
    [b"pilothouse manifest 1\0".as_slice(), &machine.0, digest].concat()
}

/// What is said before the list.
pub fn preamble() -> &'static str {
    TEXT.split("\n\n").next().unwrap_or_default()
}

/// The list in parts.
pub fn sections() -> Vec<Section> {
    TEXT.split("\n\n").filter_map(section).collect()
}

fn section(text: &'static str) -> Option<Section> {
    let mut lines = text.lines();
    let (name, packets) = lines.next()?.strip_prefix('[')?.split_once("] ")?;
    Some(Section {
        name,
        packets: packets.split(", ").collect(),
        why: lines.next()?,
        fields: lines.filter_map(field).collect(),
    })
}

fn field(line: &'static str) -> Option<Field> {
    let mut parts = line.splitn(3, " | ");
    Some(Field {
        name: parts.next()?,
        what: parts.next()?,
        example: parts.next()?,
    })
}

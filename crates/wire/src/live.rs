//! Live state: a full view now and then, changes in between, once a second.
//!
//! A delta counts only on the revision it names as its base. A receiver that sees another base asks for a snapshot
//! ([`crate::message::Resend`]) and ignores deltas until it comes. Live state is never stored by the agent: after a gap
//! only the present matters.

use crate::codec::{self, is_default};
use crate::telemetry::{Host, HostChange, Process, ProcessChange};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use thiserror::Error;

/// A type whose changes can be told apart from its whole.
pub trait Track {
    /// What differs between two values.
    type Change;
    /// What turns `self` into `next`; `None` when they are equal.
    fn diff(&self, next: &Self) -> Option<Self::Change>;
    /// Turns `self` into what it was compared with.
    fn apply(&mut self, change: Self::Change);
}

macro_rules! track_whole {
    ($($ty:ty),+ $(,)?) => { $(
        impl crate::live::Track for $ty {
            type Change = $ty;
            fn diff(&self, next: &Self) -> Option<Self> { (self != next).then(|| next.clone()) }
            fn apply(&mut self, change: Self) { *self = change; }
        }
    )+ };
}
track_whole!(String, bool, u32, u64, f64, Vec<String>);

/// A struct and the struct of its changes, field by field, from one list.
macro_rules! tracked {
    (
        $(#[$meta:meta])* pub struct $name:ident / $change:ident {
            $($(#[$fmeta:meta])* $n:literal $field:ident : $ty:ty
                $(, with $with:literal / $optional_with:literal)?
                $(, list $list:literal / $optional_list:literal)? ;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
        #[cbor(map)]
        pub struct $name {
            $($(#[$fmeta])*
            #[cbor(n($n), skip_if = "crate::codec::is_default" $(, with = $with)? $(, decode_with = $list)?)]
            pub $field: $ty,)+
        }

        #[doc = concat!("What changed between two [`", stringify!($name), "`]s; absent fields did not.")]
        #[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
        #[cbor(map)]
        pub struct $change {
            $($(#[$fmeta])*
            #[cbor(n($n), skip_if = "Option::is_none" $(, with = $optional_with)? $(, decode_with = $optional_list)?)]
            pub $field: Option<<$ty as crate::live::Track>::Change>,)+
        }

        impl crate::live::Track for $name {
            type Change = $change;
            fn diff(&self, next: &Self) -> Option<$change> {
                let change = $change {
                    $($field: crate::live::Track::diff(&self.$field, &next.$field),)+
                };
                (change != $change::default()).then_some(change)
            }
            fn apply(&mut self, change: $change) {
                $(if let Some(c) = change.$field {
                    crate::live::Track::apply(&mut self.$field, c);
                })+
            }
        }
    };
}
pub(crate) use {track_whole, tracked};

/// About how many bytes of memory a value takes: what of it travels, and what each piece costs beside its content.
pub fn weight<T: Encode<()>>(value: &T) -> usize {
    /// What a piece of a message costs in memory, beside what is in it.
    const PIECE: usize = 16;
    struct Scales(usize);
    impl minicbor::encode::Write for Scales {
        type Error = std::convert::Infallible;
        fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            self.0 = self.0.saturating_add(bytes.len() + PIECE);
            Ok(())
        }
    }
    let mut scales = Scales(0);
    // Nothing can fail in it; what did would weigh too much.
    match minicbor::encode(value, &mut scales) {
        Ok(()) => scales.0,
        Err(_) => usize::MAX,
    }
}

/// Everything there is to see of a server now.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Snapshot {
    /// Revision of this view; the next delta names it as its base.
    #[n(0)]
    pub rev: u64,
    /// When it was taken, milliseconds since the epoch by the agent's clock.
    #[n(1)]
    pub at: u64,
    /// The machine.
    #[cbor(n(2), skip_if = "is_default")]
    pub host: Host,
    /// Every monitored process, by its `pm_id`.
    #[cbor(
        n(3),
        skip_if = "is_default",
        decode_with = "codec::list::<_, _, { codec::MAX_PROCESSES }>"
    )]
    pub processes: Vec<ProcessEntry>,
}

/// One process of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ProcessEntry {
    /// PM2's number of the process: unique on this server at any one time.
    #[n(0)]
    pub pm_id: u32,
    /// What there is to know of it.
    #[n(1)]
    pub process: Process,
}

/// What changed since the revision `base`.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Delta {
    /// The revision this change applies to.
    #[n(0)]
    pub base: u64,
    /// The revision after it.
    #[n(1)]
    pub rev: u64,
    /// When it was taken, milliseconds since the epoch by the agent's clock.
    #[n(2)]
    pub at: u64,
    /// Changes of the machine.
    #[n(3)]
    pub host: Option<HostChange>,
    /// New and changed processes; one that is not known yet starts from the default.
    #[cbor(
        n(4),
        skip_if = "is_default",
        decode_with = "codec::list::<_, _, { codec::MAX_PROCESSES }>"
    )]
    pub changed: Vec<ChangedEntry>,
    /// Numbers of the processes that are gone or no longer monitored.
    #[cbor(
        n(5),
        skip_if = "is_default",
        decode_with = "codec::list::<_, _, { codec::MAX_PROCESSES }>"
    )]
    pub removed: Vec<u32>,
}

impl Delta {
    /// Whether nothing but the time changed.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// One process of a delta.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ChangedEntry {
    /// PM2's number of the process.
    #[n(0)]
    pub pm_id: u32,
    /// What changed.
    #[n(1)]
    pub change: ProcessChange,
}

/// A delta does not fit the view it was applied to.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// The delta names another base: one was lost, or none came yet.
    #[error("delta is based on revision {base}, this view is at {rev}")]
    WrongBase {
        /// Revision the delta wants.
        base: u64,
        /// Revision that is there.
        rev: u64,
    },
    /// More processes or metrics than a view may hold.
    #[error("view would hold more processes or metrics than allowed")]
    TooMany,
    /// All that it holds would take more memory than it may.
    #[error("view would hold more than is allowed")]
    TooMuch,
}

/// The view of one server, kept alike on both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Revision of the view; 0 before the first snapshot.
    pub rev: u64,
    /// When it was last told, milliseconds since the epoch by the agent's clock.
    pub at: u64,
    /// The machine.
    pub host: Host,
    /// The processes by `pm_id`.
    pub processes: BTreeMap<u32, Process>,
}

impl View {
    /// The whole view as a message.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rev: self.rev,
            at: self.at,
            host: self.host.clone(),
            processes: self
                .processes
                .iter()
                .map(|(&pm_id, process)| ProcessEntry {
                    pm_id,
                    process: process.clone(),
                })
                .collect(),
        }
    }

    /// Replaces the view by what a snapshot says.
    pub fn reset(&mut self, snapshot: Snapshot) {
        *self = Self {
            rev: snapshot.rev,
            at: snapshot.at,
            host: snapshot.host,
            processes: snapshot
                .processes
                .into_iter()
                .map(|e| (e.pm_id, e.process))
                .collect(),
        };
    }

    /// What turns `self` into `next`; the revisions and time are taken from the two.
    pub fn diff(&self, next: &Self) -> Delta {
        let fresh = Process::default();
        let changed = next
            .processes
            .iter()
            .filter_map(|(&pm_id, process)| match self.processes.get(&pm_id) {
                Some(before) => before.diff(process).map(|change| ChangedEntry { pm_id, change }),
                None => Some(ChangedEntry {
                    pm_id,
                    change: fresh.diff(process).unwrap_or_default(),
                }),
            })
            .collect();
        let removed = self
            .processes
            .keys()
            .filter(|id| !next.processes.contains_key(id))
            .copied()
            .collect();
        Delta {
            base: self.rev,
            rev: next.rev,
            at: next.at,
            host: self.host.diff(&next.host),
            changed,
            removed,
        }
    }

    /// Applies a delta. On an error the view is as before.
    pub fn apply(&mut self, delta: Delta) -> Result<(), ApplyError> {
        if delta.base != self.rev {
            return Err(ApplyError::WrongBase {
                base: delta.base,
                rev: self.rev,
            });
        }
        if !self.has_room_for(&delta) {
            return Err(ApplyError::TooMany);
        }
        for id in &delta.removed {
            self.processes.remove(id);
        }
        for entry in delta.changed {
            self.processes.entry(entry.pm_id).or_default().apply(entry.change);
        }
        if let Some(change) = delta.host {
            self.host.apply(change);
        }
        self.rev = delta.rev;
        self.at = delta.at;
        Ok(())
    }

    /// What the whole view weighs (see [`weight`]).
    pub fn weight(&self) -> usize {
        self.processes
            .values()
            .map(weight)
            .fold(weight(&self.host), usize::saturating_add)
    }

    /// Deltas come for ever, so what they add up to needs a bound of its own.
    fn has_room_for(&self, delta: &Delta) -> bool {
        let fits = |now: usize, change: Option<&crate::telemetry::MetricsChange>| {
            now + change.map_or(0, |c| c.set.len()) <= 2 * codec::MAX_METRICS
        };
        self.processes.len() + delta.changed.len() <= 2 * codec::MAX_PROCESSES
            && fits(
                self.host.metrics.len(),
                delta.host.as_ref().and_then(|h| h.metrics.as_ref()),
            )
            && delta.changed.iter().all(|e| {
                fits(
                    self.processes.get(&e.pm_id).map_or(0, |p| p.metrics.len()),
                    e.change.metrics.as_ref(),
                )
            })
    }
}

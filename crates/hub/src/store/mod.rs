//! Keeps: the three ports behind which data lives, and the drivers embedded in this program.
//!
//! | port | keeps | embedded driver |
//! |---|---|---|
//! | [`Catalog`] | users, buckets, members, tokens, servers, audit, settings | SQLite |
//! | [`Telemetry`] | metric samples and events | pages in SQLite, with a journal for the open minute |
//! | [`Bus`] | messages between parts of one or many hubs | in process |
//!
//! Nothing outside this module writes SQL, and nothing in here knows HTTP or PM2.

pub mod bus;
pub mod catalog;
#[cfg(test)]
mod contract;
mod in_process;
pub mod page;
pub mod sqlite;
pub mod telemetry;

pub use bus::{Bus, BusError, Subscription};
pub use catalog::Catalog;
pub use in_process::InProcessBus;
pub use telemetry::Telemetry;

use futures_util::future::BoxFuture;

/// What a port's method gives: ports are trait objects, so their futures are boxed.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The thing to change is not there (any more).
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Something with that name exists.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// Another hub holds the folder.
    #[error(
        "cannot use the data folder {folder}: another hub{holder} holds it; stop that hub or give another --data"
    )]
    Held {
        /// The folder.
        folder: String,
        /// ` (pid N)` when the holder is known, else empty.
        holder: String,
    },
    /// Files of the store could not be read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being tried.
        doing: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("cannot {doing}: {source}")]
    Database {
        /// What was being tried.
        doing: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "cannot use {path}: its format {found} is newer than this program knows ({known}); install a newer version"
    )]
    Newer {
        /// The database file.
        path: String,
        /// The format found there.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The data could not be brought to disk; nothing of it is kept.
    #[error("cannot {doing}: {why}")]
    NotSaved {
        /// What was being tried.
        doing: &'static str,
        /// What the database said.
        why: String,
    },
    /// What is stored cannot be understood; `what` says where.
    #[error("stored data is damaged: {what}")]
    Damaged {
        /// What and where.
        what: String,
    },
    /// It is larger than anything this store takes or gives.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// Too much waits to be written; try again later.
    #[error("the store is too busy: {waiting} writes wait")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The store was closed, or its writer ended.
    #[error("the store is closed")]
    Closed,
}

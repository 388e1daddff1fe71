//! The embedded drivers of catalog and telemetry: SQLite files in one folder.

mod catalog;
mod database;
mod folder;
mod migrate;
mod telemetry;

pub use catalog::SqliteCatalog;
pub use folder::DataFolder;
pub use telemetry::SqliteTelemetry;
#[doc(hidden)]
pub use telemetry::read_journal_record;

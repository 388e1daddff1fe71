//! Speaks Node: the IPC channel between a Node child and its parent.
//!
//! [`frame`] cuts the byte stream of the channel into JSON lines and writes lines that Node accepts; [`message`] says what a
//! child's line means, [`internal`] what one of Node's own means; [`cluster`] is the primary of Node's cluster, [`release`] what a release of Node takes. Pure: the descriptors, their queues and the sending belong to the caller.
//!
//! Any program may take part by writing JSON lines to the descriptor named in [`CHANNEL_FD`], not Node alone.
//!
//! This crate never touches a descriptor, never panics on what a child wrote, and never lets out a line that could kill one.

pub mod cluster;
pub mod frame;
pub mod internal;
pub mod message;
pub mod release;

/// Loaded into cluster workers that run on Node (`--require`): lets go of clients gently, and reports errors as PM2's wrapper does.
pub const PRELOAD: &str = concat!(include_str!("entry.cjs"), include_str!("preload.cjs"));
/// Loaded into Node apps (`--require`) that do not refuse it: metrics, profiles and errors as PM2's injected monitoring tells them.
pub const MONITOR: &str = concat!(include_str!("entry.cjs"), include_str!("monitor.cjs"));
/// Loaded into Node apps (`--require`) that are to be traced: starts OpenTelemetry and tells its spans as PM2's dashboards read them.
pub const TRACE: &str = include_str!("trace.cjs");
/// Variable that tells [`TRACE`] in which folder the packages are.
pub const TRACE_FOLDER: &str = "PILOTHOUSE_OTEL";
/// Variable by which [`MONITOR`] knows that it is meant: [`MONITOR_ERRORS`] or [`MONITOR_FIGURES`].
pub const MONITOR_MARK: &str = "PILOTHOUSE_MONITOR";
/// It reports errors, too.
pub const MONITOR_ERRORS: &str = "errors";
/// Somebody else reports the errors.
pub const MONITOR_FIGURES: &str = "figures";

/// Variable that tells the child the number of its channel's descriptor.
pub const CHANNEL_FD: &str = "NODE_CHANNEL_FD";
/// Variable that tells the child how messages are written; always [`SERIALIZATION_JSON`].
pub const CHANNEL_SERIALIZATION_MODE: &str = "NODE_CHANNEL_SERIALIZATION_MODE";
/// The only mode that is offered.
pub const SERIALIZATION_JSON: &str = "json";

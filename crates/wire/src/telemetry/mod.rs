//! The normalised model of what is observed. Both doors of the hub (our agents, PM2's agents) produce it.
//!
//! Times are milliseconds since the Unix epoch by the clock of the reporting host, sizes are bytes, `cpu` is percent of
//! one core. An empty text and a zero time mean "not known".

mod event;
mod process;
mod sample;
mod server;
mod value;

pub use event::{Event, EventKind, Exception, LogLine, LogStream, ProcessRef};
pub use process::{ActionKind, AppAction, ExecMode, Process, ProcessChange, ProcessStatus, Versioning};
pub use sample::{MAX_TICKS, SampleBatch, Series};
pub use server::{Host, HostChange, ServerFacts, Versions};
pub use value::{Metric, MetricChange, Metrics, MetricsChange, NamedChange, Value};

/// The name of the metric every process has: percent of one core.
pub const METRIC_CPU: &str = "cpu";
/// The name of the metric every process has: resident memory in bytes.
pub const METRIC_MEMORY: &str = "memory";

//! Tables and texts as PM2 shows them. Pure: facts in, text out.

mod describe;
mod host;
mod list;
mod log;
mod mini;
mod size;
mod table;

pub(crate) use describe::{describe, metric_text};
pub(crate) use host::host_line;
pub(crate) use list::{Field, Order, list, uptime};
pub(crate) use log::{LogLine, LogStyle};
pub(crate) use mini::mini;
pub(crate) use size::size;
pub(crate) use table::{Cell, Table, cut, tame};

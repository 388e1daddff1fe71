//! Tables and texts as PM2 shows them. Pure: facts in, text out.

mod describe;
mod host;
mod list;
mod log;
mod mini;
mod size;
mod table;

pub(crate) use describe::describe;
pub(crate) use host::host_line;
pub(crate) use list::{Order, list};
pub(crate) use log::{LogLine, LogStyle};
pub(crate) use mini::mini;
use size::size;
pub(crate) use table::{Cell, Table, cut};

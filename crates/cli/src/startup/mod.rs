//! The start with the machine: which init system there is, what it must be told, and in which file. All of it is computed here and
//! done by `verbs::startup`.

mod plan;
mod platform;
mod quote;

pub(crate) use plan::{Facts, Plan, logrotate};
pub(crate) use platform::Platform;

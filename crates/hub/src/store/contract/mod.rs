//! What every driver of a port must do; each driver's tests call these.

pub(crate) mod bus;
pub(crate) mod catalog;
pub(crate) mod telemetry;

//! What every driver of a port must do; each driver's tests call these.

pub(crate) mod catalog;

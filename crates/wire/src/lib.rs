//! Tells: the messages between our agent and the hub, and the telemetry model.

//! Decides: the life of a process as a pure state machine.

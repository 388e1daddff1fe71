//! Speaks Node: the IPC channel between a Node child and its parent.

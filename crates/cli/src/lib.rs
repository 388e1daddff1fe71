//! Shows: arguments, verbs, tables, and the client of the daemon.

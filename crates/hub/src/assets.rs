//! The dashboard, embedded.

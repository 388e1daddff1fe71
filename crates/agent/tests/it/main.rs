//! The agent against a small hub on real sockets.

mod hub;
mod link;
mod reports;
mod requests;
mod rules;
mod tls;

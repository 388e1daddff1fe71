//! Runs: the shell around the supervisor, for one `$PM2_HOME`.
//!
//! One thread, one owner loop ([`owner`]): it takes an event, lets the pure rooms decide, carries out what they ask for, and goes back to
//! its `select!`, which is the only thing it waits for. What may block is elsewhere: sockets are tasks of their own, files are written
//! by the [`disk`] thread, output of apps is moved by the log pump's thread, the agent lives on its own.
//!
//! The daemon may die at any moment, by a panic or by `kill -9`. So it owns nothing that matters: children, pipes, IPC channels,
//! listening sockets and each process's record are in the keeper, and a new daemon carries on from there.
//!
//! What this room will never do: wait inside the loop, trust a byte that came from a socket or a child, or keep a fact that only its
//! own memory has.

mod agent_actions;
mod agent_host;
mod answers;
mod app;
mod app_sockets;
mod boot;
mod bus;
mod child_channel;
mod child_news;
mod chores;
mod clock;
mod cluster;
mod crashes;
mod cron;
mod disk;
mod ending;
mod event;
mod handover;
mod health;
mod host_metrics;
mod jobs;
mod journal;
mod keeper_link;
mod keeper_news;
mod launching;
mod ledger;
mod leftovers;
mod limits;
mod lines;
mod methods;
mod observation;
mod outbox;
mod own_log;
mod owner;
mod preload;
mod profile;
mod pump;
mod recent;
mod record;
mod reloading;
mod replacing;
mod rest;
mod rotation;
mod rpc;
mod run;
mod settings;
mod sockets;
mod stdin;
mod tree;
mod versioning;
mod versions;
mod watch;
mod watched;
mod worker;

use std::os::fd::OwnedFd;

use keeper::client::Respawn;
use pm2::home::Home;

pub use run::run;

/// What the daemon is started with. The environment of the daemon itself is read once, at the start of [`run`].
#[derive(Debug)]
pub struct DaemonOptions {
    /// Where its files and sockets are.
    pub home: Home,
    /// The connection to the keeper that started it.
    pub keeper: OwnedFd,
    /// How to start another keeper, should that one die.
    pub respawn: Respawn,
    /// One byte is written here once both sockets listen; then it is closed.
    pub ready: Option<OwnedFd>,
}

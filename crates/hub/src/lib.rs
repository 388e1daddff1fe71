//! Collects: takes in what agents report, knows how every server is this second, keeps history, and shows it to
//! browsers and to PM2's own client.
//!
//! ```text
//! agents ─► intake ─► live ─► realtime ─► browsers, @pm2/js-api
//!              │        ▲
//!              ▼        │ actions ◄── api (REST)
//!            store ◄────┴──────────────┘
//! ```
//!
//! This room never starts, stops or watches a process of its machine, and never needs a process manager where it
//! runs. Only [`store`] writes SQL. PM2's shapes stop at its doors: `intake` for PM2's agents, [`api`] and `realtime`
//! for PM2's client.

pub mod actions;
pub mod api;
pub mod assets;
pub mod audit;
pub mod auth;
mod carry;
pub mod cli;
pub mod clock;
pub mod ids;
pub mod intake;
pub mod live;
mod middleware;
pub mod options;
pub mod plans;
pub mod ports;
pub mod proxies;
pub mod realtime;
pub mod server;
pub mod setup;
pub mod state;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use clock::Clock;
pub use options::HubOptions;
pub use state::AppState;

//! Speaks PM2: pure codecs of everything that PM2 shows to the outside.
//!
//! Socket frames ([`axon`], [`rpc`], [`bus`]), the files and paths of `$PM2_HOME` ([`home`], [`dump`]), the attributes of
//! an app ([`schema`]), the life of `pm2_env` ([`mod@env`]), its way of writing things ([`dates`], [`inspect`], [`units`]),
//! and the messages of its monitoring agent ([`agent_wire`]).
//!
//! Nothing else in the tree knows PM2's field names. This crate never opens a file or a socket, reads no clock and no
//! environment, and starts nothing: facts come in as arguments. Whatever bytes come in, it answers or refuses; it does not
//! panic and does not grow beyond the limits its caller gives.

pub mod agent_wire;
pub mod axon;
pub mod bus;
pub mod cron;
pub mod dates;
pub mod dump;
pub mod env;
pub mod health;
pub mod home;
pub mod inspect;
pub mod js;
pub mod limits;
pub mod listen_sockets;
pub mod log_rotation;
pub mod module_conf;
pub mod rpc;
pub mod schema;
pub mod units;

/// The release of PM2 whose behaviour is offered; `getVersion` answers it, so that node's CLI does not ask for an update.
pub const COMPAT_VERSION: &str = "7.0.4";

/// An ordered JSON object, the shape in which apps and `pm2_env` travel.
pub type Object = serde_json::Map<String, serde_json::Value>;

//! The hub from outside, on loopback: agents of both kinds come in, dashboards and PM2's clients look on.

mod actions;
mod bad_input;
mod check;
mod crowd;
mod faults;
mod history;
mod lab;
mod ours;
mod places;
mod plan;
mod pm2_agent;
mod primus;
mod theirs;
mod wire_agent;

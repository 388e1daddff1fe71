//! The routes of this room, asked from outside.

mod audit;
mod buckets;
mod members;
mod oauth;
mod sessions;
mod users;

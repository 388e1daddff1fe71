//! The promises of the protocol: round trips, old and new together, and nothing an enemy sends does harm.

mod ages;
mod hostile;
mod manifest;
mod round_trip;

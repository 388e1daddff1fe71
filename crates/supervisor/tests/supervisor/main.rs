//! Simulations and rules of the supervisor, on simulated time.

mod rules;
mod simulation;
mod world;

//! Simulations and rules of the supervisor, on simulated time.

mod reloads;
mod rules;
mod simulation;
mod story;
mod world;

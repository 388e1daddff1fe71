//! Simulations and rules of the supervisor, on simulated time.

mod health;
mod reloads;
mod rules;
mod simulation;
mod story;
mod world;

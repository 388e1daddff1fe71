//! The real binary in homes of its own: what a user types, and what comes of it.

mod bad_input;
mod lifecycle;
mod linking;
mod logs;
mod place;
mod saving;
mod start;

//! A real keeper, a real daemon and real children.

mod bus;
mod channel;
mod death;
mod forged_hub;
mod home;
mod life;

//! Decides the life of a process: launch, ready, stop, kill, restart, back off, give up.
//!
//! The machine is pure. The shell tells it what happened ([`Supervisor::handle`]) and that time has
//! passed ([`Supervisor::handle_timeout`]), asks when it wants to be woken
//! ([`Supervisor::next_deadline`]), and carries out what it asks for ([`Supervisor::poll_effect`]).
//!
//! What this room will never do: read a clock, start or signal a process, touch a file, know PM2's
//! field names, or serialise itself. All of that is the shell's.
//!
//! Promises, held by the simulation in `tests/`:
//! - a process never has two live incarnations, but for a reload in progress, which has one more;
//! - a reload that does not bring up its new life leaves the old one as it was;
//! - a stopped process comes back only by a command;
//! - each ticket that was handed in gets exactly one [`Effect::Reply`];
//! - each waiting state has a deadline, so nothing waits for ever on a lost timer;
//! - what is said about an older incarnation changes nothing.

mod effect;
mod health;
mod input;
mod machine;
mod policy;
mod process;
mod time;

pub use effect::{Effect, Event, Refusal, ReloadFailure};
pub use health::{Health, HealthRules};
pub use input::{Command, Exit, Input};
pub use machine::Supervisor;
pub use policy::Policy;
pub use process::{Facts, FormerLife, Goal, Living, Phase, Readiness, Restored, Status, View};
pub use time::{Mono, Now};

/// Number of a process in the list (PM2's `pm_id`). Chosen by the shell, never reused while the entry exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcId(pub u32);

/// One life of one process. Unique over all processes of a supervisor and ever increasing, so what is
/// said about an old life can be told from news of the present one, whatever the kernel does with pids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Stands for one waiting caller. Chosen by the shell, unique; comes back in exactly one [`Effect::Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

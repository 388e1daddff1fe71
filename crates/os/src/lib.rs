//! Touches: spawn, pidfd, /proc, descriptor passing, sockets. The only room with unsafe code.
//!
//! Everything here is a thin, checked door to the kernel: a call does one thing, says in its error what it was, and keeps
//! no policy. It never decides what to run, when to kill or what to do next, never reads a configuration, never logs and
//! never blocks unless its name says so. Linux comes first; what another kernel would need stays behind these signatures.
//!
//! * [`spawn`]: start a program with its descriptors in place; [`wait`]: collect exits; [`process`]: signal, watch, retitle
//! * [`proc`]: sample processes and walk their tree cheaply; [`host`], [`devices`]: facts about the machine; [`users`]: names and ids
//! * [`fd`], [`pass`], [`memfd`], [`lock`], [`socket`], [`listen`], [`signal`], [`terminal`]: the small tools
//! * [`memory`]: how much of it is held on to
//! * [`notify`]: changes in folders; [`alarm`]: times of day; [`oom`]: kills for want of memory; [`cgroup`]: limits of resources
//! * [`custody`]: a second process that passes on what this one has in hand when it dies
//! * [`channel`]: an IPC stream to a child that survives the death of the process that uses it, byte for byte

pub mod alarm;
pub mod cgroup;
pub mod channel;
pub mod custody;
pub mod devices;
pub mod fd;
pub mod host;
pub mod listen;
pub mod lock;
pub mod memfd;
pub mod memory;
pub mod notify;
pub mod oom;
pub mod pass;
pub mod proc;
pub mod process;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod users;
pub mod wait;

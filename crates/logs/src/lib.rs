//! Writes: what apps print goes from their pipes to their log files here, and nowhere else.
//!
//! [`Pump`] owns a thread of its own, so that a slow disk never holds up the daemon's decisions. Where no format is asked for and
//! nobody listens, bytes move from pipe to file inside the kernel. [`tail`] reads the end of a log file.
//!
//! # What a death of the daemon does
//!
//! The keeper holds duplicates of the pipes and of the [`Passage`], so a successor attaches them again and goes on. Raw text: each byte
//! is either still in a pipe or already in the file, exactly once. Formatted text, and the second of two files for one stream: bytes are written first and
//! taken from the pipe afterwards, so a death between the two repeats a block and never loses one.
//!
//! # What this crate never does
//!
//! It never blocks an app for ever: when the disk is full it waits as long as the pipe has room, then drops, counts, and says so. It
//! knows nothing of processes, of JSON from apps, or of the bus: a stream is a number, and a listener is a function.

mod clock;
pub mod crashes;
mod format;
pub mod history;
mod pace;
mod passage;
mod pump;
mod rotation;
mod sink;
mod stream;
pub mod tail;
mod times;
mod wide;

pub use format::{Format, Stamp};
pub use passage::Passage;
pub use pump::{Error, Pump};
pub use rotation::{Complain, Housekeeper, MIN_SIZE, Rotation, family, put_aside, rotated_at};
pub use stream::{Attach, Chunk, Event, Side, StreamId};
pub use times::{Note, Times};

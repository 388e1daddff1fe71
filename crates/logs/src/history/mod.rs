//! What was written before: lines of a log and of its older parts, compressed or not, by time, from the front or from the end.
//!
//! Files of any size are read in blocks. A line has the time that was noted when it was written ([`Times`]); where there are no notes,
//! the date at its beginning; where there is none, that of the line before it.

mod backward;
mod forward;
mod part;

use std::path::{Path, PathBuf};

pub use backward::last;
pub use forward::{Forward, since};

use crate::rotation::family;
use crate::times::Times;

/// A longer line is cut: nobody reads it, and memory has an end.
pub const LONGEST_LINE: usize = 1024 * 1024;

/// Which lines are wanted by their time: ms since the epoch, both ends included. A line whose time is not known is within no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Not before.
    pub since_ms: Option<i64>,
    /// Not after.
    pub until_ms: Option<i64>,
}

impl Span {
    fn holds(&self, at_ms: Option<i64>) -> bool {
        match at_ms {
            Some(at) => self.since_ms.is_none_or(|since| at >= since) && !self.is_over(at),
            None => *self == Self::default(),
        }
    }

    fn is_over(&self, at_ms: i64) -> bool {
        self.until_ms.is_some_and(|until| at_ms > until)
    }
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it says; at most [`LONGEST_LINE`] bytes of it.
    pub text: Vec<u8>,
    /// When it was written, as far as that is known: ms since the epoch.
    pub at_ms: Option<i64>,
}

/// A log and where the notes of its times are.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Its path.
    pub path: &'a Path,
    /// The notes.
    pub times: &'a Times,
}

impl Log<'_> {
    /// All its files, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        // Older parts are beside the real file, and notes are kept by its real path.
        let real = std::fs::canonicalize(self.path).unwrap_or_else(|_| self.path.to_owned());
        let mut files = family(&real);
        files.push(real);
        files
    }
}

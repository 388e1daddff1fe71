//! The daemon's own log: lines in `pm2.log`, and `log:PM2` on the bus.

use pm2::dates::Pattern;

use crate::clock;
use crate::disk::Disk;

/// What a line is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// It happened.
    Log,
    /// Somebody should look.
    Error,
}

/// Writes lines of the form that PM2 users' scripts read.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Disk,
    date: Option<Pattern>,
}

impl Journal {
    pub(crate) fn new(disk: Disk, date: Option<Pattern>) -> Self {
        Self { disk, date }
    }

    /// Write a line. Returns what goes onto the bus, if anything does.
    pub(crate) fn write(&self, at_ms: i64, level: Level, text: &str) -> Option<String> {
        // A line of somebody else's words must not become two of ours.
        let text = text.trim_end().replace('\n', "\n    ");
        let word = match level {
            Level::Log => "log",
            Level::Error => "error",
        };
        match &self.date {
            Some(date) => {
                self.disk.log(format!(
                    "{}: PM2 {word}: {text}\n",
                    date.format(at_ms, clock::zone())
                ));
                Some(format!("{text}\n"))
            }
            None => {
                self.disk.log(format!("{text}\n"));
                None
            }
        }
    }
}

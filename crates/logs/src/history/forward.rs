//! From the beginning of a span to its end.

use std::io;
use std::path::PathBuf;
use std::vec::IntoIter;

use super::part::{Lines, Part};
use super::{Line, Log, Span};
use crate::times::Times;

/// The lines of a log within a span, oldest first.
pub struct Forward {
    times: Times,
    span: Span,
    files: IntoIter<PathBuf>,
    lines: Option<Lines>,
    over: bool,
}

/// The lines of `log` within `span`, oldest first, through all its parts.
#[must_use]
pub fn since(log: Log<'_>, span: Span) -> Forward {
    Forward {
        times: log.times.clone(),
        span,
        files: log.files().into_iter(),
        lines: None,
        over: false,
    }
}

impl Forward {
    fn next_line(&mut self) -> io::Result<Option<Line>> {
        while !self.over {
            let Some(lines) = &mut self.lines else {
                let Some(path) = self.files.next() else {
                    return Ok(None);
                };
                if let Some(part) = Part::open(&path, &self.times, self.span)? {
                    let begin = match part.size {
                        Some(size) => part.line_from(part.clock.begin(self.span), size)?,
                        None => 0,
                    };
                    self.lines = Some(part.reader(begin)?);
                }
                continue;
            };
            match lines.next()? {
                Some(line) if self.span.holds(line.at_ms) => return Ok(Some(line)),
                Some(line) => self.over = line.at_ms.is_some_and(|at| self.span.is_over(at)),
                None => self.lines = None,
            }
        }
        Ok(None)
    }
}

impl Iterator for Forward {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_line();
        if next.is_err() {
            // The next part may be readable.
            self.lines = None;
        }
        next.transpose()
    }
}

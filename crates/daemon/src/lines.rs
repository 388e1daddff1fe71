//! Whole lines out of pieces of output, for the hub. Pure; told the time.
//!
//! An app may write a line in many pieces. They are joined, but not for ever: a line that stays unfinished is passed on after a
//! moment, or when it has grown long.

use std::collections::BTreeMap;

use logs::StreamId;
use supervisor::Mono;

/// How long the rest of a line is waited for, ms.
const PATIENCE_MS: u64 = 200;
/// A line longer than this goes on in pieces, bytes.
const MAX_LINE: usize = 16 * 1024;

/// The unfinished line of each stream.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    unfinished: BTreeMap<StreamId, Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    text: String,
    at_ms: i64,
    until: Mono,
}

/// One line, without its newline, and when it began, ms since the epoch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) stream: StreamId,
    pub(crate) at_ms: i64,
    pub(crate) text: String,
}

impl Lines {
    /// Take in a piece; gives the lines that are whole now.
    pub(crate) fn push(&mut self, now: Mono, stream: StreamId, at_ms: i64, piece: &str) -> Vec<Line> {
        let mut whole = Vec::new();
        for part in piece.split_inclusive('\n') {
            let held = self.unfinished.remove(&stream);
            let (mut text, at_ms, until) = held.map_or_else(
                || (String::new(), at_ms, Mono(now.0 + PATIENCE_MS)),
                |held| (held.text, held.at_ms, held.until),
            );
            text.push_str(part.strip_suffix('\n').unwrap_or(part));
            if part.ends_with('\n') || text.len() >= MAX_LINE {
                if text.ends_with('\r') {
                    text.pop();
                }
                whole.push(Line { stream, at_ms, text });
            } else {
                self.unfinished.insert(stream, Unfinished { text, at_ms, until });
            }
        }
        whole
    }

    /// When to call [`Lines::overdue`].
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.unfinished.values().map(|held| held.until).min()
    }

    /// Unfinished lines that have waited long enough.
    pub(crate) fn overdue(&mut self, now: Mono) -> Vec<Line> {
        let due: Vec<StreamId> = self
            .unfinished
            .iter()
            .filter(|(_, held)| held.until <= now)
            .map(|(stream, _)| *stream)
            .collect();
        due.into_iter().filter_map(|stream| self.end(stream)).collect()
    }

    /// The stream has ended, or nobody listens any more: what is left of it.
    pub(crate) fn end(&mut self, stream: StreamId) -> Option<Line> {
        let held = self.unfinished.remove(&stream)?;
        Some(Line {
            stream,
            at_ms: held.at_ms,
            text: held.text,
        })
    }

    /// Nobody listens any more.
    pub(crate) fn clear(&mut self) {
        self.unfinished.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn pieces_become_lines_and_a_rest_is_not_kept_for_ever() {
        let (a, b) = (StreamId(1), StreamId(2));
        let mut lines = Lines::default();
        let now = Mono(1000);
        assert_eq!(texts(lines.push(now, a, 5, "python worker")), [""; 0]);
        assert_eq!(texts(lines.push(now, b, 6, "other\n")), ["other"]);
        assert_eq!(texts(lines.push(now, a, 7, " ")), [""; 0]);
        let whole = lines.push(now, a, 8, "19\r\n\nnext");
        assert_eq!(
            whole[0],
            Line {
                stream: a,
                at_ms: 5,
                text: "python worker 19".into()
            }
        );
        assert_eq!(texts(whole), ["python worker 19", ""]);
        assert_eq!(lines.next_deadline(), Some(Mono(1200)));
        assert_eq!(texts(lines.overdue(Mono(1199))), [""; 0]);
        assert_eq!(texts(lines.overdue(Mono(1200))), ["next"]);
        assert_eq!(lines.next_deadline(), None);
        assert_eq!(texts(lines.push(now, a, 9, &"x".repeat(MAX_LINE))).len(), 1);
        lines.push(now, a, 9, "end");
        assert_eq!(lines.end(a).map(|line| line.text), Some("end".into()));
        assert_eq!(lines.end(a), None);
    }
}

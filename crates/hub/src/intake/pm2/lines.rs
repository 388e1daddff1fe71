//! Joins the raw writes of PM2's log channel to lines. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::live::logs::LogLine;
use crate::live::model::{Millis, cut};

/// Longest line; a longer one is cut in pieces.
const MAX_LINE: usize = 64 * 1024;
/// An unfinished line is shown after this time: it may be a prompt.
const FLUSH_AFTER: Millis = 1_000;
/// Streams with an unfinished line.
const MAX_OPEN: usize = 4_096;

/// Unfinished lines by (pm_id, is stderr).
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: BTreeMap<(u32, bool), Open>,
}

#[derive(Debug)]
struct Open {
    since: Millis,
    app: Arc<str>,
    text: String,
}

impl Lines {
    /// Takes one write; the lines that are complete now.
    pub(super) fn push(
        &mut self,
        at: Millis,
        pm_id: u32,
        app: &Arc<str>,
        err: bool,
        data: &str,
    ) -> Vec<LogLine> {
        let mut done = Vec::new();
        let line = |at, text: &str| LogLine {
            at,
            pm_id,
            app: app.clone(),
            err,
            text: text.strip_suffix('\r').unwrap_or(text).to_owned(),
        };
        let mut pieces = data.split('\n');
        let (mut begun, mut text) = match self.open.remove(&(pm_id, err)) {
            Some(open) => (open.since, open.text),
            None => (at, String::new()),
        };
        // `split` yields at least one piece; only what follows the last newline is unfinished.
        let mut last = pieces.next().unwrap_or_default();
        for next in pieces {
            text.push_str(last);
            done.push(line(begun, &text));
            text.clear();
            begun = at;
            last = next;
        }
        text.push_str(last);
        while text.len() > MAX_LINE {
            let piece = cut(&text, MAX_LINE).to_owned();
            text.drain(..piece.len());
            done.push(line(begun, &piece));
        }
        if !text.is_empty() {
            if self.open.len() < MAX_OPEN {
                self.open.insert(
                    (pm_id, err),
                    Open {
                        since: begun,
                        app: app.clone(),
                        text,
                    },
                );
            } else {
                done.push(line(begun, &text));
            }
        }
        done
    }

    /// Lines that were not finished in time.
    pub(super) fn overdue(&mut self, now: Millis) -> Vec<LogLine> {
        let late: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| now - open.since >= FLUSH_AFTER)
            .map(|(key, _)| *key)
            .collect();
        late.into_iter()
            .filter_map(|key| {
                let open = self.open.remove(&key)?;
                Some(LogLine {
                    at: open.since,
                    pm_id: key.0,
                    app: open.app,
                    err: key.1,
                    text: open.text,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn writes_become_lines() {
        let app: Arc<str> = "api".into();
        let mut lines = Lines::default();
        assert_eq!(
            texts(lines.push(1, 0, &app, false, "one\ntwo\r\nthr")),
            ["one", "two"]
        );
        assert!(
            lines.push(2, 0, &app, true, "err").is_empty(),
            "streams do not mix"
        );
        assert_eq!(texts(lines.push(3, 0, &app, false, "ee\n")), ["three"]);
        assert_eq!(texts(lines.push(4, 0, &app, false, "\n")), [""]);
        assert!(lines.overdue(1001).is_empty());
        assert_eq!(texts(lines.overdue(1002)), ["err"]);
        assert!(lines.overdue(9999).is_empty());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let app: Arc<str> = "api".into();
        let mut lines = Lines::default();
        let got = lines.push(1, 0, &app, false, &"ü".repeat(MAX_LINE));
        assert_eq!(got.len(), 1);
        assert!(got[0].text.len() <= MAX_LINE);
        assert_eq!(
            texts(lines.push(1, 0, &app, false, "\n")).concat().len() + got[0].text.len(),
            2 * MAX_LINE
        );
    }
}

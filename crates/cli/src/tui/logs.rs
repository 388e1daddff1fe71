//! The log pane: the lines of one process, or of all, with a bound; scrolling and search.

use std::collections::VecDeque;

/// Lines that are kept. Older ones are in the files.
const MOST: usize = 5_000;
/// Bytes of a line that are kept; no screen is wider.
const LONGEST: usize = 4_096;

/// Who said a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Out,
    Err,
    Daemon,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `None`: the daemon.
    pub(super) id: Option<u32>,
    pub(super) name: String,
    pub(super) side: Side,
    pub(super) text: String,
}

impl Line {
    /// Takes one line of output as it is; what would move the cursor is taken out.
    pub(super) fn new(id: Option<u32>, name: &str, side: Side, text: &str) -> Line {
        Line {
            id,
            name: name.to_owned(),
            side,
            text: tame(text),
        }
    }
}

/// Whose lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    All,
    One(u32),
}

/// The pane.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) subject: Subject,
    lines: VecDeque<Line>,
    /// Lines between the last one on the screen and the newest; 0 follows.
    pub(super) back: usize,
    pub(super) search: String,
    /// Lines that came while the pane was full and scrolled back: counted, since they pushed others out.
    pub(super) dropped: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Logs {
            subject: Subject::All,
            lines: VecDeque::new(),
            back: 0,
            search: String::new(),
            dropped: 0,
        }
    }
}

impl Logs {
    /// Shows somebody else's.
    pub(super) fn turn_to(&mut self, subject: Subject) {
        self.subject = subject;
        self.lines.clear();
        self.back = 0;
        self.dropped = 0;
    }

    /// A line of the present.
    pub(super) fn push(&mut self, line: Line) {
        let wanted = match self.subject {
            Subject::All => true,
            Subject::One(id) => line.id == Some(id),
        };
        if !wanted {
            return;
        }
        if self.lines.len() == MOST {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
        if self.back > 0 {
            // What is being read stays where it is.
            self.scroll_back(1);
        }
    }

    /// The end of the files, which is older than what came meanwhile.
    pub(super) fn prepend(&mut self, past: Vec<Line>) {
        let room = MOST.saturating_sub(self.lines.len());
        let skipped = past.len().saturating_sub(room);
        for line in past.into_iter().skip(skipped).rev() {
            self.lines.push_front(line);
        }
    }

    /// The lines for a screen of `height` rows, oldest first.
    pub(super) fn screen(&self, height: usize) -> impl Iterator<Item = &Line> {
        let end = self.lines.len() - self.back.min(self.lines.len());
        let end = end.max(height.min(self.lines.len()));
        self.lines.range(end.saturating_sub(height)..end)
    }

    pub(super) fn scroll_back(&mut self, lines: usize) {
        self.back = (self.back + lines).min(self.lines.len().saturating_sub(1));
    }

    pub(super) fn scroll_on(&mut self, lines: usize) {
        self.back = self.back.saturating_sub(lines);
    }

    /// To the next older (or newer) line that holds what is looked for. `false`: there is none.
    pub(super) fn find(&mut self, older: bool) -> bool {
        if self.search.is_empty() {
            return false;
        }
        let wanted = self.search.to_lowercase();
        let holds = |line: &Line| line.text.to_lowercase().contains(&wanted);
        // The last line on the screen is where we are.
        let here = self.lines.len().saturating_sub(self.back);
        let found = if older {
            self.lines.range(..here.saturating_sub(1)).rposition(holds)
        } else {
            self.lines
                .range(here.min(self.lines.len())..)
                .position(holds)
                .map(|at| here + at)
        };
        if let Some(at) = found {
            self.back = self.lines.len() - 1 - at;
        }
        found.is_some()
    }

    /// Lines that hold what is looked for.
    pub(super) fn matches(&self) -> usize {
        let wanted = self.search.to_lowercase();
        self.lines
            .iter()
            .filter(|line| line.text.to_lowercase().contains(&wanted))
            .count()
    }
}

/// Without escape sequences and control characters, at most [`LONGEST`] bytes; tabs become blanks.
fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
    }
    out
}

/// `ESC [ … letter`, `ESC ] … BEL or ESC \`, or `ESC` and one character.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next();
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u32, text: &str) -> Line {
        Line::new(Some(id), "api", Side::Out, text)
    }

    fn texts(logs: &Logs, height: usize) -> Vec<String> {
        logs.screen(height).map(|line| line.text.clone()).collect()
    }

    #[test]
    fn it_follows_until_one_scrolls_back_and_then_stands_still() {
        let mut logs = Logs::default();
        logs.turn_to(Subject::One(1));
        for n in 0..10 {
            logs.push(line(1, &n.to_string()));
            logs.push(line(2, "not mine"));
        }
        assert_eq!(texts(&logs, 3), ["7", "8", "9"]);
        logs.scroll_back(4);
        assert_eq!(texts(&logs, 3), ["3", "4", "5"]);
        logs.push(line(1, "10"));
        assert_eq!(texts(&logs, 3), ["3", "4", "5"]);
        logs.scroll_back(1_000);
        assert_eq!(texts(&logs, 3), ["0", "1", "2"], "the first screen is full");
        logs.scroll_on(1_000);
        assert_eq!(texts(&logs, 3), ["8", "9", "10"]);
        logs.prepend(vec![line(1, "old")]);
        assert_eq!(logs.lines.len(), 12);
        assert_eq!(texts(&logs, 100)[0], "old");
    }

    #[test]
    fn it_is_bounded_and_says_what_it_dropped() {
        let mut logs = Logs::default();
        for n in 0..MOST + 3 {
            logs.push(line(1, &n.to_string()));
        }
        assert_eq!((logs.lines.len(), logs.dropped), (MOST, 3));
        logs.prepend(vec![line(1, "old")]);
        assert_eq!(logs.lines.len(), MOST);
        assert!(
            Line::new(None, "PM2", Side::Daemon, &"x".repeat(100_000))
                .text
                .len()
                < LONGEST + 8
        );
    }

    #[test]
    fn search_goes_up_and_down_and_ignores_case() {
        let mut logs = Logs {
            search: "ERR".into(),
            ..Logs::default()
        };
        for text in ["err 1", "fine", "Err 2", "fine", "fine"] {
            logs.push(line(1, text));
        }
        assert_eq!(logs.matches(), 2);
        assert!(logs.find(true));
        assert_eq!(texts(&logs, 1), ["Err 2"]);
        assert!(logs.find(true));
        assert_eq!(texts(&logs, 1), ["err 1"]);
        assert!(!logs.find(true));
        assert!(logs.find(false));
        assert_eq!(texts(&logs, 1), ["Err 2"]);
        assert!(!logs.find(false));
        logs.search = "nothing".into();
        assert!(!logs.find(true));
    }

    #[test]
    fn output_can_not_paint_on_the_screen() {
        assert_eq!(
            tame("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}a\tb\r\u{1b}c\u{1b}"),
            "red a    b"
        );
    }
}

//! Box-drawing tables.

use crate::style::Brush;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One field: what it says, and how it is painted.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    paint: Option<fn(Brush, String) -> String>,
    /// Goes before the text, already painted, with its width in columns.
    mark: Option<(String, usize)>,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Cell {
        let text = text.into();
        Cell {
            text: match tame(&text) {
                Cow::Borrowed(_) => text,
                Cow::Owned(tamed) => tamed,
            },
            paint: None,
            mark: None,
        }
    }

    pub(crate) fn painted(text: impl Into<String>, paint: fn(Brush, String) -> String) -> Cell {
        Cell {
            paint: Some(paint),
            ..Cell::plain(text)
        }
    }

    /// Puts a painted mark of `width` columns before the text.
    pub(crate) fn marked(mut self, mark: String, width: usize) -> Cell {
        self.mark = Some((mark, width));
        self
    }

    fn render(&self, out: &mut String, brush: Brush, width: usize) {
        let (mark, taken) = self
            .mark
            .as_ref()
            .map_or(("", 0), |(mark, width)| (mark.as_str(), *width));
        let room = width.saturating_sub(taken);
        let text = cut(&self.text, room);
        let pad = room.saturating_sub(columns(&text));
        out.push_str(mark);
        match self.paint.filter(|_| brush.on) {
            Some(paint) => out.push_str(&paint(brush, text.into_owned())),
            None => out.push_str(&text),
        }
        out.extend(std::iter::repeat_n(' ', pad));
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::plain(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::plain(text)
    }
}

/// Rows under an optional header. Widths include one blank on each side.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) header: Option<Vec<&'static str>>,
    pub(crate) widths: Vec<usize>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// What the last column of a table keeps at any width, with its blanks.
const LAST_COLUMN: usize = 14;

impl Table {
    /// As wide as the terminal at most: the last column gives way, and what is longer goes on below. A path is read, and taken
    /// with the mouse, only if all of it is there.
    pub(crate) fn within(mut self, terminal: Option<u16>) -> Table {
        let all: usize = self.widths.iter().map(|width| width + 1).sum::<usize>() + 1;
        let over = all.saturating_sub(terminal.map_or(usize::MAX, usize::from));
        if let Some(last) = self.widths.last_mut().filter(|_| over > 0) {
            let room = last.saturating_sub(over).max(LAST_COLUMN.min(*last));
            *last = room;
            let mut rows = Vec::with_capacity(self.rows.len());
            for row in self.rows {
                rows.extend(wrapped(row, room.saturating_sub(2)));
            }
            self.rows = rows;
        }
        self
    }

    /// A table without header whose columns are as wide as what they hold.
    pub(crate) fn fitted(rows: Vec<Vec<Cell>>) -> Table {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |at: usize| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.text.width())
                .max()
                .unwrap_or(0)
        };
        Table {
            header: None,
            widths: (0..columns).map(|at| widest(at) + 2).collect(),
            rows,
        }
    }

    /// The same under a header.
    pub(crate) fn headed(header: Vec<&'static str>, rows: Vec<Vec<Cell>>) -> Table {
        let mut table = Table::fitted(rows);
        for (width, name) in table.widths.iter_mut().zip(&header) {
            *width = (*width).max(name.width() + 2);
        }
        table.header = Some(header);
        table
    }

    /// The text, each line with its newline.
    pub(crate) fn render(&self, brush: Brush) -> String {
        let rule = |left: &str, middle: &str, right: &str| {
            let bars: Vec<String> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
            format!("{}\n", brush.grey(format!("{left}{}{right}", bars.join(middle))))
        };
        let bar = brush.grey("│");
        let mut out = rule("┌", "┬", "┐");
        if let Some(header) = &self.header {
            for (name, width) in header.iter().zip(&self.widths) {
                let room = width.saturating_sub(2);
                let pad = " ".repeat(room.saturating_sub(name.width()));
                let name = brush.bold(brush.cyan(format!(" {name}{pad} ")));
                out.push_str(&format!("{bar}{name}"));
            }
            out.push_str(&format!("{bar}\n"));
            if !self.rows.is_empty() {
                out.push_str(&rule("├", "┼", "┤"));
            }
        }
        for row in &self.rows {
            for (cell, width) in row.iter().zip(&self.widths) {
                out.push_str(&bar);
                out.push(' ');
                cell.render(&mut out, brush, width.saturating_sub(2));
                out.push(' ');
            }
            out.push_str(&bar);
            out.push('\n');
        }
        out.push_str(&rule("└", "┴", "┘"));
        out
    }
}

/// A row whose last cell takes as many lines as it needs in so many columns.
fn wrapped(mut row: Vec<Cell>, room: usize) -> Vec<Vec<Cell>> {
    let Some(last) = row.pop() else {
        return vec![row];
    };
    let mut lines = pieces(&last.text, room).into_iter();
    let piece = |text: String| Cell {
        text,
        paint: last.paint,
        mark: None,
    };
    let blank = vec![Cell::plain(""); row.len()];
    row.push(piece(lines.next().unwrap_or_default()));
    let mut out = vec![row];
    out.extend(lines.map(|line| {
        let mut row = blank.clone();
        row.push(piece(line));
        row
    }));
    out
}

/// Text in lines of at most so many columns.
fn pieces(text: &str, room: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used > 0 && used + columns > room {
            out.push(String::new());
            used = 0;
        }
        used += columns;
        if let Some(line) = out.last_mut() {
            line.push(c);
        }
    }
    out
}

/// How many columns a text takes.
fn columns(text: &str) -> usize {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
    if text.as_bytes().iter().all(is_plain) {
        text.len()
    } else {
        text.width()
    }
}

/// Text of at most `width` columns; what does not fit ends in an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return text.into();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns + 1 > width {
            break;
        }
        used += columns;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out.into()
}

/// Control characters of a name or path would break the table, or the terminal.
pub(crate) fn tame(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn the_last_column_gives_way_to_a_narrow_terminal() {
        let table = || {
            Table::fitted(vec![
                vec!["path".into(), "/srv/app/日本/out.log".into()],
                vec!["id".into(), "0".into()],
            ])
        };
        insta::assert_snapshot!(table().within(Some(23)).render(Brush { on: false }), @"
        ┌──────┬──────────────┐
        │ path │ /srv/app/日  │
        │      │ 本/out.log   │
        │ id   │ 0            │
        └──────┴──────────────┘
        ");
        let wide = table().within(Some(200)).render(Brush { on: false });
        assert_eq!(wide, table().within(None).render(Brush { on: false }));
        assert_eq!(wide, table().render(Brush { on: false }));
    }

    #[test]
    fn wide_and_wild_text_keeps_the_lines_straight() {
        let rows = vec![
            vec!["日本".into(), "a\u{1b}[2Jb\n".into()],
            vec![Cell::plain("x").marked("! ".into(), 2), "y".into()],
        ];
        let table = Table {
            header: Some(vec!["one", "↺"]),
            widths: vec![8, 12],
            rows,
        };
        insta::assert_snapshot!(table.render(Brush { on: false }), @"
        ┌────────┬────────────┐
        │ one    │ ↺          │
        ├────────┼────────────┤
        │ 日本   │ a�[2Jb�    │
        │ ! x    │ y          │
        └────────┴────────────┘
        ");
    }
}

//! What lies over the screen: help, and the question before an action.

use super::palette::Palette;
use crate::tui::model::{Model, Overlay};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓  j k", "another process, or line"),
    ("PgUp PgDn", "a page"),
    ("Home End  g G", "first, last; End follows the logs again"),
    ("Tab", "list or logs"),
    ("Enter", "logs over the whole screen, and back"),
    ("/", "show only some processes; look for something in the logs"),
    ("n N", "next older, newer line with it"),
    ("a", "logs of all, or of the selected process"),
    ("o O", "sort by the next column; turn the order round"),
    ("i", "details beside the logs"),
    ("r R", "restart, reload"),
    ("s", "stop, or start what is stopped"),
    ("+ -", "one instance more, less"),
    ("d", "stop and delete"),
    ("z f", "reset the counters, empty the log files"),
    ("Ctrl-Z", "suspend"),
    ("q Ctrl-C", "leave; nothing stops"),
    ("mouse", "click a row or a column's title, turn the wheel"),
];

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, palette: Palette) {
    match &model.overlay {
        None => {}
        Some(Overlay::Help) => {
            let lines: Vec<Line<'_>> = KEYS
                .iter()
                .map(|(key, what)| {
                    Line::from(vec![
                        Span::styled(format!(" {key:<15}"), palette.key),
                        Span::raw(*what),
                    ])
                })
                .collect();
            let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
            boxed(frame, " keys ", Paragraph::new(lines), (76, height), palette);
        }
        Some(Overlay::Confirm(command)) => {
            let question = format!("{} {}?", command.action.title(), command.subject());
            let width = u16::try_from(question.chars().count() + 6)
                .unwrap_or(u16::MAX)
                .max(34);
            let lines = vec![
                Line::raw(""),
                Line::raw(question),
                Line::raw(""),
                Line::from(vec![
                    Span::styled(" y ", palette.key),
                    Span::raw("yes   "),
                    Span::styled(" n ", palette.key),
                    Span::raw("no"),
                ]),
            ];
            let text = Paragraph::new(lines).alignment(Alignment::Center);
            boxed(frame, " sure? ", text, (width, 6), palette);
        }
    }
}

fn boxed(frame: &mut Frame<'_>, title: &str, text: Paragraph<'_>, size: (u16, u16), palette: Palette) {
    let area = centre(frame.area(), size);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.focused)
        .title(title);
    frame.render_widget(Clear, area);
    frame.render_widget(text.block(block), area);
}

fn centre(area: Rect, (width, height): (u16, u16)) -> Rect {
    let [row] = Layout::vertical([Constraint::Length(height)])
        .flex(Flex::Center)
        .areas(area);
    let [cell] = Layout::horizontal([Constraint::Length(width)])
        .flex(Flex::Center)
        .areas(row);
    cell
}

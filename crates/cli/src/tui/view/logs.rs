//! The log pane.

use super::palette::Palette;
use crate::tui::logs::{Line as LogLine, Side, Subject};
use crate::tui::model::{Focus, Model};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, palette: Palette) {
    let whose = match model.logs.subject {
        Subject::All => "all".to_owned(),
        Subject::One(_) => model
            .current()
            .map_or_else(String::new, |process| process.name.clone()),
    };
    let mut title = format!(" logs of {whose} ");
    if model.logs.back > 0 {
        title.push_str(&format!("· {} lines back, End follows ", model.logs.back));
    }
    if !model.logs.search.is_empty() {
        title.push_str(&format!("· {:?}: {} ", model.logs.search, model.logs.matches()));
    }
    if model.logs.dropped > 0 {
        title.push_str("· older lines are in the file ");
    }
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.border(model.focus == Focus::Logs))
        .title(title);
    let inner = block.inner(area);
    model.areas.logs = inner;
    let all = model.logs.subject == Subject::All;
    let label = if all { label_width(model, inner) } else { 0 };
    let lines: Vec<Line<'_>> = model
        .logs
        .screen(usize::from(inner.height))
        .map(|line| shown(line, label, &model.logs.search, palette))
        .collect();
    frame.render_widget(block, area);
    if lines.is_empty() {
        frame.render_widget(Paragraph::new("Nothing was said yet.").style(palette.dim), inner);
    } else {
        frame.render_widget(Paragraph::new(lines), inner);
    }
}

fn label_width(model: &Model, area: Rect) -> usize {
    let longest = model
        .logs
        .screen(usize::from(area.height))
        .map(|line| label(line).chars().count())
        .max();
    longest.unwrap_or(0).min(24)
}

fn label(line: &LogLine) -> String {
    match line.id {
        Some(id) => format!("{id}|{}", line.name),
        None => line.name.clone(),
    }
}

fn shown<'a>(line: &'a LogLine, width: usize, search: &str, palette: Palette) -> Line<'a> {
    let (bar, style) = match line.side {
        Side::Out => ("▎", palette.good),
        // Also told apart where there are no colours.
        Side::Err => ("!", palette.bad),
        Side::Daemon => ("▎", palette.key),
    };
    let mut spans = Vec::new();
    if width > 0 {
        let label: String = label(line).chars().take(width).collect();
        spans.push(Span::styled(format!("{label:<width$} "), style));
    }
    spans.push(Span::styled(format!("{bar} "), style));
    mark(&line.text, search, palette, &mut spans);
    Line::from(spans)
}

/// The text with what is looked for marked. Letters whose lower case has another length are compared as they are.
fn mark<'a>(text: &'a str, search: &str, palette: Palette, spans: &mut Vec<Span<'a>>) {
    if search.is_empty() {
        spans.push(Span::raw(text));
        return;
    }
    let lower = text.to_lowercase();
    let (haystack, needle) = if lower.len() == text.len() {
        (lower.as_str(), search.to_lowercase())
    } else {
        (text, search.to_owned())
    };
    let mut from = 0;
    for (at, found) in haystack.match_indices(&needle) {
        let end = at + found.len();
        if let (Some(before), Some(hit)) = (text.get(from..at), text.get(at..end)) {
            spans.push(Span::raw(before));
            spans.push(Span::styled(hit, palette.found));
            from = end;
        }
    }
    spans.push(Span::raw(text.get(from..).unwrap_or_default()));
}

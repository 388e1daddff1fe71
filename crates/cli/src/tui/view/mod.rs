//! Draws the model. Remembers nothing but where it drew what, for the mouse.

mod detail;
mod list;
mod logs;
mod overlay;
mod palette;

use super::model::{Focus, Model, Prompt};
use palette::Palette;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Below this width there is no room beside the logs.
const WIDE: u16 = 100;
const DETAILS: u16 = 42;

/// One whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let palette = Palette::new(model.colour);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    header(frame, top, model, palette);
    if model.zoomed {
        model.areas.rows = Rect::ZERO;
        model.areas.header.clear();
        logs::draw(frame, middle, model, palette);
    } else {
        // As many rows as there are processes, but the logs keep the greater half.
        let wanted = u16::try_from(model.shown.len().max(1) + 3).unwrap_or(u16::MAX);
        let most = (middle.height / 2).max(5);
        let [above, below] =
            Layout::vertical([Constraint::Length(wanted.min(most)), Constraint::Min(0)]).areas(middle);
        list::draw(frame, above, model, palette);
        let beside = if model.details && below.width >= WIDE {
            DETAILS
        } else {
            0
        };
        let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(beside)]).areas(below);
        logs::draw(frame, left, model, palette);
        if beside > 0 {
            detail::draw(frame, right, model, palette);
        }
    }
    footer(frame, bottom, model, palette);
    overlay::draw(frame, model, palette);
}

fn header(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let (online, errored, others) = model.census();
    let mut spans = vec![Span::styled(" Pilothouse ", palette.title), Span::raw(" ")];
    spans.push(Span::styled(format!("● {online} online"), palette.good));
    if errored > 0 {
        spans.push(Span::styled(format!("  ● {errored} errored"), palette.bad));
    }
    if others > 0 {
        spans.push(Span::styled(format!("  ○ {others} not running"), palette.dim));
    }
    if let Some(reason) = &model.lost {
        spans.push(Span::styled(format!("   ! {reason}"), palette.bad));
    } else if let Some(host) = &model.host {
        let host = host.strip_prefix("host metrics").unwrap_or(host);
        spans.push(Span::styled(format!("  {host}"), palette.dim));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn footer(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let line = match (model.prompt, model.news()) {
        (Some(Prompt::Filter), _) => prompt("show only: ", &model.filter, palette),
        (Some(Prompt::Search), _) => prompt("look for: ", &model.logs.search, palette),
        (None, Some(news)) => {
            let style = if news.error { palette.bad } else { palette.good };
            Line::styled(format!(" {}", news.text), style)
        }
        (None, None) => keys(model, palette),
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn prompt<'a>(label: &'a str, text: &'a str, palette: Palette) -> Line<'a> {
    Line::from(vec![
        Span::styled(format!(" {label}"), palette.key),
        Span::raw(text),
        Span::styled("▏", palette.key),
        Span::styled("  Enter keeps it, Esc clears it", palette.dim),
    ])
}

fn keys(model: &Model, palette: Palette) -> Line<'static> {
    let toggle = match model.current().map(|process| process.status().to_owned()) {
        Some(status) if matches!(status.as_str(), "stopped" | "errored") => "start",
        _ => "stop",
    };
    let pane: &[(&'static str, &'static str)] = match model.focus {
        Focus::List => &[("/", "filter"), ("o", "sort"), ("a", "all logs"), ("⏎", "zoom")],
        Focus::Logs => &[
            ("/", "search"),
            ("n N", "older, newer"),
            ("a", "all logs"),
            ("⏎", "zoom"),
        ],
    };
    let mut spans = Vec::new();
    let actions = [
        ("r", "restart"),
        ("R", "reload"),
        ("s", toggle),
        ("+ -", "scale"),
        ("d", "delete"),
    ];
    let always = [("⇥", "pane"), ("?", "help"), ("q", "quit")];
    for (key, what) in actions.iter().chain(pane).chain(&always) {
        spans.push(Span::styled(format!(" {key} "), palette.key));
        spans.push(Span::styled((*what).to_owned(), palette.dim));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;

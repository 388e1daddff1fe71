//! Facts and metrics of the selected process.

use super::list::spark;
use super::palette::Palette;
use crate::process::Process;
use crate::render;
use crate::tui::model::{HISTORY, Model};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.frame)
        .title(" details ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(process) = model.current() else {
        return;
    };
    let width = usize::from(inner.width);
    let mut lines: Vec<Line<'_>> = facts(process, model)
        .into_iter()
        .map(|(label, value)| fact(label, value, width, palette))
        .collect();
    if let Some(history) = model.history.get(&process.pm_id) {
        let bars = width.saturating_sub(8).min(HISTORY);
        for (label, values) in [("cpu", &history.cpu), ("mem", &history.memory)] {
            lines.push(Line::from(vec![
                Span::styled(format!("{label:<7}"), palette.dim),
                Span::styled(spark(values, bars), palette.spark),
            ]));
        }
    }
    let metrics: Vec<_> = process.env.metrics().collect();
    if !metrics.is_empty() {
        lines.push(Line::raw(""));
        lines.push(Line::styled("metrics", palette.header));
        for metric in metrics {
            let text = render::metric_text(&metric);
            lines.push(both_ends(metric.name, &text, width, palette));
        }
    }
    let actions: Vec<&str> = process.env.actions().map(|action| action.name).collect();
    if !actions.is_empty() {
        lines.push(Line::raw(""));
        lines.push(Line::styled("actions", palette.header));
        lines.extend(actions.into_iter().map(Line::raw));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn facts(process: &Process, model: &Model) -> Vec<(&'static str, String)> {
    let text = |key: &str| process.env.text(key).map(str::to_owned);
    let number = |key: &str| process.env.int(key).map(|number| number.to_string());
    let mut facts = vec![
        ("status", Some(process.status().to_owned())),
        ("uptime", Some(render::uptime(process, model.now_ms))),
        ("version", text("version").filter(|version| version != "N/A")),
        ("restarts", number("restart_time")),
        ("unstable", number("unstable_restarts").filter(|n| n != "0")),
        ("exit", number("exit_code")),
        ("script", text("pm_exec_path")),
        ("args", Some(process.env.list("args").join(" "))),
        ("cwd", text("pm_cwd")),
        ("runs by", text("exec_interpreter")),
        ("node", text("node_version")),
        ("cron", process.env.cron_restart().map(|cron| cron.to_string())),
        (
            "limit",
            process
                .env
                .int("max_memory_restart")
                .and_then(|bytes| u64::try_from(bytes).ok())
                .map(render::size),
        ),
        ("watch", process.env.watches().then(|| "enabled".to_owned())),
    ];
    facts
        .drain(..)
        .filter_map(|(label, value)| Some((label, value.filter(|value| !value.is_empty())?)))
        .collect()
}

/// The end of a long value says more than its beginning: paths.
fn fact(label: &'static str, value: String, width: usize, palette: Palette) -> Line<'static> {
    const LABEL: usize = 10;
    let room = width.saturating_sub(LABEL);
    let length = value.chars().count();
    let value = if length > room && room > 1 {
        let end: String = value.chars().skip(length + 1 - room).collect();
        format!("…{end}")
    } else {
        value
    };
    Line::from(vec![
        Span::styled(format!("{label:<LABEL$}"), palette.dim),
        Span::raw(value),
    ])
}

fn both_ends(left: &str, right: &str, width: usize, palette: Palette) -> Line<'static> {
    let room = width.saturating_sub(right.chars().count() + 1);
    let left = render::cut(left, room).into_owned();
    let gap =
        width.saturating_sub(unicode_width::UnicodeWidthStr::width(left.as_str()) + right.chars().count());
    Line::from(vec![
        Span::styled(left, palette.dim),
        Span::raw(" ".repeat(gap)),
        Span::raw(right.to_owned()),
    ])
}

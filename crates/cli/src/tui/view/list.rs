//! The processes, with a sparkline of each one's CPU.

use super::palette::Palette;
use crate::process::Process;
use crate::render::{self, Field};
use crate::tui::model::{Focus, Model};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Table};
use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Name,
    Namespace,
    Mode,
    Pid,
    Restarts,
    Status,
    Cpu,
    Spark,
    Memory,
    Uptime,
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Column::Id => "id",
            Column::Name => "name",
            Column::Namespace => "namespace",
            Column::Mode => "mode",
            Column::Pid => "pid",
            Column::Restarts => "↺",
            Column::Status => "status",
            Column::Cpu => "cpu",
            Column::Spark => "",
            Column::Memory => "mem",
            Column::Uptime => "uptime",
        }
    }

    const fn field(self) -> Option<Field> {
        match self {
            Column::Id => Some(Field::Id),
            Column::Name => Some(Field::Name),
            Column::Namespace => Some(Field::Namespace),
            Column::Pid => Some(Field::Pid),
            Column::Status => Some(Field::Status),
            Column::Cpu | Column::Spark => Some(Field::Cpu),
            Column::Memory => Some(Field::Memory),
            Column::Uptime => Some(Field::Uptime),
            Column::Mode | Column::Restarts => None,
        }
    }

    /// How wide it is; the name takes what is left.
    const fn width(self) -> u16 {
        match self {
            Column::Id => 5,
            Column::Name => 12,
            Column::Namespace => 12,
            Column::Mode => 7,
            Column::Pid => 8,
            Column::Restarts => 4,
            Column::Status => 15,
            Column::Cpu => 7,
            Column::Spark => 20,
            Column::Memory => 9,
            Column::Uptime => 6,
        }
    }

    /// In the order in which they are given up when the screen gets narrow.
    const LEAST_WANTED: [Column; 8] = [
        Column::Namespace,
        Column::Pid,
        Column::Spark,
        Column::Mode,
        Column::Uptime,
        Column::Restarts,
        Column::Memory,
        Column::Cpu,
    ];
}

/// The columns that fit.
fn columns(width: u16) -> Vec<Column> {
    let mut columns = vec![
        Column::Id,
        Column::Name,
        Column::Namespace,
        Column::Mode,
        Column::Pid,
        Column::Restarts,
        Column::Status,
        Column::Cpu,
        Column::Spark,
        Column::Memory,
        Column::Uptime,
    ];
    for unwanted in Column::LEAST_WANTED {
        let needs: u16 = columns.iter().map(|column| column.width() + 1).sum();
        if needs <= width {
            break;
        }
        columns.retain(|column| *column != unwanted);
    }
    columns
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, palette: Palette) {
    let title = match model.filter.as_str() {
        "" => format!(" {} processes ", model.processes.len()),
        filter => format!(
            " {} of {} processes: {filter} ",
            model.shown.len(),
            model.processes.len()
        ),
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.border(model.focus == Focus::List))
        .title(title);
    let inner = block.inner(area);
    let height = usize::from(inner.height.saturating_sub(1));
    model.areas.rows = Rect {
        y: inner.y + 1,
        height: inner.height.saturating_sub(1),
        ..inner
    };
    model.scroll_to_selection(height.max(1));
    let columns = columns(inner.width);
    let widths: Vec<Constraint> = columns
        .iter()
        .map(|column| match column {
            Column::Name => Constraint::Min(column.width()),
            column => Constraint::Length(column.width()),
        })
        .collect();
    let cells = ratatui::layout::Layout::horizontal(widths.clone())
        .spacing(1)
        .split(Rect {
            height: inner.height.min(1),
            ..inner
        });
    model.areas.header = columns
        .iter()
        .zip(cells.iter())
        .filter_map(|(column, cell)| Some((*cell, column.field()?)))
        .collect();
    let header = Row::new(columns.iter().map(|column| {
        let arrow = match column.field() {
            Some(field) if field == model.order.field && *column != Column::Spark => {
                if model.order.descending { "▼" } else { "▲" }
            }
            _ => "",
        };
        format!("{}{arrow}", column.title())
    }))
    .style(palette.header);
    // Only what is on the screen is made into rows.
    let rows = model.shown.iter().skip(model.top).take(height).map(|at| {
        let process = &model.processes[*at];
        let row = Row::new(
            columns
                .iter()
                .map(|column| cell(*column, process, model, palette)),
        );
        if model.selected == Some(process.pm_id) {
            row.style(palette.selected)
        } else {
            row
        }
    });
    let table = Table::new(rows, widths).header(header).column_spacing(1);
    frame.render_widget(block, area);
    frame.render_widget(table, inner);
    if model.shown.is_empty() && inner.height > 1 {
        let text = if model.processes.is_empty() {
            "Nothing runs yet. In another terminal: pilothouse start app.js"
        } else {
            "No process matches. Esc shows all."
        };
        frame.render_widget(Paragraph::new(text).style(palette.dim), model.areas.rows);
    }
}

fn cell<'a>(column: Column, process: &'a Process, model: &'a Model, palette: Palette) -> Cell<'a> {
    let hidden = process.env.flag("_km_monitored") == Some(false);
    match column {
        Column::Id => Line::from(process.pm_id.to_string()).into(),
        Column::Name if hidden => Line::from(vec![
            Span::styled("● ", palette.bad),
            Span::raw(process.name.as_str()),
        ])
        .into(),
        Column::Name => process.name.as_str().into(),
        Column::Namespace => process.env.namespace().into(),
        Column::Mode => match process.env.exec_mode() {
            pm2::env::ExecMode::Fork => "fork".into(),
            pm2::env::ExecMode::Cluster => "cluster".into(),
        },
        Column::Pid => Line::from(process.pid.to_string()).into(),
        Column::Restarts => Line::from(process.env.int("restart_time").unwrap_or(0).to_string()).into(),
        Column::Status => Cell::from(process.status()).style(palette.status(process.status())),
        Column::Cpu => Line::from(format!("{}%", pm2::js::float(process.cpu)))
            .right_aligned()
            .into(),
        Column::Spark => {
            let history = model.history.get(&process.pm_id);
            let bars = history.map(|history| spark(&history.cpu, usize::from(Column::Spark.width())));
            Cell::from(bars.unwrap_or_default()).style(palette.spark)
        }
        Column::Memory => Line::from(render::size(process.memory)).right_aligned().into(),
        Column::Uptime => Line::from(render::uptime(process, model.now_ms))
            .right_aligned()
            .into(),
    }
}

/// The last values as eighths of a bar, against their own greatest but never against less than `1`.
pub(super) fn spark(values: &VecDeque<f64>, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = values.iter().skip(values.len().saturating_sub(width));
    let greatest = last.clone().copied().fold(1.0_f64, f64::max);
    let bars: String = last
        .map(|value| {
            let eighth = (value / greatest * 7.0).round().clamp(0.0, 7.0);
            BARS[eighth as usize]
        })
        .collect();
    format!("{bars:>width$}")
}

//! The process table.

use super::size;
use super::{Cell, Table};
use crate::process::Process;
use crate::style::Brush;
use pm2::env::ExecMode;
use pm2::units::uptime_text;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) field: Field,
    pub(crate) descending: bool,
}

/// What rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    Namespace,
    Pid,
    Id,
    Cpu,
    Memory,
    Uptime,
    Status,
}

impl Order {
    pub(crate) const BY_NAME: Order = Order {
        field: Field::Name,
        descending: false,
    };

    /// `field`, `field:asc` or `field:desc`.
    pub(crate) fn parse(text: &str) -> Option<Order> {
        let (field, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let field = match field {
            "name" => Field::Name,
            "namespace" => Field::Namespace,
            "pid" => Field::Pid,
            "id" => Field::Id,
            "cpu" => Field::Cpu,
            "memory" => Field::Memory,
            "uptime" => Field::Uptime,
            "status" => Field::Status,
            _ => return None,
        };
        let descending = match direction {
            "asc" => false,
            "desc" => true,
            _ => return None,
        };
        Some(Order { field, descending })
    }

    fn sort(self, list: &mut [&Process]) {
        list.sort_by(|a, b| self.compare(a, b));
    }

    /// Which of two comes first; equal ones stand by their ids.
    pub(crate) fn compare(self, a: &Process, b: &Process) -> std::cmp::Ordering {
        let uptime = |p: &Process| p.env.int("pm_uptime").unwrap_or(0);
        let order = match self.field {
            Field::Name => a.name.cmp(&b.name),
            Field::Namespace => a.env.namespace().cmp(b.env.namespace()),
            Field::Pid => a.pid.cmp(&b.pid),
            Field::Id => a.pm_id.cmp(&b.pm_id),
            Field::Cpu => a.cpu.total_cmp(&b.cpu),
            Field::Memory => a.memory.cmp(&b.memory),
            Field::Uptime => uptime(a).cmp(&uptime(b)),
            Field::Status => a.status().cmp(b.status()),
        };
        let order = if self.descending { order.reverse() } else { order };
        order.then(a.pm_id.cmp(&b.pm_id))
    }
}

/// The red dot where there are no colours.
const HIDDEN: &str = "[U] ";
/// Width of what is not a terminal.
const UNLIMITED: usize = 300;

/// The table of apps, and that of modules if there are any. `width`: columns of the terminal, if it is one.
pub(crate) fn list(
    processes: &[Process],
    order: Order,
    now_ms: i64,
    brush: Brush,
    width: Option<u16>,
) -> String {
    let mut apps: Vec<&Process> = processes.iter().filter(|p| !p.is_module()).collect();
    order.sort(&mut apps);
    let mut modules: Vec<&Process> = processes.iter().filter(|p| p.is_module()).collect();
    modules.sort_by_key(|p| p.pm_id);

    let longest = apps
        .iter()
        .map(|p| p.name.width() + mark(p, brush).map_or(0, |(_, width)| width))
        .max()
        .unwrap_or(0);
    let id_width = processes
        .iter()
        .map(|p| p.pm_id.to_string().len() + 2)
        .max()
        .unwrap_or(0)
        .max(4);
    let width = width.map_or(UNLIMITED, usize::from);
    let columns = shape(width, id_width, (longest + 5).clamp(6, 40));
    let rows = apps.iter().map(|p| {
        columns
            .iter()
            .map(|(column, _)| cell(*column, p, now_ms, brush))
            .collect()
    });
    let table = Table {
        header: Some(columns.iter().map(|(column, _)| column.title()).collect()),
        widths: columns.iter().map(|(_, width)| *width).collect(),
        rows: rows.collect(),
    };
    let mut out = table.render(brush);
    if !modules.is_empty() {
        let title = if modules.len() > 1 { "Modules" } else { "Module" };
        out.push_str(&format!("{}\n", brush.bold(title)));
        let columns = module_shape(id_width);
        let rows = modules.iter().map(|p| {
            columns
                .iter()
                .map(|(column, _)| cell(*column, p, now_ms, brush))
                .collect()
        });
        let table = Table {
            header: Some(columns.iter().map(|(column, _)| column.module_title()).collect()),
            widths: columns.iter().map(|(_, width)| *width).collect(),
            rows: rows.collect(),
        };
        out.push_str(&table.render(brush));
    }
    let hidden = |p: &Process| p.env.flag("_km_monitored") == Some(false);
    if !brush.on && processes.iter().any(hidden) {
        out.push_str(&format!("{HIDDEN}unmonitored: hidden from the hub\n"));
    }
    out
}

#[derive(Clone, Copy)]
enum Column {
    Id,
    Name,
    Namespace,
    Version,
    Mode,
    Pid,
    Uptime,
    Restarts,
    Status,
    Cpu,
    Memory,
    User,
    Watching,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::Id => "id",
            Column::Name => "name",
            Column::Namespace => "namespace",
            Column::Version => "version",
            Column::Mode => "mode",
            Column::Pid => "pid",
            Column::Uptime => "uptime",
            Column::Restarts => "↺",
            Column::Status => "status",
            Column::Cpu => "cpu",
            Column::Memory => "mem",
            Column::User => "user",
            Column::Watching => "watching",
        }
    }

    fn module_title(self) -> &'static str {
        match self {
            Column::Name => "module",
            other => other.title(),
        }
    }
}

/// The columns that fit, with their widths: all, one of PM2's two condensed forms, or a few.
fn shape(width: usize, id: usize, name: usize) -> Vec<(Column, usize)> {
    use Column::{
        Cpu, Id, Memory, Mode, Name, Namespace, Pid, Restarts, Status, Uptime, User, Version, Watching,
    };
    let full = vec![
        (Id, id),
        (Name, name),
        (Namespace, 13),
        (Version, 9),
        (Mode, 9),
        (Pid, 10),
        (Uptime, 8),
        (Restarts, 6),
        (Status, 11),
        (Cpu, 10),
        (Memory, 10),
        (User, 10),
        (Watching, 10),
    ];
    let condensed = vec![
        (Id, id),
        (Name, 20),
        (Mode, 10),
        (Restarts, 6),
        (Status, 11),
        (Cpu, 10),
        (Memory, 10),
    ];
    let smallest = vec![(Id, id), (Name, 16), (Status, 11), (Cpu, 9), (Memory, 10)];
    let needs = |columns: &[(Column, usize)]| columns.iter().map(|(_, width)| width + 1).sum::<usize>() + 1;
    if width >= needs(&full) {
        full
    } else if width >= needs(&condensed) {
        condensed
    } else if width >= needs(&smallest) {
        smallest
    } else {
        // Narrower than anything that PM2 draws: the name takes what is left.
        let others = vec![(Id, id), (Status, 11)];
        let left = width.saturating_sub(needs(&others) + 1);
        vec![(Id, id), (Name, left.clamp(6, 16)), (Status, 11)]
    }
}

fn module_shape(id: usize) -> Vec<(Column, usize)> {
    vec![
        (Column::Id, id),
        (Column::Name, 30),
        (Column::Version, 15),
        (Column::Pid, 10),
        (Column::Status, 10),
        (Column::Restarts, 6),
        (Column::Cpu, 10),
        (Column::Memory, 10),
        (Column::User, 10),
    ]
}

fn cell(column: Column, p: &Process, now_ms: i64, brush: Brush) -> Cell {
    match column {
        Column::Id => Cell::painted(p.pm_id.to_string(), |b, text| b.bold(b.cyan(text))),
        Column::Name => match mark(p, brush) {
            Some((mark, width)) => Cell::plain(p.name.as_str()).marked(mark, width),
            None => Cell::plain(p.name.as_str()),
        },
        Column::Namespace => p.env.namespace().into(),
        Column::Version => p.env.text("version").unwrap_or("N/A").into(),
        Column::Mode => match p.env.exec_mode() {
            ExecMode::Fork => Cell::painted("fork", |b, text| b.inverse(b.bold(text))),
            ExecMode::Cluster => Cell::painted("cluster", |b, text| b.blue(b.bold(text))),
        },
        Column::Pid => p.pid.to_string().into(),
        Column::Uptime => uptime(p, now_ms).into(),
        Column::Restarts => p.env.int("restart_time").unwrap_or(0).to_string().into(),
        Column::Status if p.is_unhealthy() => status("unhealthy"),
        Column::Status => status(p.status()),
        Column::Cpu => format!("{}%", pm2::js::float(p.cpu)).into(),
        Column::Memory => size(p.memory).into(),
        Column::User => Cell::painted(user(p), Brush::bold),
        Column::Watching if p.env.watches() => Cell::painted("enabled", |b, text| b.green(b.bold(text))),
        Column::Watching => Cell::painted("disabled", Brush::grey),
    }
}

/// `T`raced and `M`onitored as PM2 marks them; ours is the red dot on rows that are hidden from the hub.
fn mark(p: &Process, brush: Brush) -> Option<(String, usize)> {
    let monitored = p.env.flag("_km_monitored");
    if monitored == Some(false) {
        return Some(if brush.on {
            (format!("{} ", brush.red("●")), 2)
        } else {
            (HIDDEN.into(), HIDDEN.len())
        });
    }
    if p.env.flag("trace") == Some(true) {
        return Some((brush.bold(brush.green("[T] ")), 4));
    }
    (monitored == Some(true)).then(|| (brush.bold(brush.green("[M] ")), 4))
}

/// The status in its colour.
pub(super) fn status(status: &str) -> Cell {
    match status {
        "online" => Cell::painted(status, |b, text| b.green(b.bold(text))),
        "launching" => Cell::painted(status, |b, text| b.blue(b.bold(text))),
        _ => Cell::painted(status, |b, text| b.red(b.bold(text))),
    }
}

/// How long it is online; `0` when it is not.
pub(crate) fn uptime(p: &Process, now_ms: i64) -> String {
    match (p.status(), p.env.int("pm_uptime")) {
        ("online", Some(since)) => uptime_text(u64::try_from(now_ms - since).unwrap_or(0)),
        _ => "0".into(),
    }
}

fn user(p: &Process) -> String {
    let uid = p
        .env
        .get("uid")
        .filter(|v| matches!(**v, Value::String(_) | Value::Number(_)));
    uid.map(|uid| pm2::js::to_text(&uid))
        .or_else(|| p.env.text("username").map(str::to_owned))
        .unwrap_or_else(|| "N/A".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;
    use serde_json::json;

    fn processes() -> Vec<Process> {
        let mut list = vec![
            sample(
                10,
                "worker",
                json!({ "status": "online", "pm_uptime": 0, "exec_mode": "cluster_mode", "version": "1.2.3", "username": "deploy",
                    "restart_time": 3, "watch": true, "_km_monitored": false }),
            ),
            sample(
                0,
                "api",
                json!({ "status": "stopped", "exec_mode": "fork_mode", "namespace": "web", "username": "root" }),
            ),
            sample(
                3,
                "pm2-logrotate",
                json!({ "status": "online", "pmx_module": true, "pm_uptime": 0, "username": "root" }),
            ),
        ];
        (list[1].pid, list[1].memory) = (0, 0);
        list[0].cpu = 12.5;
        list
    }

    const OFF: Brush = Brush { on: false };

    #[test]
    fn the_table() {
        insta::assert_snapshot!(list(&processes(), Order::BY_NAME, 61_000, OFF, None), @"
        ┌────┬───────────────┬─────────────┬─────────┬─────────┬──────────┬────────┬──────┬───────────┬──────────┬──────────┬──────────┬──────────┐
        │ id │ name          │ namespace   │ version │ mode    │ pid      │ uptime │ ↺    │ status    │ cpu      │ mem      │ user     │ watching │
        ├────┼───────────────┼─────────────┼─────────┼─────────┼──────────┼────────┼──────┼───────────┼──────────┼──────────┼──────────┼──────────┤
        │ 0  │ api           │ web         │ N/A     │ fork    │ 0        │ 0      │ 0    │ stopped   │ 0%       │ 0b       │ root     │ disabled │
        │ 10 │ [U] worker    │ default     │ 1.2.3   │ cluster │ 4010     │ 61s    │ 3    │ online    │ 12.5%    │ 26.9mb   │ deploy   │ enabled  │
        └────┴───────────────┴─────────────┴─────────┴─────────┴──────────┴────────┴──────┴───────────┴──────────┴──────────┴──────────┴──────────┘
        Module
        ┌────┬──────────────────────────────┬───────────────┬──────────┬──────────┬──────┬──────────┬──────────┬──────────┐
        │ id │ module                       │ version       │ pid      │ status   │ ↺    │ cpu      │ mem      │ user     │
        ├────┼──────────────────────────────┼───────────────┼──────────┼──────────┼──────┼──────────┼──────────┼──────────┤
        │ 3  │ pm2-logrotate                │ N/A           │ 4003     │ online   │ 0    │ 0%       │ 26.9mb   │ root     │
        └────┴──────────────────────────────┴───────────────┴──────────┴──────────┴──────┴──────────┴──────────┴──────────┘
        [U] unmonitored: hidden from the hub
        ");
    }

    #[test]
    fn narrow_terminals() {
        insta::assert_snapshot!(list(&processes()[..2], Order::BY_NAME, 61_000, OFF, Some(90)), @"
        ┌────┬────────────────────┬──────────┬──────┬───────────┬──────────┬──────────┐
        │ id │ name               │ mode     │ ↺    │ status    │ cpu      │ mem      │
        ├────┼────────────────────┼──────────┼──────┼───────────┼──────────┼──────────┤
        │ 0  │ api                │ fork     │ 0    │ stopped   │ 0%       │ 0b       │
        │ 10 │ [U] worker         │ cluster  │ 3    │ online    │ 12.5%    │ 26.9mb   │
        └────┴────────────────────┴──────────┴──────┴───────────┴──────────┴──────────┘
        [U] unmonitored: hidden from the hub
        ");
        insta::assert_snapshot!(list(&processes()[..2], Order::BY_NAME, 61_000, OFF, Some(60)), @"
        ┌────┬────────────────┬───────────┬─────────┬──────────┐
        │ id │ name           │ status    │ cpu     │ mem      │
        ├────┼────────────────┼───────────┼─────────┼──────────┤
        │ 0  │ api            │ stopped   │ 0%      │ 0b       │
        │ 10 │ [U] worker     │ online    │ 12.5%   │ 26.9mb   │
        └────┴────────────────┴───────────┴─────────┴──────────┘
        [U] unmonitored: hidden from the hub
        ");
        insta::assert_snapshot!(list(&processes()[..2], Order::BY_NAME, 61_000, OFF, Some(30)), @"
        ┌────┬───────────┬───────────┐
        │ id │ name      │ status    │
        ├────┼───────────┼───────────┤
        │ 0  │ api       │ stopped   │
        │ 10 │ [U] work… │ online    │
        └────┴───────────┴───────────┘
        [U] unmonitored: hidden from the hub
        ");
    }

    #[test]
    fn colours_are_pm2s_and_the_dot_is_red() {
        let text = list(
            &processes()[..1],
            Order::BY_NAME,
            61_000,
            Brush { on: true },
            None,
        );
        insta::assert_snapshot!(text.lines().nth(3).unwrap().replace('\x1b', "ESC"), @"ESC[90m│ESC[39m ESC[1mESC[36m10ESC[39mESC[22m ESC[90m│ESC[39m ESC[31m●ESC[39m worker    ESC[90m│ESC[39m default     ESC[90m│ESC[39m 1.2.3   ESC[90m│ESC[39m ESC[34mESC[1mclusterESC[22mESC[39m ESC[90m│ESC[39m 4010     ESC[90m│ESC[39m 61s    ESC[90m│ESC[39m 3    ESC[90m│ESC[39m ESC[32mESC[1monlineESC[22mESC[39m    ESC[90m│ESC[39m 12.5%    ESC[90m│ESC[39m 26.9mb   ESC[90m│ESC[39m ESC[1mdeployESC[22m   ESC[90m│ESC[39m ESC[32mESC[1menabledESC[22mESC[39m  ESC[90m│ESC[39m");
    }

    #[test]
    fn no_process_is_a_table_too() {
        insta::assert_snapshot!(list(&[], Order::BY_NAME, 0, OFF, None), @"
        ┌────┬──────┬─────────────┬─────────┬─────────┬──────────┬────────┬──────┬───────────┬──────────┬──────────┬──────────┬──────────┐
        │ id │ name │ namespace   │ version │ mode    │ pid      │ uptime │ ↺    │ status    │ cpu      │ mem      │ user     │ watching │
        └────┴──────┴─────────────┴─────────┴─────────┴──────────┴────────┴──────┴───────────┴──────────┴──────────┴──────────┴──────────┘
        ");
    }

    #[test]
    fn orders() {
        let ids = |text: &str| {
            let all = processes();
            let mut list: Vec<&Process> = all.iter().collect();
            Order::parse(text).unwrap().sort(&mut list);
            list.iter().map(|p| p.pm_id).collect::<Vec<_>>()
        };
        assert_eq!(ids("name"), [0, 3, 10]);
        assert_eq!(ids("id:desc"), [10, 3, 0]);
        assert_eq!(ids("cpu:desc"), [10, 0, 3]);
        assert_eq!(ids("status"), [3, 10, 0]);
        assert_eq!(Order::parse("size"), None);
        assert_eq!(Order::parse("name:up"), None);
    }
}

//! `crashes`: which processes ended without being asked to, and everything that is known of one.

use logs::crashes::{Crashes, Report};
use pm2::dates::{Pattern, TimeZone};
use serde_json::{Value, json};

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::{Cell, Table, size as bytes, tame};
use crate::style::Brush;
use crate::targets::number;

/// Lines of each stream that are shown without `--lines`.
const SHOWN: usize = 20;

pub(crate) fn crashes(context: &Context<'_>) -> Result<Then, Failure> {
    let crashes = Crashes::new(context.home.crash_dir.clone());
    let names = crashes
        .names()
        .map_err(Failure::file("reading the reports in", &context.home.crash_dir))?;
    let Some(asked) = context.typed.operands.first() else {
        return list(context, &crashes, &names, |_| true);
    };
    let one = match asked.as_str() {
        "last" => names.first(),
        part => names.iter().find(|name| *name == part).or_else(|| {
            let mut like = names.iter().filter(|name| name.contains(part) && part.len() >= 6);
            like.next().filter(|_| like.next().is_none())
        }),
    };
    match one {
        Some(name) => show(context, &crashes, name),
        None if names.is_empty() => list(context, &crashes, &names, |_| true),
        None => {
            let of_app = |report: &Report| {
                report.name == *asked || report.namespace == *asked || number(asked) == Some(report.pm_id)
            };
            list(context, &crashes, &names, of_app)
        }
    }
}

fn list(
    context: &Context<'_>,
    crashes: &Crashes,
    names: &[String],
    wanted: impl Fn(&Report) -> bool,
) -> Result<Then, Failure> {
    let console = context.console;
    // One that cannot be read any more has just made room for a newer one.
    let reports = names
        .iter()
        .filter_map(|name| Some((name, crashes.read(name).ok()?)))
        .filter(|(_, report)| wanted(report));
    if context.typed.on("json") {
        let all: Vec<Value> = reports
            .map(|(name, report)| {
                json!({
                    "report": name, "at": report.at, "app_name": report.name, "pm_id": report.pm_id, "pid": report.pid,
                    "code": report.exit.code, "signal": report.exit.signal, "oom": report.oom.killed,
                    "uptime": report.uptime_ms, "peak_memory": report.peak_memory, "restarts": report.restarts,
                })
            })
            .collect();
        console.put(format_args!("{}\n", Value::from(all)));
        return Ok(Then::Done);
    }
    let zone = TimeZone::system();
    let pattern = Pattern::new("YYYY-MM-DD HH:mm:ss");
    let mut rows = Vec::new();
    for (name, report) in reports {
        let mut how = report.exit.text();
        if report.oom.killed == Some(true) {
            how.push_str(", out of memory");
        }
        rows.push(vec![
            pattern.format(report.at_ms, &zone).into(),
            Cell::painted(report.name.as_str(), Brush::bold),
            report.pm_id.to_string().into(),
            Cell::painted(how, Brush::red),
            ms(report.uptime_ms).into(),
            bytes(report.peak_memory).into(),
            name.as_str().into(),
        ]);
    }
    if rows.is_empty() {
        let whose = context.typed.operands.first();
        let whose = whose.map_or_else(String::new, |name| format!(" of {name}"));
        console.info(format_args!("There is no report of a crash{whose}"));
    } else {
        let header = vec!["when", "app", "id", "ended by", "after", "peak mem", "report"];
        console.put(
            Table::headed(header, rows)
                .within(console.width)
                .render(console.brush),
        );
        console.info(format_args!(
            "`{} crashes <report>` shows one, `crashes last` the newest",
            context.program
        ));
    }
    Ok(Then::Done)
}

fn show(context: &Context<'_>, crashes: &Crashes, name: &str) -> Result<Then, Failure> {
    let path = crashes.path(name);
    let report = crashes
        .read(name)
        .map_err(Failure::file("reading the report", &path))?;
    let console = context.console;
    if context.typed.on("json") {
        console.put(format_args!("{}\n", serde_json::to_string(&report)?));
        return Ok(Then::Done);
    }
    let lines = match context.typed.text("lines") {
        None => SHOWN,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Error(format!("--lines {text}: say a number")))?,
    };
    for line in text(&report, lines) {
        console.put(format_args!("{}\n", tame(&line.replace('\t', "    "))));
    }
    console.put(format_args!("file: {}\n", path.display()));
    Ok(Then::Done)
}

/// A report as people read it.
fn text(report: &Report, lines: usize) -> Vec<String> {
    let zone = TimeZone::system();
    let date = Pattern::new("YYYY-MM-DD HH:mm:ss.SSS");
    let time = Pattern::new("HH:mm:ss");
    let mut out = vec![format!(
        "{} (id {}, pid {}) ended by {} at {}, after {}",
        report.name,
        report.pm_id,
        report.pid,
        report.exit.text(),
        date.format(report.at_ms, &zone),
        ms(report.uptime_ms)
    )];
    match report.oom.killed {
        Some(true) => {
            out.push("the kernel killed it for want of memory:".into());
            out.extend(report.oom.evidence.iter().map(|line| format!("  {line}")));
        }
        Some(false) => {}
        None => out.push("whether it was killed for want of memory cannot be told here".into()),
    }
    let limit = report
        .memory_limit
        .map_or_else(String::new, |limit| format!(", limit {}", bytes(limit)));
    out.push(format!(
        "peak memory {}{limit}; CPU time {}; restarts {}, {} of them too early in a row",
        bytes(report.peak_memory),
        ms(report.cpu_ms),
        report.restarts,
        report.unstable_restarts
    ));
    out.push(format!("command: {}", report.command.join(" ")));
    out.push(format!(
        "in {}, {} mode, namespace {}",
        report.cwd, report.mode, report.namespace
    ));
    let versions = &report.versions;
    out.push(format!(
        "versions: pilothouse {}, app {}, node {}",
        versions.pilothouse,
        or_none(&versions.app),
        or_none(&versions.node)
    ));
    if report.missed > 0 {
        out.push(format!(
            "{} crashes before this one came too fast for a report",
            report.missed
        ));
    }
    if !report.history.is_empty() {
        out.push("ends before this one:".into());
        out.extend(report.history.iter().rev().map(|past| {
            format!(
                "  {}  {} after {}",
                date.format(past.at_ms, &zone),
                past.exit.text(),
                ms(past.uptime_ms)
            )
        }));
    }
    if !report.usage.is_empty() {
        out.push("its last minute:".into());
        out.extend(report.usage.iter().map(|look| {
            format!(
                "  {}  cpu {:>5.1} %  memory {}",
                time.format(look.at_ms, &zone),
                look.cpu,
                bytes(look.memory)
            )
        }));
    }
    for (stream, said) in [("out", &report.out), ("error", &report.err)] {
        let shown = &said[said.len().saturating_sub(lines)..];
        out.push(format!(
            "last {} of {} lines of {stream}:",
            shown.len(),
            said.len()
        ));
        out.extend(shown.iter().map(|line| format!("  {line}")));
    }
    out
}

/// A time in ms as people say it.
fn ms(time: u64) -> String {
    match time {
        0..1000 => format!("{time}ms"),
        1000..10_000 => format!("{}.{}s", time / 1000, time % 1000 / 100),
        _ => pm2::units::uptime_text(time),
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "N/A" } else { text }
}

#[cfg(test)]
mod tests {
    use logs::crashes::{Ended, Oom, Past, Taken};

    use super::*;

    #[test]
    fn a_report_as_text() {
        let report = Report {
            name: "api".into(),
            pm_id: 2,
            pid: 99,
            exit: Ended {
                code: None,
                signal: Some("SIGKILL".into()),
            },
            oom: Oom {
                killed: Some(true),
                evidence: vec!["Killed process 99".into()],
            },
            uptime_ms: 65_000,
            peak_memory: 3 << 20,
            memory_limit: Some(1 << 30),
            history: vec![Past {
                exit: Ended {
                    code: Some(1),
                    signal: None,
                },
                uptime_ms: 1500,
                ..Past::default()
            }],
            command: vec!["node".into(), "api.js".into()],
            usage: vec![Taken {
                at_ms: 0,
                cpu: 12.34,
                memory: 2048,
            }],
            out: (1..=30).map(|n| format!("line {n}")).collect(),
            missed: 4,
            ..Report::default()
        };
        let text = text(&report, 2).join("\n");
        for part in [
            "api (id 2, pid 99) ended by SIGKILL at ",
            ", after 65s",
            "for want of memory:\n  Killed process 99",
            "peak memory 3.0mb, limit 1.0gb",
            "command: node api.js",
            "4 crashes before this one",
            "exit code 1 after 1.5s",
            "cpu  12.3 %  memory 2.0kb",
            "last 2 of 30 lines of out:\n  line 29\n  line 30\nlast 0 of 0 lines of error:",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}

//! `report`: what somebody who helps wants to know, between two fences, ready to be posted. Environments and whole keys are not in it.

use super::Then;
use super::link::{ask_agent, info_key, info_rows};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::process::{Process, TABLE_FIELDS, asked, parse_list};
use crate::render::{self, Order};
use jiff::tz::TimeZone;
use pm2::Object;
use pm2::dates::Pattern;
use pm2::rpc::method;
use serde_json::{Value, json};

const RULE: &str = "===============================================================================";
/// Columns of the heads.
const WIDTH: usize = 79;
const LOG_LINES: usize = 20;

pub(crate) fn report(context: &Context<'_>) -> Result<Then, Failure> {
    let mut client = context.client()?;
    let daemon = client.ask(method::GET_REPORT, &(Object::new(),))?;
    let link = about_link(context, &mut client);
    let console = context.console;
    if context.typed.on("json") {
        let processes = processes(&mut client)?;
        console.put(format_args!(
            "{:#}\n",
            as_json(context, &daemon, &link, &processes)
        ));
        return Ok(Then::Done);
    }
    let date = Pattern::new("ddd MMM DD YYYY HH:mm:ss [GMT]ZZ").format(now_ms(), &TimeZone::system());
    console.put(format_args!("\n\n\n```\n{}\n", head("PM2 report")));
    pairs(context, &[("Date", date)]);
    section(context, "Daemon");
    pairs(context, &about_daemon(&daemon, now_ms()));
    section(context, "CLI");
    pairs(context, &about_cli());
    section(context, "System info");
    pairs(context, &about_system());
    section(context, "Link");
    pairs(context, &link);
    section(context, "PM2 list");
    let table = render::list(
        &processes(&mut client)?,
        Order::BY_NAME,
        now_ms(),
        console.brush,
        console.width,
    );
    console.put(format_args!("{}\n", table.trim_end_matches('\n')));
    section(context, "Daemon logs");
    daemon_log(context);
    console.put(format_args!(
        "```\n\n{}\n\n",
        console.brush.bold(console.brush.green(format!(
            "Please copy/paste the above report in your issue on {}/issues",
            env!("CARGO_PKG_REPOSITORY")
        )))
    ));
    Ok(Then::Done)
}

fn head(title: &str) -> String {
    format!(
        "--- {title} {:-<fill$}",
        "",
        fill = WIDTH.saturating_sub(title.len() + 5)
    )
}

fn section(context: &Context<'_>, title: &str) {
    context.console.put(format_args!("{RULE}\n{}\n", head(title)));
}

fn pairs(context: &Context<'_>, rows: &[(&str, String)]) {
    for (name, value) in rows {
        // What others have told must not tear the report apart.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        context.console.put(format_args!("{name:<21}: {value}\n"));
    }
}

fn about_daemon(told: &Value, now_ms: i64) -> Vec<(&'static str, String)> {
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "N/A".to_owned(),
        Some(Value::Array(items)) => items.iter().map(pm2::js::to_text).collect::<Vec<_>>().join(","),
        Some(value) => pm2::js::to_text(value),
    };
    let field = |key: &str| text(told.get(key));
    let started = told.get("started_at").and_then(Value::as_i64);
    let uptime = started.map_or(0, |at| now_ms.saturating_sub(at).max(0) / 60_000);
    let mut rows = vec![
        ("pm2d version", field("pm2_version")),
        ("node version", field("node_version")),
        ("node path", field("node_path")),
        ("argv", field("argv")),
        ("argv0", field("argv0")),
        ("user", field("user")),
        ("uid", field("uid")),
        ("gid", field("gid")),
        ("uptime", format!("{uptime}min")),
        ("managed apps", field("managed_apps")),
    ];
    // A node PM2 daemon has none of these.
    if let Some(ours) = told.get("pilothouse") {
        let ours = |key: &str| text(ours.get(key));
        rows.extend([
            ("pilothouse", ours("version")),
            ("daemon pid", ours("pid")),
            ("memory", ours("memory")),
            ("open files", ours("open_files")),
            ("bus clients", ours("bus_clients")),
            ("bus messages lost", ours("bus_messages_lost")),
            ("disk jobs lost", ours("disk_jobs_lost")),
        ]);
    }
    rows
}

fn about_cli() -> Vec<(&'static str, String)> {
    let (uid, gid) = os::users::effective_ids();
    let exe = std::env::current_exe().unwrap_or_default();
    let argv: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    vec![
        ("local pm2", pm2::COMPAT_VERSION.to_owned()),
        ("pilothouse", env!("CARGO_PKG_VERSION").to_owned()),
        ("program", exe.display().to_string()),
        ("argv", argv.join(",")),
        (
            "user",
            os::users::current().map_or_else(|| "N/A".to_owned(), |user| user.name),
        ),
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
    ]
}

fn about_system() -> Vec<(&'static str, String)> {
    let host = os::host::Host::read();
    let memory = os::host::memory().unwrap_or_default();
    let home = os::users::current().map_or_else(String::new, |user| user.home.display().to_string());
    vec![
        ("arch", host.machine),
        ("platform", std::env::consts::OS.to_owned()),
        ("type", format!("{} {}", host.system, host.release)),
        ("cpus", host.cpu_model),
        ("cpus nb", host.cpus.to_string()),
        ("freemem", memory.available_bytes.to_string()),
        ("totalmem", memory.total_bytes.to_string()),
        ("home", home),
    ]
}

/// The link as `link info` shows it, with both keys masked: a report goes to strangers.
fn about_link(context: &Context<'_>, client: &mut Client) -> Vec<(&'static str, String)> {
    let stored = match context.links.stored(&context.home.root) {
        Ok(Some(stored)) => stored,
        Ok(None) => return vec![("State", "not linked".to_owned())],
        Err(reason) => return vec![("State", format!("unreadable: {reason}"))],
    };
    let told = ask_agent(context, client);
    let rows = info_rows(&stored, &told).into_iter();
    rows.map(|(name, value)| match name {
        "Public key" => (name, stored.public_masked.clone()),
        _ => (name, value),
    })
    .collect()
}

fn processes(client: &mut Client) -> Result<Vec<Process>, Failure> {
    let pending = client.begin(method::GET_MONITOR_DATA, &(asked(Some(TABLE_FIELDS)),))?;
    Ok(parse_list(&client.finish_raw(&pending)?, Some(TABLE_FIELDS))?)
}

/// The same for programs. A daemon's answer may hold anything, so only what the report shows is taken from it.
fn as_json(
    context: &Context<'_>,
    daemon: &Value,
    link: &[(&'static str, String)],
    processes: &[Process],
) -> Value {
    let section = |rows: &[(&'static str, String)]| -> Value {
        let row = |(name, value): &(&str, String)| (info_key(name), Value::from(value.clone()));
        Value::Object(rows.iter().map(row).collect())
    };
    let list: Value = processes
        .iter()
        .map(|p| {
            json!({
                "pm_id": p.pm_id,
                "name": p.name,
                "pid": p.pid,
                "status": p.status(),
                "restarts": p.env.restarts(),
                "cpu": p.cpu,
                "memory": p.memory,
            })
        })
        .collect();
    let log = logs::tail::last_lines(&context.home.log_file, LOG_LINES).unwrap_or_default();
    let log: Vec<String> = log
        .iter()
        .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
        .collect();
    json!({
        "date": pm2::dates::iso(now_ms()),
        "daemon": section(&about_daemon(daemon, now_ms())),
        "cli": section(&about_cli()),
        "system": section(&about_system()),
        "link": section(link),
        "list": list,
        "log": log,
    })
}

fn daemon_log(context: &Context<'_>) {
    let console = context.console;
    let path = &context.home.log_file;
    match logs::tail::last_lines(path, LOG_LINES) {
        Ok(lines) => {
            console.put(format_args!("{} last {LOG_LINES} lines:\n", path.display()));
            for line in lines {
                let text = String::from_utf8_lossy(&line);
                console.put(format_args!("PM2        | {}\n", text.trim_end()));
            }
        }
        Err(error) => console.put(format_args!("reading {}: {error}\n", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn heads_have_one_width() {
        for title in ["PM2 report", "CLI"] {
            assert_eq!(head(title).chars().count(), WIDTH);
        }
    }

    #[test]
    fn any_answer_of_a_daemon_makes_a_section() {
        let rows = about_daemon(
            &json!({ "pm2_version": "7.0.4", "argv": ["node", "Daemon.js"], "uid": 0, "started_at": 60_000 }),
            180_000,
        );
        let value = |name: &str| rows.iter().find(|row| row.0 == name).map(|row| row.1.as_str());
        assert_eq!(value("argv"), Some("node,Daemon.js"));
        assert_eq!(
            (value("uptime"), value("user"), value("pilothouse")),
            (Some("2min"), Some("N/A"), None)
        );
        let rows = about_daemon(&json!({ "pilothouse": { "version": "1" }, "started_at": "x" }), 0);
        assert!(rows.contains(&("pilothouse", "1".into())) && rows.contains(&("uptime", "0min".into())));
        assert_eq!(about_daemon(&Value::Null, 5).len(), 10);
    }
}

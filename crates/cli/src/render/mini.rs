//! The short list without a table (`-m`).

use super::list::uptime;
use super::size;
use crate::process::Process;
use pm2::env::ExecMode;
use std::fmt::Write as _;

/// A block of lines for each process.
pub(crate) fn mini(processes: &[Process], now_ms: i64) -> String {
    let mut out = String::new();
    for p in processes {
        let mode = match p.env.exec_mode() {
            ExecMode::Fork => "fork",
            ExecMode::Cluster => "cluster",
        };
        let lines = [
            ("namespace", p.env.namespace().to_owned()),
            ("version", p.env.text("version").unwrap_or("N/A").to_owned()),
            ("pid", p.pid.to_string()),
            ("pm2 id", p.pm_id.to_string()),
            ("status", p.status().to_owned()),
            ("mode", mode.to_owned()),
            ("restarted", p.env.int("restart_time").unwrap_or(0).to_string()),
            ("uptime", uptime(p, now_ms)),
            ("memory usage", format!("{} ", size(p.memory))),
            (
                "error log",
                p.env.text("pm_err_log_path").unwrap_or("N/A").to_owned(),
            ),
            ("watching", if p.env.watches() { "yes" } else { "no" }.to_owned()),
            ("PID file", p.env.text("pm_pid_path").unwrap_or("N/A").to_owned()),
        ];
        let _ = writeln!(out, "+--- {}", p.name);
        for (key, value) in lines {
            let _ = writeln!(out, "{key} : {value}");
        }
        if p.env.flag("_km_monitored") == Some(false) {
            let _ = writeln!(out, "monitored : no");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;

    #[test]
    fn a_block() {
        let p = sample(
            0,
            "api",
            serde_json::json!({ "status": "online", "pm_uptime": 0, "_km_monitored": false }),
        );
        insta::assert_snapshot!(mini(&[p], 5000), @"
        +--- api
        namespace : default
        version : N/A
        pid : 4000
        pm2 id : 0
        status : online
        mode : fork
        restarted : 0
        uptime : 5s
        memory usage : 26.9mb 
        error log : N/A
        watching : no
        PID file : N/A
        monitored : no
        ");
    }
}

//! The agent of node PM2, which is a process of its own: it outlives its daemon, and calls `resurrect` when it misses it.

use crate::client::Client;
use crate::context::Context;
use pm2::home::Home;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it may take to end when it is asked to, and then when it is told to.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);
const SIGTERM: i32 = 15;
/// Both take nothing but a callback: an argument would be taken for it.
const NOTHING: [(); 0] = [];

/// What it tells of itself, in the form of ours and without keys; `None` if none answers.
pub(crate) fn ask(home: &Home) -> Option<Value> {
    let told = Client::connect_agent(home).ok()?.ask("getInfos", &NOTHING).ok()?;
    let connected = told.get("connected").and_then(Value::as_bool).unwrap_or(false);
    Some(json!({
        "machine_name": told.get("machine_name"),
        "remote_host": told.get("remote_host"),
        "connected": connected,
        "state": if connected { "linked" } else { "waiting" },
    }))
}

/// Ends it, if there is one.
pub(crate) fn end(context: &Context<'_>) {
    let home = &context.home;
    let pids = || {
        let mut all = Vec::new();
        if let Ok(mut sampler) = os::proc::Sampler::new() {
            // What cannot be read is none of ours.
            let _ = sampler.sample_all(&mut all);
        }
        let is_it =
            |pid: &u32| os::proc::command_line(*pid).is_some_and(|title| is_agent(&title, &home.root));
        all.iter()
            .map(|process| process.pid)
            .filter(is_it)
            .collect::<Vec<_>>()
    };
    let mut left = pids();
    if left.is_empty() {
        return;
    }
    if let Ok(mut agent) = Client::connect_agent(home) {
        // It may be gone before its answer is here.
        let _ = agent.ask("kill", &NOTHING);
        wait_for_end(&mut left);
    }
    for pid in &left {
        let _ = os::process::kill(*pid, SIGTERM);
    }
    wait_for_end(&mut left);
    match left.is_empty() {
        true => context.console.info("[v] Agent of node PM2 stopped"),
        false => context.console.warn(format_args!(
            "the agent of node PM2 (pid {}) does not end",
            left.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
        )),
    }
}

fn wait_for_end(pids: &mut Vec<u32>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        pids.retain(|pid| os::process::exists(*pid));
        if pids.is_empty() || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(POLL);
    }
}

/// `PM2 Agent v7.0.4: (/home/me/.pm2)`, as each release calls it.
fn is_agent(title: &str, home: &Path) -> bool {
    title.starts_with("PM2 Agent v") && title.trim_end().ends_with(&format!("({})", home.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_of_this_home() {
        let home = Path::new("/home/me/.pm2");
        assert!(is_agent("PM2 Agent v7.0.4: (/home/me/.pm2)", home));
        assert!(is_agent("PM2 Agent v2.1.1: (/home/me/.pm2) ", home));
        for other in [
            "PM2 Agent v7.0.4: (/home/you/.pm2)",
            "PM2 v7.0.4: God Daemon (/home/me/.pm2)",
            "vi PM2 Agent v7.0.4: (/home/me/.pm2)",
        ] {
            assert!(!is_agent(other, home), "{other}");
        }
    }
}

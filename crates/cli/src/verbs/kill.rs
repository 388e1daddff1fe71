//! `kill`: end everything.

use super::Then;
use super::act::{Job, announce, run};
use crate::context::Context;
use crate::failure::Failure;
use crate::start::Action;
use pm2::Object;
use pm2::rpc::method;
use serde_json::json;
use std::time::Duration;

/// Longest wait for the daemon's end.
const END: Duration = Duration::from_secs(10);

pub(crate) fn kill(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let Some(mut client) = context.client_if_running()? else {
        console.warn("No process found");
        console.info("[v] All Applications Stopped");
        console.info("[v] PM2 Daemon Stopped");
        return Ok(Then::Done);
    };
    // From here on exits are not answered by restarts.
    client.tell(method::NOTIFY_KILL_PM2, &(Object::new(),))?;
    let list = client.table_list()?;
    let ids: Vec<u32> = list.iter().map(|p| p.pm_id).collect();
    if ids.is_empty() {
        console.warn("No process found");
    } else {
        announce(console, Action::Delete, "all", &ids);
        let jobs = ids
            .iter()
            .map(|id| Job {
                id: *id,
                env: None,
                as_text: false,
            })
            .collect();
        if let Err(failure) = run(context, &mut client, Action::Delete, &list, jobs) {
            // One that can't be stopped must not keep the daemon alive.
            failure.report(console);
        }
    }
    console.info("[v] All Applications Stopped");
    let me = json!({ "pid": std::process::id() });
    client.tell(method::STOP_WATCH, &("deleteAll", &me))?;
    if client.tell(method::KILL_ME, &(&me,)).is_ok() {
        let gone = client.wait_for_end(END) && no_socket(context);
        if !gone {
            console.warn(format_args!("the daemon has not ended after {} s", END.as_secs()));
        }
    }
    console.info("[v] PM2 Daemon Stopped");
    Ok(Then::Done)
}

/// The next command must not meet a daemon that is about to go.
fn no_socket(context: &Context<'_>) -> bool {
    let deadline = std::time::Instant::now() + END;
    while std::time::Instant::now() < deadline {
        match context.client_if_running() {
            Ok(Some(_)) => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => return true,
        }
    }
    false
}

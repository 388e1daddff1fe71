//! `kill`: end everything.

use super::Then;
use super::act::{Job, announce, run};
use crate::context::Context;
use crate::failure::Failure;
use crate::start::Action;
use os::lock::FileLock;
use pm2::Object;
use pm2::rpc::method;
use serde_json::json;
use std::time::{Duration, Instant};

/// Longest wait for the daemon's end.
const END: Duration = Duration::from_secs(10);
const SIGQUIT: i32 = 3;

pub(crate) fn kill(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let Some(mut client) = context.client_if_running()? else {
        console.warn("No process found");
        console.info("[v] All Applications Stopped");
        console.info("[v] PM2 Daemon Stopped");
        return Ok(Then::Done);
    };
    // It would bring the daemon back as soon as it misses it.
    crate::their_agent::end(context);
    // From here on exits are not answered by restarts.
    client.tell(method::NOTIFY_KILL_PM2, &(Object::new(),))?;
    let list = client.table_list()?;
    let ids: Vec<u32> = list.iter().map(|p| p.pm_id).collect();
    if ids.is_empty() {
        console.warn("No process found");
    } else {
        announce(console, Action::Delete, "all", &ids, false);
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
    let daemon = std::fs::read_to_string(&context.home.pid_file)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    // A node daemon says goodbye by SIGQUIT to the pid it is given.
    os::signal::ignore(SIGQUIT).map_err(Failure::file("ignoring a signal in", "this process"))?;
    let me = json!({ "pid": std::process::id() });
    client.tell(method::STOP_WATCH, &("deleteAll", &me))?;
    if client.tell(method::KILL_ME, &(&me,)).is_ok() && !(client.wait_for_end(END) && ended(context, daemon))
    {
        console.warn(format_args!("the daemon has not ended after {} s", END.as_secs()));
    }
    console.info("[v] PM2 Daemon Stopped");
    Ok(Then::Done)
}

/// The next command must not meet a daemon or a keeper that is about to go.
pub(crate) fn ended(context: &Context<'_>, daemon: Option<u32>) -> bool {
    let keeper_is_gone = || {
        !context.home.keeper_lock.exists()
            || !matches!(FileLock::try_exclusive(&context.home.keeper_lock), Ok(None))
    };
    let deadline = Instant::now() + END;
    while Instant::now() < deadline {
        if daemon.is_none_or(|pid| !os::process::exists(pid)) && keeper_is_gone() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

//! `update`: this program takes the place of the daemon that runs. One of ours hands over in place and no app notices; what runs under
//! a daemon of node is written down, ended, and started again under ours.

use super::Then;
use super::dump::{keep, restore};
use super::kill::kill;
use crate::client::{CallError, Client};
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use pm2::Object;
use pm2::rpc::method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for the next daemon. It is there within milliseconds unless commands under way are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn update(context: &Context<'_>) -> Result<Then, Failure> {
    let Some(mut client) = context.client_if_running()? else {
        context.console.info("No daemon runs here; starting one");
        context.client()?;
        return Ok(Then::List);
    };
    let report = client.ask(method::GET_REPORT, &(Object::new(),))?;
    let list = client.list(None)?;
    match Ours::read(&report) {
        Some(ours) => match hand_over(&mut client)? {
            true => went_on(context, &ours, &list)?,
            false => move_over(context, &mut client, &list)?,
        },
        None => move_over(context, &mut client, &list)?,
    }
    let brush = context.console.brush;
    context
        .console
        .say(brush.blue(brush.bold(">>>>>>>>>> PM2 updated")));
    Ok(Then::List)
}

/// What a daemon of ours says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Ours {
    version: String,
    pid: u64,
}

impl Ours {
    fn read(report: &Value) -> Option<Ours> {
        let ours = report.get("pilothouse")?;
        Some(Ours {
            version: ours.get("version")?.as_str()?.to_owned(),
            pid: ours.get("pid")?.as_u64()?,
        })
    }
}

/// Asks the daemon to let this program take over. `false`: it is too old to know how.
fn hand_over(client: &mut Client) -> Result<bool, Failure> {
    let exe = this_program()?;
    match client.ask(method::REPLACE_PROGRAM, &(json!({ "path": exe }),)) {
        // It may be gone before its answer is here.
        Ok(_) | Err(CallError::Gone { .. }) => Ok(true),
        Err(CallError::Refused(failure)) if failure.message.contains("does not exist") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// This program, also where the file has been replaced since it was started.
fn this_program() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe().map_err(Failure::file("finding", "this program"))?;
    let text = exe.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(path) => path.into(),
        None => exe,
    })
}

/// Waits for the next daemon and tells what has become of the processes.
fn went_on(context: &Context<'_>, before: &Ours, list: &[Process]) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let (now, mut client) = loop {
        match next_daemon(context, before) {
            Some(found) => break found,
            None if Instant::now() < deadline => std::thread::sleep(AGAIN),
            None => {
                return Err(Failure::Error(format!(
                    "the next daemon has not come up within {} s; see {}",
                    PATIENCE.as_secs(),
                    context.home.log_file.display()
                )));
            }
        }
    };
    let after = client.table_list()?;
    count_anew(&mut client, &after)?;
    let runs_on = |p: &&Process| p.pid != 0 && after.iter().any(|q| q.pm_id == p.pm_id && q.pid == p.pid);
    let (had, kept) = (
        list.iter().filter(|p| p.pid != 0).count(),
        list.iter().filter(runs_on).count(),
    );
    let console = context.console;
    console.info(format_args!(
        "Daemon {} ({}) has handed over to {} ({})",
        before.pid, before.version, now.pid, now.version
    ));
    console.info(format_args!(
        "{kept} of {had} running processes went on without a restart"
    ));
    Ok(())
}

/// Restarts are counted from an update on, as where it ends and starts everything.
fn count_anew(client: &mut Client, list: &[Process]) -> Result<(), Failure> {
    let counted = list.iter().filter(|p| p.env.restarts() > 0);
    let ids = counted.map(|p| vec![Value::from(p.pm_id)]).collect();
    // One that has been deleted meanwhile has nothing to count.
    client.act_on_each(method::RESET_META_PROCESS_ID, ids, 16, |_, _, _| Ok(()))?;
    Ok(())
}

fn next_daemon(context: &Context<'_>, before: &Ours) -> Option<(Ours, Client)> {
    let mut client = Client::connect(&context.home).ok()?;
    let report = client.ask(method::GET_REPORT, &(Object::new(),)).ok()?;
    let now = Ours::read(&report)?;
    (now.pid != before.pid).then_some((now, client))
}

/// Writes down what runs, ends the daemon with all of it, and starts it again under ours.
fn move_over(context: &Context<'_>, client: &mut Client, list: &[Process]) -> Result<(), Failure> {
    let console = context.console;
    let version = client.ask(method::GET_VERSION, &(Object::new(),))?;
    console.info(format_args!(
        "Taking over from a daemon of PM2 {}: its processes are ended and started again",
        version.as_str().unwrap_or("of unknown version")
    ));
    let apps: Vec<&Process> = list.iter().filter(|p| !p.is_module()).collect();
    let text = pm2::dump::write(apps.iter().map(|p| &p.env));
    let elements = pm2::dump::read(&text).map_err(|error| {
        Failure::Error(format!(
            "what runs could not be written down, nothing was changed: {error}"
        ))
    })?;
    if !elements.is_empty() {
        keep(context, &text)?;
    }
    kill(context)?;
    let started = context.client().and_then(|mut client| {
        restore(context, &mut client, elements)?;
        Ok(client)
    });
    let mut client = started.inspect_err(|_| {
        console.error(format_args!(
            "what ran is in {}: `{} resurrect` starts it",
            context.home.dump_file.display(),
            context.program
        ));
    })?;
    let now = client.table_list()?;
    for line in moved(list, &now) {
        console.info(line);
    }
    Ok(())
}

/// What has become of each process, one line each.
fn moved(before: &[Process], now: &[Process]) -> Vec<String> {
    let mut left: Vec<&Process> = now.iter().collect();
    before
        .iter()
        .map(|old| {
            // Entries keep their order, not always their numbers.
            let found = left
                .iter()
                .position(|p| p.name == old.name)
                .map(|at| left.remove(at));
            match found {
                Some(new) => format!(
                    "[{}]({}) pid {} → ({}) pid {}, {}",
                    old.name,
                    old.pm_id,
                    old.pid,
                    new.pm_id,
                    new.pid,
                    new.status()
                ),
                None => format!(
                    "[{}]({}) pid {} → not started again",
                    old.name, old.pm_id, old.pid
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;

    #[test]
    fn whose_daemon_it_is() {
        let ours = json!({ "pm2_version": "7.0.4", "pilothouse": { "version": "0.1.0", "pid": 7 } });
        assert_eq!(
            Ours::read(&ours),
            Some(Ours {
                version: "0.1.0".into(),
                pid: 7
            })
        );
        assert_eq!(Ours::read(&json!({ "pm2_version": "7.0.4" })), None);
        assert_eq!(Ours::read(&json!({ "pilothouse": {} })), None);
    }

    #[test]
    fn each_process_is_told_of() {
        let online = json!({ "status": "online" });
        let before = [
            sample(1, "web", online.clone()),
            sample(2, "web", online.clone()),
            sample(5, "gone", online.clone()),
        ];
        let now = [
            sample(0, "web", online),
            sample(1, "web", json!({ "status": "stopped" })),
        ];
        assert_eq!(
            moved(&before, &now),
            [
                "[web](1) pid 4001 → (0) pid 4000, online",
                "[web](2) pid 4002 → (1) pid 4001, stopped",
                "[gone](5) pid 4005 → not started again",
            ]
        );
    }
}

//! `pm2-dev`: apps while they are being written. Restarted when a file changes, all they say on the screen, and gone afterwards.

use super::runtime::{no_other_daemon, targets};
use super::{Foreground, Form};
use crate::context::Context;
use crate::failure::Failure;
use crate::verbs::start;
use pm2::bus::Message;
use serde_json::Value;
use std::process::{Command, Stdio};

pub(crate) fn dev(context: &Context<'_>) -> Result<u8, Failure> {
    let targets = targets(context)?;
    let (typed, console) = (&context.typed, context.console);
    if typed.on("test-mode") {
        start::start_targets(context, &mut context.client()?, targets)?;
        return Ok(0);
    }
    no_other_daemon(context)?;
    let form = if typed.on("raw") {
        Form::DevRaw
    } else {
        Form::Dev(typed.on("timestamp"))
    };
    let (mut foreground, mut client) = Foreground::begin(context, form)?;
    foreground.watch(Box::new(|message| on_restart(context, message)));
    if let Err(failure) = console.hushed(|| start::start_targets(context, &mut client, targets)) {
        failure.report(console);
        foreground.end(1);
        tidy_up(context);
        return Ok(1);
    }
    head(context, &mut client)?;
    drop(client);
    let code = foreground.run(typed.on("auto-exit"));
    console.say("\n>>>>> [PM2 DEV] Ending the session");
    tidy_up(context);
    Ok(code)
}

fn head(context: &Context<'_>, client: &mut crate::client::Client) -> Result<(), Failure> {
    let (console, brush) = (context.console, context.console.brush);
    let list = client.table_list()?;
    let mut names: Vec<&str> = list.iter().map(|p| p.name.as_str()).collect();
    names.dedup();
    let ignored = context.typed.text("ignore").unwrap_or("node_modules");
    console.say(format_args!(
        "--- PM2 development mode ------------------------------------------------------\n\
         Apps started         : {}\n\
         Processes started    : {}\n\
         Watch and Restart    : {}\n\
         Ignored folder       : {ignored}\n\
         ===============================================================================",
        names.join(", "),
        brush.bold(list.len()),
        brush.green("Enabled"),
    ));
    console.flush();
    Ok(())
}

/// Tells of a restart, and runs what was asked for after it.
fn on_restart(context: &Context<'_>, message: &Message) {
    let process = message.data.get("process");
    let restarts = process
        .and_then(|p| p.get("restart_time"))
        .and_then(Value::as_u64);
    let online = message.data.get("event").and_then(Value::as_str) == Some("online");
    if message.topic != pm2::bus::TOPIC_PROCESS_EVENT || !online || restarts.unwrap_or(0) == 0 {
        return;
    }
    let (console, brush) = (context.console, context.console.brush);
    let name = process.and_then(|p| p.get("name")).map(pm2::js::to_text);
    let name = name.unwrap_or_default();
    console.say(brush.green(format!("[rundev] App {name} restarted")));
    let Some(command) = context.typed.text("post-exec") else {
        return;
    };
    console.flush();
    let quiet = context.typed.on("silent-exec");
    let output = || if quiet { Stdio::null() } else { Stdio::inherit() };
    let started = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn();
    // It is collected with whatever else dies.
    if let Err(error) = started {
        console.error(format_args!("running {command}: {error}"));
    }
}

/// Removes the home that was made for this session; one that the user has named is the user's.
fn tidy_up(context: &Context<'_>) {
    if crate::context::var("PM2_HOME").is_some() {
        return;
    }
    if let Err(error) = std::fs::remove_dir_all(&context.home.root) {
        context
            .console
            .warn(format_args!("removing {}: {error}", context.home.root.display()));
    }
}

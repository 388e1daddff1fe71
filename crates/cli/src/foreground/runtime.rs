//! `pm2-runtime`, `pm2-docker`: the manager as the main process of a container.

use super::{Foreground, Form};
use crate::client::Client;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::verbs::{link, start};
use std::time::Duration;

/// Longest `--delay`.
const MAX_DELAY: u64 = 24 * 3600;

pub(crate) fn runtime(context: &Context<'_>) -> Result<u8, Failure> {
    let targets = super::runtime::targets(context)?;
    if var("PM2_RUNTIME_DEBUG").is_some() {
        // A daemon as with any other verb, for tests of the rest.
        start::start_targets(context, &mut context.client()?, targets)?;
        return Ok(0);
    }
    no_other_daemon(context)?;
    let (mut foreground, mut client) = Foreground::begin(context, form(context))?;
    super::web::serve_if_asked(context)?;
    std::thread::sleep(delay(context)?);
    // What the daemon says comes by the stream; PM2's own words would stand in the way of whoever reads the logs of apps.
    let started = context
        .console
        .hushed(|| start::start_targets(context, &mut client, targets));
    let linked = started
        .and_then(|()| something_started(context, targets))
        .and_then(|()| link_if_asked(context));
    if let Err(failure) = linked {
        failure.report(context.console);
        foreground.end(1);
        return Ok(1);
    }
    drop(client);
    Ok(foreground.run(!context.typed.off("auto-exit")))
}

/// Nothing would ever run: there is no need to wait until that is seen.
fn something_started(context: &Context<'_>, targets: &[String]) -> Result<(), Failure> {
    match context.acted_on.borrow().is_empty() {
        true => Err(Failure::Error(format!(
            "0 application started (no apps to run on {})",
            targets.join(", ")
        ))),
        false => Ok(()),
    }
}

/// What is to be started: the operands, but for the word `start` in front of them.
pub(super) fn targets<'c>(context: &'c Context<'_>) -> Result<&'c [String], Failure> {
    let operands = context.typed.operands.as_slice();
    match operands {
        [first, rest @ ..] if first == "start" && !rest.is_empty() => Ok(rest),
        [] => Err(Failure::Error(format!(
            "nothing to run: say {} app.js, or name a configuration file",
            context.program
        ))),
        operands => Ok(operands),
    }
}

/// This command ends the daemon with itself, so it must not be somebody else's.
pub(super) fn no_other_daemon(context: &Context<'_>) -> Result<(), Failure> {
    match Client::connect(&context.home) {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::Error(format!(
            "a daemon runs in {} already; end it (pm2 kill), or name another home by PM2_HOME",
            context.home.root.display()
        ))),
    }
}

fn form(context: &Context<'_>) -> Form {
    let typed = &context.typed;
    if typed.on("json") {
        Form::Json
    } else if typed.on("format") {
        Form::Pairs
    } else if typed.on("formatted") {
        Form::Labelled
    } else {
        Form::Raw
    }
}

fn delay(context: &Context<'_>) -> Result<Duration, Failure> {
    let Some(text) = context.typed.text("delay") else {
        return Ok(Duration::ZERO);
    };
    match text.parse::<u64>() {
        Ok(seconds) if seconds <= MAX_DELAY => Ok(Duration::from_secs(seconds)),
        _ => Err(Failure::Error(format!("--delay {text}: say a number of seconds"))),
    }
}

/// With both keys, by option or by environment, the hub is told of this machine.
fn link_if_asked(context: &Context<'_>) -> Result<(), Failure> {
    let key = |option: &str, names: [&str; 2]| {
        let typed = context.typed.text(option).map(str::to_owned);
        typed.or_else(|| names.iter().find_map(|name| var(name)))
    };
    let secret = key("secret", ["PM2_SECRET_KEY", "KEYMETRICS_SECRET"]);
    let public = key("public", ["PM2_PUBLIC_KEY", "KEYMETRICS_PUBLIC"]);
    let (Some(secret), Some(public)) = (secret, public) else {
        return Ok(());
    };
    let name = key("machine-name", ["PM2_MACHINE_NAME", "INSTANCE_NAME"]);
    let linked = link::with_keys(context, secret, public, name, None);
    if let Err(failure) = linked {
        // The apps matter more than who looks at them.
        failure.report(context.console);
    }
    Ok(())
}

//! `list` and its kin.

use super::Then;
use crate::client::Client;
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::process::{TABLE_FIELDS, asked, parse_list};
use crate::render::{self, Order};
use pm2::Object;
use pm2::env::Pm2Env;
use pm2::inspect::{Options, inspect};
use pm2::rpc::method;
use std::time::Duration;

/// How often `list --watch` looks again.
const REFRESH: Duration = Duration::from_millis(900);

pub(crate) fn list(context: &Context<'_>) -> Result<Then, Failure> {
    let order = order(context);
    if context.typed.on("json") {
        jlist(context)?;
        context.console.put("\n");
        return Ok(Then::Done);
    }
    let mut client = context.client()?;
    if !context.typed.on("watch") {
        print(context, &mut client, order)?;
        return Ok(Then::Done);
    }
    while !context.console.closed() {
        // Home, and clear what is below: no flicker.
        context.console.put("\x1b[H\x1b[J");
        print(context, &mut client, order)?;
        context
            .console
            .put(format_args!("Last updated: {}\n", pm2::dates::iso(now_ms())));
        context.console.flush();
        std::thread::sleep(REFRESH);
    }
    Ok(Then::Done)
}

/// The list after an action.
pub(crate) fn after(context: &Context<'_>) -> Result<(), Failure> {
    if !context.typed.off("list") {
        print(context, &mut context.client()?, order(context))?;
    }
    if context.typed.on("attach") {
        super::logs::attach(context)?;
    }
    Ok(())
}

pub(crate) fn jlist(context: &Context<'_>) -> Result<Then, Failure> {
    let mut client = context.client()?;
    let pending = client.begin(method::GET_MONITOR_DATA, &(Object::new(),))?;
    let json = client.finish_raw(&pending)?;
    // The daemon's own text goes out, but never half a list or somebody else's words.
    parse_list(&json, Some(&[]))?;
    context.console.put(String::from_utf8_lossy(&json));
    Ok(Then::Done)
}

pub(crate) fn prettylist(context: &Context<'_>) -> Result<Then, Failure> {
    let list = context
        .client()?
        .ask(method::GET_MONITOR_DATA, &(Object::new(),))?;
    context.console.put(inspect(&list, Options::FULL));
    Ok(Then::Done)
}

/// A field that is none leaves the list in its usual order, as in PM2, but not in silence.
fn order(context: &Context<'_>) -> Order {
    let Some(text) = context.typed.text("sort") else {
        return Order::BY_NAME;
    };
    Order::parse(text).unwrap_or_else(|| {
        context.console.warn(format_args!(
            "can't sort by {text}: say name, namespace, pid, id, cpu, memory, uptime or status, and :asc or :desc"
        ));
        Order::BY_NAME
    })
}

/// Both questions go out before the first answer is read.
fn print(context: &Context<'_>, client: &mut Client, order: Order) -> Result<(), Failure> {
    let host = client.begin(method::GET_SYSTEM_DATA, &(Object::new(),))?;
    let processes = client.begin(method::GET_MONITOR_DATA, &(asked(Some(TABLE_FIELDS)),))?;
    // A daemon without host metrics refuses; everything else is told.
    let mut host = match client.finish_raw(&host) {
        Err(error) if error.refusal().is_some() => Vec::new(),
        answer => answer?,
    };
    let json = client.finish_raw(&processes)?;
    let list = parse_list(&json, Some(TABLE_FIELDS))?;
    let console: &Console = context.console;
    if context.typed.on("mini-list") {
        console.say(render::mini(&list, now_ms()).trim_end_matches('\n'));
        return Ok(());
    }
    if host.is_empty() {
        host = b"{}".to_vec();
    }
    console.say(render::list(&list, order, now_ms(), console.brush, console.width).trim_end_matches('\n'));
    if let Some(line) = render::host_line(&serde_json::from_slice(&host)?, console.brush) {
        console.say(line);
    }
    for process in &list {
        if let Some(error) = process.env.load_error() {
            console.warn(format_args!(
                "App {}({}) runs, but does nothing, its main module could not be loaded: {error}",
                process.name, process.pm_id
            ));
        }
        for error in process.env.list(Pm2Env::WATCH_ERRORS) {
            console.warn(format_args!(
                "App {} is not watched as it should be: {error}",
                process.name
            ));
        }
    }
    Ok(())
}

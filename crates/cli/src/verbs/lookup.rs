//! Questions about one process or the daemon: describe, pid, id, ping.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::render;
use crate::targets::number;
use pm2::Object;
use pm2::inspect::{Options, inspect};
use pm2::rpc::method;
use serde_json::Value;

pub(crate) fn describe(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let list = context.client()?.list(None)?;
    let found: Vec<_> = list
        .iter()
        .filter(|p| p.name == *target || number(target) == Some(p.pm_id))
        .collect();
    if found.is_empty() {
        let near = crate::args::nearest(target, list.iter().map(|p| p.name.as_str()));
        let hint = near
            .map(|name| format!("; did you mean {name}?"))
            .unwrap_or_default();
        return Err(Failure::Warning(format!("{target} doesn't exist{hint}")));
    }
    if context.typed.on("json") {
        let list: Vec<Value> = found.iter().map(|process| process.as_json()).collect();
        context.console.put(format_args!("{:#}\n", Value::Array(list)));
        return Ok(Then::Done);
    }
    let local: Vec<(String, String)> = std::env::vars_os()
        .map(|(key, value)| {
            (
                key.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    for process in found {
        let text = render::describe(
            process,
            now_ms(),
            &local,
            (context.console.brush, context.console.width),
        );
        context.console.say(text.trim_end_matches('\n'));
    }
    Ok(Then::Done)
}

pub(crate) fn pid(context: &Context<'_>) -> Result<Then, Failure> {
    let list = context.client()?.list(Some(&[]))?;
    let wanted = context.typed.operands.first().filter(|name| *name != "all");
    let pids = list
        .iter()
        .filter(|p| wanted.is_none_or(|name| p.name == *name))
        .map(|p| p.pid);
    if context.typed.on("json") {
        let pids: Vec<Value> = pids.map(Value::from).collect();
        context.console.put(format_args!("{}\n", Value::Array(pids)));
        return Ok(Then::Done);
    }
    let pids: Vec<String> = pids.map(|pid| pid.to_string()).collect();
    // Nobody of that name is an empty line, as in PM2.
    context.console.say(pids.join("\n"));
    Ok(Then::Done)
}

pub(crate) fn id(context: &Context<'_>) -> Result<Then, Failure> {
    let list = context.client()?.list(Some(&[]))?;
    let name = &context.typed.operands[0];
    let ids: Vec<Value> = list
        .iter()
        .filter(|p| p.name == *name)
        .map(|p| p.pm_id.into())
        .collect();
    let ids = Value::Array(ids);
    if context.typed.on("json") {
        context.console.put(format_args!("{ids}\n"));
    } else {
        context.console.say(inspect(&ids, Options::CONSOLE));
    }
    Ok(Then::Done)
}

pub(crate) fn ping(context: &Context<'_>) -> Result<Then, Failure> {
    let answer = context.client()?.ask(method::PING, &(Object::new(),))?;
    context.console.say(inspect(&answer, Options::CONSOLE));
    Ok(Then::Done)
}

//! `link inspect`: what leaves this host, message by message, as the agent hands it to the socket. With `--raw` the bytes
//! themselves, as base64.

use super::Then;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use pm2::rpc::method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks. The agent keeps the recording on for a few seconds after each.
const POLL: Duration = Duration::from_millis(300);
/// Longest time that can be asked for: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Shows what leaves, for so many seconds or until it is ended.
pub(super) fn inspect(context: &Context<'_>, seconds: Option<&str>) -> Result<Then, Failure> {
    let until = match seconds {
        None => None,
        Some(text) => Some(Instant::now() + duration(text)?),
    };
    let Some(mut client) = context.client_if_running()? else {
        return Err(nothing(context));
    };
    let console = context.console;
    console.info("Everything that leaves this host for the hub, until it is ended with ^C:");
    let mut last = 0;
    loop {
        for sent in look(context, &mut client, last)? {
            let number = |key: &str| sent.get(key).and_then(Value::as_u64).unwrap_or(0);
            let text = |key: &str| sent.get(key).and_then(Value::as_str).unwrap_or_default();
            let seq = number("seq");
            if last > 0 && seq > last + 1 {
                console.warn(format_args!("{} messages were not caught", seq - last - 1));
            }
            // Numbers begin anew with each run of the agent.
            last = seq;
            console.say(format_args!(
                "--- {} {}, {} bytes\n{}",
                pm2::dates::iso(i64::try_from(number("at")).unwrap_or(0)),
                text("kind"),
                number("bytes"),
                text("text")
            ));
        }
        console.flush();
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Then::Done);
        }
        std::thread::sleep(POLL);
    }
}

fn look(context: &Context<'_>, client: &mut Client, after: u64) -> Result<Vec<Value>, Failure> {
    let answer = client
        .ask(
            method::AGENT_INSPECT,
            &(json!({ "after": after, "raw": context.typed.on("raw") }),),
        )
        .map_err(super::link::no_agent)?;
    match answer {
        Value::Array(list) => Ok(list),
        _ => Err(nothing(context)),
    }
}

fn nothing(context: &Context<'_>) -> Failure {
    Failure::Error(format!(
        "nothing leaves this host: no agent runs here ({} link starts one)",
        context.program
    ))
}

fn duration(text: &str) -> Result<Duration, Failure> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| Failure::Error(format!("link inspect takes a number of seconds, not {text:?}")))
}

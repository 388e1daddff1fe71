//! `profile:cpu`, `profile:mem`: profiles of the daemon itself, in the working directory.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use jiff::tz::TimeZone;
use pm2::dates::Pattern;
use pm2::rpc::method;
use serde_json::{Value, json};

const DEFAULT_MS: u64 = 10_000;

pub(crate) fn cpu(context: &Context<'_>) -> Result<Then, Failure> {
    profile(context, method::PROFILE_CPU, "cpuprofile")
}

pub(crate) fn memory(context: &Context<'_>) -> Result<Then, Failure> {
    profile(context, method::PROFILE_MEM, "heapprofile")
}

fn profile(context: &Context<'_>, method: &str, ending: &str) -> Result<Then, Failure> {
    let ms = match context.typed.operands.first() {
        None => DEFAULT_MS,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Error(format!("can't profile for {text}: say milliseconds")))?,
    };
    let name = Pattern::new("dd-HH:mm:ss").format(now_ms(), &TimeZone::system());
    let file = context.cwd.join(format!("{name}.{ending}"));
    let console = context.console;
    console.say(format_args!("Starting {method} profiling for {ms}ms..."));
    console.flush();
    let args = (json!({ "pwd": file.to_string_lossy(), "timeout": ms }),);
    let answer = context.client()?.act(method, &args)?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(Failure::Error(pm2::js::to_text(error)));
    }
    let written = answer
        .get("file")
        .and_then(Value::as_str)
        .map_or_else(|| file.display().to_string(), str::to_owned);
    console.say(format_args!("Profile done in {written}"));
    Ok(Then::Done)
}

//! reset, sendSignal, send.

use super::Then;
use crate::client::CallError;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::number;
use pm2::rpc::method;
use serde_json::json;

pub(crate) fn reset(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let mut client = context.client()?;
    let list = client.table_list()?;
    let ids: Vec<u32> = match number(target) {
        Some(id) => vec![id],
        None => list
            .iter()
            .filter(|p| target == "all" || p.name == *target)
            .map(|p| p.pm_id)
            .collect(),
    };
    if ids.is_empty() {
        return Err(Failure::Plain("Unknown process name".into()));
    }
    for id in ids {
        context
            .console
            .info(format_args!("Resetting meta for process id {id}"));
        client.act(method::RESET_META_PROCESS_ID, &(id,))?;
    }
    Ok(Then::List)
}

pub(crate) fn send_signal(context: &Context<'_>) -> Result<Then, Failure> {
    let [signal, target, ..] = context.typed.operands.as_slice() else {
        return Err(Failure::Told);
    };
    let mut client = context.client()?;
    // The daemon's refusals come without a prefix here.
    let plain = |error: CallError| match error.refusal() {
        Some(text) => Failure::Plain(text.to_owned()),
        None => Failure::Call(error),
    };
    let what = match number(target) {
        Some(id) => {
            context
                .console
                .info(format_args!("Sending signal to process id {target}"));
            let args = (json!({ "signal": signal, "process_id": id }),);
            client
                .act(method::SEND_SIGNAL_TO_PROCESS_ID, &args)
                .map_err(plain)?;
            "id"
        }
        None => {
            context
                .console
                .info(format_args!("Sending signal to process name {target}"));
            let args = (json!({ "signal": signal, "process_name": target }),);
            client
                .act(method::SEND_SIGNAL_TO_PROCESS_NAME, &args)
                .map_err(plain)?;
            "name"
        }
    };
    context.console.say(format_args!(
        "successfully sent signal {signal} to process {what} {target}"
    ));
    Ok(Then::List)
}

pub(crate) fn send_line(context: &Context<'_>) -> Result<Then, Failure> {
    let [id, line, ..] = context.typed.operands.as_slice() else {
        return Err(Failure::Told);
    };
    let mut client = context.client()?;
    let args = (json!({ "pm_id": id, "line": format!("{line}\n") }),);
    client
        .act(method::SEND_LINE_TO_STDIN, &args)
        .map_err(|error| match error.refusal() {
            Some(text) => Failure::Error(format!("Error: {text}")),
            None => Failure::Call(error),
        })?;
    Ok(Then::List)
}

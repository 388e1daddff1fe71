//! monitor and unmonitor: what the hub may see.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::{number, resolve};
use pm2::rpc::method;

pub(crate) fn monitor(context: &Context<'_>) -> Result<Then, Failure> {
    if context.typed.operands.is_empty() {
        context.console.say(format_args!(
            "To see this machine in a dashboard, run a hub and link to it:\n\n  \
             {program} hub --data DIR --listen ADDR:PORT     prints the keys\n  \
             {program} link <secret> <public> [name] --info-node <url>\n\n\
             To let the hub see a process again: {program} monitor <app_name|pm_id|all>",
            program = context.program
        ));
        return Ok(Then::Done);
    }
    set(context, method::MONITOR)
}

pub(crate) fn unmonitor(context: &Context<'_>) -> Result<Then, Failure> {
    if context.typed.operands.is_empty() {
        return Err(Failure::Error("Please specify an <app_name|pm_id>".into()));
    }
    set(context, method::UNMONITOR)
}

fn set(context: &Context<'_>, method: &str) -> Result<Then, Failure> {
    let mut client = context.client()?;
    for target in &context.typed.operands {
        let list = client.table_list()?;
        let ids = resolve(&list, target, &context.as_script(target))?;
        // Nothing changes unless all of it can.
        if let Some(unknown) =
            number(target).filter(|id| ids == [*id] && !list.iter().any(|p| p.pm_id == *id))
        {
            return Err(Failure::Error(format!("Process {unknown} not found")));
        }
        for id in ids {
            client.act(method, &(id,))?;
        }
    }
    Ok(Then::List)
}

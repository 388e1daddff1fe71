//! flush and reloadLogs.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::number;
use pm2::Object;
use pm2::rpc::method;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

pub(crate) fn flush(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let list = context.client()?.table_list()?;
    let target = context.typed.operands.first();
    if target.is_none() {
        console.info(format_args!("Flushing {}", context.home.log_file.display()));
        empty(&context.home.log_file, true)?;
    }
    let wanted = |name: &str, id: u32| target.is_none_or(|t| t == name || number(t) == Some(id));
    let mut found = false;
    for process in list.iter().filter(|p| wanted(&p.name, p.pm_id)) {
        found = true;
        console.info("Flushing:");
        let paths = [
            process.env.out_log(),
            process.env.err_log(),
            process.env.combined_log(),
        ];
        for path in paths.into_iter().flatten() {
            console.info(path);
            empty(path.as_ref(), target.is_none())?;
        }
    }
    if let (Some(target), false) = (target, found) {
        console.warn(format_args!("no process is called {target}, nothing was emptied"));
    }
    console.info("Logs flushed");
    Ok(Then::Done)
}

/// Empties a file. The writers append, so they go on at its beginning.
fn empty(path: &Path, make: bool) -> Result<(), Failure> {
    match OpenOptions::new()
        .write(true)
        .truncate(true)
        .create(make)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file("emptying", path)(error)),
    }
}

pub(crate) fn reload_logs(context: &Context<'_>) -> Result<Then, Failure> {
    let mut client = context.client()?;
    context.console.say("Reloading all logs...");
    client.act(method::RELOAD_LOGS, &(Object::new(),))?;
    context.console.say("All logs reloaded");
    Ok(Then::Done)
}

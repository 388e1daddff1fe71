//! save, cleardump, resurrect.

use super::Then;
use crate::client::Client;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::home::write_atomically;
use crate::start::order::{Needs, steps};
use crate::waiting::until_names_ready;
use pm2::Object;
use pm2::rpc::method;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Only the owner may read it: it holds the apps' environments.
const MODE: u32 = 0o600;

pub(crate) fn save(context: &Context<'_>) -> Result<Then, Failure> {
    let (console, path) = (context.console, &context.home.dump_file);
    let list = context.client()?.list(None)?;
    console.info("Saving current process list...");
    let mut kept: Vec<_> = list.iter().filter(|p| !p.is_module()).collect();
    kept.sort_by_key(|p| p.pm_id);
    let forced = context.typed.on("force") || var("FORCE").is_some();
    if kept.is_empty() && !forced {
        if !path.exists() {
            write_atomically(path, b"[]", MODE).map_err(Failure::file("writing", path))?;
        }
        console.notice("PM2 is not managing any process, skipping save...");
        console.notice(format_args!(
            "To force saving use: {} save --force",
            context.program
        ));
        return Ok(Then::Done);
    }
    keep(context, &pm2::dump::write(kept.iter().map(|p| &p.env)))?;
    console.info(format_args!("Successfully saved in {}", path.display()));
    Ok(Then::Done)
}

/// Writes a dump; the one before becomes its backup.
pub(super) fn keep(context: &Context<'_>, text: &str) -> Result<(), Failure> {
    let path = &context.home.dump_file;
    if path.exists() {
        std::fs::copy(path, &context.home.dump_backup).map_err(Failure::file("keeping a copy of", path))?;
    }
    write_atomically(path, text.as_bytes(), MODE).map_err(Failure::file("writing", path))
}

pub(crate) fn clear(context: &Context<'_>) -> Result<Then, Failure> {
    let path = &context.home.dump_file;
    crate::home::prepare(&context.home)?;
    write_atomically(path, b"[]", MODE).map_err(Failure::file("writing", path))?;
    context
        .console
        .info(format_args!("Successfully created {}", path.display()));
    Ok(Then::Done)
}

pub(crate) fn resurrect(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let mut client = context.client()?;
    console.info("Resurrecting");
    let Some((path, apps)) = read_first(context) else {
        console.error("No processes saved; DUMP file doesn't exist");
        return Ok(Then::List);
    };
    console.info(format_args!("Restoring processes located in {}", path.display()));
    restore(context, &mut client, apps)?;
    Ok(Then::List)
}

/// Starts those elements of a dump whose names are not there yet.
pub(super) fn restore(context: &Context<'_>, client: &mut Client, apps: Vec<Object>) -> Result<(), Failure> {
    let console = context.console;
    let present = client.list(Some(&[]))?;
    let name = |app: &Object| {
        app.get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let missing: Vec<Object> = apps
        .into_iter()
        .filter(|app| !present.iter().any(|p| p.name == name(app)))
        .collect();
    let needs: Vec<Needs> = missing.iter().map(|app| Needs::of(&name(app), app)).collect();
    // A list that cannot be brought into order is brought back all the same: this may be the start of the host.
    let order = steps(&needs, |_| true).unwrap_or_else(|error| {
        console.warn(error);
        vec![(0..needs.len()).collect()]
    });
    let path = |app: &Object| app.get("pm_exec_path").map(pm2::js::to_text).unwrap_or_default();
    let paths: Vec<String> = missing.iter().map(path).collect();
    let mut missing: Vec<Option<Object>> = missing.into_iter().map(Some).collect();
    let mut failed = false;
    for step in order {
        let needed = step.iter().flat_map(|&at| needs[at].on.iter().cloned()).collect();
        if let Err(failure) = until_names_ready(context, client, &needed) {
            console.warn(format_args!(
                "{failure}; what depends on it is started all the same"
            ));
        }
        let args = step.iter().filter_map(|&at| missing[at].take());
        let args = args.map(|app| vec![Value::Object(app)]).collect();
        client.act_on_each(method::PREPARE, args, 16, |_, at, result| {
            let name = &needs[step[at]].name;
            match result {
                Ok(started) => {
                    context.note_started(&started);
                    console.info(format_args!("Process {} restored", paths[step[at]]));
                }
                // One that can't be started must not keep the others down.
                Err(error) if error.refusal().is_some() => {
                    failed = true;
                    console.error(format_args!("Process {name}: {error}"));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// The dump, or its copy if the dump is broken. A broken file is put aside under another name: it may be all that is left of a
/// user's list.
fn read_first(context: &Context<'_>) -> Option<(PathBuf, Vec<Object>)> {
    for path in [&context.home.dump_file, &context.home.dump_backup] {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    context
                        .console
                        .error(format_args!("reading {}: {error}", path.display()));
                }
                continue;
            }
        };
        match pm2::dump::read(&text) {
            Ok(apps) => return Some((path.clone(), apps)),
            Err(error) => {
                let aside = aside(path);
                context.console.error(format_args!("{}: {error}", path.display()));
                match std::fs::rename(path, &aside) {
                    Ok(()) => context
                        .console
                        .warn(format_args!("it was moved to {}", aside.display())),
                    Err(error) => context
                        .console
                        .warn(format_args!("it could not be moved aside: {error}")),
                }
            }
        }
    }
    None
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".broken-{}", crate::home::now_ms()));
    path.with_file_name(name)
}

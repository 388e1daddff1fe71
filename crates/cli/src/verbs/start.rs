//! `start`: a script, a command line, a name, an id, a namespace, or a configuration.

use super::Then;
use super::act::{Job, announce, run};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::start::{
    Action, Machine, act_on_file, config_source, make_folders, options, readable, restart_environment, tell,
};
use crate::targets::number;
use pm2::Object;
use pm2::rpc::method;
use pm2::schema::{Checked, Host as _, Origin, check};
use serde_json::Value;

const DEFAULT_FILE: &str = "ecosystem.config.js";

pub(crate) fn start(context: &Context<'_>) -> Result<Then, Failure> {
    let default = [DEFAULT_FILE.to_owned()];
    let targets: &[String] = if context.typed.operands.is_empty() {
        &default
    } else {
        &context.typed.operands
    };
    start_targets(context, &mut context.client()?, targets)?;
    Ok(Then::List)
}

/// Starts what each of the targets names.
pub(crate) fn start_targets(
    context: &Context<'_>,
    client: &mut Client,
    targets: &[String],
) -> Result<(), Failure> {
    for target in targets {
        match config_source(target) {
            Some(source) => act_on_file(context, client, Action::Restart, &source)?,
            None => one(context, client, target)?,
        }
    }
    Ok(())
}

/// startOrRestart, startOrReload.
pub(crate) fn from_file(context: &Context<'_>, action: Action) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let Some(source) = config_source(target) else {
        if !context.cwd.join(target).exists() {
            return Err(Failure::Error(format!("File {target} not found")));
        }
        return Err(Failure::Error(format!(
            "{target} is no configuration file: its name ends in .json, .yaml, .toml or .config.js"
        )));
    };
    act_on_file(context, &mut context.client()?, action, &source)?;
    Ok(Then::List)
}

fn one(context: &Context<'_>, client: &mut Client, target: &str) -> Result<(), Failure> {
    if target.trim().is_empty() {
        return Err(Failure::Error("No script path - aborting".into()));
    }
    let list = client.table_list()?;
    let absolute = context.as_script(target);
    let ids = |test: &dyn Fn(&Process) -> bool| -> Vec<u32> {
        list.iter().filter(|p| test(p)).map(|p| p.pm_id).collect()
    };
    let bare = number(target).is_none()
        && !target.contains('/')
        && std::path::Path::new(target).extension().is_none();
    if bare {
        let named = ids(&|p| p.name == target || p.env.exec_path() == absolute);
        let spaced = ids(&|p| !p.is_module() && (target == "all" || p.env.namespace() == target));
        for found in [named, spaced] {
            if !found.is_empty() {
                return again(context, client, target, &found, false, &list);
            }
        }
    }
    if let Some(id) = number(target) {
        return again(context, client, target, &[id], true, &list);
    }
    let app = checked(context, target)?;
    let same = |p: &&Process| p.name == app.name() && p.env.exec_path() == absolute;
    // As in PM2 the last one says whether the app runs, and all of its name are started with it.
    if let (Some(last), false) = (list.iter().rfind(same), context.typed.on("force")) {
        if !matches!(last.status(), "stopped" | "stopping" | "errored") {
            return Err(Failure::Error(
                "Script already launched, add -f option to force re-execution".into(),
            ));
        }
        let named = ids(&|p| p.name == app.name());
        return again(context, client, app.name(), &named, false, &list);
    }
    fresh(context, client, &app)
}

fn checked(context: &Context<'_>, target: &str) -> Result<Checked, Failure> {
    let mut raw = Object::new();
    raw.insert("script".into(), target.into());
    raw.insert("namespace".into(), "default".into());
    raw.insert("watch".into(), false.into());
    raw.extend(options(&context.typed, &context.cwd)?);
    crate::otel::provide(context, &mut raw);
    Ok(check(raw, &context.caller(), &Machine)?)
}

/// What is there already is restarted with the options.
fn again(
    context: &Context<'_>,
    client: &mut Client,
    target: &str,
    ids: &[u32],
    as_text: bool,
    list: &[Process],
) -> Result<(), Failure> {
    let env = restart_environment(context, target)?;
    announce(context.console, Action::Restart, target, ids, as_text);
    let jobs = ids
        .iter()
        .map(|id| Job {
            id: *id,
            env: Some(env.clone()),
            as_text,
        })
        .collect();
    run(context, client, Action::Restart, list, jobs)?;
    context.console.info("Process successfully started");
    Ok(())
}

fn fresh(context: &Context<'_>, client: &mut Client, app: &Checked) -> Result<(), Failure> {
    let resolved = app.resolve(&context.caller(), &Machine, &Origin::Options)?;
    tell(context, &resolved.notes);
    make_folders(context, &resolved.folders)?;
    readable(&resolved.app)?;
    if context.typed.on("write") {
        write_down(context, app)?;
    }
    let text = |key: &str| resolved.app.get(key).and_then(Value::as_str).unwrap_or_default();
    let instances = resolved
        .app
        .get("instances")
        .and_then(pm2::js::as_int)
        .unwrap_or(1);
    let count = match instances {
        n if n > 0 => n.to_string(),
        n => std::thread::available_parallelism()
            .map_or(1, |cpus| (cpus.get() as i64 + n).max(1))
            .to_string(),
    };
    let plural = if count == "1" { "" } else { "s" };
    context.console.info(format_args!(
        "Starting {} in {} ({count} instance{plural})",
        text("pm_exec_path"),
        text("exec_mode")
    ));
    context.console.flush();
    let started = client.act(method::PREPARE, &(&resolved.app,))?;
    context.note_ids(&started);
    context.console.info("Done.");
    Ok(())
}

/// `--write`: keeps the options as a configuration file.
fn write_down(context: &Context<'_>, app: &Checked) -> Result<(), Failure> {
    let path = context
        .cwd
        .join(format!("{}-pm2.json", app.name().replace('/', "-")));
    if Machine.exists(&path) {
        context.console.warn(format_args!(
            "{} is there already and was not overwritten",
            path.display()
        ));
        return Ok(());
    }
    context
        .console
        .info(format_args!("Writing configuration to {}", path.display()));
    let text = serde_json::to_string_pretty(&serde_json::json!({ "apps": [app.as_object()] }))?;
    std::fs::write(&path, text).map_err(Failure::file("writing", &path))
}

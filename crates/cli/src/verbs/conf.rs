//! set, multiset, unset, get, conf, config: what `module_conf.json` keeps for apps and modules.

use super::Then;
use crate::client::{Answer, CallError};
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::module_conf::{read, update};
use crate::start::restart_environment;
use pm2::Object;
use pm2::js::to_text;
use pm2::module_conf::{KeyError, MODULES, ModuleConf, TARBALLS, pairs, parts};
use pm2::rpc::method;
use serde_json::{Value, json};
use std::process::Command;

/// The section that the daemon itself reads.
const ROTATION: &str = "logrotate";

pub(crate) fn set(context: &Context<'_>) -> Result<Then, Failure> {
    match context.typed.operands.as_slice() {
        [] => edit(context),
        // PM2 forgets the whole section here; nobody can have meant that.
        [key] => get_one(context, key),
        [key, value, ..] => store(context, key, value),
    }
}

/// `config <key>` shows a section, with a value it is `set`.
pub(crate) fn config(context: &Context<'_>) -> Result<Then, Failure> {
    match context.typed.operands.as_slice() {
        [key, value, ..] => store(context, key, value),
        [key] => {
            show_section(context, &read(&context.home)?, key);
            Ok(Then::Done)
        }
        [] => Err(Failure::Told),
    }
}

fn store(context: &Context<'_>, key: &str, value: &str) -> Result<Then, Failure> {
    change(context, |conf| conf.set(key, value).map_err(bad_key))?;
    let section = owner(key)?;
    refresh(context, &section)?;
    context.console.info("Setting changed");
    show_sections(context, &read(&context.home)?, Some(&section));
    Ok(Then::Done)
}

pub(crate) fn multiset(context: &Context<'_>) -> Result<Then, Failure> {
    let text = context.typed.operands.join(" ");
    let pairs = pairs(&text);
    if pairs.is_empty() {
        return Err(Failure::Error(format!(
            "multiset \"{text}\": say keys and values in turn, such as \"app:a 1 app:b 2\""
        )));
    }
    change(context, |conf| {
        pairs
            .iter()
            .try_for_each(|(key, value)| conf.set(key, value.as_str()).map_err(bad_key))
    })?;
    let mut owners = Vec::new();
    for (key, _) in &pairs {
        let owner = owner(key)?;
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    for owner in &owners {
        refresh(context, owner)?;
    }
    let conf = read(&context.home)?;
    for owner in &owners {
        show_sections(context, &conf, Some(owner));
    }
    Ok(Then::Done)
}

pub(crate) fn unset(context: &Context<'_>) -> Result<Then, Failure> {
    let key = context.typed.operands[0].as_str();
    change(context, |conf| {
        if key == "all" {
            conf.clear();
        } else {
            conf.unset(key).map_err(bad_key)?;
        }
        Ok(())
    })?;
    if key == "all" {
        reread_rotation(context)?;
    } else {
        let owner = owner(key)?;
        refresh(context, &owner)?;
        show_sections(context, &read(&context.home)?, Some(&owner));
    }
    Ok(Then::Done)
}

pub(crate) fn get(context: &Context<'_>) -> Result<Then, Failure> {
    match context.typed.operands.first().map(String::as_str) {
        None | Some("all") => all(context),
        Some(key) => get_one(context, key),
    }
}

/// `conf` shows everything, whatever stands behind it.
pub(crate) fn all(context: &Context<'_>) -> Result<Then, Failure> {
    let conf = read(&context.home)?;
    if context.typed.on("json") {
        context
            .console
            .put(format_args!("{:#}\n", Value::Object(conf.as_object().clone())));
    } else {
        show_sections(context, &conf, None);
    }
    Ok(Then::Done)
}

fn get_one(context: &Context<'_>, key: &str) -> Result<Then, Failure> {
    let conf = read(&context.home)?;
    let Some(value) = conf.get(key).map_err(bad_key)? else {
        return Err(Failure::Warning(format!("nothing is stored under {key}")));
    };
    let parts = parts(key).map_err(bad_key)?;
    match (value, parts.as_slice()) {
        _ if context.typed.on("json") => context.console.put(format_args!("{value:#}\n")),
        (Value::Object(_), [section]) => show_section(context, &conf, section),
        (value, [name]) => context
            .console
            .say(format_args!("Value for {name}: {}", shown(value))),
        (value, [section, rest @ ..]) => context.console.say(format_args!(
            "Value for module {section} key {}: {}",
            rest.join(":"),
            shown(value)
        )),
        (_, []) => {}
    }
    Ok(Then::Done)
}

fn show_section(context: &Context<'_>, conf: &ModuleConf, section: &str) {
    show_sections(context, conf, Some(section));
    context.console.say("Copy a line, change its value and run it.");
}

/// Each value as the command that stores it. The list of installed modules is no configuration.
fn show_sections(context: &Context<'_>, conf: &ModuleConf, only: Option<&str>) {
    let console = context.console;
    for (name, section) in conf.as_object() {
        let wanted = match only {
            Some(only) => only == name,
            None => name != MODULES && name != TARBALLS,
        };
        let (true, Value::Object(section)) = (wanted, section) else {
            continue;
        };
        console.say(format_args!("{}{name}", console.brush.bold("Module: ")));
        let mut lines = Vec::new();
        flatten(name, section, &mut lines);
        for (key, value) in lines {
            console.say(format_args!("$ {} set {key} {value}", context.program));
        }
    }
}

fn flatten(path: &str, section: &Object, into: &mut Vec<(String, String)>) {
    for (key, value) in section {
        let path = format!("{path}:{key}");
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(&path, inner, into),
            value => into.push((path, shown(value))),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        plain => to_text(plain),
    }
}

/// Changes the file, in a home that this may be the first command of.
fn change(
    context: &Context<'_>,
    change: impl FnOnce(&mut ModuleConf) -> Result<(), Failure>,
) -> Result<(), Failure> {
    crate::home::prepare(&context.home)?;
    update(&context.home, change)
}

/// The app or module that a key belongs to.
fn owner(key: &str) -> Result<String, Failure> {
    Ok(parts(key).map_err(bad_key)?.swap_remove(0))
}

/// Restarts the app of this name, so that it gets the new values. Without a daemon there is nothing to restart.
fn refresh(context: &Context<'_>, name: &str) -> Result<(), Failure> {
    if name == ROTATION {
        return reread_rotation(context);
    }
    let Some(mut client) = context.client_if_running()? else {
        return Ok(());
    };
    let ids: Vec<u32> = client
        .list(Some(&[]))?
        .into_iter()
        .filter(|p| p.name == name)
        .map(|p| p.pm_id)
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let env = restart_environment(context, name)?;
    let args = ids
        .iter()
        .map(|id| vec![json!({ "id": id, "env": env })])
        .collect();
    let restart = |_: &mut _, _, result: Result<Answer, CallError>| result.map(|_| ());
    client.act_on_each(method::RESTART_PROCESS_ID, args, 2, restart)?;
    context.console.info(format_args!("Module {name} restarted"));
    Ok(())
}

/// The daemon reads what was set for log rotation when it reopens the log files.
fn reread_rotation(context: &Context<'_>) -> Result<(), Failure> {
    if let Some(mut client) = context.client_if_running()? {
        client.act(method::RELOAD_LOGS, &(Object::new(),))?;
    }
    Ok(())
}

/// Opens the file in the user's editor.
fn edit(context: &Context<'_>) -> Result<Then, Failure> {
    crate::home::prepare(&context.home)?;
    let path = &context.home.module_conf_file;
    let editor = var("VISUAL")
        .or_else(|| var("EDITOR"))
        .unwrap_or_else(|| "vim".into());
    // By the shell, since the variable may hold arguments.
    let status = Command::new("/bin/sh")
        .args(["-c", "eval \"$0 \\\"\\$1\\\"\"", &editor])
        .arg(path)
        .status()
        .map_err(Failure::file("starting the editor for", path))?;
    if !status.success() {
        return Err(Failure::Error(format!(
            "the editor {editor} ended with {status}; set VISUAL or EDITOR to another, or use: {} set <key> <value>",
            context.program
        )));
    }
    read(&context.home)?;
    context
        .console
        .say(format_args!("Module configuration ({}) edited.", path.display()));
    context
        .console
        .say("It takes effect when what it is for is restarted.");
    Ok(Then::Done)
}

fn bad_key(error: KeyError) -> Failure {
    Failure::Error(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_shown_as_the_commands_that_store_them() {
        let conf = json!({ "a": "1", "deep": { "x": { "y": "2" }, "e": {} }, "n": 3 });
        let mut lines = Vec::new();
        flatten("app", conf.as_object().unwrap(), &mut lines);
        let lines: Vec<String> = lines.into_iter().map(|(k, v)| format!("{k} {v}")).collect();
        assert_eq!(lines, ["app:a 1", "app:deep:x:y 2", "app:deep:e {}", "app:n 3"]);
    }
}

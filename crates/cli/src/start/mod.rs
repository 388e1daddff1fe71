//! From what was typed, or a configuration file, to what the daemon is asked: resolution happens here, at the edge, with the facts of
//! this host; the rules themselves are in `pm2::schema`.

mod facts;
mod file;
mod options;
pub(crate) mod order;
pub(crate) mod site;

pub(crate) use facts::Machine;
pub(crate) use file::{
    Source, act_on_file, again, checked, chosen, config_source, launch, load, misordered, name_of,
    start_or_restart,
};
pub(crate) use options::options;

use crate::context::Context;
use crate::failure::Failure;
use pm2::Object;
use pm2::rpc::method;
use pm2::schema::{Level, Note, check, restart_env_from_options};

/// What is done to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Stop,
    Restart,
    Reload,
    Delete,
}

impl Action {
    /// The daemon's method.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Action::Stop => method::STOP_PROCESS_ID,
            Action::Restart => method::RESTART_PROCESS_ID,
            Action::Reload => method::RELOAD_PROCESS_ID,
            Action::Delete => method::DELETE_PROCESS_ID,
        }
    }

    /// Its name in events.
    pub(crate) fn event(self) -> &'static str {
        match self {
            Action::Stop => "stop",
            Action::Restart => "restart",
            Action::Reload => "reload",
            Action::Delete => "delete",
        }
    }
}

/// What a restart or reload of this name brings along.
pub(crate) fn restart_environment(context: &Context<'_>, name: &str) -> Result<Object, Failure> {
    let caller = context.caller();
    let mut brought = options(&context.typed, &context.cwd)?;
    crate::otel::provide(context, &mut brought);
    let checked = check(brought, &caller, &Machine)?;
    tell(context, &checked.notes);
    Ok(restart_env_from_options(
        &checked,
        name,
        context.typed.on("update-env"),
        &caller,
    ))
}

/// Says what resolution has to say.
pub(crate) fn tell(context: &Context<'_>, notes: &[Note]) {
    for note in notes {
        match note.level {
            Level::Info => context.console.info(&note.text),
            Level::Warn => context.console.notice(&note.text),
            Level::Error => context.console.error(&note.text),
        }
    }
}

/// Makes the folders that log and pid files were asked to be in.
pub(crate) fn make_folders(context: &Context<'_>, folders: &[std::path::PathBuf]) -> Result<(), Failure> {
    for folder in folders.iter().filter(|folder| !folder.exists()) {
        context
            .console
            .warn(format_args!("Folder does not exist: {}", folder.display()));
        context
            .console
            .info(format_args!("Creating folder: {}", folder.display()));
        std::fs::create_dir_all(folder).map_err(Failure::file("making the folder", folder))?;
    }
    Ok(())
}

/// A folder is a script to Node: the main module of its package, or its index.
fn runs_folder(interpreter: &str, path: &str) -> Result<(), Failure> {
    let folder = std::path::Path::new(path);
    let by_node = matches!(interpreter.rsplit('/').next(), Some("node" | "bun"));
    let has_main = ["package.json", "index.js", "index.json", "index.node"]
        .iter()
        .any(|name| folder.join(name).is_file());
    if by_node && has_main {
        return Ok(());
    }
    Err(Failure::Error(format!(
        "{path} is a folder; name the script in it"
    )))
}

/// A script that its interpreter could not open fails here, with the reason, and not again and again in the daemon.
pub(crate) fn readable(app: &Object) -> Result<(), Failure> {
    let text = |key: &str| {
        app.get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let path = text("pm_exec_path");
    let meta = std::fs::metadata(path).map_err(Failure::file("reading the script", path))?;
    if meta.is_dir() {
        return runs_folder(text("exec_interpreter"), path);
    }
    // Root's own rights say nothing about the user it will run as; that the daemon will find out.
    if text("exec_interpreter") != "none" && !app.contains_key("uid") {
        std::fs::File::open(path).map_err(Failure::file("reading the script", path))?;
    }
    Ok(())
}

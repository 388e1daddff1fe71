//! A module to begin with.

use super::manifest::is_name;
use super::place::remove;
use crate::context::Context;
use crate::failure::Failure;
use serde_json::json;
use std::fs;
use std::path::Path;

const DEFAULT_NAME: &str = "sample-module";

const SCRIPT: &str = "// What was set by `set NAME:interval 5` is in the environment, as text.
const interval = Number(process.env.interval || 10);

let ticks = 0;
setInterval(() => {
  ticks += 1;
  console.log(`tick ${ticks}`);
  // Metrics and actions reach the dashboard by the channel that the manager keeps to each of its processes.
  if (process.send) {
    process.send({
      type: 'axm:monitor',
      data: { Ticks: { value: ticks, type: 'custom', historic: true } },
    });
  }
}, interval * 1000);

process.on('SIGINT', () => process.exit(0));
";

/// Writes the files of a new module into a folder of its name.
pub(super) fn generate(context: &Context<'_>) -> Result<(), Failure> {
    let name = context
        .typed
        .operands
        .first()
        .map_or(DEFAULT_NAME, String::as_str);
    if !is_name(name) {
        return Err(Failure::Error(format!(
            "{name:?} can be no module's name: letters, digits, dots and dashes are allowed"
        )));
    }
    let folder = context.cwd.join(name.rsplit('/').next().unwrap_or(name));
    if folder.exists() {
        return Err(Failure::Error(format!("{} is there already", folder.display())));
    }
    if let Err(failure) = write(&folder, name, context.program) {
        // Half a module is of no use; if it can't be removed, the first error is the one to tell.
        let _ = remove(&folder);
        return Err(failure);
    }
    let console = context.console;
    console.module(format_args!("Module sample created in {}", folder.display()));
    console.say(format_args!(
        "Start it while you change it:\n$ cd {}\n$ {} install .",
        folder.display(),
        context.program
    ));
    Ok(())
}

fn write(folder: &Path, name: &str, program: &str) -> Result<(), Failure> {
    fs::create_dir(folder).map_err(Failure::file("making the folder", folder))?;
    let manifest = json!({
        "name": name,
        "version": "1.0.0",
        "description": "A module of the process manager",
        "main": "index.js",
        "config": { "interval": "10" },
        "apps": [{ "name": name, "script": "index.js", "max_memory_restart": "200M" }],
        "license": "MIT",
    });
    let readme = format!(
        "# {name}\n\n    {program} install .              run it from this folder, restarted when a file changes\n    \
         {program} set {name}:interval 5    change its configuration\n    {program} package .              pack it\n    \
         {program} uninstall {name}\n"
    );
    let files = [
        (
            "package.json",
            format!("{}\n", serde_json::to_string_pretty(&manifest)?),
        ),
        ("index.js", SCRIPT.replace("NAME", name)),
        ("README.md", readme),
    ];
    for (file, text) in files {
        let path = folder.join(file);
        fs::write(&path, text).map_err(Failure::file("writing", &path))?;
    }
    Ok(())
}

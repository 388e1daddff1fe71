//! The dashboard's build: npm packages, then `web/dist`, both only when something changed.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::steps::{command, run};

/// Installs npm packages of `dir` unless the installed tree is as new as its lock file.
pub(crate) fn install(dir: &str) -> Result<()> {
    let lock = format!("{dir}/package-lock.json");
    let stamp = format!("{dir}/node_modules/.package-lock.json");
    if newer(&stamp, &lock) {
        return Ok(());
    }
    run(command("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(dir))
    .with_context(|| format!("installing the npm packages of {dir}"))
}

/// Builds `web/dist` when a source is newer than it.
pub(crate) fn build() -> Result<()> {
    install("web")?;
    let built = modified(Path::new("web/dist/index.html"));
    let sources = [
        "web/src",
        "web/index.html",
        "web/vite.config.ts",
        "web/package-lock.json",
        "web/public",
    ];
    let newest = sources.iter().filter_map(|p| newest_below(Path::new(p))).max();
    if built.is_some() && built >= newest {
        return Ok(());
    }
    run(command("npm")
        .args(["run", "--silent", "build"])
        .current_dir("web"))
    .context("building the dashboard")
}

fn newer(a: &str, b: &str) -> bool {
    match (modified(Path::new(a)), modified(Path::new(b))) {
        (Some(a), Some(b)) => a >= b,
        _ => false,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

fn newest_below(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    std::fs::read_dir(path)
        .ok()?
        .flatten()
        .filter_map(|entry| newest_below(&entry.path()))
        .max()
}

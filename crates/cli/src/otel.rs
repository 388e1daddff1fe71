//! Tracing: the packages of OpenTelemetry, in a folder of their own in the home. The daemon loads them into apps whose `trace` is on.

use crate::context::Context;
use crate::failure::Failure;
use crate::modules::Installer;
use crate::verbs::Then;
use pm2::{Object, js};
use std::path::Path;

/// The releases that were tried together. Between them, OpenTelemetry renames what spans are described by.
const PACKAGES: [&str; 3] = [
    "@opentelemetry/api@1.9.1",
    "@opentelemetry/sdk-node@0.221.0",
    "@opentelemetry/auto-instrumentations-node@0.79.0",
];

/// It comes into its place as a whole, so that one package stands for all.
fn is_installed(folder: &Path) -> bool {
    folder
        .join("node_modules/@opentelemetry/sdk-node/package.json")
        .is_file()
}

/// `install-otel`.
pub(crate) fn install(context: &Context<'_>) -> Result<Then, Failure> {
    if is_installed(&context.home.otel_dir) {
        context
            .console
            .info("OpenTelemetry packages are already installed");
    } else {
        fetch(context)?;
    }
    Ok(Then::Done)
}

/// `uninstall-otel`. What already runs with them runs on.
pub(crate) fn uninstall(context: &Context<'_>) -> Result<Then, Failure> {
    let folder = &context.home.otel_dir;
    if !is_installed(folder) {
        context.console.info("OpenTelemetry packages are not installed");
        return Ok(Then::Done);
    }
    context.console.info("Removing OpenTelemetry tracing packages...");
    std::fs::remove_dir_all(folder).map_err(Failure::file("removing", folder))?;
    context.console.info("OpenTelemetry tracing packages removed");
    Ok(Then::Done)
}

/// An app that is to be traced, as it was typed or written: the packages are fetched for the first one. Without them it is not traced.
pub(crate) fn provide(context: &Context<'_>, app: &mut Object) {
    let on = |key: &str| app.get(key).is_some_and(js::truthy);
    if !on("trace") || on("disable_trace") || is_installed(&context.home.otel_dir) {
        return;
    }
    if let Err(failure) = fetch(context) {
        failure.report(context.console);
        context
            .console
            .error("Tracing disabled: OpenTelemetry packages not available");
        app.insert("trace".into(), false.into());
    }
}

fn fetch(context: &Context<'_>) -> Result<(), Failure> {
    let console = context.console;
    let failed =
        |failure: Failure| Failure::Error(format!("Failed to install OpenTelemetry packages: {failure}"));
    let installer = Installer::npm_first().map_err(failed)?;
    console.info("Installing OpenTelemetry tracing packages...");
    let folder = &context.home.otel_dir;
    let beside = folder.with_file_name(format!(".otel-{}", std::process::id()));
    let fetched = std::fs::create_dir_all(&beside)
        .map_err(Failure::file("making the folder", &beside))
        .and_then(|()| installer.add(&PACKAGES, &beside, console))
        .map_err(failed)
        .and_then(|()| take_place(&beside, folder));
    // Of use to nobody, whatever became of it.
    let _ = std::fs::remove_dir_all(&beside);
    fetched?;
    console.info("OpenTelemetry tracing packages installed successfully");
    Ok(())
}

fn take_place(beside: &Path, folder: &Path) -> Result<(), Failure> {
    match std::fs::rename(beside, folder) {
        // Somebody else was quicker.
        Err(_) if is_installed(folder) => Ok(()),
        placed => placed.map_err(Failure::file("making the folder", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_be_ready_takes_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("otel");
        let made = |name: &str| {
            let beside = dir.path().join(name);
            let package = beside.join("node_modules/@opentelemetry/sdk-node");
            std::fs::create_dir_all(&package).unwrap();
            std::fs::write(package.join("package.json"), name).unwrap();
            beside
        };
        assert!(!is_installed(&folder));
        take_place(&made("one"), &folder).unwrap();
        take_place(&made("two"), &folder).unwrap();
        let kept = std::fs::read_to_string(folder.join("node_modules/@opentelemetry/sdk-node/package.json"));
        assert_eq!(kept.unwrap(), "one");
        assert!(take_place(&dir.path().join("none"), &dir.path().join("elsewhere")).is_err());
    }
}

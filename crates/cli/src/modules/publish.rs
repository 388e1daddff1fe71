//! `publish`: a module as a tarball to a registry of one's own, or with `--npm` a new version of it to npm and to git.

use super::manifest::Manifest;
use super::tools::{Upload, git, pack, upload};
use super::{Installer, place, typed_folder};
use crate::context::Context;
use crate::failure::Failure;
use crate::verbs::Then;
use pm2::Object;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where modules are on a registry.
const ROUTE: &str = "/api/v1/modules";

pub(crate) fn publish(context: &Context<'_>) -> Result<Then, Failure> {
    let folder = typed_folder(context);
    match context.typed.on("npm") {
        true => to_npm(context, &folder),
        false => to_registry(context, &folder),
    }
}

/// Packs a module into a folder; the name of the tarball tells its folder and version.
pub(super) fn packed(
    context: &Context<'_>,
    folder: &Path,
    version: &str,
    into: &Path,
) -> Result<PathBuf, Failure> {
    let base = folder
        .file_name()
        .map_or("module".into(), |name| name.to_string_lossy());
    let tarball = into.join(format!("{base}-v{}.tar.gz", version.replace(['.', '/'], "-")));
    context.console.module(format_args!(
        "Gziping {} to {}",
        folder.display(),
        tarball.display()
    ));
    // Not into the folder that is being packed: a tarball would have to hold itself.
    let beside = std::env::temp_dir().join(format!("module-{}.tar.gz", std::process::id()));
    let packed = pack(folder, &beside, context.console)
        .and_then(|()| std::fs::copy(&beside, &tarball).map_err(Failure::file("writing", &tarball)));
    // Only a left-over in the folder for such.
    let _ = place::remove(&beside);
    packed.map(|_| tarball)
}

fn to_registry(context: &Context<'_>, folder: &Path) -> Result<Then, Failure> {
    let console = context.console;
    let manifest = Manifest::read(folder)?;
    let Some(version) = manifest.version.as_deref() else {
        return Err(Failure::Error(format!(
            "{}: a module that is published has a version",
            folder.join("package.json").display()
        )));
    };
    let conf = crate::home::module_conf(&context.home);
    let registry = conf.get("pm2").and_then(|pm2| pm2.get("registry"));
    let Some(registry) = registry.and_then(Value::as_str).filter(|url| !url.is_empty()) else {
        return Err(Failure::Error(format!(
            "publish sends a module to a registry of your own; say where: {0} set pm2:registry https://…, or publish it on npm: \
             {0} publish --npm",
            context.program
        )));
    };
    let base = folder
        .file_name()
        .map_or("module".into(), |name| name.to_string_lossy());
    console.module(format_args!("Starting publishing procedure for {base}@{version}"));
    let tarball = packed(context, folder, version, &std::env::temp_dir())?;
    console.module(format_args!(
        "Package [{}] created in path {}",
        manifest.name,
        tarball.display()
    ));
    let url = format!("{}{ROUTE}", registry.trim_end_matches('/'));
    console.module(format_args!("Sending Package to remote {} {url}", manifest.name));
    let answer = upload(&Upload {
        url: &url,
        file: ("module_data", &tarball, "content/gzip"),
        fields: &[
            ("id", &manifest.name),
            ("name", &manifest.name),
            ("version", version),
        ],
    })?;
    if !answer.is_success() {
        console.module_error(format_args!("{}-{version}: {}", manifest.name, answer.reason()));
        return Err(Failure::Told);
    }
    console.module(format_args!("Module {base} published under version {version}"));
    Ok(Then::Done)
}

fn to_npm(context: &Context<'_>, folder: &Path) -> Result<Then, Failure> {
    let console = context.console;
    let name = Manifest::read(folder)?.name;
    let path = folder.join("package.json");
    let before = std::fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
    let bumped = bumped(&before).map_err(|reason| Failure::Error(format!("{}: {reason}", path.display())))?;
    let module = format!("{name}@{}", bumped.version);
    console.module(format_args!("Incrementing module to: {module}"));
    let answer = crate::prompt::line(context, "Write & Publish? [Y/N]")?;
    if !matches!(answer.as_deref(), Some("Y" | "y")) {
        return Ok(Then::List);
    }
    let mode = std::fs::metadata(&path).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
    let write = |text: &str| {
        crate::home::write_atomically(&path, text.as_bytes(), mode).map_err(Failure::file("writing", &path))
    };
    write(&bumped.text)?;
    console.module(format_args!("Publishing module - {module}"));
    if let Err(failure) = Installer::npm_first().and_then(|npm| npm.publish(folder, console)) {
        // A version that nobody can have is none.
        write(&before)?;
        return Err(failure);
    }
    console.module(format_args!("Module - {module} successfully published"));
    console.module("Pushing module on Git");
    let steps: [&[&str]; 3] = [
        &["add", "."],
        &["commit", "-m", &bumped.version],
        &["push", "origin", "HEAD"],
    ];
    for step in steps {
        if let Err(failure) = git(folder, step, console) {
            console.warn(format_args!("{module} is on npm, but not in git: {failure}"));
            break;
        }
    }
    console.module(format_args!(
        "Installable with {} install {name}",
        context.program
    ));
    Ok(Then::List)
}

/// A `package.json` with its next version.
#[derive(Debug, PartialEq)]
struct Bumped {
    version: String,
    text: String,
}

fn bumped(text: &str) -> Result<Bumped, String> {
    let mut manifest: Object =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| e.to_string())?;
    let version = manifest
        .get("version")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let version = next_minor(version)
        .ok_or_else(|| format!("version {version:?} is none that can be counted on, such as 1.2.3"))?;
    manifest.insert("version".into(), version.as_str().into());
    let mut fresh = serde_json::to_string_pretty(&manifest).map_err(|e| e.to_string())?;
    if text.ends_with('\n') {
        fresh.push('\n');
    }
    Ok(Bumped { version, text: fresh })
}

/// The next minor version, by the rules of npm: what precedes a release (`1.3.0-beta`) becomes that release.
fn next_minor(version: &str) -> Option<String> {
    let version = version.trim_start_matches('v');
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    let (version, before_release) = match version.split_once('-') {
        Some((release, _)) => (release, true),
        None => (version, false),
    };
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    let minor = if before_release && patch == 0 {
        minor
    } else {
        minor.checked_add(1)?
    };
    Some(format!("{major}.{minor}.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_minor_version() {
        for (version, next) in [
            ("1.2.3", Some("1.3.0")),
            ("0.0.1", Some("0.1.0")),
            ("1.2.0-beta.1", Some("1.2.0")),
            ("1.2.1-beta.1", Some("1.3.0")),
            ("v1.2.3+build.7", Some("1.3.0")),
            ("1.2", None),
            ("1.2.3.4", None),
            ("latest", None),
            ("", None),
            ("1.18446744073709551615.0", None),
        ] {
            assert_eq!(next_minor(version).as_deref(), next, "{version}");
        }
    }

    #[test]
    fn only_the_version_changes() {
        let text = "{\n  \"name\": \"m\",\n  \"version\": \"1.2.3\",\n  \"main\": \"a.js\"\n}\n";
        let bumped = bumped(text).unwrap();
        assert_eq!(bumped.text, text.replace("1.2.3", "1.3.0"));
        assert_eq!(bumped.version, "1.3.0");
        assert!(super::bumped("{}").unwrap_err().contains("version"));
        assert!(super::bumped("[").is_err());
    }
}

//! The map is executed: what ARCHITECTURE.md and COMPAT.md say is held against the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Which of our crates a crate may depend on. Anything not listed is forbidden.
const ARROWS: &[(&str, &[&str])] = &[
    ("supervisor", &[]),
    ("wire", &[]),
    ("node", &[]),
    ("os", &[]),
    ("logs", &["os"]),
    ("pm2", &["supervisor"]),
    ("keeper", &["os"]),
    ("config", &["pm2"]),
    ("agent", &["wire", "os", "logs"]),
    (
        "daemon",
        &["supervisor", "pm2", "node", "os", "keeper", "logs", "agent"],
    ),
    ("cli", &["config", "pm2", "logs", "os"]),
    ("hub", &["wire", "pm2"]),
    ("serve", &[]),
    (
        "pilothouse",
        &["agent", "cli", "daemon", "hub", "keeper", "os", "pm2", "serve"],
    ),
    ("xtask", &[]),
];

/// Crates that decide: no runtime, no system calls, not even behind another crate.
const PURE: &[(&str, &[&str])] = &[
    ("supervisor", &["tokio", "rustix", "libc", "serde"]),
    ("wire", &["tokio", "rustix"]),
    ("node", &["tokio", "rustix"]),
    ("pm2", &["tokio", "rustix"]),
];

const LARGE_FILE: usize = 800;
const LARGE_FILES_LIST: &str = "xtask/large-files.txt";

/// Checks everything and reports all complaints at once.
pub(crate) fn run() -> Result<()> {
    let mut complaints = Vec::new();
    arrows(&mut complaints)?;
    pure(&mut complaints)?;
    let files = tracked()?;
    paths_in_architecture(&mut complaints)?;
    tests_in_compat(&files, &mut complaints)?;
    large_files(&files, &mut complaints)?;
    if complaints.is_empty() {
        println!("tidy: ok, {} files", files.len());
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    bail!("{} complaints", complaints.len())
}

fn arrows(complaints: &mut Vec<String>) -> Result<()> {
    let metadata = metadata()?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
            complaints.push(format!(
                "crate {name} has no row in the table of arrows (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let test_only = dependency["kind"].as_str() == Some("dev");
            let to = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string();
            if ours && !test_only && !allowed.contains(&to) {
                complaints.push(format!("{name} must not depend on {to}"));
            }
        }
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--locked"])
        .output()
        .context("asking cargo for its metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn pure(complaints: &mut Vec<String>) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    for (name, forbidden) in PURE {
        let output = Command::new(&cargo)
            .args([
                "tree",
                "--package",
                name,
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
            ])
            .output()
            .with_context(|| format!("asking cargo for the tree of {name}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let names: BTreeSet<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        for bad in forbidden.iter().filter(|f| names.contains(**f)) {
            complaints.push(format!("{name} decides and must not reach {bad}"));
        }
    }
    Ok(())
}

fn tracked() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("asking git for the files")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(PathBuf::from).filter(|p| p.is_file()).collect())
}

/// Every `path` in backquotes that begins with a folder of this repository must exist.
fn paths_in_architecture(complaints: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string("ARCHITECTURE.md").context("reading ARCHITECTURE.md")?;
    for (line, word) in backquoted(&text) {
        let first = word.split('/').next().unwrap_or_default();
        let rooted = word.contains('/') && !first.is_empty() && Path::new(first).is_dir();
        if rooted && !Path::new(word.trim_end_matches('/')).exists() {
            complaints.push(format!("ARCHITECTURE.md:{line}: {word} does not exist"));
        }
    }
    Ok(())
}

/// The last column of COMPAT.md's tables names tests in backquotes: each must stand in a test file.
fn tests_in_compat(files: &[PathBuf], complaints: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string("COMPAT.md").context("reading COMPAT.md")?;
    let mut sources = String::new();
    for file in files.iter().filter(|f| is_source(f)) {
        sources.push_str(&std::fs::read_to_string(file).unwrap_or_default());
    }
    for (number, line) in text.lines().enumerate() {
        let Some(cell) = line.strip_suffix('|').and_then(|l| l.rsplit('|').next()) else {
            continue;
        };
        for (_, name) in backquoted(cell) {
            if !sources.contains(name) {
                complaints.push(format!("COMPAT.md:{}: no test is called {name:?}", number + 1));
            }
        }
    }
    Ok(())
}

fn is_source(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e == "rs" || e == "ts" || e == "tsx")
}

fn backquoted(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|word| (number + 1, word)));
        }
    }
    found
}

fn large_files(files: &[PathBuf], complaints: &mut Vec<String>) -> Result<()> {
    let allowed = std::fs::read_to_string(LARGE_FILES_LIST).unwrap_or_default();
    let reasons: Vec<(&str, &str)> = allowed.lines().filter_map(|l| l.split_once(": ")).collect();
    for file in files.iter().filter(|f| is_source(f)) {
        let lines = std::fs::read_to_string(file).unwrap_or_default().lines().count();
        let name = file.to_string_lossy();
        if lines > LARGE_FILE && !reasons.iter().any(|(path, _)| *path == name) {
            complaints.push(format!(
                "{name} has {lines} lines: split it, or give its reason in {LARGE_FILES_LIST}"
            ));
        }
    }
    Ok(())
}

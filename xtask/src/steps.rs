//! Running the steps of a chore, and the closing count of `test`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{tidy, web};

/// The repository's root, from this crate's place in it.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// A command that inherits everything; a place for what all of them need.
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

/// Runs a command and turns a failure into an error that names it.
pub(crate) fn run(cmd: &mut Command) -> Result<()> {
    let status = cmd
        .status()
        .with_context(|| format!("starting {:?}", cmd.get_program()))?;
    if !status.success() {
        let words: Vec<_> = cmd.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        bail!(
            "{} {} ended with {status}",
            cmd.get_program().to_string_lossy(),
            words.join(" ")
        );
    }
    Ok(())
}

pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cmd = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cmd.args(args);
    cmd
}

/// Builds the product's binary and returns its path.
pub(crate) fn build_binary(release: bool) -> Result<PathBuf> {
    let mut args = vec!["build", "--package", "pilothouse"];
    if release {
        args.push("--release");
    }
    run(&mut cargo(&args))?;
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
    Ok(target
        .join(if release { "release" } else { "debug" })
        .join("pilothouse"))
}

/// Format check, clippy, dependency policy, tidy, web type check and lint.
pub(crate) fn lint() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    // Advisories need a database from the network; the rest of the policy is checked offline.
    run(&mut cargo(&[
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    web::install("web")?;
    run(command("npm")
        .args(["run", "--silent", "lint"])
        .current_dir("web"))?;
    web::install("e2e")?;
    run(command("npm")
        .args(["run", "--silent", "lint"])
        .current_dir("e2e"))
}

/// Formats Rust and TypeScript.
pub(crate) fn fmt() -> Result<()> {
    run(&mut cargo(&["fmt", "--all"]))?;
    for dir in ["web", "e2e"] {
        web::install(dir)?;
        run(command("npm")
            .args(["run", "--silent", "format"])
            .current_dir(dir))?;
    }
    Ok(())
}

/// Release binary with the dashboard inside, in `dist/`.
pub(crate) fn dist() -> Result<()> {
    web::build()?;
    let binary = build_binary(true)?;
    std::fs::create_dir_all("dist")?;
    std::fs::copy(&binary, "dist/pilothouse").context("copying the binary to dist/")?;
    for alias in ["pm2", "ph"] {
        let link = Path::new("dist").join(alias);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("pilothouse", &link).with_context(|| format!("linking {alias}"))?;
    }
    println!("dist/pilothouse, and links pm2 and ph to it");
    Ok(())
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    broken: Vec<String>,
    /// Names of the tests that failed, to be said again at the end.
    names: Vec<String>,
}

impl Tally {
    /// Runs one step; its failure is remembered, and the next step still runs.
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Tally) -> Result<()>) {
        println!("\n── {name}");
        let begin = Instant::now();
        match work(self) {
            Ok(()) => println!("── {name}: ok, {:.0} s", begin.elapsed().as_secs_f64()),
            Err(error) => {
                println!(
                    "── {name}: FAILED, {:.0} s: {error:#}",
                    begin.elapsed().as_secs_f64()
                );
                self.broken.push(name.to_owned());
            }
        }
    }
}

/// Everything CI runs. The cheap and telling steps come first.
pub(crate) fn test() -> Result<()> {
    let mut tally = Tally::default();
    tally.step("dashboard: packages, build", |_| web::build());
    tally.step("lint", |_| lint());
    tally.step("dashboard: unit tests and size", |t| {
        vitest(t, "web", &[])?;
        run(command("npm")
            .args(["run", "--silent", "size"])
            .current_dir("web"))
    });
    tally.step("crates", nextest);
    tally.step("end to end", |t| {
        let binary = build_binary(false)?;
        web::install("e2e")?;
        // The releases of Node that cluster mode is tested with.
        web::install("e2e/nodes")?;
        let mut outcomes = Vec::new();
        for under_test in ["theirs", "ours"] {
            println!("\n   UNDER_TEST={under_test}");
            let envs = [
                ("UNDER_TEST", under_test.to_owned()),
                ("PILOTHOUSE_BIN", binary.display().to_string()),
            ];
            outcomes.push(vitest(t, "e2e", &envs).with_context(|| format!("UNDER_TEST={under_test}")));
        }
        // What fails on one side is no reason not to look at the other.
        outcomes.into_iter().collect()
    });
    for name in &tally.names {
        println!("failed test: {name}");
    }
    for step in &tally.broken {
        println!("failed step: {step}");
    }
    // A step can break without a test of its own failing (a lint, a build): it counts as one failure.
    let failed = tally.failed.max(tally.broken.len() as u64);
    println!(
        "\n{} passed, {failed} failed, {} skipped",
        tally.passed, tally.skipped
    );
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn nextest(tally: &mut Tally) -> Result<()> {
    let outcome = run(&mut cargo(&["nextest", "run", "--workspace", "--profile", "ci"]));
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
    let report = std::fs::read_to_string(target.join("nextest/ci/junit.xml")).unwrap_or_default();
    let mut case = "";
    for line in report.lines().map(str::trim_start) {
        if line.starts_with("<testcase") {
            case = line;
        } else if line.starts_with("<failure") || line.starts_with("<error") {
            let of = |key| attribute(case, key).unwrap_or("?");
            tally.names.push(format!("{} {}", of("classname"), of("name")));
        }
    }
    if let Some(line) = report.lines().find(|l| l.contains("<testsuites")) {
        let number = |key: &str| {
            attribute(line, key)
                .and_then(|v| v.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let failed = number("failures") + number("errors");
        tally.passed += number("tests").saturating_sub(failed);
        tally.failed += failed;
    }
    outcome
}

fn attribute<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(&format!(" {key}=\""))
        .and_then(|(_, rest)| rest.split('"').next())
}

fn vitest(tally: &mut Tally, dir: &str, envs: &[(&str, String)]) -> Result<()> {
    let report = root().join(dir).join("out/vitest.json");
    let _ = std::fs::remove_file(&report);
    let outcome = run(command("npx")
        .args([
            "vitest",
            "run",
            "--reporter=default",
            "--reporter=json",
            "--outputFile.json=out/vitest.json",
        ])
        .current_dir(dir)
        .envs(envs.iter().map(|(k, v)| (k, v.as_str()))));
    let text = std::fs::read_to_string(&report).with_context(|| format!("{dir}: vitest wrote no report"))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    tally.passed += number("numPassedTests");
    tally.failed += number("numFailedTests");
    tally.skipped += number("numPendingTests") + number("numTodoTests");
    for file in json["testResults"].as_array().into_iter().flatten() {
        let path = Path::new(file["name"].as_str().unwrap_or("?"));
        let place = path.strip_prefix(root()).unwrap_or(path).display();
        let tests = file["assertionResults"].as_array();
        let failed = tests.into_iter().flatten().filter(|t| t["status"] == "failed");
        let mut names: Vec<_> = failed
            .map(|t| format!("{place} > {}", t["fullName"].as_str().unwrap_or("?")))
            .collect();
        // A file that could not be read has no tests at all.
        if names.is_empty() && file["status"] == "failed" {
            names.push(place.to_string());
        }
        tally.names.append(&mut names);
    }
    outcome
}

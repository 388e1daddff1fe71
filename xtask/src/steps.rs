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
    /// The tests that failed, each with what it said, to be told again at the end.
    failures: Vec<String>,
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
    for failure in &tally.failures {
        println!("failed test: {failure}");
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
            let said = attribute(line, "message").unwrap_or_default();
            tally.failures.push(format!(
                "{} {}{}",
                of("classname"),
                of("name"),
                gist(&said.replace("&#10;", "\n"))
            ));
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

/// What a failed test said and at which of its lines, without the rest of its stack: enough to tell a wrong answer
/// from a test that took too long, in a report of which often only the end is kept.
fn gist(message: &str) -> String {
    let is_frame = |line: &&str| line.trim_start().starts_with("at ");
    let told = message.lines().take_while(|line| !is_frame(line)).take(16);
    let place = message
        .lines()
        .find(|line| is_frame(line) && line.contains(".test."));
    told.chain(place)
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| format!("\n    {}", line.chars().take(200).collect::<String>()))
        .collect()
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
        let side: String = envs
            .iter()
            .filter(|(key, _)| *key == "UNDER_TEST")
            .map(|(key, value)| format!("{key}={value} "))
            .collect();
        let mut failures: Vec<_> = failed
            .map(|test| {
                let name = test["fullName"].as_str().unwrap_or("?");
                let said = test["failureMessages"][0].as_str().unwrap_or_default();
                format!("{side}{place} > {name}{}", gist(said))
            })
            .collect();
        // A file that could not be read has no tests at all.
        if failures.is_empty() && file["status"] == "failed" {
            let said = file["message"].as_str().unwrap_or_default();
            failures.push(format!("{side}{place}{}", gist(said)));
        }
        tally.failures.append(&mut failures);
    }
    outcome
}

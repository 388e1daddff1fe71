//! JavaScript, by the user's own node as a child process; where there is none, by bun or deno.
//!
//! The child's standard output goes to our standard error, so that a configuration that prints does not get in the way of
//! what the command prints; the value comes by descriptor 3, put there by the shell that execs node.

use crate::{Diagnostic, Fault, Options};
use serde::Deserialize;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const EVALUATE: &str = include_str!("evaluate.cjs");
/// Longest answer that is taken.
const MAX_ANSWER: u64 = 32 << 20;
/// How long the child may take to end after it has answered.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Answer {
    value: Option<Value>,
    error: Option<Thrown>,
}

#[derive(Deserialize)]
struct Thrown {
    name: Option<String>,
    message: String,
    missing: Option<String>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

/// The value that a module exports.
pub(crate) fn load_file(path: &Path, name: &str, text: &str, options: &Options) -> Result<Value, Diagnostic> {
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        Diagnostic::new(
            Fault::Malformed,
            name,
            format!("can't be found any more: {error}"),
        )
    })?;
    run("file", &absolute, name, text, "", options)
}

/// The value of text that is an expression.
pub(crate) fn evaluate_expression(name: &str, text: &str, options: &Options) -> Result<Value, Diagnostic> {
    run("expression", Path::new(name), name, text, text, options)
}

fn run(
    kind: &str,
    target: &Path,
    name: &str,
    text: &str,
    input: &str,
    options: &Options,
) -> Result<Value, Diagnostic> {
    let runtime = find_runtime(options).ok_or_else(|| {
        Diagnostic::new(
            Fault::Malformed,
            name,
            "it is JavaScript, and neither `node` nor `bun` nor `deno` is in PATH to evaluate it",
        )
        .help("install Node.js, or write the configuration as .json, .yaml or .toml")
    })?;
    let Runtime { program, evaluate } = &runtime;
    let spawned = Command::new("/bin/sh")
        .args(["-c", "exec \"$0\" \"$1\" \"$2\" -- \"$3\" \"$4\" 3>&1 1>&2"])
        .arg(program)
        .arg(evaluate)
        .arg(EVALUATE)
        .arg(kind)
        .arg(target)
        // Left by a parent that is a managed process, it would make node take descriptor 3 for its IPC channel.
        .env_remove("NODE_CHANNEL_FD")
        .env_remove("NODE_CHANNEL_SERIALIZATION_MODE")
        .env_remove("NODE_UNIQUE_ID")
        .envs(options.env.iter().map(|(k, v)| (k, v)))
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .spawn();
    let child = spawned.map_err(|error| {
        Diagnostic::new(
            Fault::Malformed,
            name,
            format!("{} could not be started: {error}", program.display()),
        )
    })?;
    let mut child = Running(child);
    let line = child.answer(input, options.timeout);
    let answer = match line {
        Ok(line) => line,
        Err(Silence::TimedOut) => {
            let seconds = options.timeout.as_secs_f64();
            return Err(Diagnostic::new(Fault::Malformed, name, format!("it was still being evaluated after {seconds} s and was killed"))
                .help("a configuration should only describe apps: look for a loop, or for something that it waits for"));
        }
        Err(Silence::TooLong) => {
            return Err(Diagnostic::new(
                Fault::Malformed,
                name,
                "what it exports is larger than 32 MB",
            ));
        }
        Err(Silence::Ended) => {
            let how = child.end();
            return Err(Diagnostic::new(
                Fault::Malformed,
                name,
                format!("{} ended without a value ({how})", runtime.name()),
            )
            .help("does it call process.exit? what it said stands above"));
        }
    };
    child.end();
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| {
        Diagnostic::new(
            Fault::Malformed,
            name,
            format!("the answer of {} can't be read: {error}", runtime.name()),
        )
    })?;
    match (answer.value, answer.error) {
        (Some(value), None) => Ok(value),
        (_, Some(thrown)) => Err(describe(thrown, target, name, text)),
        (None, None) => Err(Diagnostic::new(
            Fault::Malformed,
            name,
            "it exports nothing, an object with `apps` is expected",
        )
        .help("end it with: module.exports = { apps: [ … ] }")),
    }
}

fn describe(thrown: Thrown, target: &Path, name: &str, text: &str) -> Diagnostic {
    let words = match thrown.name.as_deref() {
        Some("Error") | None => thrown.message.clone(),
        Some(kind) => format!("{kind}: {}", thrown.message),
    };
    let mut diagnostic = match (&thrown.file, thrown.line) {
        (Some(file), Some(line)) if Path::new(file) == target => {
            Diagnostic::new(Fault::Malformed, name, words).at(text, line, thrown.column.unwrap_or(0))
        }
        (Some(file), Some(line)) => {
            // The mistake is in a file that this one loads.
            let other = std::fs::read_to_string(file).unwrap_or_default();
            Diagnostic::new(Fault::Malformed, file, words).at(&other, line, thrown.column.unwrap_or(0))
        }
        _ => Diagnostic::new(Fault::Malformed, name, words),
    };
    if let Some(missing) = &thrown.missing {
        let help = if missing.starts_with(['.', '/']) {
            format!("the file {missing} does not exist there")
        } else {
            format!("run `npm install {}` in the folder of {name}", package(missing))
        };
        diagnostic = diagnostic.help(help);
    } else if thrown.message.starts_with("it exports") {
        diagnostic = diagnostic.help("end it with: module.exports = { apps: [ … ] }");
    }
    diagnostic
}

/// The package of a module's name: `a/b` → `a`, `@s/a/b` → `@s/a`.
fn package(module: &str) -> String {
    let parts = if module.starts_with('@') { 2 } else { 1 };
    module.split('/').take(parts).collect::<Vec<_>>().join("/")
}

/// What evaluates, and the word that says so.
struct Runtime {
    program: PathBuf,
    evaluate: &'static str,
}

impl Runtime {
    fn name(&self) -> &str {
        self.program
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("node")
    }
}

fn find_runtime(options: &Options) -> Option<Runtime> {
    if let Some(node) = &options.node {
        return node.exists().then(|| Runtime {
            program: node.clone(),
            evaluate: "-e",
        });
    }
    let path = options.path.clone().or_else(|| std::env::var_os("PATH"))?;
    [("node", "-e"), ("bun", "-e"), ("deno", "eval")]
        .into_iter()
        .find_map(|(name, evaluate)| {
            let program = std::env::split_paths(&path)
                .map(|folder| folder.join(name))
                .find(|file| is_program(file))?;
            Some(Runtime { program, evaluate })
        })
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

enum Silence {
    TimedOut,
    TooLong,
    Ended,
}

/// The child; it does not outlive this.
struct Running(Child);

impl Running {
    /// The line that it writes, or why there is none. The pipe is read by a thread of its own, which ends with the child.
    fn answer(&mut self, input: &str, timeout: Duration) -> Result<Vec<u8>, Silence> {
        if let Some(mut stdin) = self.0.stdin.take() {
            let input = input.to_owned();
            std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        }
        let Some(stdout) = self.0.stdout.take() else {
            return Err(Silence::Ended);
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let _ = sender.send(read_line(stdout));
        });
        match receiver.recv_timeout(timeout) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Silence::TimedOut),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Silence::Ended),
        }
    }

    /// Waits a little for its end, then kills it. Says how it ended.
    fn end(&mut self) -> String {
        let deadline = Instant::now() + GRACE;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                _ => return "it was killed".into(),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_line(mut from: impl Read) -> Result<Vec<u8>, Silence> {
    let mut line = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Err(Silence::Ended),
            Ok(n) => {
                let end = chunk[..n].iter().position(|b| *b == b'\n');
                line.extend_from_slice(&chunk[..end.unwrap_or(n)]);
                if end.is_some() {
                    return Ok(line);
                }
                if line.len() as u64 > MAX_ANSWER {
                    return Err(Silence::TooLong);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Silence::Ended),
        }
    }
}

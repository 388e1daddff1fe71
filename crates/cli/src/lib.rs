//! Shows: arguments, verbs, tables, and the client of the daemon.
//!
//! A verb is a short-lived process: it parses its arguments, finds out what they mean, talks to the daemon over `rpc.sock`,
//! and prints. What was typed and what is meant are different types; only the second reaches a verb.
//!
//! This crate never supervises anything and keeps no state: what must outlive it is in the daemon or in `$PM2_HOME`. It has no async
//! runtime, so a `list` is a connect, a frame and a table. It knows PM2's RPC only, so it drives a node PM2 daemon just as well.

mod apply;
mod args;
mod client;
mod console;
mod context;
mod deploy;
mod doctor;
mod failure;
mod foreground;
mod home;
mod module_conf;
mod modules;
mod otel;
mod process;
mod prompt;
mod render;
mod start;
mod startup;
mod style;
mod targets;
mod their_agent;
mod tui;
mod verbs;
mod waiting;

pub use doctor::{Finding, State};

use args::{
    Given, ParseError, Typed, Verb, command_help, option_like, parse, program_help, usage, verb_like,
};
use console::Console;
use context::Context;
use std::ffi::OsString;
use std::io::{LineWriter, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The stored link to a hub, as the agent keeps it. The binary implements it: this crate does not know the agent.
pub trait LinkStore {
    /// Finds keys, name and address (environment, then what was typed, then what is stored) and stores them.
    ///
    /// # Errors
    /// What is missing or wrong, as a sentence for the user.
    fn link(&self, home: &Path, typed: &LinkTyped) -> Result<LinkChoice, String>;
    /// What is stored, if anything is.
    ///
    /// # Errors
    /// The file can't be read.
    fn stored(&self, home: &Path) -> Result<Option<LinkChoice>, String>;
    /// Forgets the link. `false`: there was none.
    ///
    /// # Errors
    /// The file can't be removed.
    fn forget(&self, home: &Path) -> Result<bool, String>;
    /// Goes the way to the hub step by step, with what was typed or else with what is stored, and says what it found. Nothing is
    /// changed. `node_version` is that of the Node in `PATH`, empty if there is none; `program` is how the user calls this one.
    ///
    /// # Errors
    /// What is missing or wrong, as a sentence for the user.
    fn examine(
        &self,
        home: &Path,
        typed: &LinkTyped,
        node_version: &str,
        program: &str,
    ) -> Result<Vec<Finding>, String>;
    /// What leaves this host for its hub, field by field, with the digest of the list and the fingerprint of this home's key.
    fn fields(&self, home: &Path) -> serde_json::Value;
    /// Other homes of this host that are linked to the same bucket under the same name.
    fn neighbours(&self, home: &Path) -> Vec<PathBuf>;
    /// Puts back what was stored before [`LinkStore::link`].
    ///
    /// # Errors
    /// The file can't be written.
    fn undo(&self, home: &Path) -> Result<(), String>;
    /// Asks a hub's API at its root address, and waits for the answer: the HTTP status, and the body as JSON.
    ///
    /// # Errors
    /// The hub was not reached.
    fn ask_hub(&self, root: &str, asked: &HubAsked<'_>) -> Result<(u16, serde_json::Value), String>;
    /// The address of a hub in full, if it can be one.
    ///
    /// # Errors
    /// Why not.
    fn hub_root(&self, typed: &str) -> Result<String, String>;
}

/// A request to a hub's API.
#[derive(Clone, Copy, Debug)]
pub struct HubAsked<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// From the slash on.
    pub path: &'a str,
    /// The access token, where one is needed.
    pub token: Option<&'a str>,
    /// Sent as JSON; `Null` sends nothing.
    pub body: &'a serde_json::Value,
}

/// What was typed behind `link`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTyped {
    /// The first key.
    pub secret: Option<String>,
    /// The second key.
    pub public: Option<String>,
    /// Name of this server.
    pub name: Option<String>,
    /// Address of the hub.
    pub info_node: Option<String>,
}

/// A link as people are shown it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChoice {
    /// Public key. Only the hub knows that it is: as long as it has not said so, this may be the secret one.
    pub public_key: String,
    /// The same, masked.
    pub public_masked: String,
    /// Secret key, masked.
    pub secret_masked: String,
    /// Name of this server.
    pub machine_name: String,
    /// Address of the hub.
    pub root: String,
    /// Whether the hub may ask for actions.
    pub reverse: bool,
    /// Where public key, secret key, name and address came from; empty when they are merely stored.
    pub origins: Vec<(&'static str, String)>,
}

/// Runs one command to its end. `argv` begins with the name by which the program was called.
pub fn main(argv: impl IntoIterator<Item = OsString>, links: &dyn LinkStore) -> ExitCode {
    let mut argv = argv.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    let program = program_name(argv.next().as_deref().unwrap_or("pilothouse"));
    let mut argv: Vec<String> = argv.collect();
    if let Some(verb) = verb_of(program) {
        argv.insert(0, verb.to_owned());
    }
    let console = console_for(&argv);
    let code = match parse(&argv) {
        Ok(typed) => dispatch(program, typed, &console, links),
        Err(error) => mistaken(program, &error, &console),
    };
    console.flush();
    code
}

fn dispatch(program: &'static str, mut typed: Typed, console: &Console, links: &dyn LinkStore) -> ExitCode {
    if typed.on("version") {
        console.put(format_args!("{}\n", version(program)));
        return ExitCode::SUCCESS;
    }
    let Some(verb) = typed.verb else {
        if typed.on("help") {
            console.put(program_help(program));
            return ExitCode::SUCCESS;
        }
        console.put(format_args!("{}\n", usage(program)));
        return ExitCode::FAILURE;
    };
    if typed.on("help") {
        console.put(command_help(program, verb));
        return ExitCode::SUCCESS;
    }
    match verb {
        Verb::Runtime | Verb::Dev if typed.operands.is_empty() => {
            console.put(command_help(program, verb));
            return ExitCode::FAILURE;
        }
        Verb::Runtime => assume_container(&mut typed),
        Verb::Dev => assume_development(&mut typed),
        _ => {}
    }
    let outcome = Context::new(program, typed, console, links).and_then(|context| verbs::run(verb, &context));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(console),
    }
}

/// What a container's logs are for is on its output; files would only fill it up.
fn assume_container(typed: &mut Typed) {
    for file in ["output", "error"] {
        typed.assume(file, Given::Text("/dev/null".into()));
    }
}

/// An app that is being written is restarted at each change, and not at once when it fails.
fn assume_development(typed: &mut Typed) {
    typed.assume("restart-delay", Given::Text("1000".into()));
    let ignored = typed.text("ignore").unwrap_or_default().to_owned();
    let ignored: Vec<&str> = ignored
        .split(',')
        .chain(["node_modules"])
        .filter(|name| !name.is_empty())
        .collect();
    typed.assume("ignore-watch", Given::Text(ignored.join(" ")));
    typed.assume("watch", Given::On);
}

/// The command line makes no sense.
fn mistaken(program: &str, error: &ParseError, console: &Console) -> ExitCode {
    match error {
        ParseError::UnknownVerb(typed) => {
            console.error(console.err_brush.bold(error));
            if let Some(near) = verb_like(typed) {
                console.complain(format_args!("Did you mean `{program} {near}`?"));
            }
            console.put(format_args!("\n{}\n", usage(program)));
        }
        ParseError::ExtraOperand(verb, _) => {
            console.error(error);
            console.put(command_help(program, *verb));
        }
        ParseError::UnknownOption(typed) => {
            console.complain(format_args!("\n  error: {error}\n"));
            if let Some(near) = option_like(typed) {
                console.complain(format_args!("  did you mean --{near}?\n"));
            }
        }
        _ => console.complain(format_args!("\n  error: {error}\n")),
    }
    ExitCode::FAILURE
}

fn version(program: &str) -> String {
    match program {
        "pm2" | "pm2-runtime" | "pm2-docker" | "pm2-dev" => pm2::COMPAT_VERSION.to_owned(),
        _ => format!("{} (pm2 {})", env!("CARGO_PKG_VERSION"), pm2::COMPAT_VERSION),
    }
}

/// The name under which it answers: called as `pm2` it is pm2.
fn program_name(argv0: &str) -> &'static str {
    match Path::new(argv0).file_name().and_then(|name| name.to_str()) {
        Some("pm2") => "pm2",
        Some("pm2-runtime") => "pm2-runtime",
        Some("pm2-docker") => "pm2-docker",
        Some("pm2-dev") => "pm2-dev",
        Some("ph") => "ph",
        _ => "pilothouse",
    }
}

/// The verb that a name of the program stands for.
fn verb_of(program: &str) -> Option<&'static str> {
    match program {
        "pm2-runtime" | "pm2-docker" => Some("runtime"),
        "pm2-dev" => Some("dev"),
        _ => None,
    }
}

fn console_for(argv: &[String]) -> Console {
    let env = |name: &str| std::env::var(name).ok();
    let words = || argv.iter().take_while(|word| *word != "--");
    let silent = env("PM2_SILENT").is_some_and(|value| !value.is_empty())
        || words().any(|word| word == "-s" || word == "--silent");
    let plain = words().any(|word| word == "--no-color");
    let colour = |tty| style::wanted(tty, plain, env);
    let tty = os::terminal::is_terminal(stdout());
    let width = os::terminal::size(stdout()).map(|(columns, _)| columns);
    Console::new(
        if tty {
            Box::new(LineWriter::new(stdout()))
        } else {
            Box::new(std::io::BufWriter::new(stdout()))
        },
        Box::new(stderr()),
        (colour(tty), colour(os::terminal::is_terminal(stderr()))),
        width,
        silent,
    )
    // Followed logs are no single answer: what stands around them stays.
    .quiet(words().any(|word| word == "--json") && !words().any(|word| word == "logs" || word == "log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(program_name("/usr/bin/pm2"), "pm2");
        assert_eq!(program_name("ph"), "ph");
        assert_eq!(program_name("target/debug/pilothouse"), "pilothouse");
        assert_eq!(version("pm2"), "7.0.4");
    }

    #[test]
    fn a_mistyped_verb_gets_a_suggestion() {
        let (console, out, err) = console::capture::console(false, None);
        let error = parse(&["strat".to_owned()]).unwrap_err();
        mistaken("pm2", &error, &console);
        assert_eq!(
            err.text(),
            "[PM2][ERROR] Command not found\nDid you mean `pm2 start`?\n"
        );
        assert!(out.text().contains("usage: pm2 [options] <command>"));
    }
}

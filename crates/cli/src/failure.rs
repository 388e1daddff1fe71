//! What can end a verb, and what the user is told.

use crate::client::{CallError, ConnectError, SpawnError};
use crate::console::Console;
use crate::targets::TargetError;
use pm2::schema::{Level, Rejected};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;

/// A verb that failed. It always ends with 1.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error(transparent)]
    Config(#[from] config::Diagnostic),
    #[error("{what} {path}: {source}")]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("reading the daemon's list: {0}")]
    List(#[from] serde_json::Error),
    /// One sentence, with the error prefix.
    #[error("{0}")]
    Error(String),
    /// One sentence, with the warning prefix.
    #[error("{0}")]
    Warning(String),
    /// One sentence, without prefix.
    #[error("{0}")]
    Plain(String),
    /// Everything was said already.
    #[error("")]
    Told,
}

impl Failure {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
        let path = path.into();
        move |source| Failure::File { what, path, source }
    }

    /// Tells the user and gives the exit code.
    pub(crate) fn report(&self, console: &Console) -> ExitCode {
        match self {
            Failure::Told => {}
            Failure::Plain(text) => console.complain(text),
            Failure::Warning(text) => console.warn(text),
            Failure::Target(error @ TargetError::Empty) => console.warn(error),
            Failure::Rejected(rejected) => {
                for note in &rejected.messages {
                    match note.level {
                        Level::Info => console.info(&note.text),
                        // Said twice, as PM2 does: on both outputs.
                        Level::Warn => {
                            console.notice(&note.text);
                            console.error(&note.text);
                        }
                        Level::Error => console.error(&note.text),
                    }
                }
            }
            // PM2's sentence, which scripts look for, then what is wrong and where.
            Failure::Config(diagnostic) if diagnostic.line.is_some() => {
                console.error(format_args!("File {} malformated", diagnostic.file));
                console.complain(diagnostic);
            }
            Failure::Config(diagnostic) => {
                match diagnostic.message.starts_with("File ") {
                    true => console.error(&diagnostic.message),
                    false => console.error(format_args!("{}: {}", diagnostic.file, diagnostic.message)),
                }
                if let Some(help) = &diagnostic.help {
                    console.complain(help);
                }
            }
            other => console.error(other),
        }
        ExitCode::FAILURE
    }
}

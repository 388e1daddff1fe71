//! Attributes of an app: what may be written, what it means, and the resolved app that RPC `prepare` takes.
//!
//! Two steps, as in PM2. [`check`] takes what was typed (options, or one app of a configuration file) and gives the checked
//! attributes or PM2's complaints. [`Checked::resolve`] makes the resolved app of it: absolute paths, interpreter, mode, the
//! merged environment. What both must know of the host comes in through [`Caller`] and [`Host`].

mod check;
mod environment;
mod json_schema;
mod resolve;
mod table;
mod validate;

pub use check::{Checked, check};
pub use environment::{own_variables_removed, restart_env_from_file, restart_env_from_options};
pub use json_schema::json_schema;
pub use resolve::Resolved;
pub use table::{ATTRIBUTES, Attribute, Kind, attribute, camel_case};
pub use validate::is_overlay;

use crate::Object;
use crate::home::Home;
use std::path::{Path, PathBuf};

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// The whole environment, in order; all values are text.
    pub env: Object,
    /// Name of the user, stored as `username`.
    pub username: String,
    /// The user's home, for `~`.
    pub user_home: PathBuf,
    /// May give processes another user.
    pub is_root: bool,
    /// Where the daemon's files are.
    pub home: Home,
    /// Whether the agent runs.
    pub km_link: bool,
    /// `module_conf.json`: what `set` stored, by app name.
    pub module_conf: Object,
}

/// A user as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Number of the main group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// Questions about the host that resolution asks. Implemented by the caller; tests have a table.
pub trait Host {
    /// Something is at this path.
    fn exists(&self, path: &Path) -> bool;
    /// Absolute path of a program in PATH.
    fn find_program(&self, name: &str) -> Option<PathBuf>;
    /// The file's first bytes are not text.
    fn looks_binary(&self, path: &Path) -> bool;
    /// Major and minor version of the `node` in PATH.
    fn node_version(&self) -> Option<(u32, u32)>;
    /// A user by name or number.
    fn user(&self, name: &str) -> Option<User>;
    /// Number of a group by name or number.
    fn group(&self, name: &str) -> Option<u32>;
}

/// Where an app's attributes come from; the environment is merged differently.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin<'a> {
    /// Options of the command line, or the API.
    Options,
    /// A configuration file.
    File {
        /// `--env`.
        env_name: Option<&'a str>,
        /// The file's `deploy` section.
        deploy: Option<&'a Object>,
    },
}

/// How serious a message is: which prefix PM2 puts before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `[PM2]`.
    Info,
    /// `[PM2][WARN]`.
    Warn,
    /// `[PM2][ERROR]`.
    Error,
}

/// Something to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which prefix.
    pub level: Level,
    /// The text, without prefix.
    pub text: String,
    /// The attribute that it is about.
    pub about: Option<Box<str>>,
}

impl Note {
    pub(crate) fn new(level: Level, text: impl Into<String>) -> Note {
        Note {
            level,
            text: text.into(),
            about: None,
        }
    }

    pub(crate) fn about(mut self, attribute: &str) -> Note {
        self.about = Some(attribute.into());
        self
    }
}

/// The app can't be used; there is at least one message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n"))]
pub struct Rejected {
    /// What to tell, in PM2's words where it has some.
    pub messages: Vec<Note>,
}

impl Rejected {
    pub(crate) fn one(level: Level, text: impl Into<String>) -> Rejected {
        Rejected {
            messages: vec![Note::new(level, text)],
        }
    }

    /// Says which attribute it is about.
    pub(crate) fn about(mut self, attribute: &str) -> Rejected {
        self.messages = self
            .messages
            .into_iter()
            .map(|note| note.about(attribute))
            .collect();
        self
    }
}

#[cfg(test)]
pub(crate) mod fake;

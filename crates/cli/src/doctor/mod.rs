//! What is well with a home, its daemon and the host, and what is not. Facts are gathered at the edge; what they mean, and the mend
//! for it, is decided here without looking at anything.

mod facts;
mod judge;

pub(crate) use facts::{Apps, Daemon, Facts, Files, HomeFolder, Limits, Log, gather, node_version};
pub(crate) use judge::judge;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All is well.
    Well,
    /// It could not be looked at.
    Unknown,
    /// It works, and will not for ever.
    Warning,
    /// It does not work.
    Broken,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Well => "ok",
            State::Unknown => "unknown",
            State::Warning => "warning",
            State::Broken => "error",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// What was looked at.
    pub area: &'static str,
    /// What was found.
    pub text: String,
    /// What to do.
    pub mend: Option<String>,
}

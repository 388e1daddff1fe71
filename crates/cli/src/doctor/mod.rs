//! What is well with a home, its daemon and the host, and what is not. Facts are gathered at the edge; what they mean, and the mend
//! for it, is decided here without looking at anything.

mod facts;
mod judge;

pub(crate) use facts::{Apps, Daemon, Facts, Files, HomeFolder, Limits, Log, gather};
pub(crate) use judge::judge;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Well,
    /// It works, and will not for ever.
    Warning,
    /// It does not work.
    Broken,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Well => "ok",
            State::Warning => "warning",
            State::Broken => "error",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) state: State,
    /// What was looked at.
    pub(crate) area: &'static str,
    pub(crate) text: String,
    /// What to do.
    pub(crate) mend: Option<String>,
}

//! A newer program takes this one's place: the keeper first, in place and with all it holds; then this daemon leaves as if it had died,
//! and its successor carries on. No app notices.

use std::io;
use std::path::Path;
use std::time::Duration;

use keeper::protocol::Request;
use serde_json::json;
use supervisor::Mono;

use crate::clock;
use crate::journal::Level;
use crate::owner::Daemon;
use crate::rpc::Responder;

/// Commands under way are finished first, unless they take longer: their clients would have to ask again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far it has come.
#[derive(Debug)]
pub(crate) enum Replacing {
    /// The keeper was asked; whoever wants it waits.
    Keeper(Responder),
    /// The keeper is the new program: leave by this time at the latest.
    Leaving { by: Mono },
    /// The loop may return.
    Left,
}

impl Daemon {
    /// A client names the program that is to take over.
    pub(crate) fn replace_program(&mut self, path: &Path, responder: Responder) {
        if self.replacing.is_some() || self.ending.is_some() {
            responder.error("this daemon is being replaced, or ending, already");
            return;
        }
        self.say(Level::Log, &format!("handing over to {}", path.display()));
        match self.keeper.send(&Request::Exec { path }) {
            Ok(()) => self.replacing = Some(Replacing::Keeper(responder)),
            Err(error) => responder.error(&format!(
                "asking the keeper to become {}: {error}",
                path.display()
            )),
        }
    }

    /// The keeper greets anew: it is another program now.
    pub(crate) fn keeper_was_replaced(&mut self) {
        if let Some(Replacing::Keeper(responder)) = self.replacing.take() {
            responder.value(&json!({ "keeper": "replaced" }));
            let by = clock::now().mono.after(PATIENCE);
            self.replacing = Some(Replacing::Leaving { by });
        }
    }

    /// The keeper stays what it is.
    pub(crate) fn keeper_was_not_replaced(&mut self, errno: i32) {
        if let Some(Replacing::Keeper(responder)) = self.replacing.take() {
            let reason = io::Error::from_raw_os_error(errno);
            responder.error(&format!(
                "the keeper could not become that program: {reason}; nothing has changed"
            ));
        }
    }

    /// The keeper has died instead; another one is being started, which is this program again.
    pub(crate) fn keeper_died_while_replaced(&mut self) {
        if let Some(Replacing::Keeper(responder)) = self.replacing.take() {
            responder.error(
                "the keeper ended before it could become that program; another one was started, try again",
            );
        }
    }

    /// Leaves as soon as nothing is under way.
    pub(crate) fn leave_if_replaced(&mut self) {
        let Some(Replacing::Leaving { by }) = self.replacing else {
            return;
        };
        if self.jobs.is_empty() || by <= clock::now().mono {
            self.disk.finish();
            self.replacing = Some(Replacing::Left);
        }
    }

    /// When to leave whatever is under way.
    pub(crate) fn leave_at(&self) -> Option<Mono> {
        match self.replacing {
            Some(Replacing::Leaving { by }) => Some(by),
            _ => None,
        }
    }

    /// Whether the loop may return, and the keeper start the next daemon.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.replacing, Some(Replacing::Left))
    }
}

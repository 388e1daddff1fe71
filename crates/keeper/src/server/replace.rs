//! Replacing the keeper's own program in place: same process, same children, same descriptors.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;

use super::{Server, say};
use crate::protocol::RequestKind;
use crate::state::{self, Carried};
use crate::table::Table;
use crate::{KeeperError, STATE_FD, environment};

/// The state left by the program before this one, if this process had one.
pub(super) fn take_up_state() -> Result<Option<(Table, Carried)>, KeeperError> {
    let Ok(text) = std::env::var(STATE_FD) else {
        return Ok(None);
    };
    let unusable = |what: String| KeeperError::State(what);
    let number = text
        .parse()
        .map_err(|_| unusable(format!("{text:?} is no descriptor")))?;
    let file = os::fd::inherited(number).map_err(|error| unusable(error.to_string()))?;
    state::load(&file).map(Some).map_err(unusable)
}

impl Server {
    /// Only with nothing left to tell: what waits to be told is not carried over.
    pub(super) fn replace_if_wanted(&mut self) {
        if !self.outbox.is_empty() {
            return;
        }
        let Some(path) = self.replace_by.take() else {
            return;
        };
        // Returns on failure only.
        let error = self.replace(&path);
        say(&format!("replacing the keeper by {}: {error}", path.display()));
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        self.refuse(RequestKind::Exec, 0, String::new(), errno);
        self.tell();
    }

    fn replace(&mut self, path: &OsStr) -> io::Error {
        match self.try_replace(Path::new(path)) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_replace(&mut self, path: &Path) -> io::Result<std::convert::Infallible> {
        let metadata = path.metadata()?;
        if !path.is_absolute() || !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (daemon_pid, daemon_is_child, socket, pidfd) =
            self.daemon.parts().ok_or(io::ErrorKind::NotConnected)?;
        let carried = Carried {
            daemon_pid,
            daemon_is_child,
            daemon_starts: self.daemon_starts,
            terminating: self.terminating,
            lock: os::fd::duplicate(self.lock.file())?,
            daemon_socket: os::fd::duplicate(socket)?,
            daemon_pidfd: os::fd::duplicate(pidfd)?,
        };
        let file = state::save(&self.table, &carried)?;
        let argv = c_strings(&self.argv)?;
        let mut env = environment();
        env.push(format!("{STATE_FD}={}", file.as_raw_fd()).into());
        let env = c_strings(&env)?;
        let failed = state::set_stay_open(&self.table, &carried, &file, true)
            .err()
            .unwrap_or_else(|| os::process::replace(path, &argv, &env));
        state::set_stay_open(&self.table, &carried, &file, false)?;
        Err(failed)
    }
}

fn c_strings(texts: &[OsString]) -> io::Result<Vec<CString>> {
    texts.iter().map(|text| os::process::c_string(text)).collect()
}

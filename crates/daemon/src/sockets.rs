//! The listening sockets: found in the keeper, or bound anew.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use thiserror::Error;

use crate::owner::Daemon;
use crate::rpc::{self, Door};

/// Who may connect: the owner. PM2 lets the group in too, always; whoever connects can run anything as this user.
const MODE: u32 = 0o600;
/// The same where `PM2_SOCKET_GROUP` names a group to share with.
const SHARED_MODE: u32 = 0o660;

/// Why a socket can't be listened on.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// Somebody answers there.
    #[error("listening on {0}: another daemon answers there; end it first (`pm2 kill`)")]
    Taken(String),
    /// Something else is in its place.
    #[error("listening on {0}: there is a file that is no socket; move it away")]
    NoSocket(String),
    /// Anything else.
    #[error("listening on {path}: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// The listener that a former daemon left, or a new one. A socket file that nobody listens on any more is replaced. The descriptor to
/// keep comes along if the socket is new.
pub(crate) fn listen(
    path: &Path,
    left: Option<OwnedFd>,
    owner: (Option<u32>, Option<u32>),
) -> Result<(UnixListener, Option<OwnedFd>), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.display().to_string(),
        source,
    };
    if let Some(fd) = left
        && leads_to(path, &fd)
    {
        let listener = UnixListener::from(fd);
        listener.set_nonblocking(true).map_err(failed)?;
        return Ok((listener, None));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(SocketError::Taken(path.display().to_string()));
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
        Ok(_) => return Err(SocketError::NoSocket(path.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let mode = if owner.1.is_some() { SHARED_MODE } else { MODE };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    if owner != (None, None) {
        chown(path, owner.0, owner.1).map_err(failed)?;
    }
    listener.set_nonblocking(true).map_err(failed)?;
    let kept = os::fd::duplicate(listener.as_fd()).map_err(failed)?;
    Ok((listener, Some(kept)))
}

/// Whether who connects to the path reaches this listener: the file may have been removed or replaced meanwhile.
fn leads_to(path: &Path, listener: &OwnedFd) -> bool {
    let Ok(copy) = os::fd::duplicate(listener) else {
        return false;
    };
    let ours = UnixListener::from(copy).local_addr().ok();
    ours.is_some_and(|address| address.as_pathname() == Some(path)) && path.exists()
}

impl Daemon {
    /// Let PM2's CLI reach the agent.
    pub(crate) fn open_interactor(&mut self) {
        self.close_interactor();
        let path = self.home.interactor_sock.clone();
        let opened = listen(&path, None, self.settings.socket_owner).and_then(|(listener, _)| {
            tokio::net::UnixListener::from_std(listener).map_err(|source| SocketError::Io {
                path: path.display().to_string(),
                source,
            })
        });
        match opened {
            Ok(listener) => {
                let serving = tokio::spawn(rpc::serve(Door::Interactor, listener, self.events.clone()));
                self.interactor = Some(serving.abort_handle());
            }
            Err(error) => self.complain(&error.to_string()),
        }
    }

    /// Nobody is to reach the agent any more: for PM2's CLI that means that there is none.
    pub(crate) fn close_interactor(&mut self) {
        if let Some(serving) = self.interactor.take() {
            serving.abort();
            let _ = std::fs::remove_file(&self.home.interactor_sock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_a_living_listener_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rpc.sock");
        let (first, kept) = listen(&path, None, (None, None)).unwrap();
        assert!(matches!(
            listen(&path, None, (None, None)),
            Err(SocketError::Taken(_))
        ));
        drop(first);
        // The keeper's copy goes on listening; the next daemon takes it.
        let (second, new) = listen(&path, kept, (None, None)).unwrap();
        assert!(new.is_none());
        UnixStream::connect(&path).unwrap();
        drop(second);
        let (_third, new) = listen(&path, None, (None, None)).unwrap();
        assert!(new.is_some());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert!(listen(Path::new("/nowhere/at/all"), None, (None, None)).is_err());
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(matches!(
            listen(&file, None, (None, None)),
            Err(SocketError::NoSocket(_))
        ));
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }
}

//! Taking connections: a task watches the socket, the owner accepts.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use node::cluster::ListenerId;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use super::pause;
use crate::clock;
use crate::event::Event;
use crate::owner::Daemon;
use crate::watched::watched;

/// One socket that this daemon holds.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(super) fd: OwnedFd,
    /// Nobody else has it: it can be stopped for all who hold a duplicate.
    pub(super) ours: bool,
    /// Its file, if it is a UNIX socket.
    pub(super) path: Option<PathBuf>,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    task: AbortHandle,
    /// A connection may be waiting.
    ready: bool,
    /// Told when the owner has found none.
    looked: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    /// Hold a socket, and watch it if its connections are accepted here.
    pub(super) fn new(
        fd: OwnedFd,
        path: Option<PathBuf>,
        ours: bool,
        accepts: bool,
        listener: ListenerId,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let watch = if accepts {
            let watched = watched(os::fd::duplicate(&fd)?)?;
            let looked = Arc::new(Notify::new());
            let task = tokio::spawn(observe(watched, listener, Arc::clone(&looked), events)).abort_handle();
            Some(Watch {
                task,
                ready: false,
                looked,
            })
        } else {
            None
        };
        Ok(Self {
            fd,
            ours,
            path,
            watch,
        })
    }
}

/// Tell the owner whenever connections have come after it has found none.
async fn observe(fd: AsyncFd<OwnedFd>, listener: ListenerId, looked: Arc<Notify>, events: Sender<Event>) {
    loop {
        match fd.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => return,
        }
        if events.send(Event::Connections { listener }).await.is_err() {
            return;
        }
        looked.notified().await;
    }
}

impl Daemon {
    /// Connections wait at a socket.
    pub(crate) fn connections_wait(&mut self, listener: ListenerId) {
        let watch = self
            .cluster
            .sockets
            .get_mut(&listener)
            .and_then(|socket| socket.watch.as_mut());
        if let Some(watch) = watch {
            watch.ready = true;
        }
    }

    /// Accept what workers can take. `false`: nothing came of it.
    pub(super) fn accept_more(&mut self) -> bool {
        let now = clock::mono();
        if self.cluster.pause_until.is_some_and(|until| until > now) {
            return false;
        }
        let cluster = &mut self.cluster;
        let mut accepted = false;
        for (listener, socket) in &mut cluster.sockets {
            let Some(watch) = socket.watch.as_mut() else {
                continue;
            };
            if !watch.ready || !cluster.primary.wants_connection(now.0, *listener) {
                continue;
            }
            match cluster.hands.accept(&socket.fd, *listener) {
                Ok(conn) => {
                    cluster.primary.connection(now.0, *listener, conn);
                    accepted = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    watch.ready = false;
                    watch.looked.notify_one();
                }
                Err(error) if is_shortage(&error) => {
                    cluster.pause_until = Some(now.after(pause()));
                    return accepted;
                }
                // That client has gone again; others may wait behind it.
                Err(error) if is_about_the_client(&error) => accepted = true,
                Err(_) => watch.ready = false,
            }
        }
        accepted
    }
}

/// No descriptors or no memory: it is better in a while.
fn is_shortage(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM])
}

/// Errors that were pending on the connection itself (see accept(2)).
fn is_about_the_client(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::PERM,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
        ],
    )
}

fn is_one_of(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

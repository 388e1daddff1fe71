//! Making sockets for workers, and giving them up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use node::cluster::{Bind, ListenerId, SockName};
use node::internal::Address;
use os::listen::Kind;

use super::accepting::Listening;
use super::{group_of, socket_name};
use crate::owner::Daemon;

/// The descriptor of the first socket of an app's configuration.
const FIRST_SOCKET: u32 = 3;

impl Daemon {
    /// Make a socket and store it; its name, or the kernel's error number.
    pub(super) fn make_socket(&mut self, listener: ListenerId, bind: &Bind) -> Result<Option<SockName>, i32> {
        let made = match self.cluster.spares.remove(&listener) {
            Some(spare) if is_at(&spare, &bind.address) => Ok(spare),
            _ => self.bind(bind),
        };
        let kept = made.and_then(|fd| {
            if let Some(backlog) = bind.listen {
                os::listen::listen(&fd, backlog)?;
            }
            let copy = os::fd::duplicate(&fd)?;
            self.keeper.put_through(&socket_name(listener), vec![copy])?;
            let name = os::listen::address(&fd);
            self.hold(listener, fd, bind.listen.is_some())?;
            Ok(name)
        });
        match kept {
            Ok(name) => Ok(name.map(|address| SockName {
                address: address.ip().to_string(),
                family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
                port: address.port(),
            })),
            Err(error) => {
                self.cluster.sockets.remove(&listener);
                let _ = self.keeper.remove(&socket_name(listener));
                Err(error
                    .raw_os_error()
                    .unwrap_or(rustix::io::Errno::INVAL.raw_os_error()))
            }
        }
    }

    /// Take over a socket that a former daemon made.
    pub(super) fn hold_socket(&mut self, listener: ListenerId, fd: OwnedFd) -> io::Result<()> {
        let accepts = self.cluster.primary.accepts(listener);
        self.hold(listener, fd, accepts)
    }

    fn hold(&mut self, listener: ListenerId, fd: OwnedFd, accepts: bool) -> io::Result<()> {
        let ours = self.cluster.primary.owns(listener);
        let path = self.cluster.primary.unix_path(listener).map(PathBuf::from);
        let listening = Listening::new(fd, path, ours, accepts, listener, self.events.clone())?;
        self.cluster.sockets.insert(listener, listening);
        if accepts {
            self.be_witnessed();
        }
        Ok(())
    }

    fn bind(&self, bind: &Bind) -> io::Result<OwnedFd> {
        match &bind.address {
            Address::Tcp { host, port, v6_only } => bind_ip(Kind::Tcp, host.as_deref(), *port, *v6_only),
            Address::Udp {
                host,
                port,
                v6,
                v6_only,
                reuse,
            } => {
                let kind = Kind::Udp { reuse: *reuse };
                let any = if *v6 { "::" } else { "0.0.0.0" };
                bind_ip(kind, Some(host.as_deref().unwrap_or(any)), *port, *v6_only)
            }
            Address::Unix {
                path,
                readable_all,
                writable_all,
            } => {
                let mode = if *readable_all { 0o444 } else { 0 } | if *writable_all { 0o222 } else { 0 };
                os::listen::bind_unix(Path::new(path), mode, self.owner_of_group(&bind.group))
            }
            // What this process has under the number is nothing that an app was promised: its own sockets begin at 3.
            Address::Descriptor(number) => {
                let index = usize::try_from(number.saturating_sub(FIRST_SOCKET)).unwrap_or(usize::MAX);
                let app = self.apps.values().find(|app| group_of(&app.env) == bind.group);
                let socket = app.and_then(|app| self.app_sockets.nth(&bind.group, &app.env, index));
                match socket.filter(|_| *number >= FIRST_SOCKET) {
                    Some(socket) => os::fd::duplicate(socket),
                    None => Err(rustix::io::Errno::BADF.into()),
                }
            }
        }
    }

    /// Whose an app's files are, if it runs as another user than this daemon.
    fn owner_of_group(&self, group: &str) -> Option<(u32, u32)> {
        let app = self.apps.values().find(|app| group_of(&app.env) == group)?;
        let identity = crate::launching::identity_of(&app.env).ok()??;
        Some((identity.uid, identity.gid))
    }

    /// Give a socket up.
    pub(super) fn close_socket(&mut self, listener: ListenerId) {
        let Some(socket) = self.cluster.sockets.remove(&listener) else {
            return;
        };
        if socket.ours {
            // The keeper lets go of its duplicate a moment later: whoever binds the address now must not meet it. A socket that does
            // not listen can't be stopped.
            let _ = os::listen::stop(&socket.fd);
        }
        if let Err(error) = self.keeper.remove(&socket_name(listener)) {
            self.complain(&format!("closing a socket of the cluster: {error}"));
        }
        if let Some(path) = &socket.path
            && let Err(error) = os::listen::unlink_unix(path)
        {
            self.complain(&format!("removing {}: {error}", path.display()));
        }
    }
}

fn bind_ip(kind: Kind, host: Option<&str>, port: u16, v6_only: bool) -> io::Result<OwnedFd> {
    match host {
        None => os::listen::bind_all(kind, port, v6_only, false),
        Some(host) => {
            let ip: IpAddr = host
                .parse()
                .map_err(|_| io::Error::from(rustix::io::Errno::INVAL))?;
            os::listen::bind(kind, SocketAddr::new(ip, port), v6_only, false)
        }
    }
}

/// Whether a socket can be what a worker asks for; its number says that it is.
fn is_at(socket: &OwnedFd, address: &Address) -> bool {
    match (address, os::listen::address(socket)) {
        (Address::Tcp { port, .. } | Address::Udp { port, .. }, Some(name)) => {
            *port == 0 || *port == name.port()
        }
        (Address::Unix { .. }, None) => true,
        _ => false,
    }
}

//! Listening and datagram sockets, made as libuv makes them, and taking connections from them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// What kind of socket, and with which options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP; `reuse`: others may bind the same address.
    Udp {
        /// `SO_REUSEADDR`.
        reuse: bool,
    },
}

/// A socket bound to an address: non-blocking, close-on-exec, not listening yet. `v6_only`: an IPv6 one takes no IPv4;
/// `share_port`: `SO_REUSEPORT`.
///
/// # Errors
/// As `bind(2)`.
pub fn bind(kind: Kind, address: SocketAddr, v6_only: bool, share_port: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket_type = match kind {
        Kind::Tcp => SocketType::STREAM,
        Kind::Udp { .. } => SocketType::DGRAM,
    };
    // The flag belongs to the open file description, which apps will share: a blocking one hangs a whole Node 18 worker.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, socket_type, flags, None)?;
    if kind != (Kind::Udp { reuse: false }) {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if share_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, v6_only)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// As [`bind`], to all interfaces: IPv6 with IPv4 where there is IPv6, else IPv4.
///
/// # Errors
/// As `bind(2)`.
pub fn bind_all(kind: Kind, port: u16, v6_only: bool, share_port: bool) -> io::Result<OwnedFd> {
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind(kind, any6, v6_only, share_port) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && !v6_only => bind(
            kind,
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            false,
            share_port,
        ),
        bound => bound,
    }
}

/// A UNIX stream socket in the file system, not listening yet. `more_mode`: permission bits that it gets besides those that the
/// umask leaves. `owner`: whose wish it is, if not the caller's own; then the folder must be one in which that user may make files, and
/// the socket becomes theirs. The path may be longer than a socket address is.
///
/// # Errors
/// As `bind(2)`; `PermissionDenied` for a folder that is not the owner's.
pub fn bind_unix(path: &Path, more_mode: u32, owner: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    let (folder, name) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let held = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
    // By the descriptor, so that nobody can swap the folder after it was looked at.
    let here = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(name);
    if let Some((uid, _)) = owner {
        let meta = rustix::fs::fstat(&held)?;
        let theirs = meta.st_uid == uid && meta.st_mode & 0o300 == 0o300;
        if !theirs && meta.st_mode & 0o003 != 0o003 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::bind(&socket, &SocketAddrUnix::new(&here)?)?;
    let dress = || -> io::Result<()> {
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::lchown(&here, Some(uid), Some(gid))?;
        }
        let mode = std::fs::symlink_metadata(&here)?.mode() & 0o777;
        if more_mode & !mode != 0 {
            std::fs::set_permissions(&here, std::fs::Permissions::from_mode(mode | more_mode))?;
        }
        Ok(())
    };
    if let Err(error) = dress() {
        let _ = std::fs::remove_file(&here);
        return Err(error);
    }
    Ok(socket)
}

/// Whether the path is a UNIX socket on which nobody listens any more.
#[must_use]
pub fn is_abandoned(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (Ok(socket), Ok(address)) = (
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None),
        SocketAddrUnix::new(path),
    ) else {
        return false;
    };
    net::connect(&socket, &address) == Err(rustix::io::Errno::CONNREFUSED)
}

/// Removes the file of a UNIX socket, if a socket is what is there.
///
/// # Errors
/// As `unlink(2)`; nothing there is fine.
pub fn unlink_unix(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Let connections come; `backlog` of them may wait.
///
/// # Errors
/// As `listen(2)`.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(net::listen(socket, backlog)?)
}

/// Stop listening, for all duplicates of the socket at once, in whatever process they are: its address is free again.
///
/// # Errors
/// As `shutdown(2)`; `NotConnected` for datagram sockets.
pub fn stop(socket: impl AsFd) -> io::Result<()> {
    Ok(net::shutdown(socket, net::Shutdown::Both)?)
}

/// The next connection, non-blocking and close-on-exec.
///
/// # Errors
/// `WouldBlock` when none waits.
pub fn accept(socket: impl AsFd) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::io::retry_on_intr(|| net::accept_with(&socket, flags))?)
}

/// The address of a TCP or UDP socket; `None` for others.
#[must_use]
pub fn address(socket: impl AsFd) -> Option<SocketAddr> {
    SocketAddr::try_from(net::getsockname(socket).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn a_connection_is_taken_and_the_port_is_not_given_twice() {
        let socket = bind(Kind::Tcp, local(0), false, false).unwrap();
        listen(&socket, 5).unwrap();
        let address = address(&socket).unwrap();
        assert_eq!(accept(&socket).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let taken = accept(&socket).unwrap();
        client.write_all(b"x").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        crate::fd::set_nonblocking(&taken, false).unwrap();
        let mut text = String::new();
        std::net::TcpStream::from(taken)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "x");
        let again = bind(Kind::Tcp, address, false, false).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        let held_elsewhere = crate::fd::duplicate(&socket).unwrap();
        stop(&socket).unwrap();
        let again = bind(Kind::Tcp, address, false, false).unwrap();
        listen(&again, 5).unwrap();
        drop(held_elsewhere);
    }

    #[test]
    fn a_port_may_be_shared_by_those_who_say_so() {
        let one = bind(Kind::Tcp, local(0), false, true).unwrap();
        listen(&one, 5).unwrap();
        let two = bind(Kind::Tcp, address(&one).unwrap(), false, true).unwrap();
        listen(&two, 5).unwrap();
        let udp = bind(Kind::Udp { reuse: false }, local(0), false, false).unwrap();
        assert!(bind(Kind::Udp { reuse: false }, address(&udp).unwrap(), false, false).is_err());
        let all = bind_all(Kind::Tcp, 0, false, false).unwrap();
        assert!(address(&all).unwrap().ip().is_unspecified());
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_a_path_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("app.sock");
        let socket = bind_unix(&path, 0o666, None).unwrap();
        listen(&socket, 5).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o666, 0o666);
        assert_eq!(
            bind_unix(&path, 0, None).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        assert_eq!(address(&socket), None);
        let short = dir.path().join("short.sock");
        let left = bind_unix(&short, 0, None).unwrap();
        listen(&left, 5).unwrap();
        assert!(!is_abandoned(&short));
        drop(left);
        assert!(is_abandoned(&short));
        unlink_unix(&path).unwrap();
        assert!(!path.exists());
        unlink_unix(&path).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        unlink_unix(&path).unwrap();
        assert!(path.exists(), "only sockets are removed");
    }

    #[test]
    fn another_users_wish_counts_only_in_that_users_folders() {
        let dir = tempfile::tempdir().unwrap();
        let stranger = dir.path().metadata().unwrap().uid() + 4321;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = bind_unix(&dir.path().join("x.sock"), 0, Some((stranger, stranger))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(!dir.path().join("x.sock").exists());
    }
}

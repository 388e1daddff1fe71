//! Sockets of app configurations: bound once, held by the keeper, handed to each process of the app as `LISTEN_FDS` has it.
//!
//! They are open as long as a process of the app is meant to be up. So clients wait through restarts, crashes and reloads, whatever
//! language the app is written in.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use os::listen::Kind;
use pm2::env::Pm2Env;
use pm2::listen_sockets::{ListenAddress, ListenSocket};
use serde::{Deserialize, Serialize};

use crate::keeper_link::KeeperLink;

/// Before the number of a store entry.
const PREFIX: &str = "listen/";
/// A list of 32 addresses is far below.
const MAX_LABEL: usize = 1024 * 1024;

/// All sockets of configurations, by app.
#[derive(Debug, Default)]
pub(crate) struct AppSockets {
    groups: BTreeMap<String, Group>,
    next_number: u64,
}

#[derive(Debug)]
struct Group {
    /// Of its entry in the store.
    number: u64,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    key: String,
    /// Its file, if it is a UNIX socket.
    path: Option<PathBuf>,
    fd: OwnedFd,
}

/// What the first descriptor of a store entry says about the others.
#[derive(Serialize, Deserialize)]
struct Label {
    v: u32,
    group: String,
    sockets: Vec<(String, Option<PathBuf>)>,
}

/// What a child is given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// In the order of the configuration.
    pub(crate) fds: Vec<OwnedFd>,
    /// Their names, with colons between.
    pub(crate) names: String,
}

impl AppSockets {
    /// Whether something in the keeper's store belongs here.
    pub(crate) fn is_ours(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Take over what a former daemon left under one name.
    pub(crate) fn restore(&mut self, name: &str, fds: Vec<OwnedFd>) -> Result<(), String> {
        let number = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        let number: u64 = number.ok_or("an entry of the store has no number")?;
        let mut fds = fds.into_iter();
        let label = fds.next().ok_or("an entry of the store is empty")?;
        let bytes = os::memfd::read_all(&label, MAX_LABEL).map_err(|error| error.to_string())?;
        let label: Label = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if label.v != 1 {
            return Err(format!("its version is {}, this release knows 1", label.v));
        }
        let held = label.sockets.into_iter().zip(fds);
        let held = held.map(|((key, path), fd)| Held { key, path, fd }).collect();
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.groups.insert(label.group, Group { number, held });
        Ok(())
    }

    /// The sockets of an app for one more of its processes; those that are not there yet are bound.
    pub(crate) fn give(
        &mut self,
        group: &str,
        env: &Pm2Env,
        keeper: &mut KeeperLink,
    ) -> Result<Given, String> {
        let wanted = env.sockets();
        if wanted.is_empty() {
            return Ok(Given::default());
        }
        let number = self.next_number;
        let entry = self.groups.entry(group.to_owned()).or_insert_with(|| {
            self.next_number = number + 1;
            Group {
                number,
                held: Vec::new(),
            }
        });
        let before = entry.held.len();
        let given = entry.give(&wanted, env);
        if entry.held.len() > before {
            // Before a child has them: whoever comes next must find them.
            store(group, entry, keeper).map_err(|error| format!("storing its sockets: {error}"))?;
        }
        given
    }

    /// The socket of an app by its place in the configuration.
    pub(crate) fn nth(&self, group: &str, env: &Pm2Env, index: usize) -> Option<BorrowedFd<'_>> {
        let key = env.sockets().get(index)?.key();
        let held = self.groups.get(group)?.held.iter().find(|held| held.key == key)?;
        Some(held.fd.as_fd())
    }

    /// Close what no app wants any more. `wanted`: the keys that the processes of an app that are meant to be up ask for.
    pub(crate) fn sweep(
        &mut self,
        wanted: &BTreeMap<String, BTreeSet<String>>,
        keeper: &mut KeeperLink,
    ) -> io::Result<()> {
        let none = BTreeSet::new();
        let mut outcome = Ok(());
        self.groups.retain(|group, entry| {
            let is_up = wanted.contains_key(group);
            let wanted = wanted.get(group).unwrap_or(&none);
            let before = entry.held.len();
            entry.held.retain(|held| {
                let stays = wanted.contains(&held.key);
                if !stays && !is_up {
                    // The keeper lets go of its duplicate a moment later, and the app may be started at once. Datagram sockets can't.
                    let _ = os::listen::stop(&held.fd);
                }
                if !stays && let Some(path) = &held.path {
                    // Somebody else may have removed it.
                    let _ = os::listen::unlink_unix(path);
                }
                stays
            });
            let kept = if entry.held.is_empty() {
                keeper.remove(&name_of(entry.number))
            } else if entry.held.len() < before {
                store(group, entry, keeper)
            } else {
                Ok(())
            };
            if kept.is_err() {
                outcome = kept;
            }
            !entry.held.is_empty()
        });
        outcome
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Everything, for a new keeper.
    pub(crate) fn hand_over(&self, keeper: &mut KeeperLink) -> Vec<String> {
        let stored = self
            .groups
            .iter()
            .map(|(group, entry)| (group, store(group, entry, keeper)));
        stored
            .filter_map(|(group, stored)| {
                Some(format!("handing over the sockets of {group}: {}", stored.err()?))
            })
            .collect()
    }
}

impl Group {
    fn give(&mut self, wanted: &[ListenSocket], env: &Pm2Env) -> Result<Given, String> {
        let mut given = Given::default();
        for socket in wanted {
            let key = socket.key();
            if !self.held.iter().any(|held| held.key == key) {
                let held = bind(socket, env).map_err(|error| format!("listening on {key}: {error}"))?;
                self.held.push(held);
            }
            let held = self.held.iter().find(|held| held.key == key);
            let fd = held.map(|held| os::fd::duplicate(&held.fd)).transpose();
            given
                .fds
                .extend(fd.map_err(|error| format!("copying the socket {key}: {error}"))?);
        }
        let names: Vec<_> = wanted.iter().map(|socket| socket.name.as_str()).collect();
        given.names = names.join(":");
        Ok(given)
    }
}

fn name_of(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn store(group: &str, entry: &Group, keeper: &mut KeeperLink) -> io::Result<()> {
    let label = Label {
        v: 1,
        group: group.to_owned(),
        sockets: entry
            .held
            .iter()
            .map(|held| (held.key.clone(), held.path.clone()))
            .collect(),
    };
    // Text and plain values always have a JSON form.
    let mut fds = vec![os::memfd::with_content(
        "sockets",
        &serde_json::to_vec(&label).unwrap_or_default(),
    )?];
    for held in &entry.held {
        fds.push(os::fd::duplicate(&held.fd)?);
    }
    keeper.put_through(&name_of(entry.number), fds)
}

fn bind(socket: &ListenSocket, env: &Pm2Env) -> io::Result<Held> {
    let mut path = None;
    let fd = match &socket.address {
        ListenAddress::Tcp(None, port) => os::listen::bind_all(Kind::Tcp, *port, false, socket.reuse_port)?,
        ListenAddress::Tcp(Some(ip), port) => {
            os::listen::bind(Kind::Tcp, SocketAddr::new(*ip, *port), false, socket.reuse_port)?
        }
        ListenAddress::Udp(host, port) => {
            let kind = Kind::Udp { reuse: false };
            match host {
                Some(ip) => os::listen::bind(kind, SocketAddr::new(*ip, *port), false, socket.reuse_port)?,
                None => os::listen::bind_all(kind, *port, false, socket.reuse_port)?,
            }
        }
        ListenAddress::Unix(written) => {
            let place = Path::new(env.cwd()).join(written);
            if os::listen::is_abandoned(&place) {
                os::listen::unlink_unix(&place)?;
            }
            let fd = os::listen::bind_unix(&place, 0, None)?;
            dress(&place, socket.mode, env)?;
            path = Some(place);
            fd
        }
    };
    if !matches!(socket.address, ListenAddress::Udp(..)) {
        os::listen::listen(&fd, socket.backlog)?;
    }
    os::fd::set_nonblocking(&fd, !socket.blocking)?;
    Ok(Held {
        key: socket.key(),
        path,
        fd,
    })
}

/// A UNIX socket belongs to the app's user, with the permissions that were asked for.
fn dress(path: &Path, mode: Option<u32>, env: &Pm2Env) -> io::Result<()> {
    let identity = crate::launching::identity_of(env).map_err(io::Error::other)?;
    if let Some(identity) = identity {
        lchown(path, Some(identity.uid), Some(identity.gid))?;
    }
    match mode {
        Some(mode) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

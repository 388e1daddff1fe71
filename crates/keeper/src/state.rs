//! The keeper's tables in an anonymous file, for the program that replaces it in place.
//!
//! The next program may be of another version: fields are only added at the end, under a higher version.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::codec::{Malformed, Reader, Writer, assign_fds, mask};
use crate::table::{Child, Table};

const VERSION: u32 = 1;
const MAX_STATE_BYTES: usize = 64 << 20;

/// What outlives the program, besides the tables.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) daemon_pid: u32,
    pub(crate) daemon_is_child: bool,
    pub(crate) daemon_starts: u64,
    pub(crate) terminating: bool,
    pub(crate) lock: OwnedFd,
    pub(crate) daemon_socket: OwnedFd,
    pub(crate) daemon_pidfd: OwnedFd,
}

impl Carried {
    fn fds(&self) -> [BorrowedFd<'_>; 3] {
        [&self.lock, &self.daemon_socket, &self.daemon_pidfd].map(AsFd::as_fd)
    }
}

/// Writes everything down, descriptors as their numbers: they have to stay open over the exec ([`set_stay_open`]).
pub(crate) fn save(table: &Table, carried: &Carried) -> io::Result<OwnedFd> {
    let mut w = Writer::default();
    w.u32(VERSION);
    w.u32(carried.daemon_pid);
    w.u32(u32::from(carried.daemon_is_child));
    w.u64(carried.daemon_starts);
    w.u32(u32::from(carried.terminating));
    for fd in carried.fds() {
        w.i32(fd.as_raw_fd());
    }
    w.length(table.children().len());
    for child in table.children() {
        w.child(&child.facts);
        let fds = child.borrowed_fds();
        w.u32(mask(fds.map(|fd| fd.is_some())));
        for fd in fds.into_iter().flatten() {
            w.i32(fd.as_raw_fd());
        }
    }
    w.length(table.all_stored().len());
    for (name, fds) in table.all_stored() {
        w.bytes(name.as_bytes());
        w.length(fds.len());
        for fd in fds {
            w.i32(fd.as_raw_fd());
        }
    }
    os::memfd::with_content("keeper-state", &w.0)
}

/// Lets every descriptor that [`save`] wrote down, and the file itself, survive an exec; or takes that back.
pub(crate) fn set_stay_open(table: &Table, carried: &Carried, file: &OwnedFd, stay: bool) -> io::Result<()> {
    let of_children = table
        .children()
        .flat_map(|child| child.borrowed_fds().into_iter().flatten());
    let of_names = table
        .all_stored()
        .flat_map(|(_, fds)| fds.iter().map(AsFd::as_fd));
    carried
        .fds()
        .into_iter()
        .chain([file.as_fd()])
        .chain(of_children)
        .chain(of_names)
        .try_for_each(|fd| os::fd::set_cloexec(fd, !stay))
}

/// Takes everything up again.
pub(crate) fn load(file: &OwnedFd) -> Result<(Table, Carried), String> {
    let bytes = os::memfd::read_all(file, MAX_STATE_BYTES).map_err(|error| error.to_string())?;
    let mut r = Reader::new(&bytes);
    read(&mut r).map_err(|Malformed(what)| what.to_owned())
}

fn read(r: &mut Reader<'_>) -> Result<(Table, Carried), Malformed> {
    if r.u32()? < VERSION {
        return Err(Malformed("of an unknown version"));
    }
    let (daemon_pid, daemon_is_child) = (r.u32()?, r.flag()?);
    let (daemon_starts, terminating) = (r.u64()?, r.flag()?);
    let (lock, daemon_socket, daemon_pidfd) = (take_fd(r)?, take_fd(r)?, take_fd(r)?);
    let mut table = Table::default();
    for _ in 0..r.length(4)? {
        let facts = r.child()?;
        let mask = r.u32()?;
        let fds = (0..mask.count_ones())
            .map(|_| take_fd(r))
            .collect::<Result<_, _>>()?;
        table.insert(Child {
            facts,
            fds: assign_fds(mask, fds)?,
        });
    }
    for _ in 0..r.length(4)? {
        let name = r.name()?;
        let fds = (0..r.length(4)?).map(|_| take_fd(r)).collect::<Result<_, _>>()?;
        table.put(name, fds).map_err(|_| Malformed("too many names"))?;
    }
    let carried = Carried {
        daemon_pid,
        daemon_is_child,
        daemon_starts,
        terminating,
        lock,
        daemon_socket,
        daemon_pidfd,
    };
    Ok((table, carried))
}

fn take_fd(r: &mut Reader<'_>) -> Result<OwnedFd, Malformed> {
    os::fd::inherited(r.i32()?).map_err(|_| Malformed("a kept descriptor is not open"))
}

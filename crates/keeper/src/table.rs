//! What the keeper holds: children until they are forgotten, and descriptors under names. Data only.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::codec::ChildFacts;
use crate::protocol::{ChildFds, ExitReport, Part};

/// Far above any use; a daemon gone mad must not fill the memory.
pub(crate) const MAX_CHILDREN: usize = 65_536;
pub(crate) const MAX_NAMES: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) facts: ChildFacts,
    pub(crate) fds: ChildFds,
}

impl Child {
    pub(crate) fn borrowed_fds(&self) -> [Option<BorrowedFd<'_>>; 5] {
        let fds = &self.fds;
        [&fds.stdin, &fds.stdout, &fds.stderr, &fds.ipc, &fds.pidfd].map(|fd| fd.as_ref().map(AsFd::as_fd))
    }

    pub(crate) fn release(&mut self, part: Part) {
        match part {
            Part::Stdin => self.fds.stdin = None,
            Part::Stdout => self.fds.stdout = None,
            Part::Stderr => self.fds.stderr = None,
            Part::Ipc => self.fds.ipc = None,
        }
    }
}

/// Why an entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Taken,
    Missing,
    StillRuns,
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    children: BTreeMap<u64, Child>,
    /// Living children only: a pid is free for reuse once its exit is recorded.
    living: HashMap<u32, u64>,
    stored: BTreeMap<String, Vec<OwnedFd>>,
}

impl Table {
    pub(crate) fn can_insert(&self, key: u64) -> Result<(), Denied> {
        if self.children.contains_key(&key) {
            return Err(Denied::Taken);
        }
        if self.children.len() >= MAX_CHILDREN {
            return Err(Denied::Full);
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, child: Child) {
        if child.facts.exited.is_none() {
            self.living.insert(child.facts.pid, child.facts.key);
        }
        self.children.insert(child.facts.key, child);
    }

    pub(crate) fn get(&self, key: u64) -> Option<&Child> {
        self.children.get(&key)
    }

    /// The child that has this pid now.
    pub(crate) fn living_key(&self, pid: u32) -> Option<u64> {
        self.living.get(&pid).copied()
    }

    pub(crate) fn record_exit(&mut self, key: u64, report: ExitReport) -> bool {
        let Some(child) = self.children.get_mut(&key) else {
            return false;
        };
        if child.facts.exited.is_some() {
            return false;
        }
        child.facts.exited = Some(report);
        self.living.remove(&child.facts.pid);
        true
    }

    pub(crate) fn forget(&mut self, key: u64) -> Result<(), Denied> {
        match self.children.get(&key) {
            None => Err(Denied::Missing),
            Some(child) if child.facts.exited.is_none() => Err(Denied::StillRuns),
            Some(_) => {
                self.children.remove(&key);
                Ok(())
            }
        }
    }

    pub(crate) fn release(&mut self, key: u64, part: Part) -> Result<(), Denied> {
        self.children.get_mut(&key).ok_or(Denied::Missing)?.release(part);
        Ok(())
    }

    pub(crate) fn put(&mut self, name: String, fds: Vec<OwnedFd>) -> Result<(), Denied> {
        if !self.stored.contains_key(&name) && self.stored.len() >= MAX_NAMES {
            return Err(Denied::Full);
        }
        self.stored.insert(name, fds);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.stored.remove(name);
    }

    pub(crate) fn stored(&self, name: &str) -> Option<&[OwnedFd]> {
        self.stored.get(name).map(Vec::as_slice)
    }

    pub(crate) fn children(&self) -> impl ExactSizeIterator<Item = &Child> {
        self.children.values()
    }

    pub(crate) fn all_stored(&self) -> impl ExactSizeIterator<Item = (&str, &[OwnedFd])> {
        self.stored
            .iter()
            .map(|(name, fds)| (name.as_str(), fds.as_slice()))
    }

    pub(crate) fn any_living(&self) -> bool {
        !self.living.is_empty()
    }

    /// Living children whose exit only their pidfd will tell.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.children
            .values()
            .filter(|child| child.facts.adopted && child.facts.exited.is_none())
            .filter_map(|child| Some((child.facts.key, child.fds.pidfd.as_ref()?.as_fd())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(key: u64, pid: u32) -> Child {
        let facts = ChildFacts {
            key,
            pid,
            start_ticks: 1,
            spawned_at_ms: 1,
            adopted: false,
            exited: None,
        };
        Child {
            facts,
            fds: ChildFds::default(),
        }
    }

    fn report() -> ExitReport {
        ExitReport {
            exit: os::wait::Exit::Code(0),
            at_ms: 5,
            usage: os::wait::Usage::default(),
        }
    }

    #[test]
    fn an_exit_stays_until_it_is_forgotten_and_its_pid_may_come_back() {
        let mut table = Table::default();
        table.insert(child(1, 100));
        assert_eq!(table.forget(1), Err(Denied::StillRuns));
        assert!(table.record_exit(1, report()));
        assert!(!table.record_exit(1, report()), "an exit happens once");
        table.insert(child(2, 100));
        assert_eq!(table.living_key(100), Some(2));
        assert_eq!(table.forget(1), Ok(()));
        assert_eq!(table.living_key(100), Some(2));
        assert_eq!(table.forget(1), Err(Denied::Missing));
        assert_eq!(table.can_insert(2), Err(Denied::Taken));
    }

    #[test]
    fn a_name_is_replaced_as_a_whole() {
        let mut table = Table::default();
        let fd = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        table.put("a".into(), vec![fd(), fd()]).unwrap();
        table.put("a".into(), vec![fd()]).unwrap();
        assert_eq!(table.stored("a").unwrap().len(), 1);
        table.remove("a");
        table.remove("a");
        assert!(table.stored("a").is_none());
    }
}

//! Watching by looking, for file systems whose changes the kernel does not tell (network shares, some container mounts).

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pm2::env::WatchedFiles;

use super::rules::Rules;
use super::tree::change_ms;

/// Files that are looked at in one round; a larger tree wants rules.
const MOST: usize = 50_000;

/// A watch that compares what it sees with what it saw.
#[derive(Debug)]
pub(crate) struct Poll {
    rules: Rules,
    follow_links: bool,
    depth: u32,
    seen: BTreeMap<PathBuf, Look>,
    full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    modified: (i64, i64),
    size: u64,
    inode: u64,
    changed_ms: i64,
}

impl Poll {
    /// The first look. Gives a file that was changed since that time, if there is one.
    pub(crate) fn new(rules: Rules, files: &WatchedFiles, since_ms: i64) -> (Self, Option<(PathBuf, i64)>) {
        let mut poll = Self {
            rules,
            follow_links: files.follow_links,
            depth: files.depth.unwrap_or(u32::MAX),
            seen: BTreeMap::new(),
            full: false,
        };
        poll.seen = poll.look();
        let recent = poll.seen.iter().filter(|(_, look)| look.changed_ms > since_ms);
        let latest = recent.max_by_key(|(_, look)| look.changed_ms);
        let latest = latest.map(|(path, look)| (path.clone(), look.changed_ms));
        (poll, latest)
    }

    /// There are more files than are looked at.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.full
    }

    /// Look again. Gives a path that differs, and when the latest change was made.
    pub(crate) fn again(&mut self, now_ms: i64) -> Option<(PathBuf, i64)> {
        let now = self.look();
        let mut found: Option<(PathBuf, i64)> = None;
        let mut note = |path: &Path, at_ms: i64| match &mut found {
            Some((_, latest)) => *latest = at_ms.max(*latest),
            None => found = Some((path.to_owned(), at_ms)),
        };
        for (path, look) in &now {
            match self.seen.get(path) {
                Some(before)
                    if (before.modified, before.size, before.inode)
                        == (look.modified, look.size, look.inode) => {}
                _ => note(path, look.changed_ms),
            }
        }
        for path in self.seen.keys().filter(|path| !now.contains_key(*path)) {
            let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
            note(path, folder.map_or(now_ms, |meta| change_ms(&meta)));
        }
        self.seen = now;
        found
    }

    fn look(&mut self) -> BTreeMap<PathBuf, Look> {
        let mut seen = BTreeMap::new();
        let mut folders: Vec<(PathBuf, u32)> = Vec::new();
        self.full = false;
        for root in self.rules.roots() {
            match fs::metadata(root) {
                Ok(meta) if meta.is_dir() => folders.push((root.to_owned(), self.depth)),
                Ok(meta) if self.rules.counts(root) => {
                    seen.insert(root.to_owned(), Look::of(&meta));
                }
                _ => {}
            }
        }
        // Links can lead in a circle: a folder is entered once.
        let mut entered = std::collections::BTreeSet::new();
        while let Some((folder, depth)) = folders.pop() {
            let Ok(meta) = fs::metadata(&folder) else { continue };
            if self.rules.skips(&folder) || !entered.insert((meta.dev(), meta.ino())) {
                continue;
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if seen.len() >= MOST {
                    self.full = true;
                    return seen;
                }
                let path = entry.path();
                let meta = if self.follow_links {
                    fs::metadata(&path)
                } else {
                    entry.metadata()
                };
                let Ok(meta) = meta else { continue };
                if meta.is_dir() && depth > 0 {
                    folders.push((path, depth - 1));
                } else if !meta.is_dir() && self.rules.counts(&path) {
                    seen.insert(path, Look::of(&meta));
                }
            }
        }
        seen
    }
}

impl Look {
    fn of(meta: &Metadata) -> Self {
        Self {
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: meta.size(),
            inode: meta.ino(),
            changed_ms: change_ms(meta),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("src")).unwrap();
        fs::write(at("src/a.js"), "1").unwrap();
        let files = WatchedFiles {
            cwd: dir.path().into(),
            paths: vec![".".into()],
            ignored: Some(vec!["*.log".into()]),
            follow_links: true,
            depth: None,
            poll: None,
        };
        let rules = || Rules::new(&files, super::super::rules::OwnFiles::default()).0;
        let (mut poll, recent) = Poll::new(rules(), &files, 0);
        assert_eq!(recent.map(|(path, _)| path), Some(at("src/a.js")));
        assert_eq!(Poll::new(rules(), &files, i64::MAX).1, None);
        let mut found = || poll.again(0).map(|(path, _)| path);
        assert_eq!(found(), None);
        fs::write(at("src/a.js"), "12").unwrap();
        assert_eq!(found(), Some(at("src/a.js")));
        assert_eq!(found(), None);
        fs::write(at("x.log"), "12").unwrap();
        assert_eq!(found(), None);
        std::os::unix::fs::symlink("..", at("src/circle")).unwrap();
        fs::write(at("b.js"), "").unwrap();
        assert_eq!(found(), Some(at("b.js")));
        fs::remove_dir_all(at("src")).unwrap();
        assert_eq!(found(), Some(at("src/a.js")));
        assert!(!poll.is_cut_short());
    }
}

//! Which folders of the kernel's belong to which watch, and what an event in one of them means.
//!
//! Each folder is watched for its own entries; folders that no rule lets in cost nothing. A path that does not exist (yet, or any more) is
//! waited for in the nearest folder above it, so removing and making anew a folder, as builds do, loses no watch.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use os::notify::{Kind, Notice, Notifier, Place};
use pm2::env::WatchedFiles;

use super::WatchId;
use super::rules::Rules;

/// What is watched, and what was found out.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    watches: BTreeMap<WatchId, Watch>,
    places: BTreeMap<Place, Vec<Spot>>,
    news: News,
}

#[derive(Debug)]
struct Watch {
    rules: Rules,
    follow_links: bool,
    depth: u32,
    /// Changes before this are known, ms since the epoch.
    since_ms: i64,
}

/// Why a folder is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    watch: WatchId,
    folder: PathBuf,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Everything in it, and in folders below it down to this depth.
    All { depth: u32 },
    /// This entry is, or leads to, a path that was asked for.
    Toward { name: OsString, root: PathBuf },
    /// This entry is what a link points to.
    Target { name: OsString, link: PathBuf },
}

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// For each watch: one of the changed paths, and when the latest change was made (ms since the epoch).
    pub(crate) changes: BTreeMap<WatchId, (PathBuf, i64)>,
    /// For each watch: why a part of it can't be watched. The first reason only.
    pub(crate) troubles: BTreeMap<WatchId, String>,
}

impl News {
    fn change(&mut self, watch: WatchId, path: &Path, at_ms: i64) {
        let (_, latest) = self
            .changes
            .entry(watch)
            .or_insert_with(|| (path.to_owned(), at_ms));
        *latest = at_ms.max(*latest);
    }
}

impl Tree {
    /// Watch these files. What was changed since that time is told as changed.
    pub(crate) fn add(
        &mut self,
        notifier: &Notifier,
        id: WatchId,
        rules: Rules,
        files: &WatchedFiles,
        since_ms: i64,
    ) {
        let roots: Vec<PathBuf> = rules.roots().map(Path::to_owned).collect();
        let watch = Watch {
            rules,
            follow_links: files.follow_links,
            depth: files.depth.unwrap_or(u32::MAX),
            since_ms,
        };
        self.watches.insert(id, watch);
        for root in roots {
            self.place_root(notifier, id, &root);
        }
    }

    /// Let go of a watch.
    pub(crate) fn remove(&mut self, notifier: &Notifier, id: WatchId) {
        self.watches.remove(&id);
        self.drop_spots(notifier, |spot| spot.watch == id);
    }

    /// What is to be told since the last call.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// The kernel told something.
    pub(crate) fn on_notice(&mut self, notifier: &Notifier, notice: &Notice<'_>) {
        let place = match (notice.kind, notice.place) {
            (Kind::Lost, _) | (_, None) => return self.look_everywhere(notifier),
            (Kind::Over, Some(place)) => {
                self.places.remove(&place);
                return;
            }
            (_, Some(place)) => place,
        };
        let Some(name) = notice.name else { return };
        for spot in self.places.get(&place).cloned().unwrap_or_default() {
            let path = spot.folder.join(name);
            match &spot.what {
                What::All { depth } => self.in_folder(notifier, spot.watch, &path, notice.kind, *depth),
                What::Toward { name: awaited, root } if awaited == name => {
                    self.toward(notifier, spot.watch, &path, root, notice.kind);
                }
                What::Target { name: target, link } if target == name => {
                    self.changed(spot.watch, link, &path, notice.kind);
                }
                What::Toward { .. } | What::Target { .. } => {}
            }
        }
    }

    fn in_folder(&mut self, notifier: &Notifier, id: WatchId, path: &Path, kind: Kind, depth: u32) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        match kind {
            Kind::Appeared { folder: true } if depth > 0 && !watch.rules.skips(path) => {
                self.add_folder(notifier, id, path, depth - 1);
            }
            Kind::Appeared { folder: false }
                if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) =>
            {
                self.add_link(notifier, id, path, depth);
            }
            Kind::Vanished { folder: true } => {
                self.drop_spots(notifier, |spot| spot.watch == id && spot.folder.starts_with(path));
            }
            _ => {}
        }
        self.changed(id, path, path, kind);
    }

    /// Something happened to an entry that is a root, or on the way to one.
    fn toward(&mut self, notifier: &Notifier, id: WatchId, path: &Path, root: &Path, kind: Kind) {
        match kind {
            Kind::Appeared { .. } | Kind::Vanished { .. } => {
                self.drop_spots(notifier, |spot| {
                    spot.watch == id
                        && (spot.folder.starts_with(root)
                            || matches!(&spot.what, What::Toward { root: to, .. } if to == root))
                });
                self.place_root(notifier, id, root);
                if path == root || root.exists() {
                    self.changed(id, root, root, kind);
                }
            }
            // What happens in a folder is told by the folder.
            _ if path == root && !root.is_dir() => self.changed(id, root, root, kind),
            _ => {}
        }
    }

    /// A change of `path`, if that counts; the facts of it are read from `source`.
    fn changed(&mut self, id: WatchId, path: &Path, source: &Path, kind: Kind) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        if !watch.rules.counts(path) {
            return;
        }
        let meta = fs::symlink_metadata(source).ok();
        if kind == Kind::Attributes && !meta.as_ref().is_some_and(was_touched) {
            return;
        }
        let at_ms = match meta {
            Some(meta) => change_ms(&meta),
            // It has gone, which is a change of the folder that held it.
            None => source
                .parent()
                .and_then(|folder| fs::metadata(folder).ok())
                .map_or(i64::MAX, |meta| change_ms(&meta)),
        };
        self.news.change(id, path, at_ms);
    }

    /// Events were lost: all folders are looked at again, and something is sure to have changed.
    fn look_everywhere(&mut self, notifier: &Notifier) {
        let ids: Vec<WatchId> = self.watches.keys().copied().collect();
        for id in ids {
            self.drop_spots(notifier, |spot| spot.watch == id);
            let roots: Vec<PathBuf> = self.watches[&id].rules.roots().map(Path::to_owned).collect();
            for root in roots {
                self.place_root(notifier, id, &root);
                self.news.change(id, &root, i64::MAX);
            }
        }
    }

    /// Watch a root, and the nearest folder above it that exists.
    fn place_root(&mut self, notifier: &Notifier, id: WatchId, root: &Path) {
        let mut way = root;
        while let (Some(folder), Some(name)) = (way.parent(), way.file_name()) {
            if folder.is_dir() {
                let what = What::Toward {
                    name: name.to_owned(),
                    root: root.to_owned(),
                };
                self.spot(notifier, id, folder, what);
                break;
            }
            way = folder;
        }
        let depth = self.watches.get(&id).map_or(0, |watch| watch.depth);
        match fs::metadata(root) {
            Ok(meta) if meta.is_dir() => self.add_folder(notifier, id, root, depth),
            Ok(meta) => {
                self.note_if_recent(id, root, &meta);
                if fs::symlink_metadata(root).is_ok_and(|meta| meta.is_symlink()) {
                    self.add_link(notifier, id, root, 0);
                }
            }
            Err(_) => {}
        }
    }

    /// Watch a folder and those below it. Links are followed last, so that a folder is known by its own path where it has one.
    fn add_folder(&mut self, notifier: &Notifier, id: WatchId, top: &Path, depth: u32) {
        let mut folders = vec![(top.to_owned(), depth)];
        let mut links = Vec::new();
        while let Some((folder, depth)) = folders.pop() {
            let Some(watch) = self.watches.get(&id) else {
                return;
            };
            if watch.rules.skips(&folder) || !self.spot(notifier, id, &folder, What::All { depth }) {
                continue;
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth > 0 => folders.push((path, depth - 1)),
                    Ok(kind) if kind.is_dir() => {}
                    Ok(kind) if kind.is_symlink() => links.push((path, depth)),
                    _ => {
                        if let Ok(meta) = entry.metadata() {
                            self.note_if_recent(id, &path, &meta);
                        }
                    }
                }
            }
        }
        for (link, depth) in links {
            self.add_link(notifier, id, &link, depth);
        }
    }

    /// A link: a folder behind it is watched as if it were here, a file behind it where it is.
    fn add_link(&mut self, notifier: &Notifier, id: WatchId, link: &Path, depth: u32) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        if !watch.follow_links || watch.rules.skips(link) {
            return;
        }
        let (Ok(meta), Ok(target)) = (fs::metadata(link), fs::canonicalize(link)) else {
            return;
        };
        if meta.is_dir() {
            if depth > 0 {
                self.add_folder(notifier, id, link, depth - 1);
            }
        } else if let (Some(folder), Some(name)) = (target.parent(), target.file_name()) {
            let what = What::Target {
                name: name.to_owned(),
                link: link.to_owned(),
            };
            self.spot(notifier, id, folder, what);
            self.note_if_recent(id, link, &meta);
        }
    }

    /// A file that was changed between the moment since which changes count and the one from which they are told.
    fn note_if_recent(&mut self, id: WatchId, path: &Path, meta: &Metadata) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        let at_ms = change_ms(meta);
        if at_ms > watch.since_ms && watch.rules.counts(path) {
            self.news.change(id, path, at_ms);
        }
    }

    /// Watch one folder. `false` if it can't be, or is watched for the same reason already (a link may lead back to it).
    fn spot(&mut self, notifier: &Notifier, id: WatchId, folder: &Path, what: What) -> bool {
        let place = match notifier.watch(folder) {
            Ok(place) => place,
            Err(error) => {
                if let Some(text) = trouble(folder, &error) {
                    self.news.troubles.entry(id).or_insert(text);
                }
                return false;
            }
        };
        let spots = self.places.entry(place).or_default();
        let known = spots.iter().any(|spot| {
            spot.watch == id
                && match (&spot.what, &what) {
                    (What::All { .. }, What::All { .. }) => true,
                    (have, want) => have == want,
                }
        });
        if !known {
            spots.push(Spot {
                watch: id,
                folder: folder.to_owned(),
                what,
            });
        }
        !known
    }

    fn drop_spots(&mut self, notifier: &Notifier, unwanted: impl Fn(&Spot) -> bool) {
        let mut empty = BTreeSet::new();
        for (place, spots) in &mut self.places {
            let before = spots.len();
            spots.retain(|spot| !unwanted(spot));
            if spots.is_empty() && before > 0 {
                empty.insert(*place);
            }
        }
        for place in empty {
            self.places.remove(&place);
            notifier.forget(place);
        }
    }
}

/// When an inode was changed last, in whatever way; ms since the epoch.
pub(crate) fn change_ms(meta: &Metadata) -> i64 {
    meta.ctime()
        .saturating_mul(1000)
        .saturating_add(meta.ctime_nsec() / 1_000_000)
}

/// New dates are a change (`touch`), new rights are none: those leave the date of the content behind.
fn was_touched(meta: &Metadata) -> bool {
    const SECONDS: i64 = 2;
    meta.ctime().saturating_sub(meta.mtime()) <= SECONDS
}

/// What to say of a folder that can't be watched; nothing if it has only just gone.
fn trouble(folder: &Path, error: &io::Error) -> Option<String> {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => None,
        io::ErrorKind::StorageFull => Some(format!(
            "the limit of folders that this user may watch is reached at {folder}: raise it (sysctl \
             fs.inotify.max_user_watches={}), or name fewer folders in watch or more in ignore_watch",
            raised("max_user_watches")
        )),
        _ => Some(format!("watching {folder}: {error}")),
    }
}

/// Four times the present limit of this name.
pub(crate) fn raised(limit: &str) -> u64 {
    fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(limit))
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map_or(524_288, |now| now.saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::super::rules::OwnFiles;
    use super::*;
    use std::os::unix::fs::symlink;

    const ID: WatchId = WatchId(1);

    /// A real folder, watched for real. The kernel has queued an event when the operation that caused it returns, so nothing waits.
    struct Lab {
        dir: tempfile::TempDir,
        notifier: Notifier,
        tree: Tree,
    }

    impl Lab {
        fn new(prepare: impl Fn(&Path), change: impl Fn(&mut WatchedFiles)) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let app = dir.path().join("app");
            fs::create_dir(&app).unwrap();
            prepare(&app);
            let mut files = WatchedFiles {
                cwd: app,
                paths: vec![".".into()],
                ignored: None,
                follow_links: true,
                depth: None,
                poll: None,
            };
            change(&mut files);
            let (notifier, mut tree) = (Notifier::new().unwrap(), Tree::default());
            let rules = Rules::new(&files, OwnFiles::default()).0;
            tree.add(&notifier, ID, rules, &files, i64::MAX);
            Self { dir, notifier, tree }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().join("app").join(name)
        }

        /// What is told after doing this: the changed path, relative to the app.
        fn after(&mut self, act: impl FnOnce(&Self)) -> Option<String> {
            act(self);
            let mut notices = Vec::new();
            self.notifier
                .read(|notice| notices.push((notice.place, notice.kind, notice.name.map(ToOwned::to_owned))))
                .unwrap();
            for (place, kind, name) in notices {
                let name = name.as_deref();
                self.tree.on_notice(&self.notifier, &Notice { place, kind, name });
            }
            let news = self.tree.take_news();
            assert_eq!(news.troubles, BTreeMap::new());
            let (path, at_ms) = news.changes.into_iter().next()?.1;
            assert!(at_ms > 0);
            Some(
                path.strip_prefix(self.at(""))
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            )
        }

        fn folders(&self) -> usize {
            self.tree.places.len()
        }
    }

    fn write(path: &Path) {
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn files_and_new_folders() {
        let mut lab = Lab::new(|app| fs::create_dir_all(app.join("src/deep")).unwrap(), |_| {});
        let told = |path: &str| Some(path.to_owned());
        assert_eq!(lab.after(|_| {}), None);
        assert_eq!(
            lab.after(|lab| write(&lab.at("src/deep/a.js"))),
            told("src/deep/a.js")
        );
        assert_eq!(
            lab.after(|lab| fs::create_dir_all(lab.at("new/deeper")).unwrap()),
            told("new")
        );
        assert_eq!(
            lab.after(|lab| write(&lab.at("new/deeper/b.js"))),
            told("new/deeper/b.js")
        );
        assert_eq!(
            lab.after(|lab| fs::rename(lab.at("new"), lab.at("moved")).unwrap()),
            told("new")
        );
        assert_eq!(
            lab.after(|lab| write(&lab.at("moved/deeper/b.js"))),
            told("moved/deeper/b.js")
        );
        // An editor's way to save.
        assert_eq!(
            lab.after(|lab| {
                write(&lab.at("src/.a.js.swp"));
                write(&lab.at("src/a.js~"));
            }),
            None
        );
        assert_eq!(
            lab.after(|lab| fs::rename(lab.at("src/a.js~"), lab.at("src/a.js")).unwrap()),
            told("src/a.js")
        );
        assert!(
            lab.after(|lab| fs::remove_dir_all(lab.at("src")).unwrap())
                .is_some()
        );
    }

    #[test]
    fn what_is_ignored_costs_nothing() {
        let folders = |app: &Path| fs::create_dir_all(app.join("node_modules/a/b/c")).unwrap();
        let mut lab = Lab::new(folders, |_| {});
        assert_eq!(lab.folders(), 2, "the app's folder and the one above it");
        assert_eq!(lab.after(|lab| write(&lab.at("node_modules/x.js"))), None);
        assert_eq!(lab.after(|lab| write(&lab.dir.path().join("outside"))), None);
        lab.tree.remove(&lab.notifier, ID);
        assert_eq!(lab.folders(), 0);
    }

    #[test]
    fn rights_are_no_change_but_dates_are() {
        use std::os::unix::fs::PermissionsExt;
        let mut lab = Lab::new(|app| write(&app.join("a")), |_| {});
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        let set = |lab: &Lab, time| {
            fs::File::options()
                .write(true)
                .open(lab.at("a"))
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        lab.after(|lab| set(lab, old));
        let rights = |lab: &Lab| fs::set_permissions(lab.at("a"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(lab.after(rights), None);
        assert_eq!(
            lab.after(|lab| set(lab, std::time::SystemTime::now())),
            Some("a".into())
        );
    }

    #[test]
    fn a_root_may_go_and_come_back() {
        let mut lab = Lab::new(
            |_| {},
            |files| files.paths = vec!["dist/js".into(), "one.js".into()],
        );
        assert_eq!(lab.after(|lab| fs::create_dir(lab.at("dist")).unwrap()), None);
        assert_eq!(
            lab.after(|lab| fs::create_dir(lab.at("dist/js")).unwrap()),
            Some("dist/js".into())
        );
        assert_eq!(
            lab.after(|lab| write(&lab.at("dist/js/a"))),
            Some("dist/js/a".into())
        );
        assert_eq!(
            lab.after(|lab| fs::remove_dir_all(lab.at("dist")).unwrap()),
            Some("dist/js/a".into())
        );
        lab.after(|lab| fs::create_dir_all(lab.at("dist/js")).unwrap());
        assert_eq!(
            lab.after(|lab| write(&lab.at("dist/js/b"))),
            Some("dist/js/b".into())
        );
        assert_eq!(lab.after(|lab| write(&lab.at("one.js"))), Some("one.js".into()));
        assert_eq!(lab.after(|lab| write(&lab.at("one.js"))), Some("one.js".into()));
        assert_eq!(lab.after(|lab| write(&lab.at("two.js"))), None);
    }

    #[test]
    fn links_are_followed_and_lead_nowhere_twice() {
        let prepare = |app: &Path| {
            let shared = app.parent().unwrap().join("shared");
            fs::create_dir(&shared).unwrap();
            write(&shared.join("conf"));
            fs::create_dir(app.join("src")).unwrap();
            symlink(&shared, app.join("lib")).unwrap();
            symlink(shared.join("conf"), app.join("conf")).unwrap();
            symlink(app, app.join("src/up")).unwrap();
        };
        let mut lab = Lab::new(prepare, |_| {});
        let shared = lab.dir.path().join("shared");
        assert_eq!(lab.after(|_| write(&shared.join("b"))), Some("lib/b".into()));
        assert!(lab.after(|_| write(&shared.join("conf"))).is_some());
        assert_eq!(lab.after(|lab| write(&lab.at("src/a"))), Some("src/a".into()));
        let mut strict = Lab::new(prepare, |files| files.follow_links = false);
        let shared = strict.dir.path().join("shared");
        assert_eq!(strict.after(|_| write(&shared.join("conf"))), None);
    }

    #[test]
    fn depth_and_globs_limit_what_is_looked_at() {
        let folders = |app: &Path| fs::create_dir_all(app.join("src/a/b")).unwrap();
        let mut lab = Lab::new(folders, |files| files.depth = Some(1));
        assert_eq!(lab.after(|lab| write(&lab.at("src/x"))), Some("src/x".into()));
        assert_eq!(lab.after(|lab| write(&lab.at("src/a/x"))), None);
        let mut lab = Lab::new(folders, |files| files.paths = vec!["src/**/*.js".into()]);
        assert_eq!(lab.after(|lab| write(&lab.at("src/a/x.css"))), None);
        assert_eq!(
            lab.after(|lab| write(&lab.at("src/a/b/x.js"))),
            Some("src/a/b/x.js".into())
        );
        assert_eq!(lab.after(|lab| write(&lab.at("y.js"))), None);
    }

    #[test]
    fn what_was_changed_before_the_first_look_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a.js"));
        let files = WatchedFiles {
            cwd: dir.path().into(),
            paths: vec![".".into()],
            ignored: None,
            follow_links: true,
            depth: None,
            poll: None,
        };
        let changes = |since_ms| {
            let (notifier, mut tree) = (Notifier::new().unwrap(), Tree::default());
            tree.add(
                &notifier,
                ID,
                Rules::new(&files, OwnFiles::default()).0,
                &files,
                since_ms,
            );
            tree.take_news().changes.len()
        };
        assert_eq!((changes(0), changes(i64::MAX)), (1, 0));
    }

    #[test]
    fn what_cannot_be_watched_is_told_with_what_to_do() {
        let told = |number| trouble(Path::new("/srv/app"), &io::Error::from_raw_os_error(number));
        let limit = told(rustix::io::Errno::NOSPC.raw_os_error()).unwrap();
        assert!(
            limit.contains("/srv/app") && limit.contains("sysctl fs.inotify.max_user_watches="),
            "{limit}"
        );
        assert!(
            told(rustix::io::Errno::ACCESS.raw_os_error())
                .unwrap()
                .starts_with("watching /srv/app: ")
        );
        assert_eq!(
            told(rustix::io::Errno::NOENT.raw_os_error()),
            None,
            "it has only just gone"
        );
    }

    #[test]
    fn events_that_were_lost_are_a_change() {
        let mut lab = Lab::new(|app| fs::create_dir(app.join("src")).unwrap(), |_| {});
        let lost = Notice {
            place: None,
            kind: Kind::Lost,
            name: None,
        };
        lab.tree.on_notice(&lab.notifier, &lost);
        assert_eq!(lab.tree.take_news().changes[&ID].1, i64::MAX);
        lab.after(|_| {});
        assert_eq!(lab.after(|lab| write(&lab.at("src/a"))), Some("src/a".into()));
    }
}

//! Restarting apps when their files change.
//!
//! What is watched follows from the entries ([`Daemon::follow_entry`] is called whenever one changed); a thread looks after the files
//! ([`thread`]) by rules that are pure ([`rules`]); when a change leads to a restart is decided, purely, in [`burst`].

mod burst;
mod poll;
mod rules;
mod thread;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pm2::env::{Pm2Env, WatchedFiles};
use supervisor::{Command, Input, Mono, ProcId, Status};

use crate::clock;
use crate::journal::Level;
use crate::owner::Daemon;
use burst::{Burst, Bursts, is_news};
use rules::OwnFiles;
use thread::Watcher;

/// One set of files that is watched. Not used again, so that late news of a former one are known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchId(u64);

/// All watches.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    thread: Option<Watcher>,
    last: u64,
    watches: BTreeMap<WatchId, Watch>,
    bursts: Bursts,
}

/// A watch, and whose it is: instances of an app share one.
#[derive(Debug)]
struct Watch {
    files: WatchedFiles,
    own: OwnFiles,
    users: BTreeSet<ProcId>,
}

impl Watching {
    /// When the loop has to look at it again.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        self.bursts.next_due()
    }

    fn of(&self, id: ProcId) -> Option<WatchId> {
        self.watches
            .iter()
            .find(|(_, watch)| watch.users.contains(&id))
            .map(|(watch, _)| *watch)
    }

    fn leave(&mut self, id: ProcId) {
        let Some(watch) = self.of(id) else { return };
        let Some(entry) = self.watches.get_mut(&watch) else {
            return;
        };
        entry.users.remove(&id);
        if entry.users.is_empty() {
            self.watches.remove(&watch);
            if let Some(thread) = &self.thread {
                thread.forget(watch);
            }
        }
    }
}

impl Daemon {
    /// Watch for a process what its entry says now. Changes since that time count, ms since the epoch.
    pub(crate) fn follow_watch(&mut self, id: ProcId, since_ms: i64) {
        let wanted = self
            .apps
            .get(&id)
            .and_then(|app| Some((app.env.watched_files()?, self.own_files(id))));
        let Some((files, own)) = wanted else {
            return self.stop_watching(id);
        };
        let present = self
            .watching
            .of(id)
            .and_then(|watch| self.watching.watches.get(&watch));
        if present.is_some_and(|watch| watch.files == files && watch.own == own) {
            return;
        }
        self.watching.leave(id);
        if let Some(app) = self.apps.get_mut(&id) {
            app.env.set_watch_errors(Vec::new());
        }
        let label = self.say_watch_options(id);
        let same = self
            .watching
            .watches
            .values_mut()
            .find(|watch| watch.files == files && watch.own == own);
        if let Some(watch) = same {
            watch.users.insert(id);
            return;
        }
        if self.watching.thread.is_none() {
            match Watcher::start(self.events.clone()) {
                Ok(thread) => self.watching.thread = Some(thread),
                Err(error) => {
                    return self.complain(&format!(
                        "App [{label}] is not watched: starting the watcher: {error}"
                    ));
                }
            }
        }
        self.watching.last += 1;
        let number = WatchId(self.watching.last);
        if let Some(thread) = &self.watching.thread {
            thread.watch(number, files.clone(), own.clone(), since_ms);
        }
        let users = BTreeSet::from([id]);
        self.watching.watches.insert(number, Watch { files, own, users });
    }

    /// A process is not watched any more.
    pub(crate) fn stop_watching(&mut self, id: ProcId) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        app.env.set_watch_errors(Vec::new());
        if self.watching.of(id).is_none() {
            return;
        }
        self.watching.leave(id);
        let name = self.apps.get(&id).map_or("", |app| app.env.name());
        let mut namesakes = self.apps.iter().filter(|(_, app)| app.env.name() == name);
        if !namesakes.any(|(other, _)| self.watching.of(*other).is_some()) {
            self.watching.bursts.forget(name);
        }
    }

    /// A file was changed.
    pub(crate) fn on_file_changed(&mut self, watch: WatchId, path: PathBuf, changed_at_ms: i64) {
        let now = clock::mono();
        let Some(watch) = self.watching.watches.get(&watch) else {
            return;
        };
        // One is enough: all processes of the name are restarted.
        let Some(app) = watch.users.iter().find_map(|id| self.apps.get(id)) else {
            return;
        };
        let shown = path
            .strip_prefix(app.env.cwd())
            .map(PathBuf::from)
            .unwrap_or(path);
        let (name, timing) = (app.env.name().to_owned(), app.env.watch_timing());
        self.watching
            .bursts
            .change(now, &name, timing, shown, changed_at_ms);
    }

    /// Some files can't be watched. Said in the log, and shown with the process until it is watched anew.
    pub(crate) fn on_watch_trouble(&mut self, watch: WatchId, text: &str) {
        let Some(watch) = self.watching.watches.get(&watch) else {
            return;
        };
        let users: Vec<ProcId> = watch.users.iter().copied().collect();
        for id in &users {
            if let Some(app) = self.apps.get_mut(id) {
                let mut all = app.env.list(Pm2Env::WATCH_ERRORS);
                all.push(text.to_owned());
                app.env.set_watch_errors(all);
            }
        }
        if let Some(app) = users.first().and_then(|id| self.apps.get(id)) {
            let line = format!("App [{}] is not watched as it should be: {text}", app.env.name());
            self.complain(&line);
        }
    }

    /// Restart the apps whose files have changed and are quiet again.
    pub(crate) fn restart_changed(&mut self) {
        for (name, burst) in self.watching.bursts.take_due(clock::mono()) {
            let named = self.apps.iter().filter(|(_, app)| app.env.name() == name);
            let ids: Vec<ProcId> = named.map(|(id, _)| *id).collect();
            if self.ending.is_some() || !ids.iter().any(|id| self.is_out_of_date(*id, &burst)) {
                continue;
            }
            let text = format!(
                "Change detected on path {} for app {name} - restarting",
                burst.path.display()
            );
            self.say(Level::Log, &text);
            for id in ids {
                self.restart_by_itself(id);
            }
        }
    }

    /// A restart that nobody waits for, with what the entry says.
    pub(crate) fn restart_by_itself(&mut self, id: ProcId) {
        if self.sup.view(id).is_some_and(|view| view.is_up()) {
            self.announce_stop(id);
        }
        self.handle(Input::Command {
            ticket: None,
            command: Command::Restart { id, policy: None },
        });
    }

    /// Its present life began before the change.
    fn is_out_of_date(&self, id: ProcId, burst: &Burst) -> bool {
        let Some(view) = self.sup.view(id) else {
            return false;
        };
        match view.status {
            // The next life begins after the change.
            Status::Stopping => false,
            Status::Launching | Status::Online => {
                is_news(burst.changed_at_ms, view.facts.started_at, clock::wall_ms())
            }
            Status::Stopped | Status::Errored | Status::WaitingRestart => true,
        }
    }

    /// What is written by us on behalf of a process, or of all.
    fn own_files(&self, id: ProcId) -> OwnFiles {
        let home = &self.home;
        let mut paths = vec![home.log_file.clone(), home.log_dir.clone(), home.pid_dir.clone()];
        if let Some(app) = self.apps.get(&id) {
            let env = &app.env;
            let own = [env.out_log(), env.err_log(), env.combined_log(), env.pid_path()];
            let outside = own.into_iter().flatten().map(PathBuf::from);
            paths.extend(
                outside.filter(|path| !path.starts_with(&home.log_dir) && !path.starts_with(&home.pid_dir)),
            );
        }
        OwnFiles {
            home: home.root.clone(),
            paths,
        }
    }

    fn say_watch_options(&mut self, id: ProcId) -> String {
        let Some(app) = self.apps.get(&id) else {
            return String::new();
        };
        let label = format!("{}:{}", app.env.name(), id.0);
        let unused = app.env.watch_options_without_effect();
        if !unused.is_empty() {
            let text = format!(
                "App [{label}]: no effect here has watch_options.{}",
                unused.join(", ")
            );
            self.complain(&text);
        }
        label
    }
}

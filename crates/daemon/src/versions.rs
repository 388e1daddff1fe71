//! The versions that the list shows: of an app, from the nearest package.json, and of the Node that runs it.
//!
//! Both are found beside the loop, at each launch, and come as events: whoever restarts an app after an upgrade sees the new ones.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node::release::Takes;
use pm2::env::Pm2Env;
use supervisor::{Incarnation, ProcId};
use tokio::io::AsyncReadExt;

use crate::event::Event;
use crate::owner::Daemon;

/// Interpreters that are remembered. Whoever has more of them is asked anew.
const MAX_KNOWN: usize = 64;
/// How long an interpreter may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was learned of interpreters: the same file says the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeVersions(Arc<Mutex<BTreeMap<Identity, String>>>);

/// A file as it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(file: &Path) -> Option<Self> {
        let meta = std::fs::metadata(file).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

impl Daemon {
    /// Find out the version of an entry's app.
    pub(crate) fn look_up_version(&self, id: ProcId) {
        let Some(app) = self.apps.get(&id) else { return };
        let script = PathBuf::from(app.env.exec_path());
        if self.app_versions.want(id, script) {
            let (wanted, events) = (self.app_versions.clone(), self.events.clone());
            tokio::task::spawn_blocking(move || {
                let _ = events.blocking_send(Event::Versions(wanted.find()));
            });
        }
    }

    /// The versions of apps are known.
    pub(crate) fn told_versions(&mut self, versions: Vec<AppVersion>) {
        for AppVersion { id, script, version } in versions {
            let Some(app) = self.apps.get_mut(&id) else {
                continue;
            };
            let version = version.unwrap_or_else(|| "N/A".into());
            if Path::new(app.env.exec_path()) != script || app.env.text("version") == Some(&version) {
                continue;
            }
            app.env.set("version", version);
            self.share_with_neighbour(id);
            // What becomes of a launch is recorded anyway.
            if !self.is_launching(id) {
                self.keep(id);
            }
        }
    }

    /// Find out the versions of what is about to run.
    pub(crate) fn look_up_versions(&self, id: ProcId, incarnation: Incarnation) {
        self.look_up_version(id);
        let Some(app) = self.apps.get(&id) else { return };
        let line = app.env.command_line();
        // It is run here with the daemon's own rights: never for an app that has other ones.
        if line.script.is_none() || !is_node(&line.program) || app.env.uid().is_some() {
            return;
        }
        let search = search_path(&app.env);
        let (known, events) = (self.node_versions.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Some(program) = find(&line.program, search.as_deref())
                && let Some(version) = known.ask(&program).await
            {
                let event = Event::NodeVersion {
                    id,
                    incarnation,
                    version,
                };
                let _ = events.send(event).await;
            }
        });
    }
}

/// What was found for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AppVersion {
    /// Which entry.
    pub(crate) id: ProcId,
    /// Whose script this was.
    pub(crate) script: PathBuf,
    /// The version in the nearest package.json.
    pub(crate) version: Option<String>,
}

/// Scripts whose versions are wanted, until somebody finds them all: many that are started at once are one task, and each folder is
/// looked into once.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppVersions(Arc<Mutex<Vec<(ProcId, PathBuf)>>>);

impl AppVersions {
    /// Add a script. Says whether it is the first, for which somebody has to begin.
    fn want(&self, id: ProcId, script: PathBuf) -> bool {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.push((id, script));
        wanted.len() == 1
    }

    /// Find all that are wanted now.
    fn find(&self) -> Vec<AppVersion> {
        let wanted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut known: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
        let found = wanted.into_iter().map(|(id, script)| {
            // Node takes a folder for its main module.
            let folder = if script.is_dir() {
                &script
            } else {
                script.parent().unwrap_or(Path::new("/"))
            };
            let version = match known.get(folder) {
                Some(version) => version.clone(),
                None => {
                    let version = version_in(folder);
                    known.insert(folder.to_owned(), version.clone());
                    version
                }
            };
            AppVersion { id, script, version }
        });
        found.collect()
    }
}

impl NodeVersions {
    /// What the interpreter of an app takes, as far as it was asked before: a Node that is too old for our words fails by them
    /// once, is asked meanwhile, and is then started without them.
    pub(crate) fn takes(&self, env: &Pm2Env) -> Takes {
        // No file is looked at where all are new.
        if self
            .known()
            .values()
            .all(|version| Takes::of(version) == Takes::ALL)
        {
            return Takes::ALL;
        }
        find(&env.command_line().program, search_path(env).as_deref())
            .and_then(|program| Identity::of(&program))
            .and_then(|file| self.known().get(&file).map(|version| Takes::of(version)))
            .unwrap_or(Takes::ALL)
    }

    async fn ask(&self, program: &Path) -> Option<String> {
        let identity = Identity::of(program)?;
        if let Some(version) = self.known().get(&identity) {
            return Some(version.clone());
        }
        let version = tokio::time::timeout(PATIENCE, say_version(program))
            .await
            .ok()??;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(identity, version.clone());
        Some(version)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Identity, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn search_path(env: &Pm2Env) -> Option<String> {
    let mut vars = env.child_env().into_iter();
    vars.find_map(|(name, value)| (name == "PATH").then_some(value))
}

fn is_node(program: &str) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == "node" || name == "nodejs")
}

/// Where a program is, as the child's own search would find it.
fn find(program: &str, search: Option<&str>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    let folders = search.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    std::env::split_paths(folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// `v20.1.0` without its letter. It ends with its reader if it takes too long.
async fn say_version(program: &Path) -> Option<String> {
    const LONGEST: u64 = 64;
    let mut child = tokio::process::Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut text = String::new();
    child
        .stdout
        .take()?
        .take(LONGEST)
        .read_to_string(&mut text)
        .await
        .ok()?;
    let ended = child.wait().await.ok()?;
    let version = text.trim().strip_prefix('v')?;
    let is_version =
        version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(char::is_whitespace);
    (ended.success() && is_version).then(|| version.to_owned())
}

/// The version in the nearest package.json, from this folder on upwards.
fn version_in(folder: &Path) -> Option<String> {
    /// A package.json larger than this is none.
    const MAX: u64 = 1024 * 1024;
    let mut folder = Some(folder);
    while let Some(here) = folder {
        let path = here.join("package.json");
        if let Ok(meta) = std::fs::metadata(&path)
            && meta.is_file()
        {
            let text = if meta.len() <= MAX {
                std::fs::read(&path).ok()?
            } else {
                return None;
            };
            let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
            return package
                .get("version")?
                .as_str()
                .map(|version| version.chars().take(100).collect());
        }
        folder = here.parent();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_nearest_package_json_tells_the_version() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(dir.path().join("a/package.json"), r#"{"version":"1.2.3"}"#).unwrap();
        std::fs::write(dir.path().join("package.json"), r#"{"version":"9.9.9"}"#).unwrap();
        assert_eq!(version_in(&deep), Some("1.2.3".into()));
        let wanted = AppVersions::default();
        let scripts = ["app.js", "other.js", "../x.js"].map(|name| deep.join(name));
        let first: Vec<_> = (0..)
            .zip(&scripts)
            .map(|(id, script)| wanted.want(ProcId(id), script.clone()))
            .collect();
        assert_eq!(first, [true, false, false]);
        let found = wanted.find();
        assert!(
            found
                .iter()
                .all(|found| found.version.as_deref() == Some("1.2.3"))
        );
        assert_eq!(
            found.iter().map(|found| &found.script).collect::<Vec<_>>(),
            scripts.each_ref()
        );
        assert!(wanted.find().is_empty() && wanted.want(ProcId(0), deep.clone()));
        std::fs::write(dir.path().join("a/package.json"), "{").unwrap();
        assert_eq!(version_in(&deep), None);
    }

    #[tokio::test]
    async fn an_interpreter_is_asked_once_and_only_a_version_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let program = |name: &str, says: &str| {
            let path = dir.path().join(name);
            let text = format!("#!/bin/sh\necho x >> '{}'\n{says}\n", asked.display());
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let known = NodeVersions::default();
        let node = program("node", "echo v99.1.0");
        for _ in 0..2 {
            assert_eq!(known.ask(&node).await.as_deref(), Some("99.1.0"));
        }
        assert_eq!(std::fs::read_to_string(&asked).unwrap(), "x\n");
        for (name, says) in [("a", "echo hello"), ("b", "echo v1.0.0; exit 3"), ("c", "yes v1")] {
            assert_eq!(known.ask(&program(name, says)).await, None, "{says}");
        }
        assert_eq!(known.ask(Path::new("/no/such/node")).await, None);
        let old = program("node-old", "echo v0.10.48");
        let env = |program: &Path| {
            let env = serde_json::json!({ "exec_interpreter": program, "pm_exec_path": "/a/app.js" });
            Pm2Env::from(env.as_object().cloned().unwrap_or_default())
        };
        assert_eq!(known.takes(&env(&old)), Takes::ALL, "it was not asked yet");
        assert_eq!(known.ask(&old).await.as_deref(), Some("0.10.48"));
        assert_eq!(known.takes(&env(&old)), Takes::of("0.10.48"));
        assert_eq!(known.takes(&env(&node)), Takes::ALL);
        std::fs::remove_file(&old).unwrap();
        assert_eq!(
            known.takes(&env(&program("node-old", "echo v99.1.0"))),
            Takes::ALL,
            "another file"
        );
        let search = format!("/nowhere:{}", dir.path().display());
        assert_eq!(find("node", Some(&search)), Some(node));
        assert!(is_node("/usr/bin/node") && is_node("nodejs") && !is_node("/usr/bin/node-gyp"));
    }
}

//! The scripts that Node apps load before their own: their files in the home, and who gets which.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use node::release::Takes;
use pm2::env::{ExecMode, Pm2Env};
use pm2::home::Home;

use crate::cluster::WorkerParts;

/// An app's own variable that keeps all of them away from it.
const SWITCH: &str = "PILOTHOUSE_PRELOAD";

/// For apps that run as another user, who may not look into the home. Only root can start such apps, and root can write here.
const COMMON_FOLDER: &str = "/run/pilothouse/preload";

/// The folders of the scripts.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    folder: PathBuf,
    common: PathBuf,
    /// Where the packages for tracing are.
    otel: PathBuf,
}

impl Preload {
    /// Its place in a home.
    pub(crate) fn of_home(home: &Home) -> Self {
        Self {
            folder: home.root.join("preload"),
            common: COMMON_FOLDER.into(),
            otel: home.otel_dir.clone(),
        }
    }

    /// The file of [`node::PRELOAD`], if it could be made.
    pub(crate) fn worker(&self, env: &Pm2Env) -> Option<PathBuf> {
        self.file(env, "worker", node::PRELOAD).ok()
    }

    /// Lets an app be monitored, unless it refuses or its interpreter cannot.
    pub(crate) fn add_monitor(&self, env: &Pm2Env, takes: Takes, parts: &mut WorkerParts) {
        if !takes.scripts || !wants_monitor(env) {
            return;
        }
        // Without it the app runs all the same.
        let Ok(path) = self.file(env, "monitor", node::MONITOR) else {
            return;
        };
        // The errors of workers are reported by their own script.
        let mark = match env.exec_mode() {
            ExecMode::Fork => node::MONITOR_ERRORS,
            ExecMode::Cluster => node::MONITOR_FIGURES,
        };
        parts.args.splice(0..0, ["--require".into(), path.into()]);
        parts.vars.push(format!("{}={mark}", node::MONITOR_MARK).into());
    }

    /// Lets an app be traced, if it wants to be and may be looked into at all.
    pub(crate) fn add_tracer(&self, env: &Pm2Env, takes: Takes, parts: &mut WorkerParts) {
        if env.flag("trace") != Some(true) || !takes.scripts || !wants_monitor(env) {
            return;
        }
        let Ok(path) = self.file(env, "trace", node::TRACE) else {
            return;
        };
        // First to load: it must see each module that the others bring.
        parts.args.splice(0..0, ["--require".into(), path.into()]);
        let mut folder = OsString::from(format!("{}=", node::TRACE_FOLDER));
        folder.push(&self.otel);
        parts.vars.push(folder);
    }

    /// Makes sure that a file is there. Its name says which release it belongs to: apps of an older one may load theirs once more.
    fn file(&self, env: &Pm2Env, name: &str, text: &str) -> io::Result<PathBuf> {
        let folder = if env.uid().is_some() {
            &self.common
        } else {
            &self.folder
        };
        let path = folder.join(format!("{name}-{}.cjs", env!("CARGO_PKG_VERSION")));
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(path);
        }
        std::fs::create_dir_all(folder)?;
        let draft = path.with_extension("new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, &path)?;
        Ok(path)
    }
}

/// Only Node can load them, and the app may refuse them.
pub(crate) fn can_preload(env: &Pm2Env) -> bool {
    let program = Path::new(env.interpreter())
        .file_name()
        .and_then(|name| name.to_str());
    // Node's permission model would not let the script be read, and the app not start.
    let may_read = !env
        .command_line()
        .interpreter_args
        .iter()
        .any(|arg| arg.starts_with("--permission") || arg.starts_with("--experimental-permission"));
    program.is_some_and(|name| name.starts_with("node")) && env.text(SWITCH) != Some("off") && may_read
}

/// A module that brings a library of its own has the last word: the script stands aside for it.
fn wants_monitor(env: &Pm2Env) -> bool {
    can_preload(env) && env.flag("pmx") != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(value: serde_json::Value) -> Pm2Env {
        match value {
            serde_json::Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    fn home(root: &Path) -> Home {
        Home::at(root, |_| None)
    }

    #[test]
    fn who_wants_to_be_traced_is_told_where_the_packages_are() {
        let dir = tempfile::tempdir().unwrap();
        let preload = Preload::of_home(&home(dir.path()));
        let parts_of = |value| {
            let mut parts = WorkerParts::default();
            preload.add_tracer(&env(value), Takes::ALL, &mut parts);
            (parts.args.len(), parts.vars)
        };
        let folder = format!("PILOTHOUSE_OTEL={}", dir.path().join("otel").display());
        let node = |trace: bool, pmx: bool| json!({ "exec_interpreter": "node", "trace": trace, "pmx": pmx });
        assert_eq!(parts_of(node(true, true)), (2, vec![folder.into()]));
        for value in [
            node(false, true),
            node(true, false),
            json!({ "exec_interpreter": "python3", "trace": true }),
        ] {
            assert_eq!(parts_of(value), (0, Vec::new()));
        }
    }

    #[test]
    fn they_are_for_node_and_can_be_refused() {
        assert!(can_preload(&env(
            json!({ "exec_interpreter": "/usr/bin/node20" })
        )));
        for other in [
            json!({ "exec_interpreter": "bun" }),
            json!({ "exec_interpreter": "node", "PILOTHOUSE_PRELOAD": "off" }),
            json!({ "exec_interpreter": "node", "node_args": ["--permission", "--allow-fs-read=/app"] }),
        ] {
            assert!(!can_preload(&env(other)));
        }
        assert!(wants_monitor(&env(json!({ "exec_interpreter": "node" }))));
        assert!(wants_monitor(&env(
            json!({ "exec_interpreter": "node", "pmx_module": true })
        )));
        assert!(!wants_monitor(&env(
            json!({ "exec_interpreter": "node", "pmx": false })
        )));
    }

    #[test]
    fn the_files_are_made_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let preload = Preload::of_home(&home(dir.path()));
        let node = env(json!({ "exec_interpreter": "node", "exec_mode": "fork_mode" }));
        let path = preload.worker(&node).unwrap();
        std::fs::write(&path, "spoilt").unwrap();
        assert_eq!(preload.worker(&node), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(path).unwrap(), node::PRELOAD);
        let nowhere = Preload::of_home(&home(Path::new("/dev/null")));
        assert_eq!(nowhere.worker(&node), None);
        let mut parts = WorkerParts::default();
        nowhere.add_monitor(&node, Takes::ALL, &mut parts);
        assert_eq!(parts, WorkerParts::default());
        preload.add_monitor(&node, Takes::ALL, &mut parts);
        assert_eq!(
            (parts.args.len(), parts.vars),
            (2, vec!["PILOTHOUSE_MONITOR=errors".into()])
        );
    }

    #[test]
    fn another_user_gets_them_from_a_folder_that_all_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut preload = Preload::of_home(&home(&dir.path().join("home")));
        preload.common = dir.path().join("common");
        let other = env(json!({ "exec_interpreter": "node", "uid": "www-data" }));
        let path = preload.worker(&other).unwrap();
        assert!(path.starts_with(&preload.common), "{}", path.display());
        assert!(!preload.folder.exists());
    }
}

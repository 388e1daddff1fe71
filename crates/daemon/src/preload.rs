//! The scripts that Node apps load before their own: their files in the home, and who gets which.

use std::io;
use std::path::{Path, PathBuf};

use pm2::env::{ExecMode, Pm2Env};

use crate::cluster::WorkerParts;

/// An app's own variable that keeps all of them away from it.
const SWITCH: &str = "PILOTHOUSE_PRELOAD";

/// The folder of the scripts.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    folder: PathBuf,
}

impl Preload {
    /// Its place in a home.
    pub(crate) fn of_home(home: &Path) -> Self {
        Self {
            folder: home.join("preload"),
        }
    }

    /// The file of [`node::PRELOAD`], if it could be made.
    pub(crate) fn worker(&self) -> Option<PathBuf> {
        self.file("worker", node::PRELOAD).ok()
    }

    /// Lets an app be monitored, unless it refuses.
    pub(crate) fn add_monitor(&self, env: &Pm2Env, parts: &mut WorkerParts) {
        if !wants_monitor(env) {
            return;
        }
        // Without it the app runs all the same.
        let Ok(path) = self.file("monitor", node::MONITOR) else {
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

    /// Makes sure that a file is there. Its name says which release it belongs to: apps of an older one may load theirs once more.
    fn file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self
            .folder
            .join(format!("{name}-{}.cjs", env!("CARGO_PKG_VERSION")));
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(path);
        }
        std::fs::create_dir_all(&self.folder)?;
        let draft = path.with_extension("new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, &path)?;
        Ok(path)
    }
}

/// Only Node can load them, they must be readable for the app's user, and the app may refuse them.
pub(crate) fn can_preload(env: &Pm2Env) -> bool {
    let program = Path::new(env.interpreter())
        .file_name()
        .and_then(|name| name.to_str());
    program.is_some_and(|name| name.starts_with("node"))
        && env.text(SWITCH) != Some("off")
        && env.uid().is_none()
}

/// Modules bring a library of their own.
fn wants_monitor(env: &Pm2Env) -> bool {
    can_preload(env) && env.flag("pmx") != Some(false) && !env.is_module()
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

    #[test]
    fn they_are_for_node_and_can_be_refused() {
        assert!(can_preload(&env(
            json!({ "exec_interpreter": "/usr/bin/node20" })
        )));
        for other in [
            json!({ "exec_interpreter": "bun" }),
            json!({ "exec_interpreter": "node", "PILOTHOUSE_PRELOAD": "off" }),
            json!({ "exec_interpreter": "node", "uid": "www-data" }),
        ] {
            assert!(!can_preload(&env(other)));
        }
        assert!(wants_monitor(&env(json!({ "exec_interpreter": "node" }))));
        for other in [
            json!({ "exec_interpreter": "node", "pmx": false }),
            json!({ "exec_interpreter": "node", "pmx_module": true }),
        ] {
            assert!(!wants_monitor(&env(other)));
        }
    }

    #[test]
    fn the_files_are_made_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let preload = Preload::of_home(dir.path());
        let path = preload.worker().unwrap();
        std::fs::write(&path, "spoilt").unwrap();
        assert_eq!(preload.worker(), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(path).unwrap(), node::PRELOAD);
        let nowhere = Preload::of_home(Path::new("/dev/null"));
        assert_eq!(nowhere.worker(), None);
        let mut parts = WorkerParts::default();
        let node = env(json!({ "exec_interpreter": "node", "exec_mode": "fork_mode" }));
        nowhere.add_monitor(&node, &mut parts);
        assert_eq!(parts, WorkerParts::default());
        preload.add_monitor(&node, &mut parts);
        assert_eq!(
            (parts.args.len(), parts.vars),
            (2, vec!["PILOTHOUSE_MONITOR=errors".into()])
        );
    }
}

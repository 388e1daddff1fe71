//! Where things are in `$PM2_HOME`, with PM2's environment overrides. Pure: the environment is asked through a function.

use std::path::{Path, PathBuf};

/// All paths of one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `$PM2_HOME` itself, absolute.
    pub root: PathBuf,
    /// `conf.js`: reserved by PM2, unused.
    pub conf_file: PathBuf,
    /// `module_conf.json`: what `set` stores.
    pub module_conf_file: PathBuf,
    /// `pm2.log`: the daemon's own output.
    pub log_file: PathBuf,
    /// `pm2.pid`: pid of the daemon, without a newline.
    pub pid_file: PathBuf,
    /// `reload.lock`: time in ms while a reload runs.
    pub reload_lock: PathBuf,
    /// `pids/`: pid files of apps.
    pub pid_dir: PathBuf,
    /// `logs/`: logs of apps.
    pub log_dir: PathBuf,
    /// `modules/`: installed modules.
    pub module_dir: PathBuf,
    /// `pm2-io-token`.
    pub io_token: PathBuf,
    /// `dump.pm2`: what `save` wrote.
    pub dump_file: PathBuf,
    /// `dump.pm2.bak`: the dump before.
    pub dump_backup: PathBuf,
    /// `rpc.sock`.
    pub rpc_sock: PathBuf,
    /// `pub.sock`.
    pub pub_sock: PathBuf,
    /// `interactor.sock`: RPC of the agent.
    pub interactor_sock: PathBuf,
    /// `agent.log`.
    pub agent_log: PathBuf,
    /// `agent.pid`.
    pub agent_pid: PathBuf,
    /// `agent.json5`: the stored link.
    pub agent_conf: PathBuf,
    /// `touch`: time of the first run in ms; the banner was shown.
    pub touch: PathBuf,
    /// `log-times/`: ours; when what stands in logs was written.
    pub log_times: PathBuf,
    /// `crashes/`: ours; reports of crashes.
    pub crash_dir: PathBuf,
    /// `keeper.lock`: ours; held by the keeper of this home.
    pub keeper_lock: PathBuf,
    /// `ledger/`: ours; who runs, should keeper and daemon end together.
    pub ledger_dir: PathBuf,
    /// `otel/`: ours; the packages that apps are traced with, if they were installed.
    pub otel_dir: PathBuf,
}

impl Home {
    /// The home that PM2 would use: `PM2_HOME`, else `.pm2` in the user's home (`HOME`, else `user_home` as the password
    /// database tells), else `/etc/.pm2`. Relative values are resolved against `cwd`. Empty variables count as unset.
    pub fn resolve(env: impl Fn(&str) -> Option<String>, cwd: &Path, user_home: Option<&Path>) -> Home {
        let set = |name: &str| env(name).filter(|v| !v.is_empty());
        let root = set("OVER_HOME")
            .or_else(|| set("PM2_HOME"))
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".pm2")))
            .or_else(|| user_home.map(|home| home.join(".pm2")))
            .unwrap_or_else(|| PathBuf::from("/etc/.pm2"));
        Home::at(&absolute(cwd, &root), env)
    }

    /// The paths below a given absolute `root`, with the overrides that the environment holds.
    pub fn at(root: &Path, env: impl Fn(&str) -> Option<String>) -> Home {
        let path = |name: &str, file: &str| {
            env(name)
                .filter(|v| !v.is_empty())
                .map_or_else(|| root.join(file), |v| absolute(root, Path::new(&v)))
        };
        Home {
            conf_file: path("PM2_CONF_FILE", "conf.js"),
            module_conf_file: path("PM2_MODULE_CONF_FILE", "module_conf.json"),
            log_file: path("PM2_LOG_FILE_PATH", "pm2.log"),
            pid_file: path("PM2_PID_FILE_PATH", "pm2.pid"),
            reload_lock: path("PM2_RELOAD_LOCKFILE", "reload.lock"),
            pid_dir: path("PM2_DEFAULT_PID_PATH", "pids"),
            log_dir: path("PM2_DEFAULT_LOG_PATH", "logs"),
            module_dir: path("PM2_DEFAULT_MODULE_PATH", "modules"),
            io_token: path("PM2_IO_ACCESS_TOKEN", "pm2-io-token"),
            dump_file: path("PM2_DUMP_FILE_PATH", "dump.pm2"),
            dump_backup: path("PM2_DUMP_BACKUP_FILE_PATH", "dump.pm2.bak"),
            rpc_sock: path("PM2_DAEMON_RPC_PORT", "rpc.sock"),
            pub_sock: path("PM2_DAEMON_PUB_PORT", "pub.sock"),
            interactor_sock: path("PM2_INTERACTOR_RPC_PORT", "interactor.sock"),
            agent_log: path("PM2_INTERACTOR_LOG_FILE_PATH", "agent.log"),
            agent_pid: path("PM2_INTERACTOR_PID_PATH", "agent.pid"),
            agent_conf: path("PM2_INTERACTION_CONF", "agent.json5"),
            touch: root.join("touch"),
            log_times: root.join("log-times"),
            crash_dir: root.join("crashes"),
            keeper_lock: root.join("keeper.lock"),
            ledger_dir: root.join("ledger"),
            otel_dir: root.join("otel"),
            root: root.to_owned(),
        }
    }
}

fn absolute(base: &Path, path: &Path) -> PathBuf {
    crate::home::clean(&base.join(path))
}

/// Removes `.` and `..` from an absolute path by text alone, as node's `path.resolve` does.
pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(vars: &[(&str, &str)]) -> Home {
        let env = |name: &str| {
            vars.iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Home::resolve(env, Path::new("/work/dir"), None)
    }

    #[test]
    fn the_root_is_found_in_pm2s_order() {
        assert_eq!(resolve(&[]).root, Path::new("/etc/.pm2"));
        assert_eq!(resolve(&[("HOME", "/home/u")]).root, Path::new("/home/u/.pm2"));
        assert_eq!(
            resolve(&[("HOME", "/home/u"), ("PM2_HOME", "../x/./h")]).root,
            Path::new("/work/x/h")
        );
        assert_eq!(
            resolve(&[("PM2_HOME", "/a"), ("OVER_HOME", "/b")]).root,
            Path::new("/b")
        );
        assert_eq!(
            resolve(&[("HOME", "/home/u"), ("PM2_HOME", "")]).root,
            Path::new("/home/u/.pm2")
        );
    }

    #[test]
    fn each_path_can_be_moved() {
        let home = resolve(&[
            ("PM2_HOME", "/h"),
            ("PM2_DAEMON_RPC_PORT", "/run/rpc"),
            ("PM2_PID_FILE_PATH", "/run/pid"),
        ]);
        assert_eq!(home.rpc_sock, Path::new("/run/rpc"));
        assert_eq!(home.pid_file, Path::new("/run/pid"));
        assert_eq!(home.pub_sock, Path::new("/h/pub.sock"));
        assert_eq!(home.dump_backup, Path::new("/h/dump.pm2.bak"));
    }
}

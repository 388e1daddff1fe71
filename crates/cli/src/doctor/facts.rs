//! Looks around.

use crate::client::{CallError, Client, ConnectError};
use crate::context::Context;
use crate::failure::Failure;
use crate::process::TABLE_FIELDS;
use crate::start::Machine;
use pm2::Object;
use pm2::env::ExecMode;
use pm2::rpc::method;
use pm2::schema::Host as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

/// Everything that is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) home: HomeFolder,
    pub(crate) daemon: Daemon,
    pub(crate) limits: Limits,
    /// `None`: no daemon tells.
    pub(crate) apps: Option<Apps>,
    pub(crate) files: Files,
    pub(crate) logs: Vec<Log>,
    /// What `node --version` says.
    pub(crate) node: Option<String>,
    /// The file that starts it with the machine.
    pub(crate) startup: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct HomeFolder {
    pub(crate) path: String,
    pub(crate) exists: bool,
    pub(crate) not_writable: Option<String>,
    pub(crate) mode: u32,
    /// Available and total bytes.
    pub(crate) disk: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Daemon {
    None {
        /// The process that the pid file names, if it is gone.
        stale_pid: Option<u32>,
    },
    Denied(String),
    Mute {
        reason: String,
        pid: Option<u32>,
    },
    Answers {
        pid: u32,
        version: String,
        expected: String,
        keeper: Option<u32>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Open files, soft and hard: of the daemon, or of this process if there is none.
    pub(crate) descriptors: Option<(u64, u64)>,
    pub(crate) inotify_watches: Option<u64>,
    pub(crate) inotify_instances: Option<u64>,
    /// Whether what waits at a socket that is closed goes to another of its port (`tcp_migrate_req`).
    pub(crate) migrates: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Apps {
    /// One per process, modules left out.
    pub(crate) names: Vec<String>,
    pub(crate) errored: Vec<String>,
    /// Apps that run without their main module, and why it could not be loaded.
    pub(crate) idle: Vec<(String, String)>,
    pub(crate) restarts: Vec<(String, u64)>,
    /// Apps whose workers each bind the port for themselves.
    pub(crate) own_sockets: Vec<String>,
    /// Apps whose limits do not hold, and why.
    pub(crate) unlimited: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Names in the dump, or why it can't be read.
    pub(crate) dump: Option<Result<Vec<String>, String>>,
    /// Why `module_conf.json` can't be read.
    pub(crate) module_conf: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Starts nothing and changes nothing.
pub(crate) fn gather(context: &Context<'_>) -> Facts {
    let (daemon, apps) = daemon(context);
    let pid = match &daemon {
        Daemon::Answers { pid, .. } => *pid,
        _ => std::process::id(),
    };
    let number = |path: &str| read(Path::new(path))?.trim().parse().ok();
    Facts {
        home: home(context),
        limits: Limits {
            descriptors: read(format!("/proc/{pid}/limits").as_ref()).and_then(|text| open_files(&text)),
            inotify_watches: number("/proc/sys/fs/inotify/max_user_watches"),
            inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
            migrates: number("/proc/sys/net/ipv4/tcp_migrate_req").map(|on| on > 0),
        },
        daemon,
        apps,
        files: Files {
            dump: dump(context),
            module_conf: match crate::module_conf::read(&context.home) {
                Ok(_) => None,
                Err(failure) => Some(failure.to_string()),
            },
        },
        logs: logs(context),
        node: node_version(),
        startup: startup(),
    }
}

/// What the `node` in `PATH` says of its version.
pub(crate) fn node_version() -> Option<String> {
    let node = Machine.find_program("node")?;
    let output = Command::new(node).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn home(context: &Context<'_>) -> HomeFolder {
    let root = &context.home.root;
    let meta = std::fs::metadata(root);
    let not_writable = match &meta {
        Ok(meta) if !meta.is_dir() => Some("it is no folder".to_owned()),
        Ok(_) => rustix::fs::access(root, rustix::fs::Access::WRITE_OK)
            .err()
            .map(|error| std::io::Error::from(error).to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    };
    HomeFolder {
        path: root.display().to_string(),
        exists: meta.is_ok() || not_writable.is_some(),
        not_writable,
        mode: meta.map_or(0, |meta| meta.mode()),
        disk: os::host::disk_space(root)
            .ok()
            .map(|space| (space.available_bytes, space.total_bytes)),
    }
}

fn daemon(context: &Context<'_>) -> (Daemon, Option<Apps>) {
    let pid = read(&context.home.pid_file).and_then(|text| text.trim().parse::<u32>().ok());
    let mut client = match Client::connect(&context.home) {
        Ok(client) => client,
        Err(ConnectError::NotRunning(_)) => {
            let stale_pid = pid.filter(|pid| !os::process::exists(*pid));
            return (Daemon::None { stale_pid }, None);
        }
        Err(error @ ConnectError::Denied { .. }) => return (Daemon::Denied(error.to_string()), None),
        Err(error) => {
            let reason = error.to_string();
            return (Daemon::Mute { reason, pid }, None);
        }
    };
    let asked = ask(&mut client);
    match asked {
        Ok((version, apps)) => {
            let pid = pid.unwrap_or(0);
            let answers = Daemon::Answers {
                pid,
                version,
                expected: pm2::COMPAT_VERSION.into(),
                keeper: keeper(pid),
            };
            (answers, Some(apps))
        }
        Err(failure) => {
            let reason = failure.to_string();
            (Daemon::Mute { reason, pid }, None)
        }
    }
}

fn ask(client: &mut Client) -> Result<(String, Apps), Failure> {
    let version = client
        .ask(method::GET_VERSION, &(Object::new(),))
        .map_err(|error: CallError| Failure::Call(error))?;
    let mut fields = TABLE_FIELDS.to_vec();
    fields.push("exec_interpreter");
    let list = client.list(Some(&fields))?;
    let apps = list.iter().filter(|p| !p.is_module());
    let errored = list.iter().filter(|p| p.status() == "errored");
    Ok((
        pm2::js::to_text(&version),
        Apps {
            names: apps.map(|p| p.name.clone()).collect(),
            errored: errored.map(|p| p.name.clone()).collect(),
            restarts: list
                .iter()
                .map(|p| (p.name.clone(), u64::from(p.env.restarts())))
                .collect(),
            idle: list
                .iter()
                .filter_map(|p| Some((p.name.clone(), p.env.load_error()?.to_owned())))
                .collect(),
            own_sockets: list
                .iter()
                .filter(|p| p.env.exec_mode() == ExecMode::Cluster)
                .filter(|p| {
                    Path::new(p.env.interpreter())
                        .file_stem()
                        .is_some_and(|name| name == "bun")
                })
                .map(|p| p.name.clone())
                .collect(),
            unlimited: list
                .iter()
                .filter_map(|p| Some((p.name.clone(), p.limits.as_ref()?.trouble.clone()?)))
                .collect(),
        },
    ))
}

/// The parent of the daemon, if it is a keeper.
fn keeper(daemon: u32) -> Option<u32> {
    let parent = os::proc::Sampler::new().ok()?.sample(daemon)?.ppid;
    let title = os::proc::command_line(parent)?;
    title.contains("keeper").then_some(parent)
}

/// Soft and hard limit in the text of `/proc/<pid>/limits`.
fn open_files(text: &str) -> Option<(u64, u64)> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some((next()?, next()?))
}

fn dump(context: &Context<'_>) -> Option<Result<Vec<String>, String>> {
    let text = match std::fs::read_to_string(&context.home.dump_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let name = |app: &Object| app.get("name").map(pm2::js::to_text).unwrap_or_default();
    Some(match pm2::dump::read(&text) {
        Ok(apps) => Ok(apps.iter().map(name).collect()),
        Err(error) => Err(error.to_string()),
    })
}

fn logs(context: &Context<'_>) -> Vec<Log> {
    let folder = std::fs::read_dir(&context.home.log_dir);
    let files = folder.into_iter().flatten().flatten().map(|entry| entry.path());
    [context.home.log_file.clone(), context.home.agent_log.clone()]
        .into_iter()
        .chain(files)
        .filter_map(|path| {
            let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            Some(Log {
                path: path.display().to_string(),
                bytes: meta.len(),
            })
        })
        .collect()
}

/// A file of an init system that names this program's verb.
fn startup() -> Option<String> {
    [
        "/etc/systemd/system",
        "/etc/init.d",
        "/usr/local/etc/rc.d",
        "/etc/rc.d",
    ]
    .into_iter()
    .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
    .filter(|entry| entry.file_name().to_string_lossy().starts_with("pm2"))
    .map(|entry| entry.path())
    .find(|path| read(path).is_some_and(|text| text.contains("resurrect")))
    .map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 unlimited            files     \n";
        assert_eq!(open_files(text), Some((1024, u64::MAX)));
        assert_eq!(open_files(""), None);
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert!(open_files(&own).is_some_and(|(soft, hard)| soft > 0 && soft <= hard));
    }
}

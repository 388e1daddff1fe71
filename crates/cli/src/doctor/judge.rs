//! What facts mean.

use super::{Apps, Daemon, Facts, Files, Finding, HomeFolder, Limits, Log, State};

/// Less room than this is trouble soon.
const SCARCE_BYTES: u64 = 500 << 20;
/// Less than this is trouble now.
const NO_BYTES: u64 = 20 << 20;
/// A log beyond this is read by nobody.
const LARGE_LOG: u64 = 1 << 30;
/// Each app takes five descriptors of the daemon, a watched or clustered one more.
const DESCRIPTORS_PER_APP: u64 = 8;
/// What the daemon needs for itself.
const DESCRIPTORS_OF_ITS_OWN: u64 = 64;
/// Below these, watching a tree with dependencies fails.
const INOTIFY_WATCHES: u64 = 65_536;
const INOTIFY_INSTANCES: u64 = 128;
/// The oldest Node that is still looked after.
const OLDEST_NODE: u32 = 18;
/// This many restarts are worth a look.
const MANY_RESTARTS: u64 = 50;

/// All findings, in the order in which they are read best.
pub(crate) fn judge(facts: &Facts, program: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    home(&facts.home, &mut out);
    daemon(&facts.daemon, program, &mut out);
    limits(&facts.limits, facts.apps.as_ref(), &mut out);
    migration(&facts.limits, facts.apps.as_ref(), &mut out);
    if let Some(apps) = &facts.apps {
        apps_of(apps, program, &mut out);
    }
    files(&facts.files, facts.apps.as_ref(), program, &mut out);
    logs(&facts.logs, program, &mut out);
    node(facts.node.as_deref(), &mut out);
    match &facts.startup {
        Some(file) => well(&mut out, "startup", format!("the machine starts it: {file}")),
        None => warn(
            &mut out,
            "startup",
            "nothing starts the daemon when the machine starts",
            format!("{program} startup, then {program} save"),
        ),
    }
    out
}

fn well(out: &mut Vec<Finding>, area: &'static str, text: impl Into<String>) {
    out.push(Finding {
        state: State::Well,
        area,
        text: text.into(),
        mend: None,
    });
}

fn warn(out: &mut Vec<Finding>, area: &'static str, text: impl Into<String>, mend: impl Into<String>) {
    out.push(Finding {
        state: State::Warning,
        area,
        text: text.into(),
        mend: Some(mend.into()),
    });
}

fn broken(out: &mut Vec<Finding>, area: &'static str, text: impl Into<String>, mend: impl Into<String>) {
    out.push(Finding {
        state: State::Broken,
        area,
        text: text.into(),
        mend: Some(mend.into()),
    });
}

fn home(home: &HomeFolder, out: &mut Vec<Finding>) {
    let path = &home.path;
    if !home.exists {
        return well(
            out,
            "home",
            format!("{path} is not there yet; the first command makes it"),
        );
    }
    if let Some(reason) = &home.not_writable {
        return broken(
            out,
            "home",
            format!("{path} can't be written to: {reason}"),
            format!("chown -R $(id -un) {path}, or set PM2_HOME to a folder of your own"),
        );
    }
    if home.mode & 0o022 != 0 {
        warn(
            out,
            "home",
            format!(
                "{path} can be written to by others (mode {:03o})",
                home.mode & 0o777
            ),
            format!("chmod go-w {path}"),
        );
    } else {
        well(out, "home", path.clone());
    }
    match home.disk {
        Some((available, _)) if available < NO_BYTES => broken(
            out,
            "disk",
            format!("only {} are free where {path} is", megabytes(available)),
            "make room: logs and the list can't be written",
        ),
        Some((available, total)) if available < SCARCE_BYTES.min(total / 20) => warn(
            out,
            "disk",
            format!("only {} are free where {path} is", megabytes(available)),
            "make room before logs fill it",
        ),
        Some((available, _)) => well(out, "disk", format!("{} free", megabytes(available))),
        None => {}
    }
}

fn megabytes(bytes: u64) -> String {
    match bytes >> 20 {
        mb if mb >= 10 * 1024 => format!("{} GB", mb >> 10),
        mb => format!("{mb} MB"),
    }
}

fn daemon(daemon: &Daemon, program: &str, out: &mut Vec<Finding>) {
    match daemon {
        Daemon::None { stale_pid: None } => well(out, "daemon", "none runs; the first command starts it"),
        Daemon::None { stale_pid: Some(pid) } => warn(
            out,
            "daemon",
            format!("none answers, and pm2.pid names process {pid}"),
            format!("{program} resurrect brings the saved apps back"),
        ),
        Daemon::Denied(reason) => broken(
            out,
            "daemon",
            reason.clone(),
            "use the user who started it, or another PM2_HOME",
        ),
        Daemon::Mute { reason, pid } => broken(
            out,
            "daemon",
            format!("it does not answer: {reason}"),
            match pid {
                Some(pid) => format!(
                    "look at pm2.log; then: kill -9 {pid} (the keeper starts another, and no app is touched)"
                ),
                None => "look at pm2.log, and for what else holds rpc.sock".into(),
            },
        ),
        Daemon::Answers {
            pid,
            version,
            expected,
            keeper,
        } => {
            if version == expected {
                well(out, "daemon", format!("answers (pid {pid})"));
            } else {
                warn(
                    out,
                    "daemon",
                    format!("it is of version {version}, this command of {expected}"),
                    format!("{program} update"),
                );
            }
            match keeper {
                Some(keeper) => well(out, "keeper", format!("holds the apps (pid {keeper})")),
                None => warn(
                    out,
                    "keeper",
                    "the daemon has no keeper: it is not this program's, or the keeper was killed a moment ago",
                    format!("{program} update makes it this program's"),
                ),
            }
        }
    }
}

fn limits(limits: &Limits, apps: Option<&Apps>, out: &mut Vec<Finding>) {
    let running = apps.map_or(0, |apps| apps.names.len() as u64);
    let needed = DESCRIPTORS_OF_ITS_OWN + running * DESCRIPTORS_PER_APP;
    match limits.descriptors {
        Some((_, hard)) if hard < needed => broken(
            out,
            "descriptors",
            format!("the daemon may have {hard} open files, and {running} processes need about {needed}"),
            "raise LimitNOFILE of the unit, or `ulimit -Hn`, and restart the daemon",
        ),
        Some((_, hard)) if hard < needed.saturating_mul(2).max(1024) => warn(
            out,
            "descriptors",
            format!("the daemon may have no more than {hard} open files"),
            "raise LimitNOFILE of the unit, or `ulimit -Hn`",
        ),
        Some((_, hard)) => well(out, "descriptors", format!("up to {hard} open files")),
        None => {}
    }
    let mut small = Vec::new();
    if limits.inotify_watches.is_some_and(|n| n < INOTIFY_WATCHES) {
        small.push(format!("fs.inotify.max_user_watches={INOTIFY_WATCHES}"));
    }
    if limits.inotify_instances.is_some_and(|n| n < INOTIFY_INSTANCES) {
        small.push(format!("fs.inotify.max_user_instances={INOTIFY_INSTANCES}"));
    }
    if small.is_empty() {
        well(out, "inotify", "enough for watching");
    } else {
        warn(
            out,
            "inotify",
            "few files can be watched: --watch may fail on large folders",
            format!("sysctl -w {}", small.join(" ")),
        );
    }
}

/// Bun's HTTP server in a worker binds the port for itself; what waits at it when it closes is lost, unless the kernel hands it on.
fn migration(limits: &Limits, apps: Option<&Apps>, out: &mut Vec<Finding>) {
    let Some(name) = apps.and_then(|apps| apps.own_sockets.first()) else {
        return;
    };
    if limits.migrates == Some(false) {
        warn(
            out,
            "reload",
            format!(
                "{name} runs on Bun in cluster mode: each of its HTTP servers binds the port for itself, and a reload loses what waits there"
            ),
            "sysctl -w net.ipv4.tcp_migrate_req=1 lets the kernel hand it to the next one",
        );
    }
}

fn apps_of(apps: &Apps, program: &str, out: &mut Vec<Finding>) {
    if !apps.errored.is_empty() {
        broken(
            out,
            "apps",
            format!("given up after too many restarts: {}", apps.errored.join(", ")),
            format!("{program} logs {} --err --lines 50", apps.errored[0]),
        );
    }
    if let Some((name, error)) = apps.idle.first() {
        let more = and_more(apps.idle.len());
        broken(
            out,
            "apps",
            format!("{name}{more} runs, but does nothing, its main module could not be loaded: {error}"),
            format!("mend the module, then {program} restart {name}"),
        );
    }
    for (name, restarts) in apps.restarts.iter().filter(|(_, n)| *n >= MANY_RESTARTS) {
        warn(
            out,
            "apps",
            format!("{name} was restarted {restarts} times"),
            format!("{program} describe {name}; {program} reset {name} sets the count to 0"),
        );
    }
    if let Some((name, trouble)) = apps.unlimited.first() {
        let more = and_more(apps.unlimited.len());
        warn(
            out,
            "limits",
            format!("{name}{more}: {trouble}"),
            format!(
                "start the daemon where cgroup v2 is delegated to it ({program} startup writes such a unit), or take the limits out"
            ),
        );
    }
    if apps.errored.is_empty() && apps.idle.is_empty() {
        let n = apps.names.len();
        well(
            out,
            "apps",
            format!("{n} process{}", if n == 1 { "" } else { "es" }),
        );
    }
}

/// What stands behind the first of so many.
fn and_more(len: usize) -> String {
    match len {
        0 | 1 => String::new(),
        _ => format!(" and {} more", len - 1),
    }
}

fn files(files: &Files, apps: Option<&Apps>, program: &str, out: &mut Vec<Finding>) {
    if let Some(reason) = &files.module_conf {
        broken(
            out,
            "module_conf.json",
            reason.clone(),
            "mend it, or move it away to begin anew",
        );
    }
    match (&files.dump, apps) {
        (Some(Err(reason)), _) => broken(
            out,
            "dump",
            format!("the saved list can't be read: {reason}"),
            format!("{program} save"),
        ),
        (None, Some(apps)) if !apps.names.is_empty() => warn(
            out,
            "dump",
            "the list was never saved: after a reboot nothing comes back",
            format!("{program} save"),
        ),
        (Some(Ok(saved)), Some(apps)) if !same(saved, &apps.names) => warn(
            out,
            "dump",
            "what runs is not what was saved",
            format!("{program} save keeps what runs; {program} resurrect starts what is missing"),
        ),
        (Some(Ok(saved)), _) => well(out, "dump", format!("{} saved", saved.len())),
        (None, _) => {}
    }
}

fn same(a: &[String], b: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    };
    sorted(a) == sorted(b)
}

fn logs(logs: &[Log], program: &str, out: &mut Vec<Finding>) {
    let total: u64 = logs.iter().map(|log| log.bytes).sum();
    let mut large: Vec<&Log> = logs.iter().filter(|log| log.bytes > LARGE_LOG).collect();
    large.sort_by_key(|log| std::cmp::Reverse(log.bytes));
    match large.first() {
        Some(log) => warn(
            out,
            "logs",
            format!("{} has {}", log.path, megabytes(log.bytes)),
            format!("{program} flush empties it; {program} set logrotate:max_size 10M keeps it small"),
        ),
        None => well(
            out,
            "logs",
            format!("{} in {} files", megabytes(total), logs.len()),
        ),
    }
}

fn node(version: Option<&str>, out: &mut Vec<Finding>) {
    let major = version
        .and_then(|version| version.trim().strip_prefix('v'))
        .and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match (version, major) {
        (Some(version), Some(major)) if major >= OLDEST_NODE => well(out, "node", version.trim().to_owned()),
        (Some(version), _) => warn(
            out,
            "node",
            format!("{} is old", version.trim()),
            format!("install Node.js {OLDEST_NODE} or newer"),
        ),
        (None, _) => warn(
            out,
            "node",
            "not in PATH: no JavaScript app or configuration can be run",
            "install Node.js, or leave it if no app needs it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Facts {
        Facts {
            home: HomeFolder {
                path: "/home/me/.pm2".into(),
                exists: true,
                not_writable: None,
                mode: 0o755,
                disk: Some((50 << 30, 100 << 30)),
            },
            daemon: Daemon::Answers {
                pid: 7,
                version: "7.0.4".into(),
                expected: "7.0.4".into(),
                keeper: Some(6),
            },
            limits: Limits {
                descriptors: Some((1024, 1_048_576)),
                inotify_watches: Some(100_000),
                inotify_instances: Some(128),
                migrates: Some(false),
            },
            apps: Some(Apps {
                names: vec!["api".into(), "worker".into()],
                errored: Vec::new(),
                idle: Vec::new(),
                own_sockets: Vec::new(),
                restarts: vec![("api".into(), 3)],
                unlimited: Vec::new(),
            }),
            files: Files {
                dump: Some(Ok(vec!["worker".into(), "api".into()])),
                module_conf: None,
            },
            logs: vec![Log {
                path: "a.log".into(),
                bytes: 5 << 20,
            }],
            node: Some("v20.1.0\n".into()),
            startup: Some("/etc/systemd/system/pm2-me.service".into()),
        }
    }

    /// Areas that are not well, with their state.
    fn ill(facts: &Facts) -> Vec<(&'static str, State)> {
        let findings = judge(facts, "pm2");
        for finding in &findings {
            assert_eq!(
                finding.mend.is_some(),
                finding.state != State::Well,
                "{finding:?}"
            );
        }
        findings
            .into_iter()
            .filter(|finding| finding.state != State::Well)
            .map(|finding| (finding.area, finding.state))
            .collect()
    }

    #[test]
    fn a_healthy_home_has_nothing_to_mend() {
        assert_eq!(ill(&healthy()), []);
    }

    #[test]
    fn each_illness_is_found_and_has_a_mend() {
        type Spoil = fn(&mut Facts);
        let cases: [(Spoil, &str, State); 18] = [
            (
                |f| f.home.not_writable = Some("permission denied".into()),
                "home",
                State::Broken,
            ),
            (|f| f.home.mode = 0o777, "home", State::Warning),
            (
                |f| f.home.disk = Some((1 << 20, 100 << 30)),
                "disk",
                State::Broken,
            ),
            (
                |f| f.home.disk = Some((100 << 20, 100 << 30)),
                "disk",
                State::Warning,
            ),
            (
                |f| f.daemon = Daemon::None { stale_pid: Some(9) },
                "daemon",
                State::Warning,
            ),
            (
                |f| {
                    f.daemon = Daemon::Mute {
                        reason: "no answer".into(),
                        pid: Some(9),
                    };
                },
                "daemon",
                State::Broken,
            ),
            (
                |f| f.daemon = Daemon::Denied("permission denied".into()),
                "daemon",
                State::Broken,
            ),
            (
                |f| f.limits.descriptors = Some((10, 10)),
                "descriptors",
                State::Broken,
            ),
            (
                |f| f.limits.inotify_watches = Some(8192),
                "inotify",
                State::Warning,
            ),
            (
                |f| f.apps.as_mut().unwrap().own_sockets = vec!["api".into()],
                "reload",
                State::Warning,
            ),
            (
                |f| f.apps.as_mut().unwrap().errored = vec!["api".into()],
                "apps",
                State::Broken,
            ),
            (
                |f| f.apps.as_mut().unwrap().idle = vec![("api".into(), "Error: no module".into())],
                "apps",
                State::Broken,
            ),
            (
                |f| f.apps.as_mut().unwrap().restarts = vec![("api".into(), 500)],
                "apps",
                State::Warning,
            ),
            (|f| f.files.dump = None, "dump", State::Warning),
            (
                |f| f.files.dump = Some(Err("not JSON".into())),
                "dump",
                State::Broken,
            ),
            (|f| f.logs[0].bytes = 5 << 30, "logs", State::Warning),
            (|f| f.node = Some("v12.0.0".into()), "node", State::Warning),
            (|f| f.startup = None, "startup", State::Warning),
        ];
        for (spoil, area, state) in cases {
            let mut facts = healthy();
            spoil(&mut facts);
            assert_eq!(ill(&facts), [(area, state)], "{area}");
        }
    }

    #[test]
    fn a_kernel_that_hands_on_what_waits_is_well() {
        let mut facts = healthy();
        facts.apps.as_mut().unwrap().own_sockets = vec!["api".into()];
        facts.limits.migrates = Some(true);
        assert_eq!(ill(&facts), []);
    }

    #[test]
    fn no_daemon_is_no_illness() {
        let mut facts = healthy();
        facts.daemon = Daemon::None { stale_pid: None };
        facts.apps = None;
        assert_eq!(ill(&facts), []);
    }

    #[test]
    fn another_version_and_no_keeper_are_told_apart() {
        let mut facts = healthy();
        facts.daemon = Daemon::Answers {
            pid: 1,
            version: "6.0.0".into(),
            expected: "7.0.4".into(),
            keeper: None,
        };
        assert_eq!(
            ill(&facts),
            [("daemon", State::Warning), ("keeper", State::Warning)]
        );
    }
}

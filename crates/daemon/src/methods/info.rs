//! Lists, reports, and the end of the daemon.

use serde_json::{Value, json};

use super::Args;
use crate::clock;
use crate::owner::Daemon;
use crate::rpc::Responder;

/// The list of processes with what they take.
///
/// The list is PM2's to the letter, unless `{ readiness: true }` asks for ours. `{ fields: [name, …] }` asks for these fields of each
/// `pm2_env` alone: a table shows a tenth of them.
pub(super) fn monitor_data(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let with_readiness = args.get(0).get("readiness") == Some(&true.into());
    let fields = args.get(0).get("fields").and_then(Value::as_array);
    let fields: Option<Vec<&str>> = fields.map(|names| names.iter().filter_map(Value::as_str).collect());
    daemon.measure();
    let now = clock::now();
    let list: Vec<_> = daemon
        .apps
        .iter()
        .map(|(id, app)| {
            let mut element = app.env.list_element(daemon.pid_of(*id), Some(daemon.monit(*id)));
            if with_readiness {
                element.readiness = daemon.sup.readiness(*id, now).map(pm2::env::readiness_text);
            }
            element.health = daemon.shown_health(*id);
            element.limits = daemon.shown_limits(*id);
            match &fields {
                Some(names) => element.only(names),
                None => element,
            }
        })
        .collect();
    responder.value(&list);
}

/// Figures of the host, in the form of PM2's metrics.
pub(super) fn system_data(daemon: &mut Daemon, responder: Responder) {
    responder.value(&daemon.host_metrics());
}

/// About the daemon itself. Its environment is left out: it may hold secrets, and the report is made to be posted.
pub(super) fn report(daemon: &mut Daemon, responder: Responder) {
    let (uid, gid) = os::users::effective_ids();
    let exe = std::env::current_exe().unwrap_or_default();
    let pid = std::process::id();
    let memory = daemon.sampler.sample(pid).map(|sample| sample.rss_bytes);
    responder.value(&json!({
        "pm2_version": pm2::COMPAT_VERSION,
        "node_version": "N/A",
        "node_path": exe,
        "argv0": exe,
        "argv": [exe, "daemon"],
        "user": os::users::current().map(|user| user.name),
        "uid": uid,
        "gid": gid,
        "env": {},
        "managed_apps": daemon.apps.len(),
        "started_at": daemon.started_at_ms,
        "pilothouse": {
            "version": env!("CARGO_PKG_VERSION"),
            "pid": pid,
            "memory": memory.map(pm2::units::bytes_text),
            "open_files": os::proc::open_descriptors(pid),
            "bus_clients": daemon.bus.clients(),
            "bus_messages_lost": daemon.bus.lost(),
            "disk_jobs_lost": daemon.disk.dropped(),
        },
    }));
}

pub(super) fn reload_logs(daemon: &mut Daemon, responder: Responder) {
    daemon.reload_logs();
    responder.value(&json!({}));
}

/// A newer program is to take over.
pub(super) fn replace_program(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let path = args.get(0).get("path").and_then(Value::as_str);
    match path.map(std::path::Path::new).filter(|path| path.is_absolute()) {
        Some(path) => daemon.replace_program(path, responder),
        None => responder
            .error("replaceProgram: say {path}, the absolute path of the program that is to take over"),
    }
}

/// From now on nothing is restarted. No answer, as with PM2.
pub(super) fn notify_kill(daemon: &mut Daemon, peer_pid: u32) {
    daemon.end_is_announced(peer_pid);
}

/// End. The caller gets a signal instead of an answer, but only if it named itself.
pub(super) fn kill_me(daemon: &mut Daemon, args: &Args, peer_pid: u32) {
    let named = args.get(0).get("pid").and_then(Value::as_u64);
    let caller = named
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid == peer_pid && *pid > 1);
    daemon.end_by_request(caller);
}

impl Daemon {
    /// Open all log files anew, for what rotates them.
    pub(crate) fn reload_logs(&mut self) {
        self.pump.reopen();
        self.disk.reopen_log();
        self.look_up_log_rules();
        self.say(crate::journal::Level::Log, "Reloading logs");
    }
}

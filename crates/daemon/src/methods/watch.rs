//! Watching files. The entry says whether a process is watched; clients change it here.

use serde_json::json;
use supervisor::ProcId;

use super::Args;
use crate::clock;
use crate::journal::Level;
use crate::owner::Daemon;
use crate::rpc::Responder;

/// Before a stop or delete, clients switch watching off with the name and the argument of the call that follows.
pub(super) fn stop(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let method = args.get(0).as_str().unwrap_or_default();
    let ids: Vec<ProcId> = match method {
        "stopAll" | "deleteAll" => daemon.apps.keys().copied().collect(),
        _ if method.ends_with("ProcessId") => pm2::rpc::process_id(args.get(1))
            .map(ProcId)
            .into_iter()
            .collect(),
        _ if method.ends_with("ProcessName") => {
            let name = args.get(1).as_str().unwrap_or_default();
            daemon
                .apps
                .iter()
                .filter(|(_, app)| app.env.name() == name)
                .map(|(id, _)| *id)
                .collect()
        }
        _ => Vec::new(),
    };
    for id in ids {
        set(daemon, id, false);
    }
    responder.value(&json!({ "success": true }));
}

pub(super) fn start(daemon: &mut Daemon, args: &Args, responder: Responder) {
    if let Some(id) = pm2::rpc::process_id(args.get(1)).map(ProcId) {
        set(daemon, id, true);
    }
    responder.value(&json!({ "success": true }));
}

/// PM2 answers the same for a process that is not there.
pub(super) fn toggle(daemon: &mut Daemon, args: &Args, responder: Responder) {
    if let Some(id) = pm2::rpc::process_id(args.get(1)).map(ProcId)
        && let Some(app) = daemon.apps.get(&id)
    {
        let watches = !app.env.watches();
        set(daemon, id, watches);
    }
    responder.value(&json!({ "success": true }));
}

fn set(daemon: &mut Daemon, id: ProcId, watch: bool) {
    let Some(app) = daemon.apps.get_mut(&id) else {
        return;
    };
    let changes = app.env.watches() != watch;
    // Paths that are watched stay as they are while watching is on.
    if !changes && app.env.get("watch").is_some() {
        return;
    }
    app.env.set("watch", watch);
    if changes {
        let verb = if watch { "Start" } else { "Stop" };
        let text = format!("[Watch] {verb} watching {}", app.env.name());
        daemon.say(Level::Log, &text);
        daemon.follow_watch(id, clock::wall_ms());
    }
    daemon.keep(id);
}

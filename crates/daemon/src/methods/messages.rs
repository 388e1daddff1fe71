//! Signals, lines and messages for processes, and news about them from clients.

use serde_json::{Value, json};
use supervisor::{Incarnation, ProcId, Status};

use super::{Args, id_text};
use crate::owner::Daemon;
use crate::rpc::Responder;

pub(super) fn signal_by_id(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let Some(id) = args.process_id().filter(|id| daemon.apps.contains_key(id)) else {
        return responder.error(&format!("{} id unknown", args.process_text()));
    };
    match signal_of(args.get(0)) {
        Some(signal) => match daemon.send_signal(id, signal) {
            Ok(()) => daemon.show_all(responder, &[id]),
            Err(text) => responder.error(&text),
        },
        None => responder.error("Error when sending signal (signal unknown)"),
    }
}

pub(super) fn signal_by_name(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let name = args
        .get(0)
        .get("process_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let ids: Vec<ProcId> = daemon
        .apps
        .iter()
        .filter(|(_, app)| app.env.name() == name)
        .map(|(id, _)| *id)
        .collect();
    if ids.is_empty() {
        return responder.error("Unknown process name");
    }
    let Some(signal) = signal_of(args.get(0)) else {
        return responder.error("Error when sending signal (signal unknown)");
    };
    for id in &ids {
        if let Err(text) = daemon.send_signal(*id, signal) {
            return responder.error(&text);
        }
    }
    daemon.show_all(responder, &ids);
}

fn signal_of(arg: &Value) -> Option<i32> {
    match arg.get("signal")? {
        Value::String(name) => os::signal::parse(name),
        other => pm2::js::as_int(other)
            .and_then(|n| i32::try_from(n).ok())
            .filter(|n| (0..=64).contains(n)),
    }
}

pub(super) fn line_to_stdin(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let packet = args.get(0);
    let (Some(pm_id), Some(line)) = (packet.get("pm_id"), packet.get("line").and_then(Value::as_str)) else {
        return responder.error("pm_id or line field missing");
    };
    let id = pm2::rpc::process_id(pm_id)
        .map(ProcId)
        .filter(|id| daemon.apps.contains_key(id));
    let Some(id) = id else {
        return responder.error(&format!("Process with ID <{}> unknown.", id_text(pm_id)));
    };
    let stdin = daemon.life_of(id).and_then(|life| life.stdin.as_ref());
    match stdin {
        None => responder.error(&format!("Process with ID <{}> offline.", id.0)),
        Some(stdin) if stdin.send(format!("{line}\n")) => {
            responder.value(&json!({ "pm_id": pm_id, "line": line }));
        }
        Some(_) => responder.error(&format!(
            "Process with ID <{}> does not read its standard input.",
            id.0
        )),
    }
}

pub(super) fn data_to_process(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let packet = args.get(0);
    let missing = |key: &str| {
        packet
            .get(key)
            .is_none_or(|value| !pm2::js::truthy(value) && !value.is_number())
    };
    if missing("id") || missing("data") || missing("topic") {
        return responder.error("ID, DATA or TOPIC field is missing");
    }
    let id = packet
        .get("id")
        .and_then(pm2::rpc::process_id)
        .map(ProcId)
        .filter(|id| daemon.apps.contains_key(id));
    let Some(id) = id else {
        return responder.error(&format!("Process with ID <{}> unknown.", id_text(packet)));
    };
    let Some(life) = online_life(daemon, id) else {
        return responder.error(&format!("Process with ID <{}> offline.", id.0));
    };
    match node::frame::encode_message(packet) {
        Ok(line) if daemon.send_to_child(life, &line) => {
            responder.value(&json!({ "success": true, "data": packet }));
        }
        Ok(_) => responder.error(&format!("Process with ID <{}> does not take messages.", id.0)),
        Err(error) => responder.error(&error.to_string()),
    }
}

pub(super) fn msg_process(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let command = args.get(0);
    let Some(message) = command.get("msg").and_then(Value::as_str) else {
        return responder.error("msg field is missing");
    };
    let opts = command.get("opts").filter(|value| !value.is_null());
    let uuid = command.get("uuid").filter(|value| !value.is_null());
    let line = if opts.is_some() || uuid.is_some() {
        node::frame::encode_message(command)
    } else {
        node::message::call_action(message, None, None)
    };
    let line = match line {
        Ok(line) => line,
        Err(error) => return responder.error(&error.to_string()),
    };
    let mut count = 0;
    if let Some(named) = command.get("id").filter(|id| !id.is_null()) {
        let id = pm2::rpc::process_id(named)
            .map(ProcId)
            .filter(|id| daemon.apps.contains_key(id));
        let Some((id, life)) = id.and_then(|id| Some((id, online_life(daemon, id)?))) else {
            return responder.error(&format!("{} : id offline", id_text(named)));
        };
        let name = daemon.apps.get(&id).map_or("", |app| app.env.name()).to_owned();
        let offered = daemon
            .apps
            .get(&id)
            .is_some_and(|app| app.env.has_action(message));
        if !offered {
            return responder.error(&format!("Action doesn't exist {message} for {name}"));
        }
        count += u32::from(daemon.send_to_child(life, &line));
    } else {
        let name = command.get("name").and_then(Value::as_str).unwrap_or_default();
        let addressed: Vec<ProcId> = daemon
            .apps
            .iter()
            .filter(|(_, app)| {
                let script = app.env.exec_path().rsplit('/').next();
                let named = name == "all" || app.env.name() == name || app.env.namespace() == name;
                (named || script == Some(name)) && app.env.has_action(message)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in addressed {
            if let Some(life) = online_life(daemon, id) {
                count += u32::from(daemon.send_to_child(life, &line));
            }
        }
    }
    responder.value(&json!({ "process_count": count, "success": true }));
}

/// A client tells the bus what it has done.
pub(super) fn notify(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let event = args
        .get(0)
        .get("action_name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let manually = args.get(0).get("manually").is_some_and(pm2::js::truthy);
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            daemon.publish_event(id, &event, manually, None);
            responder.reply(&[(); 0]);
        }
        None => responder.error(&format!("{} id unknown", args.process_text())),
    }
}

fn online_life(daemon: &Daemon, id: ProcId) -> Option<Incarnation> {
    let view = daemon.sup.view(id)?;
    matches!(view.status, Status::Online | Status::Launching).then_some(view.incarnation?)
}

impl Daemon {
    /// Send a signal to a process, alone.
    pub(crate) fn send_signal(&mut self, id: ProcId, signal: i32) -> Result<(), String> {
        let life = self.life_of(id).filter(|life| !life.exited);
        let Some(life) = life else {
            return Err(format!("process {} does not run", id.0));
        };
        let sent = match &life.held.pidfd {
            Some(pidfd) => os::process::signal(pidfd, signal),
            None => os::process::kill(life.pid, signal),
        };
        sent.map_err(|error| format!("Error when sending signal ({error})"))
    }
}

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
            Ok(()) => daemon.show_everything(responder),
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
        let named = args.get(0).get("signal").unwrap_or(&Value::Null);
        return responder.error(&format!("Unknown signal: {}", id_text(named)));
    };
    for id in &ids {
        if let Err(text) = daemon.send_signal(*id, signal) {
            return responder.error(&text);
        }
    }
    daemon.show_everything(responder);
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
    // What ends the line is the caller's business: `attach` lets its user choose.
    match daemon
        .life_of_mut(id)
        .and_then(|life| life.send_line(line.to_owned()))
    {
        None => responder.error(&format!("Process with ID <{}> offline.", id.0)),
        Some(Ok(true)) => responder.value(&json!({ "pm_id": pm_id, "line": line })),
        Some(Err(error)) => responder.error(&format!("Process with ID <{}>: its input: {error}", id.0)),
        Some(Ok(false)) => responder.error(&format!(
            "Process with ID <{}> does not read its standard input.",
            id.0
        )),
    }
}

pub(super) fn data_to_process(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let packet = args.get(0);
    // Any data will do, be it null or empty; a topic has to say something.
    let complete = packet.get("id").is_some_and(|id| !id.is_null())
        && packet.get("data").is_some()
        && packet.get("topic").is_some_and(pm2::js::truthy);
    if !complete {
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
    let named = command.get("id").filter(|id| !id.is_null());
    let name = command.get("name").filter(|name| pm2::js::truthy(name));
    if named.is_none() && name.is_none() {
        return responder.error("method requires name or id field");
    }
    let message = command.get("msg").and_then(Value::as_str);
    let addressed = match named {
        Some(id) => match addressed_by_id(daemon, id, message, command) {
            Ok(life) => vec![life],
            Err(text) => return responder.error(&text),
        },
        None => addressed_by_name(daemon, name.and_then(Value::as_str).unwrap_or_default(), message),
    };
    let line = match message {
        Some(message) if !is_set(command, "opts") && !is_set(command, "uuid") => {
            node::message::call_action(message, None, None)
        }
        _ => node::frame::encode_message(command),
    };
    let line = match line {
        Ok(line) => line,
        Err(error) => return responder.error(&error.to_string()),
    };
    let mut count = 0_u32;
    for life in addressed {
        count += u32::from(daemon.send_to_child(life, &line));
    }
    responder.value(&json!({ "process_count": count, "success": true }));
}

fn is_set(object: &Value, key: &str) -> bool {
    object.get(key).is_some_and(|value| !value.is_null())
}

fn addressed_by_id(
    daemon: &Daemon,
    named: &Value,
    message: Option<&str>,
    command: &Value,
) -> Result<Incarnation, String> {
    let id = pm2::rpc::process_id(named).map(ProcId);
    let Some((id, app)) = id.and_then(|id| Some((id, daemon.apps.get(&id)?))) else {
        return Err(format!("{} id unknown", id_text(named)));
    };
    if !message.is_some_and(|message| app.env.has_action(message)) {
        let asked = id_text(command.get("msg").unwrap_or(&Value::Null));
        return Err(format!("Action doesn't exist {asked} for {}", app.env.name()));
    }
    online_life(daemon, id).ok_or_else(|| format!("{} : id offline", id_text(named)))
}

/// Those of this name, namespace or script (or all) that offer the action and run.
fn addressed_by_name(daemon: &Daemon, name: &str, message: Option<&str>) -> Vec<Incarnation> {
    let Some(message) = message else {
        return Vec::new();
    };
    let is_meant = |env: &pm2::env::Pm2Env| {
        let script = env.exec_path().rsplit('/').next();
        name == "all" || env.name() == name || env.namespace() == name || script == Some(name)
    };
    daemon
        .apps
        .iter()
        .filter(|(_, app)| is_meant(&app.env) && app.env.has_action(message))
        .filter_map(|(id, _)| online_life(daemon, *id))
        .collect()
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
    if !is_set(args.get(0), "id") {
        return responder.error("process id missing");
    }
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            daemon.publish_event(id, &event, manually, None);
            responder.reply(&[(); 0]);
        }
        None => responder.error("process id doesnt exists"),
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

//! What clients may ask for: one file per group of methods.

pub(crate) mod agent;
mod info;
mod messages;
mod processes;
mod watch;

use pm2::rpc::method;
use serde_json::Value;
use supervisor::ProcId;

use crate::owner::Daemon;
use crate::rpc::Responder;

/// After these there is a process that was not there before.
const STARTS: [&str; 6] = [
    method::PREPARE,
    method::START_PROCESS_ID,
    method::RESTART_PROCESS_ID,
    method::RELOAD_PROCESS_ID,
    method::SOFT_RELOAD_PROCESS_ID,
    method::DUPLICATE_PROCESS_ID,
];

/// Run a method. Whatever the arguments are, the client gets an answer (or, as PM2 does for a few, none) and the daemon no harm.
pub(crate) fn call(daemon: &mut Daemon, name: &str, args: Vec<Value>, peer_pid: u32, responder: Responder) {
    let args = Args(args);
    // Nobody would look after what is started now.
    if daemon.ending.is_some() && STARTS.contains(&name) {
        return responder.error("the daemon is ending");
    }
    match name {
        method::PREPARE => processes::prepare(daemon, args, responder),
        method::START_PROCESS_ID => processes::start(daemon, &args, responder),
        method::STOP_PROCESS_ID => processes::stop(daemon, &args, responder),
        method::RESTART_PROCESS_ID => processes::restart(daemon, args, responder),
        method::RELOAD_PROCESS_ID => processes::reload(daemon, args, false, responder),
        method::SOFT_RELOAD_PROCESS_ID => processes::reload(daemon, args, true, responder),
        method::DELETE_PROCESS_ID => processes::delete(daemon, &args, responder),
        method::DUPLICATE_PROCESS_ID => processes::duplicate(daemon, &args, responder),
        method::RESET_META_PROCESS_ID => processes::reset(daemon, &args, responder),
        method::MONITOR => processes::set_monitored(daemon, &args, true, responder),
        method::UNMONITOR => processes::set_monitored(daemon, &args, false, responder),
        method::GET_MONITOR_DATA => info::monitor_data(daemon, &args, responder),
        method::GET_SYSTEM_DATA => info::system_data(daemon, responder),
        method::GET_VERSION => responder.value(pm2::COMPAT_VERSION),
        method::GET_REPORT => info::report(daemon, responder),
        method::PING => responder.value(&serde_json::json!({ "msg": "pong" })),
        method::RELOAD_LOGS => info::reload_logs(daemon, responder),
        method::PROFILE_CPU => daemon.profile_cpu(args.get(0), responder),
        method::PROFILE_MEM => daemon.profile_memory(args.get(0), responder),
        method::NOTIFY_KILL_PM2 => info::notify_kill(daemon, peer_pid),
        method::KILL_ME => info::kill_me(daemon, &args, peer_pid),
        method::SEND_SIGNAL_TO_PROCESS_ID => messages::signal_by_id(daemon, &args, responder),
        method::SEND_SIGNAL_TO_PROCESS_NAME => messages::signal_by_name(daemon, &args, responder),
        method::SEND_LINE_TO_STDIN => messages::line_to_stdin(daemon, &args, responder),
        method::SEND_DATA_TO_PROCESS_ID => messages::data_to_process(daemon, &args, responder),
        method::MSG_PROCESS => messages::msg_process(daemon, &args, responder),
        method::NOTIFY_BY_PROCESS_ID => messages::notify(daemon, &args, responder),
        method::STOP_WATCH => watch::stop(daemon, &args, responder),
        method::START_WATCH => watch::start(daemon, &args, responder),
        method::TOGGLE_WATCH => watch::toggle(daemon, &args, responder),
        method::REPLACE_PROGRAM => info::replace_program(daemon, &args, responder),
        method::AGENT_LINK => agent::link(daemon, responder),
        method::AGENT_STOP => agent::stop(daemon, responder),
        method::AGENT_INFO => agent::info(daemon, responder),
        method::AGENT_INSPECT => agent::inspect(daemon, &args, responder),
        _ => responder.unknown_method(name),
    }
}

/// The arguments of a call, of which any may be missing or of any type.
pub(crate) struct Args(Vec<Value>);

impl Args {
    /// The argument at this place; `null` if there is none.
    fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Null)
    }

    /// Takes the first argument.
    fn into_first(self) -> Value {
        self.0.into_iter().next().unwrap_or_default()
    }

    /// The process number in the first argument, be it plain, text or an object's `id`.
    fn process_id(&self) -> Option<ProcId> {
        pm2::rpc::process_id(self.get(0)).map(ProcId)
    }

    /// How the process of the first argument was named, for error texts.
    fn process_text(&self) -> String {
        id_text(self.get(0))
    }
}

/// A process number as it was given, for error texts; cut short.
fn id_text(value: &Value) -> String {
    let inside = ["id", "process_id", "pm_id"]
        .iter()
        .find_map(|key| value.get(key));
    match inside.unwrap_or(value) {
        Value::Null => "undefined".into(),
        // An object that names no process.
        Value::Object(_) => "undefined".into(),
        other => pm2::js::to_text(other).chars().take(100).collect(),
    }
}

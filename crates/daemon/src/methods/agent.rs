//! The agent: our own methods, and the two that PM2's CLI calls on `interactor.sock`.

use agent::StopReason;
use serde_json::json;

use crate::journal::Level;
use crate::owner::Daemon;
use crate::rpc::Responder;

pub(super) fn link(daemon: &mut Daemon, responder: Responder) {
    match daemon.start_agent() {
        Ok(()) => responder.value(&daemon.agent.info()),
        Err(error) => responder.error(&error.to_string()),
    }
}

pub(super) fn stop(daemon: &mut Daemon, responder: Responder) {
    let stopped = daemon.stop_agent();
    responder.value(&json!({ "stopped": stopped }));
}

pub(super) fn info(daemon: &mut Daemon, responder: Responder) {
    responder.value(&daemon.agent.info());
}

/// What comes in by `interactor.sock`.
pub(crate) fn interactor(daemon: &mut Daemon, name: &str, responder: Responder) {
    match name {
        "getInfos" => responder.value(&daemon.agent.info()),
        "kill" => {
            responder.reply(&[(); 0]);
            daemon.stop_agent();
        }
        _ => responder.unknown_method(name),
    }
}

impl Daemon {
    /// Start the agent from the stored link.
    pub(crate) fn start_agent(&mut self) -> Result<(), crate::agent_host::LinkError> {
        let node_version = self
            .apps
            .values()
            .find_map(|app| app.env.text("node_version"))
            .unwrap_or_default()
            .to_owned();
        self.agent.start(&self.home, node_version)?;
        self.open_interactor();
        self.say(Level::Log, "the agent has been started");
        Ok(())
    }

    /// End the agent. `false`: there was none.
    pub(crate) fn stop_agent(&mut self) -> bool {
        let stopped = self.agent.stop(StopReason::Stopped);
        if stopped {
            self.close_interactor();
            self.listen_to_logs();
            self.say(Level::Log, "the agent has been stopped");
        }
        stopped
    }
}

//! The agent: our own methods, and the two that PM2's CLI calls on `interactor.sock`.

use std::time::Duration;

use agent::StopReason;
use serde_json::{Value, json};

use crate::event::Event;
use crate::journal::Level;
use crate::owner::Daemon;
use crate::rpc::Responder;

use super::Args;

/// How long an agent may take to say good-bye.
pub(crate) const GOOD_BYE: Duration = Duration::from_secs(4);

pub(super) fn link(daemon: &mut Daemon, responder: Responder) {
    daemon.start_agent(Some(responder));
}

pub(super) fn stop(daemon: &mut Daemon, responder: Responder) {
    let stopped = daemon.stop_agent();
    responder.value(&json!({ "stopped": stopped }));
}

pub(super) fn info(daemon: &mut Daemon, responder: Responder) {
    responder.value(&daemon.agent.info());
}

/// What the agent sent after the message whose number is given.
pub(super) fn inspect(daemon: &mut Daemon, args: &Args, responder: Responder) {
    let after = args.get(0).get("after").and_then(Value::as_u64).unwrap_or(0);
    let raw = args.get(0).get("raw").and_then(Value::as_bool).unwrap_or(false);
    responder.value(&daemon.agent.sent(after, raw));
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
    /// Start the agent from the stored link, after the one that may run has ended.
    pub(crate) fn start_agent(&mut self, responder: Option<Responder>) {
        let Some(former) = self.agent.former() else {
            return self.start_agent_now(responder);
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            // One that hangs is not waited for longer; starting then fails, with the reason.
            let _ = tokio::time::timeout(GOOD_BYE, former.ended()).await;
            let _ = events.send(Event::FormerAgentEnded { responder }).await;
        });
    }

    /// Start the agent, and answer who asked for it.
    pub(crate) fn start_agent_now(&mut self, responder: Option<Responder>) {
        let node_version = self
            .apps
            .values()
            .find_map(|app| app.env.text("node_version"))
            .unwrap_or_default()
            .to_owned();
        let started = self.agent.start(&self.home, node_version);
        match &started {
            Ok(()) => {
                self.open_interactor();
                self.say(Level::Log, "the agent has been started");
            }
            Err(error) => self.complain(&error.to_string()),
        }
        self.listen_to_logs();
        match (started, responder) {
            (Ok(()), Some(responder)) => responder.value(&self.agent.info()),
            (Err(error), Some(responder)) => responder.error(&error.to_string()),
            (_, None) => {}
        }
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

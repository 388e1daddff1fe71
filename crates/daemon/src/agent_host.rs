//! The agent, as the daemon hosts it: started and stopped here, fed here. What it asks for is done in `agent_actions`.

use std::collections::VecDeque;

use agent::config::LinkArgs;
use agent::telemetry::{Event, EventKind, Exception, LogLine, LogStream, ProcessRef};
use agent::{AgentConfig, Handle, LinkStatus, Observation, Reply, Request, RequestId, Requests, StopReason};
use logs::{Chunk, Side, StreamId};
use pm2::env::Pm2Env;
use pm2::home::Home;
use serde_json::{Value, json};
use supervisor::Mono;
use thiserror::Error;

use crate::clock;
use crate::lines::{Line, Lines};

/// How often processes are observed while linked.
const SAMPLE_EVERY_MS: u64 = 1000;
/// Custom actions that wait for an app's answer.
const MAX_CALLS: usize = 256;

/// Why no agent was started.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    #[error("this server is not linked: use `link <secret_key> <public_key> [name]`")]
    NotLinked,
    #[error(transparent)]
    Config(#[from] agent::config::ConfigError),
    #[error(transparent)]
    Resolve(#[from] agent::config::ResolveError),
    #[error("starting the agent: {}", chain(.0))]
    Start(#[from] agent::StartError),
}

/// The agent, if there is one.
#[derive(Debug, Default)]
pub(crate) struct AgentHost {
    running: Option<Running>,
    /// The last one that was stopped; it may still be saying good-bye.
    leaving: Option<Handle>,
}

#[derive(Debug)]
struct Running {
    handle: Handle,
    requests: Requests,
    next_sample: Option<Mono>,
    wants_logs: bool,
    lines: Lines,
    calls: VecDeque<Call>,
}

/// A custom action that an app has not answered yet.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: RequestId,
    pub(crate) action: String,
    pub(crate) uuid: String,
    pub(crate) asked: Vec<u32>,
    pub(crate) until: Mono,
}

/// A request of the hub that waits for a job.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: RequestId,
    pub(crate) what: String,
    /// What is told to the bus of each process when it is done.
    pub(crate) event: Option<&'static str>,
}

impl AgentHost {
    /// Start the agent of this home, in place of one that runs.
    pub(crate) fn start(&mut self, home: &Home, node_version: String) -> Result<(), LinkError> {
        let file = agent::config::load(&home.root)?.ok_or(LinkError::NotLinked)?;
        let hostname = os::host::Host::read().hostname;
        // The file says all: the daemon's environment is that of whoever started it, long ago.
        let resolved = agent::config::resolve(|_| None, &LinkArgs::default(), Some(&file), &hostname)?;
        let config = AgentConfig {
            pm2_version: pm2::COMPAT_VERSION.into(),
            node_version,
            ..AgentConfig::new(home.root.clone(), resolved.settings)
        };
        let (handle, requests) = agent::start(config)?;
        self.running = Some(Running {
            handle,
            requests,
            next_sample: None,
            wants_logs: false,
            lines: Lines::default(),
            calls: VecDeque::new(),
        });
        self.leaving = None;
        Ok(())
    }

    /// The agent that has to end before another may start, if there is one.
    pub(crate) fn former(&mut self) -> Option<Handle> {
        self.stop(StopReason::Relink);
        self.leaving.clone()
    }

    /// End the agent. `false`: none runs.
    pub(crate) fn stop(&mut self, reason: StopReason) -> bool {
        let Some(running) = self.running.take() else {
            return false;
        };
        running.handle.stop(reason);
        self.leaving = Some(running.handle);
        true
    }

    /// What it asks for. Waits for ever while there is none; `None` when it has ended. Cancel-safe.
    pub(crate) async fn next_request(&mut self) -> Option<Request> {
        match &mut self.running {
            Some(running) => running.requests.recv().await,
            None => std::future::pending().await,
        }
    }

    /// It has ended by itself.
    pub(crate) fn ended(&mut self) {
        self.running = None;
    }

    pub(crate) fn set_sampling(&mut self, on: bool) {
        if let Some(running) = &mut self.running {
            running.next_sample = on.then(clock::mono);
        }
    }

    pub(crate) fn set_logs(&mut self, on: bool) {
        if let Some(running) = &mut self.running {
            running.wants_logs = on;
            running.lines.clear();
        }
    }

    /// When the next observation is due.
    pub(crate) fn next_sample(&self) -> Option<Mono> {
        self.running.as_ref().and_then(|running| running.next_sample)
    }

    /// An observation has been made.
    pub(crate) fn sampled(&mut self, now: Mono) {
        if let Some(at) = self
            .running
            .as_mut()
            .and_then(|running| running.next_sample.as_mut())
        {
            // A second after the last one was due, so that the rhythm does not drift; but never a burst after a pause.
            *at = Mono((at.0 + SAMPLE_EVERY_MS).max(now.0 + SAMPLE_EVERY_MS / 2));
        }
    }

    pub(crate) fn wants_logs(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.wants_logs)
    }

    pub(crate) fn observe(&self, observation: Observation) {
        if let Some(running) = &self.running {
            running.handle.observe(observation);
        }
    }

    pub(crate) fn reply(&self, request: RequestId, reply: Reply) {
        if let Some(running) = &self.running {
            running.handle.reply(request, reply);
        }
    }

    /// To answer a request from a task, though another agent may run by then.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.running.as_ref().map(|running| running.handle.clone())
    }

    /// Remember a call until the app answers. The oldest is given up if there are too many.
    pub(crate) fn expect_answer(&mut self, call: Call) {
        if let Some(running) = &mut self.running {
            let now = clock::mono();
            running.calls.retain(|call| call.until > now);
            if running.calls.len() >= MAX_CALLS {
                running.calls.pop_front();
            }
            running.calls.push_back(call);
        }
    }

    /// A process event, for the hub's history.
    pub(crate) fn process_event(&self, env: &Pm2Env, event: &str, manually: bool, at_ms: i64) {
        if self.running.is_none() || !env.is_monitored() {
            return;
        }
        self.observe(Observation::Event(Event {
            at: millis(at_ms),
            kind: EventKind::Process,
            name: event.to_owned(),
            process: Some(process_ref(env)),
            manually,
            ..Event::default()
        }));
    }

    /// A typed message of an app.
    pub(crate) fn message(&mut self, env: &Pm2Env, topic: &str, data: &Value, at_ms: i64) {
        if self.running.is_none() || !env.is_monitored() {
            return;
        }
        let pm_id = env.pm_id().unwrap_or_default();
        match topic {
            "axm:reply" => self.answered(pm_id, data),
            "axm:scoped_action:stream" => self.progressed(data),
            "axm:scoped_action:end" | "axm:scoped_action:error" => self.scoped_end(topic, data),
            "process:exception" => {
                let text = |key: &str| data.get(key).map(text_of).unwrap_or_default();
                self.observe(Observation::Exception(Exception {
                    at: millis(at_ms),
                    process: process_ref(env),
                    name: text("name"),
                    message: text("message"),
                    stack: text("stack"),
                    callsite: text("callsite"),
                    context: text("context"),
                    metadata: text("metadata"),
                    ..Exception::default()
                }));
            }
            // Profiles are large, and of use only to who asked for them.
            "profilings" => {}
            _ => {
                let (kind, name) = match topic {
                    "human:event" => (
                        EventKind::Custom,
                        data.get("__name").map_or_else(|| topic.to_owned(), text_of),
                    ),
                    _ => (EventKind::Channel, topic.to_owned()),
                };
                let event = Event {
                    at: millis(at_ms),
                    kind,
                    name,
                    process: Some(process_ref(env)),
                    data: data.to_string(),
                    ..Event::default()
                };
                self.observe(Observation::Event(event));
            }
        }
    }

    /// Output of apps, while somebody at the hub watches it: whole lines out of pieces.
    pub(crate) fn join_lines(&mut self, chunk: &Chunk) -> Vec<Line> {
        match &mut self.running {
            Some(running) if running.wants_logs => {
                running
                    .lines
                    .push(clock::mono(), chunk.id, chunk.at_ms, &chunk.text)
            }
            _ => Vec::new(),
        }
    }

    /// Lines whose end has been waited for long enough.
    pub(crate) fn overdue_lines(&mut self) -> Vec<Line> {
        self.running
            .as_mut()
            .map(|running| running.lines.overdue(clock::mono()))
            .unwrap_or_default()
    }

    /// A stream has ended.
    pub(crate) fn last_line(&mut self, stream: StreamId) -> Option<Line> {
        self.running.as_mut()?.lines.end(stream)
    }

    /// When an unfinished line is due.
    pub(crate) fn next_line(&self) -> Option<Mono> {
        self.running
            .as_ref()
            .and_then(|running| running.lines.next_deadline())
    }

    /// Tell the hub a line of an app.
    pub(crate) fn log(&self, env: &Pm2Env, side: Side, line: Line) {
        if !env.is_monitored() {
            return;
        }
        self.observe(Observation::Log(LogLine {
            at: millis(line.at_ms),
            pm_id: env.pm_id().unwrap_or_default(),
            name: env.name().to_owned(),
            stream: if side == Side::Err {
                LogStream::Err
            } else {
                LogStream::Out
            },
            data: line.text,
        }));
    }

    fn answered(&mut self, pm_id: u32, data: &Value) {
        let Some(running) = &mut self.running else { return };
        let action = data
            .get("action_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let found = running
            .calls
            .iter()
            .position(|call| call.action == action && call.asked.contains(&pm_id));
        if let Some(call) = found.and_then(|at| running.calls.remove(at)) {
            let result = data.get("return").map(Value::to_string).unwrap_or_default();
            running.handle.reply(call.request, Ok(result));
        }
    }

    fn progressed(&self, data: &Value) {
        let Some(running) = &self.running else { return };
        let uuid = data.get("uuid").and_then(Value::as_str).unwrap_or_default();
        if let Some(call) = running
            .calls
            .iter()
            .find(|call| !uuid.is_empty() && call.uuid == uuid)
        {
            let output = data.get("data").map(Value::to_string).unwrap_or_default();
            running.handle.progress(call.request, output);
        }
    }

    fn scoped_end(&mut self, topic: &str, data: &Value) {
        let Some(running) = &mut self.running else { return };
        let uuid = data.get("uuid").and_then(Value::as_str).unwrap_or_default();
        let found = running
            .calls
            .iter()
            .position(|call| !uuid.is_empty() && call.uuid == uuid);
        let Some(call) = found.and_then(|at| running.calls.remove(at)) else {
            return;
        };
        let output = data.get("data");
        let reply = if topic.ends_with("error") {
            Err(agent::ActionError {
                code: agent::ActionErrorCode::Failed,
                message: output.map(text_of).unwrap_or_default(),
            })
        } else {
            Ok(output.map(Value::to_string).unwrap_or_default())
        };
        running.handle.reply(call.request, reply);
    }

    /// What left this host since a look, in words or byte for byte; `null` while there is no agent.
    pub(crate) fn sent(&self, after: u64, raw: bool) -> Value {
        let Some(running) = &self.running else {
            return Value::Null;
        };
        let sent = running.handle.inspect(after).into_iter().map(|sent| {
            let text = if raw { sent.frame_base64() } else { sent.text };
            json!({ "seq": sent.seq, "at": sent.at_ms, "kind": sent.kind, "bytes": sent.bytes, "text": text })
        });
        sent.collect()
    }

    /// What `link info` and node's CLI show.
    pub(crate) fn info(&self) -> Value {
        let Some(running) = &self.running else {
            return Value::Null;
        };
        let info = running.handle.info();
        let (state, reason, retry_in_ms) = match info.status {
            LinkStatus::Idle => ("idle", None, None),
            LinkStatus::Connecting => ("connecting", None, None),
            LinkStatus::Linked => ("linked", None, None),
            LinkStatus::Waiting { cause, retry_in_ms } => ("waiting", Some(cause), Some(retry_in_ms)),
            LinkStatus::Refused { reason } => ("refused", Some(reason), None),
            LinkStatus::Pending { reason } => ("pending", Some(reason), None),
            LinkStatus::Stopped => ("stopped", None, None),
        };
        json!({
            "machine_name": info.machine_name,
            "public_key": info.public_key,
            "secret_key": info.secret_key,
            "remote_host": info.remote_host,
            "connected": info.connected,
            "transporters": info.transporters,
            "places": info.places,
            "commands_trouble": info.commands_trouble,
            "socket_path": info.socket_path,
            "pm2_home_monitored": info.pm2_home_monitored,
            "state": state,
            "reason": reason,
            "retry_in_ms": retry_in_ms,
            "reverse": info.reverse,
            "commands": info.commands,
            "reports_waiting": info.reports_waiting,
            "reports_dropped": info.reports_dropped,
            "observations_lost": info.observations_lost,
            "log_lines_lost": info.log_lines_lost,
        })
    }
}

pub(crate) fn process_ref(env: &Pm2Env) -> ProcessRef {
    ProcessRef {
        pm_id: env.pm_id().unwrap_or_default(),
        name: env.name().to_owned(),
        namespace: env.namespace().to_owned(),
        rev: String::new(),
    }
}

pub(crate) fn millis(at_ms: i64) -> u64 {
    u64::try_from(at_ms).unwrap_or(0)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

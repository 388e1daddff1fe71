//! What the hub says, and what is answered.

use super::Agent;
use super::actions::{self, Pending};
use super::addresses::Addresses;
use super::reverse::Reverse;
use super::socket::ConnEvent;
use crate::api::{ActionCall, Reply, Request, RequestId};
use crate::config::{self, LinkSettings};
use crate::link::{ConnId, Input, Moment};
use crate::observe::MAX_DATA;
use crate::ports::{Way, Ways};
use crate::redact;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wire::action::{Action, ActionError, ActionErrorCode, ActionProgress, ActionRequest, ActionResult, Verb};
use wire::message::{KeyOrder, LogSubscribe, LogsEnded, Pong, Welcome};
use wire::{AgentMessage, HubMessage};

/// Logs flow at most this long after they were last asked for.
const LOGS_LEASE: Duration = Duration::from_secs(120);

impl Agent {
    pub(super) fn on_conn(&mut self, conn: ConnId, event: ConnEvent) {
        if self.link.conn() != Some(conn) {
            return;
        }
        let now = self.now();
        match event {
            ConnEvent::Opened { local_ip, commands } => {
                let together = self.ways.now() == Way::Main;
                self.shared.by_websocket.store(commands, Ordering::Relaxed);
                self.shared
                    .commands
                    .store(commands && together, Ordering::Relaxed);
                self.probe.internal_ip = local_ip;
                if let Some(ip) = local_ip {
                    self.live.set_internal_ip(ip.to_string());
                }
                let place = self.place();
                let text = match (commands, together) {
                    (true, true) => format!("connected to {place}"),
                    (true, false) => format!("connected to {place}, for data"),
                    (false, true) => format!(
                        "no WebSocket gets through to {place}: data goes out by HTTP POST, and no command can come in"
                    ),
                    (false, false) => {
                        format!("no WebSocket gets through to {place}: data goes out by HTTP POST")
                    }
                };
                self.journal.line(text);
                self.link.handle(now, Input::Opened(conn));
            }
            ConnEvent::OpenFailed(error) => self.link.handle(now, Input::OpenFailed(conn, error)),
            ConnEvent::ReverseOpened => {
                let place = self.addresses.reverse().map_or("", |address| &address.host_port);
                let text = format!("connected to {place}, for commands");
                self.journal.line(text);
                self.set_commands(true, None);
            }
            ConnEvent::ReverseClosed(why) => {
                self.journal.line(format!("no commands can come in: {why}"));
                // Whoever watched asks again by the next one.
                self.logs.clear();
                self.log_wish.wanted = false;
                self.set_commands(false, Some(why));
            }
            ConnEvent::Closed(cause) => self.link.handle(now, Input::Closed(conn, cause)),
            ConnEvent::Message(message) => {
                self.link.handle(now, Input::Heard(conn));
                self.on_message(conn, message);
            }
        }
    }

    fn on_message(&mut self, conn: ConnId, message: HubMessage) {
        let now = self.now();
        match message {
            HubMessage::Welcome(welcome) => {
                self.link.handle(now, Input::Welcomed(conn));
                if self.is_linked() {
                    self.welcomed(conn, welcome);
                }
            }
            HubMessage::Refuse(refuse) => {
                let said = redact::clip(&refuse.message, 500).to_owned();
                self.link.handle(now, Input::Refused(conn, refuse.code, said));
            }
            HubMessage::Ping(ping) => {
                self.send(&AgentMessage::from(Pong { token: ping.token }));
            }
            // Nothing else counts before the welcome.
            _ if !self.is_linked() => {}
            HubMessage::Ack(ack) => {
                self.spool.ack(ack.seq);
                self.send_reports();
            }
            HubMessage::Action(request) => self.asked(conn, request),
            HubMessage::LogSubscribe(subscribe) => self.subscribed(subscribe),
            HubMessage::LogUnsubscribe(unsubscribe) => {
                self.logs.unsubscribe(unsubscribe.id);
                self.log_wish.wanted = self.logs.wanted();
            }
            HubMessage::Resend(_) => {
                self.live.forget();
                self.send_live();
            }
            HubMessage::Settings(settings) => self.settings = settings,
            // Of a newer hub: it knows from the hello what we understand.
            HubMessage::Pong(_) | HubMessage::Unknown(_) => {}
        }
    }

    fn set_commands(&self, open: bool, trouble: Option<String>) {
        self.shared.commands.store(open, Ordering::Relaxed);
        self.shared.commands_trouble(trouble);
    }

    /// The hub named its ports. Whether the link goes on by this connection.
    fn ports_told(&mut self, conn: ConnId, welcome: &Welcome) -> bool {
        let settings = &mut self.config.settings;
        let changed = settings
            .ports
            .told(&settings.root, &welcome.push_url, &welcome.reverse_url);
        match changed {
            Ok(false) => return true,
            Ok(true) => {}
            Err(why) => {
                self.journal
                    .line(format!("the hub's separate ports are not used: {why}"));
                return true;
            }
        }
        let ports = settings.ports.clone();
        match Addresses::new(settings, self.machine, &self.tls) {
            Ok(addresses) => self.addresses = addresses,
            // They were looked at as they were told.
            Err(error) => self.journal.line(error.to_string()),
        }
        self.ways = Ways::new(ports.separate.is_some());
        {
            let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.places = self.addresses.places();
        }
        let home = &self.config.home;
        let stored = config::load(home).and_then(|file| {
            // Only if it is still of this hub: the user may have linked elsewhere meanwhile.
            match file.filter(|file| file.info_node == self.config.settings.root) {
                Some(file) => {
                    let ports = ports.to_stored();
                    config::save(home, &config::AgentFile { ports, ..file })
                }
                None => Ok(()),
            }
        });
        if let Err(error) = stored {
            self.journal.line(format!("storing the hub's ports: {error}"));
        }
        let text = match &ports.separate {
            Some(ports) => format!(
                "the hub has separate ports: {} for data, {} for commands",
                ports.push, ports.reverse
            ),
            None => "the hub has one port for everything".to_owned(),
        };
        self.journal.line(&text);
        let now = self.now();
        self.link.handle(now, Input::Closed(conn, text));
        self.link.handle(now, Input::Retry);
        false
    }

    fn welcomed(&mut self, conn: ConnId, welcome: Welcome) {
        if welcome.key_order == KeyOrder::Swapped {
            self.swap_keys();
        }
        if !self.ports_told(conn, &welcome) {
            return;
        }
        let server = redact::clip(&welcome.server_id, 64);
        let text = format!(
            "linked to {} as `{}` (server {server})",
            self.place(),
            self.facts.name
        );
        self.journal.line(text);
        self.settings = welcome.settings;
        if !welcome.web_url.is_empty() {
            let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.remote_host = redact::clip(&welcome.web_url, 500).to_owned();
        }
        if let (Way::Push, true, Some(address)) = (
            self.ways.now(),
            self.config.settings.reverse,
            self.addresses.reverse(),
        ) {
            let (shared, events) = (self.shared.clone(), self.conn_events.clone());
            self.reverse = Some(Reverse::keep(conn, address.clone(), self.session, shared, events));
        }
        // First the present, then what was missed.
        self.live.forget();
        self.send_live();
        self.spool.resume(welcome.ack);
        let missed = self.spool.len();
        if missed > 0 {
            self.journal.line(format!("sending {missed} reports that waited"));
        }
        self.send_reports();
    }

    /// The keys were given the wrong way round; from now on they are right, in the file too.
    fn swap_keys(&mut self) {
        let LinkSettings {
            public_key,
            secret_key,
            ..
        } = &mut self.config.settings;
        std::mem::swap(public_key, secret_key);
        {
            let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.public_key.clone_from(public_key);
            told.secret_key.clone_from(secret_key);
        }
        let (public_key, secret_key) = (public_key.clone(), secret_key.clone());
        if let Ok(addresses) = Addresses::new(&self.config.settings, self.machine, &self.tls) {
            self.addresses = addresses;
        }
        let home = &self.config.home;
        let stored = config::load(home).map(|file| {
            // Only if it still holds these keys: the user may have linked elsewhere meanwhile.
            file.filter(|f| f.public_key == secret_key && f.secret_key == public_key)
        });
        let outcome = match stored {
            Ok(Some(mut file)) => {
                std::mem::swap(&mut file.public_key, &mut file.secret_key);
                config::save(home, &file)
            }
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        match outcome {
            Ok(()) => self
                .journal
                .line("the keys were given the wrong way round; stored in the right order"),
            Err(e) => self
                .journal
                .line(format!("storing the keys in the right order: {e}")),
        }
    }

    fn asked(&mut self, conn: ConnId, request: ActionRequest) {
        if self.actions.is_repeat(conn, request.id) {
            return;
        }
        if let Err(error) = self.admit(&request) {
            self.journal.line(format!(
                "action {}: refused: {}",
                actions::describe(&request),
                error.message
            ));
            self.answer(request.id, Err(error), Duration::ZERO);
            return;
        }
        if request.action == Action::Ping {
            self.answer(request.id, Ok(String::new()), Duration::ZERO);
            return;
        }
        let now = self.now();
        let (id, timeout) = self.actions.begin(conn, now, &request);
        let what = actions::describe(&request);
        let by = redact::clip(&request.by, 256).to_owned();
        let call = ActionCall {
            id,
            action: request.action,
            by,
            timeout,
        };
        match self.requests.try_send(Request::Action(call)) {
            Ok(()) => self.journal.line(format!("action {what}: begun")),
            Err(_) => {
                self.actions.end(id);
                self.journal
                    .line(format!("action {what}: refused: the process manager is busy"));
                self.answer(request.id, Err(busy()), Duration::ZERO);
            }
        }
    }

    fn admit(&mut self, request: &ActionRequest) -> Result<(), ActionError> {
        if !self.config.settings.reverse {
            return Err(disabled());
        }
        self.policy.current().check(&request.action)?;
        actions::check(&request.action)?;
        if self.actions.is_full() {
            Err(busy())
        } else {
            Ok(())
        }
    }

    pub(super) fn replied(&mut self, id: RequestId, reply: Reply) {
        let Some(pending) = self.actions.end(id) else {
            return;
        };
        self.ended(&pending, reply);
    }

    pub(super) fn progressed(&mut self, id: RequestId, data: &str) {
        let Some(pending) = self.actions.get(id) else {
            return;
        };
        let asked_as = pending.asked_as;
        self.look_at_rules();
        let progress = ActionProgress {
            id: asked_as,
            data: self.clean_json(data),
        };
        self.send(&AgentMessage::from(progress));
    }

    pub(super) fn expire_actions(&mut self, now: Moment) {
        for pending in self.actions.expire(now) {
            let seconds = (now - pending.since).as_secs();
            let message =
                format!("no result from the process manager within {seconds} s; it may still be done");
            self.ended(
                &pending,
                Err(ActionError {
                    code: ActionErrorCode::TimedOut,
                    message,
                }),
            );
        }
    }

    fn ended(&mut self, pending: &Pending, reply: Reply) {
        let took = self.now().saturating_sub(pending.since);
        let outcome = match &reply {
            Ok(_) => "done".to_owned(),
            Err(e) => format!("{}: {}", e.code, redact::clip(&e.message, 300)),
        };
        self.journal.line(format!(
            "action {}: {outcome} ({} ms)",
            pending.what,
            took.as_millis()
        ));
        self.answer(pending.asked_as, reply, took);
    }

    /// Data of an app as the host lets it go. Without rules that are understood there is no link either.
    fn clean_json(&self, data: &str) -> String {
        let clean = |rules: &crate::rules::Rules| rules.json(data, MAX_DATA);
        self.rules.rules().map_or_else(|_| String::new(), clean)
    }

    fn answer(&mut self, id: u64, reply: Reply, took: Duration) {
        self.look_at_rules();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let result = match reply {
            Ok(data) => ActionResult {
                id,
                error: None,
                data: self.clean_json(&data),
                took_ms,
            },
            Err(mut error) => {
                if let Ok(rules) = self.rules.rules() {
                    rules.text(&mut error.message);
                }
                error.message = redact::clip(&error.message, 2_000).to_owned();
                ActionResult {
                    id,
                    error: Some(error),
                    data: String::new(),
                    took_ms,
                }
            }
        };
        if !self.send(&AgentMessage::from(result)) {
            self.journal
                .line(format!("the result of action {id} could not be sent"));
        }
    }

    fn subscribed(&mut self, subscribe: LogSubscribe) {
        let allowed = if self.config.settings.reverse {
            self.policy.current().check_verb(Verb::Logs)
        } else {
            Err(disabled())
        };
        let lease = match subscribe.lease_ms {
            0 => LOGS_LEASE,
            ms => Duration::from_millis(u64::from(ms)).min(LOGS_LEASE),
        };
        let until = self.now() + lease;
        let LogSubscribe { id, app, by, .. } = subscribe;
        let by = redact::clip(&by, 128);
        let outcome = allowed.and_then(|()| {
            if self.logs.subscribe(id, app, until) {
                Ok(())
            } else {
                Err(busy())
            }
        });
        match outcome {
            Ok(()) => {
                if !self.log_wish.wanted {
                    self.journal.line(format!("live logs begun, asked by {by}"));
                }
                self.log_wish.wanted = true;
            }
            Err(error) => {
                self.journal
                    .line(format!("live logs, asked by {by}: refused: {}", error.message));
                self.send(&AgentMessage::from(LogsEnded {
                    id,
                    error: Some(error),
                }));
            }
        }
    }

    pub(super) fn expire_logs(&mut self, now: Moment) {
        for id in self.logs.expire(now) {
            self.send(&AgentMessage::from(LogsEnded { id, error: None }));
        }
        if self.log_wish.wanted && !self.logs.wanted() {
            self.log_wish.wanted = false;
            self.journal.line("live logs ended: nobody renewed them");
        }
    }

    pub(super) fn send_logs(&mut self) {
        if !self.logs.has_lines() || !self.is_linked() {
            return;
        }
        let batch = self.logs.take();
        let lines = batch.lines.len() as u64;
        let message = AgentMessage::from(batch);
        if !self.send(&message)
            && let AgentMessage::Logs(batch) = message
        {
            self.logs.lost(&batch);
            self.shared.log_lines_lost.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

fn disabled() -> ActionError {
    let message = "remote actions are disabled on this host (it was linked with PM2_REVERSE_INTERACT=false)";
    ActionError {
        code: ActionErrorCode::Denied,
        message: message.to_owned(),
    }
}

fn busy() -> ActionError {
    let message = "this host is busy with other actions; try again in a moment";
    ActionError {
        code: ActionErrorCode::Busy,
        message: message.to_owned(),
    }
}

//! What children say on their IPC channels, and what is said to them.

use std::io;
use std::os::fd::OwnedFd;

use node::internal::{Internal, Kind};
use node::message::{ChildMessage, classify, classify_value};
use os::channel::WriteError;
use serde_json::Value;
use supervisor::{Incarnation, Input, ProcId};

use crate::child_channel::Turn;
use crate::clock;
use crate::keeper_link::KeeperLink;
use crate::owner::{Daemon, process_ref};

/// Scratch space that is larger than this was needed for one message only.
const LARGE: usize = 256 * 1024;

/// The name under which the keeper holds the unfinished frames of a channel.
pub(crate) fn stash_name(incarnation: Incarnation) -> String {
    format!("ipc/{}", incarnation.0)
}

/// The life whose stash this is; `None` if the name belongs to something else.
pub(crate) fn stash_of(name: &str) -> Option<Incarnation> {
    name.strip_prefix("ipc/")?.parse().ok().map(Incarnation)
}

fn keep_with(
    keeper: &mut KeeperLink,
    incarnation: Incarnation,
) -> impl FnMut(Vec<OwnedFd>) -> io::Result<()> + '_ {
    move |fds| keeper.put_through(&stash_name(incarnation), fds)
}

impl Daemon {
    /// One turn of reading a channel.
    pub(crate) fn read_channel(&mut self, incarnation: Incarnation) {
        let Some(life) = self.lives.get_mut(&incarnation) else {
            return;
        };
        let Some(channel) = life.channel.as_mut() else {
            return;
        };
        let id = life.id;
        let mut messages = Vec::new();
        let mut bad = 0_u64;
        let turn = channel.read(
            &mut self.scratch,
            &mut keep_with(&mut self.keeper, incarnation),
            &mut |line| match classify(line) {
                Ok(message) => messages.push(message),
                Err(_) => bad += 1,
            },
        );
        // A usual one is kept as it is: to fill it with zeros again would take longer than to read into it.
        if self.scratch.len() > LARGE {
            self.scratch = Vec::new();
        }
        for message in messages {
            self.on_child_message(id, incarnation, message);
        }
        // What the lines wish for is carried out before they leave the socket: a new daemon sees them again or sees their effect.
        self.settle();
        let channel = self
            .lives
            .get_mut(&incarnation)
            .and_then(|life| life.channel.as_mut());
        let Some(channel) = channel else { return };
        let taken = if matches!(turn, Ok(Turn::Lines)) {
            channel.taken()
        } else {
            Ok(())
        };
        let skipped = channel.newly_skipped();
        let flushed = channel.flush();
        self.send_blocked(incarnation);
        if bad > 0 {
            self.complain_about(
                incarnation,
                bad,
                "wrote something on its IPC channel that is not JSON",
            );
        }
        if skipped > 0 {
            self.complain_about(
                incarnation,
                skipped,
                "sent a message that is too long; it was dropped",
            );
        }
        let turn = match (turn, taken) {
            (Ok(Turn::Ended) | Err(_), _) | (_, Err(_)) => return self.channel_ended(id, incarnation),
            (Ok(turn), Ok(())) => turn,
        };
        // Once is enough: a flood must not multiply its turns.
        if matches!(turn, Turn::Lines | Turn::Part) && !self.talkative.contains(&incarnation) {
            self.talkative.push_back(incarnation);
        }
        if flushed.is_err() {
            // Its reading end is closed; what it still writes is read all the same.
            self.handle(Input::ChannelClosed { id, incarnation });
        }
    }

    fn channel_ended(&mut self, id: ProcId, incarnation: Incarnation) {
        if let Some(life) = self.lives.get_mut(&incarnation) {
            life.channel = None;
        }
        self.worker_gone(incarnation);
        self.handle(Input::ChannelClosed { id, incarnation });
        self.forget_if_over(incarnation);
    }

    /// Send a line to a child. `false`: it has no channel, or does not read.
    pub(crate) fn send_to_child(&mut self, incarnation: Incarnation, line: &[u8]) -> bool {
        let Some(life) = self.lives.get_mut(&incarnation) else {
            return false;
        };
        let Some(channel) = life.channel.as_mut() else {
            return false;
        };
        let sent = channel.send(line, &mut keep_with(&mut self.keeper, incarnation));
        match sent {
            Ok(()) => true,
            Err(WriteError::Io(_)) => {
                let id = life.id;
                self.handle(Input::ChannelClosed { id, incarnation });
                false
            }
            Err(error @ (WriteError::Full { .. } | WriteError::NotOneLine)) => {
                self.complain_about(incarnation, 1, &error.to_string());
                false
            }
        }
    }

    fn on_child_message(&mut self, id: ProcId, incarnation: Incarnation, message: ChildMessage) {
        let current = self.sup.view(id).and_then(|view| view.incarnation) == Some(incarnation);
        match message {
            ChildMessage::Packet { kind, data } => self.publish_message(id, &kind, &data),
            ChildMessage::Raw(raw) => self.publish_raw(id, &raw),
            ChildMessage::Ready => {
                self.publish_raw(id, &Value::from("ready"));
                self.handle(Input::Ready { id, incarnation });
            }
            ChildMessage::SetPid => {}
            ChildMessage::Internal(Internal {
                kind: Kind::Handle { message },
                ..
            }) => {
                // The descriptor is not wanted here, but until it is acknowledged the child sends nothing else.
                self.send_to_child(incarnation, &node::cluster::handle_ack());
                match classify_value(message) {
                    ChildMessage::Internal(_) => {}
                    message => self.on_child_message(id, incarnation, message),
                }
            }
            ChildMessage::Internal(Internal {
                kind: Kind::LoadFailed { reason },
                ..
            }) => self.load_failed(id, incarnation, reason, current),
            ChildMessage::Internal(message) => self.on_internal(incarnation, message),
            // The rest changes the entry, which belongs to the present life.
            _ if !current => {}
            ChildMessage::NodeVersion(version) => self.change(id, |env| {
                let is_news = env.text("node_version") != Some(&version);
                env.set("node_version", version);
                is_news
            }),
            ChildMessage::Metrics(metrics) => {
                // Not kept: a child tells them again within a second.
                if let Some(app) = self.apps.get_mut(&id) {
                    app.env.report_metrics(metrics);
                }
            }
            ChildMessage::Action(action) => {
                self.change(id, |env| env.report_action(&action.name, action.fields));
            }
            ChildMessage::Options(options) => self.change(id, |env| {
                env.report_options(options);
                true
            }),
        }
    }

    /// A life runs without its main module: it is said wherever one looks, and it replaces nobody.
    fn load_failed(&mut self, id: ProcId, incarnation: Incarnation, reason: String, current: bool) {
        let label = self.label(incarnation);
        self.complain(&format!(
            "App [{label}] runs, but does nothing, its main module could not be loaded: {reason}"
        ));
        if current {
            self.change(id, |env| {
                env.set(pm2::env::Pm2Env::LOAD_ERROR, reason);
                true
            });
        }
        self.handle(Input::Broken { id, incarnation });
    }

    /// The interpreter of a life was asked for its version.
    pub(crate) fn told_node_version(&mut self, id: ProcId, incarnation: Incarnation, version: String) {
        self.on_child_message(id, incarnation, ChildMessage::NodeVersion(version));
    }

    fn change(&mut self, id: ProcId, change: impl FnOnce(&mut pm2::env::Pm2Env) -> bool) {
        if let Some(app) = self.apps.get_mut(&id)
            && change(&mut app.env)
        {
            self.keep(id);
        }
    }

    fn publish_raw(&mut self, id: ProcId, raw: &Value) {
        let Some(app) = self.apps.get(&id) else { return };
        if self.bus.has_listeners()
            && let Ok(frame) = pm2::bus::raw_message(&process_ref(&app.env, id), clock::wall_ms(), raw)
        {
            let newly_slow = self.bus.publish(frame);
            self.tell_slow(newly_slow);
        }
    }

    /// A child misbehaves: the first time is told, the rest is counted.
    fn complain_about(&mut self, incarnation: Incarnation, times: u64, text: &str) {
        let Some(life) = self.lives.get_mut(&incarnation) else {
            return;
        };
        let first = life.complaints == 0;
        life.complaints += times;
        let id = life.id;
        if first {
            let name = self.apps.get(&id).map_or("", |app| app.env.name()).to_owned();
            self.complain(&format!("App [{name}:{}]: {text}", id.0));
        }
    }
}

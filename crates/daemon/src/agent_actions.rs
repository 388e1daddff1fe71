//! What the hub asks for is done by the same ways as what clients ask for, and written down.

use agent::{Action, ActionCall, ActionError, ActionErrorCode, Custom, Observation, Request, Scale, Target};
use pm2::Object;
use serde_json::Value;
use supervisor::{Command, ProcId};

use crate::agent_host::{Call, Waiting};
use crate::clock;
use crate::journal::Level;
use crate::observation;
use crate::owner::{Daemon, Then};

impl Daemon {
    /// The agent asks for something; `None`: it has ended.
    pub(crate) fn on_agent(&mut self, request: Option<Request>) {
        match request {
            None => {
                self.agent.ended();
                self.listen_to_logs();
                self.say(Level::Log, "the agent has ended");
            }
            Some(Request::Sampling(on)) => self.agent.set_sampling(on),
            Some(Request::Logs(on)) => {
                self.agent.set_logs(on);
                self.listen_to_logs();
            }
            Some(Request::Action(call)) => self.remote_action(call),
        }
    }

    /// Tell the agent what is.
    pub(crate) fn observe_for_agent(&mut self) {
        self.measure();
        let list = self
            .apps
            .iter()
            .filter_map(|(id, app)| observation::of(&app.env, self.pid_of(*id), app.usage.monit()))
            .collect();
        self.agent.observe(Observation::Processes(list));
        self.agent.sampled(clock::mono());
    }

    /// The hub's request has been carried out, or not.
    pub(crate) fn finish_remote(&mut self, waiting: Waiting, ids: &[ProcId], failure: Option<String>) {
        match failure {
            None => {
                for id in ids {
                    if let Some(event) = waiting.event {
                        self.publish_event(*id, event, true, None);
                    }
                }
                self.say(Level::Log, &format!("{}: done", waiting.what));
                self.agent.reply(waiting.request, Ok(String::new()));
            }
            Some(text) => {
                self.say(Level::Error, &format!("{}: {text}", waiting.what));
                self.agent
                    .reply(waiting.request, Err(error(ActionErrorCode::Failed, text)));
            }
        }
    }

    fn remote_action(&mut self, call: ActionCall) {
        let what = format!(
            "remote action by {}: {}",
            one_line(&call.by),
            describe(&call.action)
        );
        self.say(Level::Log, &what);
        if let Err(refusal) = self.try_remote(&call, &what) {
            self.say(Level::Error, &format!("{what}: {}", refusal.message));
            self.agent.reply(call.id, Err(refusal));
        }
    }

    fn try_remote(&mut self, call: &ActionCall, what: &str) -> Result<(), ActionError> {
        if self.ending.is_some() {
            return Err(error(ActionErrorCode::Gone, "the daemon is ending"));
        }
        let waiting = |event: Option<&'static str>| Waiting {
            request: call.id,
            what: what.to_owned(),
            event,
        };
        match &call.action {
            Action::Restart(target) => {
                let ids = self.targets(target)?;
                self.restart_all(&ids, false, waiting(Some("restart")));
            }
            Action::Reload(target) => {
                let ids = self.targets(target)?;
                self.restart_all(&ids, true, waiting(Some("reload")));
            }
            Action::Stop(target) => {
                let ids = self.targets(target)?;
                for id in &ids {
                    self.announce_stop(*id);
                }
                self.command_all(&ids, Command::Stop, waiting(Some("stop")));
            }
            Action::Start(target) => {
                let ids = self.targets(target)?;
                let down: Vec<_> = ids
                    .iter()
                    .copied()
                    .filter(|id| self.sup.view(*id).is_some_and(|view| !view.is_up()))
                    .collect();
                if down.is_empty() {
                    return Err(error(ActionErrorCode::Failed, "process already online"));
                }
                self.command_all(&down, Command::Start, waiting(Some("start")));
            }
            Action::Reset(target) => {
                let ids = self.targets(target)?;
                self.command_all(&ids, Command::Reset, waiting(None));
            }
            Action::Delete(target) => {
                let ids = self.targets(target)?;
                for id in &ids {
                    self.announce_stop(*id);
                }
                self.command_all(&ids, Command::Delete, waiting(None));
            }
            Action::Monitor(target) | Action::Unmonitor(target) => {
                let show = matches!(call.action, Action::Monitor(_));
                let ids = if show {
                    self.hidden_targets(target)?
                } else {
                    self.targets(target)?
                };
                for id in &ids {
                    self.set_monitored(*id, show);
                }
                self.finish_remote(waiting(None), &ids, None);
            }
            Action::Scale(scale) => self.scale(scale, waiting(None))?,
            Action::Custom(custom) => self.call_custom(call, custom)?,
            Action::Ping => self.agent.reply(call.id, Ok("\"pong\"".into())),
            Action::Pull(target) | Action::Backward(target) | Action::Forward(target) => {
                let app = self.word_for(target)?;
                self.begin_chore(call, what, [call.action.verb().as_str().into(), app])?;
            }
            Action::Install(module) => {
                self.begin_chore(call, what, ["install".into(), module.name.clone()])?;
            }
            Action::Uninstall(module) => {
                self.begin_chore(call, what, ["uninstall".into(), module.name.clone()])?;
            }
            Action::Unknown(_) => {
                return Err(error(
                    ActionErrorCode::Unsupported,
                    "this release does not know how to do that",
                ));
            }
        }
        Ok(())
    }

    /// The monitored processes that are meant.
    fn targets(&self, target: &Target) -> Result<Vec<ProcId>, ActionError> {
        self.processes(target, true)
    }

    /// Those that were hidden: only who may show them again can come to know that they are there.
    fn hidden_targets(&self, target: &Target) -> Result<Vec<ProcId>, ActionError> {
        self.processes(target, false)
    }

    fn processes(&self, target: &Target, monitored: bool) -> Result<Vec<ProcId>, ActionError> {
        let ids: Vec<_> = self
            .apps
            .iter()
            .filter(|(id, app)| {
                app.env.is_monitored() == monitored
                    && match target {
                        Target::Process(number) => id.0 == *number,
                        Target::App(name) => app.env.name() == name,
                        Target::Unknown(_) => false,
                    }
            })
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            return Err(error(
                ActionErrorCode::NotFound,
                "there is no such process or app",
            ));
        }
        Ok(ids)
    }

    /// How the command line calls what is meant: by its name, or one process by its number.
    fn word_for(&self, target: &Target) -> Result<String, ActionError> {
        let ids = self.targets(target)?;
        let unclear = |name: &str| {
            let name = one_line(name);
            error(
                ActionErrorCode::Invalid,
                format!("`{name}` means something else on the command line: give the app another name"),
            )
        };
        let names: Vec<&str> = self.apps.values().map(|app| app.env.name()).collect();
        match (target, ids.as_slice()) {
            (Target::App(name), _) if is_plain_name(name) => Ok(name.clone()),
            (Target::App(name), []) => Err(unclear(name)),
            // An app may be called like the number of another.
            (_, [id, ..]) if names.contains(&id.0.to_string().as_str()) => Err(unclear(&id.0.to_string())),
            (Target::App(name), [_, _, ..]) => Err(unclear(name)),
            (_, [id, ..]) => Ok(id.0.to_string()),
            (_, []) => Err(error(
                ActionErrorCode::NotFound,
                "there is no such process or app",
            )),
        }
    }

    fn restart_all(&mut self, ids: &[ProcId], reload: bool, waiting: Waiting) {
        let job = self.jobs.open(Then::Agent(waiting));
        for id in ids {
            if reload {
                self.reload(*id, &Object::new(), false, job);
            } else {
                self.restart(*id, &Object::new(), job);
            }
        }
    }

    fn command_all(&mut self, ids: &[ProcId], command: impl Fn(ProcId) -> Command, waiting: Waiting) {
        let job = self.jobs.open(Then::Agent(waiting));
        for id in ids {
            self.command_for(job, *id, command(*id));
        }
    }

    fn scale(&mut self, scale: &Scale, waiting: Waiting) -> Result<(), ActionError> {
        /// More instances than this are taken for a mistake.
        const MAX_INSTANCES: i64 = 1024;
        let ids = self.targets(&Target::App(scale.app.clone()))?;
        let now = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let wanted = if scale.relative {
            now + i64::from(scale.number)
        } else {
            i64::from(scale.number)
        };
        if !(0..=MAX_INSTANCES).contains(&wanted) {
            return Err(error(
                ActionErrorCode::Invalid,
                format!("{wanted} instances make no sense"),
            ));
        }
        let Some(first) = ids.first().copied() else {
            return Ok(());
        };
        if wanted == now {
            return Err(error(ActionErrorCode::Invalid, "Nothing to do"));
        }
        let job = self.jobs.open(Then::Agent(waiting));
        if wanted > now {
            for _ in now..wanted {
                self.duplicate(first, job);
            }
        } else {
            let surplus = usize::try_from(now - wanted).unwrap_or(0);
            for id in ids.into_iter().take(surplus) {
                self.announce_stop(id);
                self.command_for(job, id, Command::Delete(id));
            }
        }
        Ok(())
    }

    fn call_custom(&mut self, call: &ActionCall, custom: &Custom) -> Result<(), ActionError> {
        let mut ids = self.targets(&custom.target)?;
        ids.retain(|id| {
            self.apps
                .get(id)
                .is_some_and(|app| app.env.has_action(&custom.name))
        });
        if ids.is_empty() {
            return Err(error(
                ActionErrorCode::NotFound,
                format!("the app offers no action {}", one_line(&custom.name)),
            ));
        }
        let opts: Option<Value> = match custom.opts.as_str() {
            "" => None,
            text => Some(
                serde_json::from_str(text)
                    .map_err(|_| error(ActionErrorCode::Invalid, "opts is not JSON"))?,
            ),
        };
        let uuid = Some(custom.uuid.as_str()).filter(|uuid| !uuid.is_empty());
        let line = node::message::call_action(&custom.name, opts.as_ref(), uuid)
            .map_err(|refusal| error(ActionErrorCode::Invalid, refusal.to_string()))?;
        let mut asked = Vec::new();
        for id in ids {
            let life = self.sup.view(id).and_then(|view| view.incarnation);
            if life.is_some_and(|life| self.send_to_child(life, &line)) {
                asked.push(id.0);
            }
        }
        if asked.is_empty() {
            return Err(error(
                ActionErrorCode::Failed,
                "the app does not take messages now",
            ));
        }
        let until = clock::mono().after(call.timeout);
        self.agent.expect_answer(Call {
            request: call.id,
            action: custom.name.clone(),
            uuid: custom.uuid.clone(),
            asked,
            until,
        });
        Ok(())
    }
}

/// Whether a name of an app stands for nothing but that app on the command line: no option, number, pattern, file or `all`.
fn is_plain_name(name: &str) -> bool {
    name != "all"
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '@')
        && !name.chars().any(char::is_control)
        && ![".json", ".js", ".cjs", ".mjs", ".yml", ".yaml", ".toml"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

pub(crate) fn error(code: ActionErrorCode, message: impl Into<String>) -> ActionError {
    ActionError {
        code,
        message: message.into(),
    }
}

fn describe(action: &Action) -> String {
    let on = |verb: &str, target: &Target| match target {
        Target::Process(id) => format!("{verb} process {id}"),
        Target::App(name) => format!("{verb} {}", one_line(name)),
        Target::Unknown(_) => format!("{verb} something unknown"),
    };
    match action {
        Action::Restart(target) => on("restart", target),
        Action::Reload(target) => on("reload", target),
        Action::Stop(target) => on("stop", target),
        Action::Start(target) => on("start", target),
        Action::Reset(target) => on("reset", target),
        Action::Delete(target) => on("delete", target),
        Action::Pull(target) => on("pull", target),
        Action::Backward(target) => on("backward", target),
        Action::Forward(target) => on("forward", target),
        Action::Monitor(target) => on("monitor", target),
        Action::Unmonitor(target) => on("unmonitor", target),
        Action::Scale(scale) => {
            let sign = if scale.relative && scale.number >= 0 {
                "+"
            } else {
                ""
            };
            format!("scale {} to {sign}{}", one_line(&scale.app), scale.number)
        }
        Action::Custom(custom) => on(&format!("call {} of", one_line(&custom.name)), &custom.target),
        Action::Install(module) => format!("install {}", one_line(&module.name)),
        Action::Uninstall(module) => format!("uninstall {}", one_line(&module.name)),
        Action::Ping => "ping".into(),
        Action::Unknown(number) => format!("unknown action {number}"),
    }
}

/// Somebody else's words, fit for one line of a log.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

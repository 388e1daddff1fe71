//! Actions on one socket of a PM2 agent. Its answers carry no number, so they are matched by what they are about. Pure but for
//! the replies.

use std::collections::VecDeque;

use pm2::agent_wire::command::{self, Addressee, Method};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::live::link::{ActionError, Command, Output, Request, ScaleTo, Target, Verb};

/// What can be asked of a host with PM2's own agent.
pub(super) const POSSIBLE: [&str; 8] = [
    "restart", "reload", "start", "scale", "reset", "custom", "logs", "ping",
];
/// Actions under way on one socket; more are refused.
const MAX_PENDING: usize = 256;

type Reply = oneshot::Sender<Result<Value, ActionError>>;

/// What an answer must be about to belong to an action.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Method {
        name: &'static str,
        app: Option<String>,
    },
    Action {
        name: String,
        pm_id: Option<u32>,
        app: String,
    },
    Scoped {
        uuid: String,
        name: String,
        pm_id: Option<u32>,
    },
}

/// An action that waits for its answer.
#[derive(Debug)]
struct Waiting {
    expected: Expected,
    reply: Reply,
    output: Option<Output>,
}

/// Actions that wait for their answer, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<Waiting>,
}

/// What the process list says about the target, where PM2's protocol needs to know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Situation {
    /// Instances of the app.
    pub(super) instances: u32,
    /// How many of the target run.
    pub(super) running: u32,
}

impl Pending {
    /// The frame to send for `command`; `None` when it was refused, which its sender knows by then.
    pub(super) fn start(&mut self, command: Command, situation: Situation) -> Option<String> {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        let Command {
            request,
            reply,
            output,
            ..
        } = command;
        let planned = if self.waiting.len() < MAX_PENDING {
            plan(request, situation)
        } else {
            Err(ActionError::Busy)
        };
        match planned {
            Ok((expected, frame)) => {
                self.waiting.push_back(Waiting {
                    expected,
                    reply,
                    output,
                });
                Some(frame)
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                None
            }
        }
    }

    /// `trigger:pm2:result`: the text of an error is lost on the way, so there may be none.
    pub(super) fn method_ended(&mut self, name: &str, app: Option<&str>, error: Option<&str>) -> bool {
        let outcome = match error {
            None => Ok(Value::Null),
            Some("") => Err(ActionError::Refused(format!(
                "PM2 could not {name}; its log on that host says why"
            ))),
            Some(error) => Err(ActionError::Refused(error.to_owned())),
        };
        self.finish(outcome, |expected| {
            matches!(expected, Expected::Method { name: n, app: a } if *n == name && a.as_deref() == app)
        })
    }

    /// `trigger:action:failure`.
    pub(super) fn action_refused(&mut self, name: &str, pm_id: Option<u32>, error: &str) {
        self.finish(
            Err(ActionError::Refused(error.to_owned())),
            |expected| match expected {
                Expected::Action {
                    name: n, pm_id: id, ..
                }
                | Expected::Scoped {
                    name: n, pm_id: id, ..
                } => n == name && (*id == pm_id || pm_id.is_none()),
                Expected::Method { .. } => false,
            },
        );
    }

    /// `axm:reply` of a process.
    pub(super) fn action_answered(&mut self, name: &str, pm_id: Option<u32>, app: &str, value: Value) {
        self.finish(Ok(value), |expected| match expected {
            Expected::Action {
                name: n,
                pm_id: Some(id),
                ..
            } => n == name && Some(*id) == pm_id,
            Expected::Action {
                name: n,
                pm_id: None,
                app: a,
            } => n == name && a == app,
            _ => false,
        });
    }

    /// A scoped action says something while it runs.
    pub(super) fn scoped_said(&self, uuid: &str, data: &Value) {
        let about =
            |waiting: &&Waiting| matches!(&waiting.expected, Expected::Scoped { uuid: u, .. } if u == uuid);
        if let Some(output) = self.waiting.iter().find(about).and_then(|w| w.output.as_ref()) {
            output.give(data.clone());
        }
    }

    /// The end of a scoped action.
    pub(super) fn scoped_ended(&mut self, uuid: &str, outcome: Result<Value, ActionError>) {
        self.finish(
            outcome,
            |expected| matches!(expected, Expected::Scoped { uuid: u, .. } if u == uuid),
        );
    }

    fn finish(&mut self, outcome: Result<Value, ActionError>, is_it: impl Fn(&Expected) -> bool) -> bool {
        let found = self.waiting.iter().position(|waiting| is_it(&waiting.expected));
        match found.and_then(|at| self.waiting.remove(at)) {
            Some(Waiting { reply, .. }) => {
                // Whoever gave up waiting is no error.
                let _ = reply.send(outcome);
                true
            }
            None => false,
        }
    }
}

fn plan(request: Request, situation: Situation) -> Result<(Expected, String), ActionError> {
    match request {
        Request::Manage { verb, target } => {
            let method = method(verb, &target, situation)?;
            let app = match &target {
                Target::Entry { .. } => None,
                Target::App(app) => Some(app.clone()),
            };
            Ok((
                Expected::Method {
                    name: method.name(),
                    app,
                },
                command::pm2_action(&method),
            ))
        }
        Request::Scale { app, to } => {
            let number = match to {
                ScaleTo::Exactly(number) => number,
                ScaleTo::By(difference) => situation.instances.saturating_add_signed(difference),
            };
            if number == situation.instances {
                return Err(ActionError::Refused(format!(
                    "{app} has {number} instances already"
                )));
            }
            let method = Method::Scale {
                name: app.clone(),
                number,
            };
            Ok((
                Expected::Method {
                    name: method.name(),
                    app: Some(app),
                },
                command::pm2_action(&method),
            ))
        }
        Request::Module { .. } => Err(ActionError::Unsupported(format!(
            "{}: PM2's own agent has no such command",
            request.name()
        ))),
        Request::Custom {
            name,
            target,
            param,
            scope,
        } => {
            let to = match &target {
                Target::Entry { pm_id, .. } => Addressee::Process(*pm_id),
                Target::App(app) => Addressee::App(app.clone()),
            };
            let pm_id = target.pm_id();
            match scope {
                Some(uuid) => {
                    let frame = command::scoped_action(&name, &to, param.as_ref(), &uuid);
                    Ok((Expected::Scoped { uuid, name, pm_id }, frame))
                }
                None => {
                    let frame = command::action(&name, &to, param.as_ref());
                    Ok((
                        Expected::Action {
                            name,
                            pm_id,
                            app: target.app().to_owned(),
                        },
                        frame,
                    ))
                }
            }
        }
    }
}

/// PM2's agents take five methods from afar; nothing else is even sent.
fn method(verb: Verb, target: &Target, situation: Situation) -> Result<Method, ActionError> {
    let to = match target {
        Target::Entry { pm_id, .. } => command::Target::Id(*pm_id),
        Target::App(app) => command::Target::Name(app.clone()),
    };
    match verb {
        Verb::Restart => Ok(Method::Restart(to)),
        Verb::Reload => Ok(Method::Reload(to)),
        Verb::Reset => Ok(Method::Reset(to)),
        Verb::Ping => Ok(Method::Ping(to)),
        // Their restart also starts what is stopped.
        Verb::Start if situation.running == 0 => Ok(Method::Restart(to)),
        Verb::Start => Err(ActionError::Refused(format!("{} runs already", target.app()))),
        Verb::Stop
        | Verb::Delete
        | Verb::Pull
        | Verb::Backward
        | Verb::Forward
        | Verb::Monitor
        | Verb::Unmonitor => Err(ActionError::Unsupported(format!(
            "{}: PM2's own agent has no such command",
            verb.as_str()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Answer = oneshot::Receiver<Result<Value, ActionError>>;

    fn start(pending: &mut Pending, request: Request) -> (Option<Value>, Answer) {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            request,
            reply,
            patience: Duration::from_secs(30),
            by: "me".into(),
            output: None,
        };
        let frame = pending.start(
            command,
            Situation {
                instances: 2,
                running: 2,
            },
        );
        (frame.map(|text| serde_json::from_str(&text).unwrap()), answer)
    }

    fn manage(verb: Verb, target: Target) -> Request {
        Request::Manage { verb, target }
    }

    fn entry(pm_id: u32) -> Target {
        Target::Entry {
            pm_id,
            app: "api".into(),
        }
    }

    fn custom(name: &str, pm_id: u32) -> Request {
        Request::Custom {
            name: name.into(),
            target: entry(pm_id),
            param: None,
            scope: None,
        }
    }

    #[test]
    fn methods_are_matched_by_name_and_app_in_order() {
        let mut pending = Pending::default();
        let (frame, mut by_name) = start(&mut pending, manage(Verb::Restart, Target::App("api".into())));
        assert_eq!(
            frame.unwrap()["payload"]["parameters"],
            serde_json::json!({ "name": "api" })
        );
        let (_, mut first) = start(&mut pending, manage(Verb::Restart, entry(1)));
        let (_, mut second) = start(&mut pending, manage(Verb::Restart, entry(2)));
        assert!(!pending.method_ended("reload", None, None));
        assert!(pending.method_ended("restart", None, None));
        assert_eq!(first.try_recv().unwrap(), Ok(Value::Null));
        assert!(second.try_recv().is_err());
        assert!(pending.method_ended("restart", Some("api"), Some("")));
        assert!(matches!(
            by_name.try_recv().unwrap(),
            Err(ActionError::Refused(_))
        ));
    }

    #[test]
    fn what_the_agent_has_not_is_refused_at_once() {
        let mut pending = Pending::default();
        let module = |install| Request::Module {
            install,
            name: "mod".into(),
        };
        let verbs = [
            Verb::Stop,
            Verb::Delete,
            Verb::Pull,
            Verb::Backward,
            Verb::Forward,
            Verb::Monitor,
            Verb::Unmonitor,
        ];
        let asked = verbs.map(|verb| manage(verb, entry(1)));
        for request in asked.into_iter().chain([module(true), module(false)]) {
            assert!(!POSSIBLE.contains(&request.name()));
            let (frame, mut answer) = start(&mut pending, request);
            assert_eq!(frame, None);
            assert!(matches!(
                answer.try_recv().unwrap(),
                Err(ActionError::Unsupported(_))
            ));
        }
        let (_, mut answer) = start(&mut pending, manage(Verb::Start, entry(1)));
        assert!(matches!(answer.try_recv().unwrap(), Err(ActionError::Refused(_))));
    }

    #[test]
    fn scale_counts_from_what_is_there() {
        let mut pending = Pending::default();
        let (frame, _answer) = start(
            &mut pending,
            Request::Scale {
                app: "api".into(),
                to: ScaleTo::By(3),
            },
        );
        assert_eq!(frame.unwrap()["payload"]["parameters"]["number"], 5);
        let (frame, _answer) = start(
            &mut pending,
            Request::Scale {
                app: "api".into(),
                to: ScaleTo::Exactly(2),
            },
        );
        assert_eq!(frame, None);
    }

    #[test]
    fn answers_of_actions_find_their_process() {
        let mut pending = Pending::default();
        let (_, mut one) = start(&mut pending, custom("gc", 1));
        let (_, mut two) = start(&mut pending, custom("gc", 2));
        pending.action_answered("gc", Some(2), "api", Value::from(2));
        assert_eq!(two.try_recv().unwrap(), Ok(Value::from(2)));
        assert!(one.try_recv().is_err());
        pending.action_refused("gc", Some(1), "no");
        assert_eq!(one.try_recv().unwrap(), Err(ActionError::Refused("no".into())));
    }
}

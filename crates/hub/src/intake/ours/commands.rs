//! Actions on one link: numbered on the way out, matched on the way back. Pure but for the replies.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::oneshot;
use wire::action::{self, Action, ActionErrorCode, ActionRequest, ActionResult};

use crate::live::link::{ActionError, Command, Output, Request, ScaleTo, Target, Verb};

/// Actions under way on one link; more are refused.
const MAX_PENDING: usize = 256;

/// Actions that wait for their result.
#[derive(Debug, Default)]
pub(super) struct Pending {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    reply: oneshot::Sender<Result<Value, ActionError>>,
    output: Option<Output>,
}

impl Pending {
    /// The message to send for `command`; `None` when it was refused, which its sender knows by then.
    pub(super) fn start(&mut self, command: Command) -> Option<ActionRequest> {
        // Whoever gave up waiting leaves the table.
        self.waiting.retain(|_, waiting| !waiting.reply.is_closed());
        let Command {
            request,
            reply,
            patience,
            by,
            output,
        } = command;
        if self.waiting.len() >= MAX_PENDING {
            let _ = reply.send(Err(ActionError::Busy));
            return None;
        }
        let action = to_wire(&request);
        self.next += 1;
        self.waiting.insert(
            self.next,
            Waiting {
                request,
                reply,
                output,
            },
        );
        let timeout_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        Some(ActionRequest {
            id: self.next,
            action,
            timeout_ms,
            by,
        })
    }

    /// Action `id` says something while it runs, JSON text.
    pub(super) fn said(&self, id: u64, data: &str) {
        if let Some(output) = self.waiting.get(&id).and_then(|waiting| waiting.output.as_ref()) {
            output.give(serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned())));
        }
    }

    /// The uuid under which output of action `id` is told, when it streams.
    pub(super) fn scope(&self, id: u64) -> Option<(&Request, &str)> {
        let request = &self.waiting.get(&id)?.request;
        match request {
            Request::Custom {
                scope: Some(scope), ..
            } => Some((request, scope)),
            _ => None,
        }
    }

    /// Takes a result: the request it answers and what came of it. `None` when nobody asked.
    pub(super) fn finish(&mut self, result: ActionResult) -> Option<Finished> {
        let Waiting { request, reply, .. } = self.waiting.remove(&result.id)?;
        let outcome = match result.error {
            None if result.data.is_empty() => Ok(Value::Null),
            None => Ok(serde_json::from_str(&result.data).unwrap_or(Value::String(result.data))),
            Some(error) => Err(to_error(error)),
        };
        Some(Finished {
            request,
            reply,
            outcome,
        })
    }
}

/// An action that ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Result<Value, ActionError>>,
    pub(super) outcome: Result<Value, ActionError>,
}

fn to_error(error: action::ActionError) -> ActionError {
    match error.code {
        ActionErrorCode::Busy => ActionError::Busy,
        ActionErrorCode::Unsupported if error.message.is_empty() => {
            ActionError::Unsupported("do this".into())
        }
        code if error.message.is_empty() => ActionError::Refused(code.as_str().replace('_', " ")),
        _ => ActionError::Refused(error.message),
    }
}

fn to_wire(request: &Request) -> Action {
    let target = |target: &Target| match target {
        Target::Entry { pm_id, .. } => action::Target::Process(*pm_id),
        Target::App(app) => action::Target::App(app.clone()),
    };
    match request {
        Request::Manage { verb, target: to } => match verb {
            Verb::Restart => Action::Restart(target(to)),
            Verb::Reload => Action::Reload(target(to)),
            Verb::Stop => Action::Stop(target(to)),
            Verb::Start => Action::Start(target(to)),
            Verb::Delete => Action::Delete(target(to)),
            Verb::Reset => Action::Reset(target(to)),
            Verb::Ping => Action::Ping,
            Verb::Pull => Action::Pull(target(to)),
            Verb::Backward => Action::Backward(target(to)),
            Verb::Forward => Action::Forward(target(to)),
            Verb::Monitor => Action::Monitor(target(to)),
            Verb::Unmonitor => Action::Unmonitor(target(to)),
        },
        Request::Module { install, name } => {
            let module = action::Module { name: name.clone() };
            if *install {
                Action::Install(module)
            } else {
                Action::Uninstall(module)
            }
        }
        Request::Scale { app, to } => {
            let (number, relative) = match to {
                ScaleTo::Exactly(n) => (i32::try_from(*n).unwrap_or(i32::MAX), false),
                ScaleTo::By(n) => (*n, true),
            };
            Action::Scale(action::Scale {
                app: app.clone(),
                number,
                relative,
            })
        }
        Request::Custom {
            name,
            target: to,
            param,
            scope,
        } => Action::Custom(action::Custom {
            target: target(to),
            name: name.clone(),
            opts: param.as_ref().map(Value::to_string).unwrap_or_default(),
            uuid: scope.clone().unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn command(request: Request) -> (Command, oneshot::Receiver<Result<Value, ActionError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Command {
                request,
                reply,
                patience: Duration::from_secs(30),
                by: "me".into(),
                output: None,
            },
            answer,
        )
    }

    fn restart() -> Request {
        Request::Manage {
            verb: Verb::Restart,
            target: Target::App("api".into()),
        }
    }

    #[test]
    fn results_find_their_requests_in_any_order() {
        let mut pending = Pending::default();
        let (one, _one) = command(restart());
        let (two, _two) = command(Request::Scale {
            app: "api".into(),
            to: ScaleTo::By(2),
        });
        let one = pending.start(one).unwrap();
        let two = pending.start(two).unwrap();
        assert_ne!(one.id, two.id);
        let result = |id, data: &str| ActionResult {
            id,
            error: None,
            data: data.into(),
            took_ms: 1,
        };
        assert_eq!(
            pending.finish(result(two.id, "{\"n\":3}")).unwrap().outcome,
            Ok(serde_json::json!({ "n": 3 }))
        );
        assert_eq!(pending.finish(result(one.id, "")).unwrap().request, restart());
        assert!(
            pending.finish(result(one.id, "")).is_none(),
            "a second answer is nobody's"
        );
        assert!(pending.finish(result(99, "")).is_none());
    }

    #[test]
    fn whoever_gave_up_makes_room() {
        let mut pending = Pending::default();
        let answers: Vec<_> = (0..MAX_PENDING)
            .map(|_| {
                let (command, answer) = command(restart());
                assert!(pending.start(command).is_some());
                answer
            })
            .collect();
        let (refused, mut answer) = command(restart());
        assert!(pending.start(refused).is_none());
        assert_eq!(answer.try_recv().unwrap(), Err(ActionError::Busy));
        drop(answers);
        let (command, _answer) = command(restart());
        assert!(pending.start(command).is_some());
    }
}

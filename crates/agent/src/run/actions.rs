//! Actions that are being done: each ends in exactly one result, whatever happens.

use crate::api::RequestId;
use crate::link::{ConnId, Moment};
use crate::redact;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::action::{Action, ActionError, ActionErrorCode, ActionRequest, Target};

/// Most actions at once.
pub(super) const MAX_PENDING: usize = 64;
/// How long an action may take if the hub does not say, and at most.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
const MAX_NAME: usize = 256;
const MAX_OPTS: usize = 64 << 10;

/// One that is being done.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) conn: ConnId,
    /// The hub's number of it.
    pub(super) asked_as: u64,
    /// For the log.
    pub(super) what: String,
    pub(super) since: Moment,
    until: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Actions {
    pending: BTreeMap<RequestId, Pending>,
    last_id: u64,
}

impl Actions {
    /// Whether the hub asked for it already on this connection.
    pub(super) fn is_repeat(&self, conn: ConnId, asked_as: u64) -> bool {
        self.pending
            .values()
            .any(|p| p.conn == conn && p.asked_as == asked_as)
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Takes one in; gives its number here and how long it may take.
    pub(super) fn begin(
        &mut self,
        conn: ConnId,
        now: Moment,
        request: &ActionRequest,
    ) -> (RequestId, Duration) {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        let timeout = match request.timeout_ms {
            0 => TIMEOUT.0,
            ms => Duration::from_millis(u64::from(ms)).min(TIMEOUT.1),
        };
        let pending = Pending {
            conn,
            asked_as: request.id,
            what: describe(request),
            since: now,
            until: now + timeout,
        };
        self.pending.insert(id, pending);
        (id, timeout)
    }

    /// It is done, or will never be; `None` if nobody waits for it any more.
    pub(super) fn end(&mut self, id: RequestId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.pending.values().map(|p| p.until).min()
    }

    /// Those whose time is over.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Pending> {
        let over: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, p)| p.until <= now)
            .map(|(&id, _)| id)
            .collect();
        over.into_iter()
            .filter_map(|id| self.pending.remove(&id))
            .collect()
    }

    /// The connection is gone and with it whoever waited.
    pub(super) fn abandon(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}

/// For the log: verb, target, who. Never the parameters.
pub(super) fn describe(request: &ActionRequest) -> String {
    let target = match &request.action {
        Action::Restart(t)
        | Action::Reload(t)
        | Action::Stop(t)
        | Action::Start(t)
        | Action::Reset(t)
        | Action::Delete(t)
        | Action::Pull(t)
        | Action::Backward(t)
        | Action::Forward(t)
        | Action::Monitor(t)
        | Action::Unmonitor(t) => of(t),
        Action::Custom(custom) => format!(" `{}` of{}", redact::clip(&custom.name, 64), of(&custom.target)),
        Action::Scale(scale) => {
            let sign = if scale.relative && scale.number >= 0 {
                "+"
            } else {
                ""
            };
            format!(
                " app `{}` to {sign}{}",
                redact::clip(&scale.app, 64),
                scale.number
            )
        }
        Action::Install(module) | Action::Uninstall(module) => {
            format!(" `{}`", redact::clip(&module.name, 64))
        }
        Action::Ping | Action::Unknown(_) => String::new(),
    };
    let by = if request.by.is_empty() {
        "the hub"
    } else {
        redact::clip(&request.by, 128)
    };
    format!("{}{target}, asked by {by}", request.action.verb())
}

fn of(target: &Target) -> String {
    match target {
        Target::Process(id) => format!(" process {id}"),
        Target::App(name) => format!(" app `{}`", redact::clip(name, 64)),
        Target::Unknown(n) => format!(" target kind {n}"),
    }
}

/// Whether the parameters make sense at all; what they mean is for the daemon to judge.
pub(super) fn check(action: &Action) -> Result<(), ActionError> {
    let wrong = |what: &str| {
        Err(ActionError {
            code: ActionErrorCode::Invalid,
            message: what.to_owned(),
        })
    };
    let bad_name =
        |name: &str| name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control);
    let bad_target = |target: &Target| match target {
        Target::Process(_) => false,
        Target::App(name) => bad_name(name),
        Target::Unknown(_) => true,
    };
    match action {
        Action::Restart(t)
        | Action::Reload(t)
        | Action::Stop(t)
        | Action::Start(t)
        | Action::Reset(t)
        | Action::Delete(t)
        | Action::Pull(t)
        | Action::Backward(t)
        | Action::Forward(t)
        | Action::Monitor(t)
        | Action::Unmonitor(t)
            if bad_target(t) =>
        {
            wrong("the target of the action is not understood")
        }
        Action::Custom(custom) if bad_target(&custom.target) => {
            wrong("the target of the action is not understood")
        }
        Action::Custom(custom) if bad_name(&custom.name) => wrong("the name of the action is not understood"),
        Action::Custom(custom) if custom.opts.len() > MAX_OPTS => {
            wrong("the parameter of the action is too large")
        }
        Action::Custom(custom)
            if !custom.opts.is_empty()
                && serde_json::from_str::<serde_json::Value>(&custom.opts).is_err() =>
        {
            wrong("the parameter of the action is not JSON")
        }
        Action::Scale(scale) if bad_name(&scale.app) => wrong("the app to scale is not understood"),
        Action::Scale(scale) if scale.number.unsigned_abs() > 10_000 => {
            wrong("no app has that many instances")
        }
        Action::Install(module) => module.refusal().map_or(Ok(()), wrong),
        Action::Uninstall(module) => module.refusal_as_installed().map_or(Ok(()), wrong),
        _ => Ok(()),
    }
}

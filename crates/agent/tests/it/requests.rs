//! What the hub asks for: allowed, refused, answered once.

use crate::hub::{Hub, Session, journal, next_request, soon, stop, until};
use agent::telemetry::{LogLine, LogStream};
use agent::{
    Action, ActionCall, ActionError, ActionErrorCode, Custom, Handle, Observation, Request, Requests, Target,
    Verb,
};
use tempfile::TempDir;
use wire::AgentMessage;
use wire::action::{ActionRequest, ActionResult};
use wire::message::{LogSubscribe, LogUnsubscribe};

struct Linked {
    home: TempDir,
    handle: Handle,
    requests: Requests,
    session: Session,
    allowed: Vec<Verb>,
}

async fn linked(policy: Option<&str>) -> Linked {
    linked_with(policy, true).await
}

async fn linked_with(policy: Option<&str>, reverse: bool) -> Linked {
    let home = tempfile::tempdir().unwrap();
    if let Some(policy) = policy {
        std::fs::write(home.path().join("policy.toml"), policy).unwrap();
    }
    let hub = Hub::start().await;
    let mut config = hub.config(home.path());
    config.settings.reverse = reverse;
    let (handle, requests) = agent::start(config).unwrap();
    let (session, hello) = hub.link(0).await;
    assert_eq!(hello.reverse_disabled, !reverse);
    soon("the link", handle.settled()).await;
    Linked {
        home,
        handle,
        requests,
        session,
        allowed: hello.allowed,
    }
}

impl Linked {
    async fn ask(&mut self, id: u64, action: Action) {
        self.ask_within(id, action, 30_000).await;
    }

    async fn ask_within(&mut self, id: u64, action: Action, timeout_ms: u32) {
        self.session
            .send(ActionRequest {
                id,
                action,
                timeout_ms,
                by: "ann@example.org".into(),
            })
            .await;
    }

    async fn call(&mut self) -> ActionCall {
        match next_request(&mut self.requests, |r| matches!(r, Request::Action(_))).await {
            Request::Action(call) => call,
            other => panic!("{other:?}"),
        }
    }

    async fn result(&mut self) -> ActionResult {
        self.session
            .pick(|m| {
                if let AgentMessage::Result(r) = m {
                    Some(r)
                } else {
                    None
                }
            })
            .await
    }
}

fn restart() -> Action {
    Action::Restart(Target::App("api".into()))
}

fn code(result: &ActionResult) -> Option<ActionErrorCode> {
    result.error.as_ref().map(|e| e.code)
}

#[tokio::test]
async fn an_action_goes_to_the_daemon_and_its_result_comes_back() {
    let mut it = linked(None).await;
    assert!(it.allowed.contains(&Verb::Restart) && !it.allowed.contains(&Verb::Delete));
    it.ask(7, restart()).await;
    let call = it.call().await;
    assert_eq!((&call.action, call.by.as_str()), (&restart(), "ann@example.org"));
    it.handle.progress(call.id, "\"half\"".into());
    it.handle
        .reply(call.id, Ok(r#"{"ok":true,"env":{"A":"b"}}"#.into()));
    let progress = it
        .session
        .pick(|m| {
            if let AgentMessage::Progress(p) = m {
                Some(p)
            } else {
                None
            }
        })
        .await;
    assert_eq!((progress.id, progress.data.as_str()), (7, "\"half\""));
    let result = it.result().await;
    assert_eq!((result.id, code(&result)), (7, None));
    assert_eq!(
        result.data, r#"{"ok":true}"#,
        "an environment never leaves the host"
    );
    stop(it.handle).await;
    let log = journal(it.home.path());
    assert!(
        log.contains("action restart app `api`, asked by ann@example.org: begun"),
        "{log}"
    );
    assert!(log.contains("asked by ann@example.org: done"), "{log}");
}

#[tokio::test]
async fn results_are_correlated_whatever_their_order() {
    let mut it = linked(None).await;
    it.ask(1, restart()).await;
    it.ask(2, Action::Stop(Target::Process(3))).await;
    let (one, two) = (it.call().await, it.call().await);
    assert_ne!(one.id, two.id);
    let error = ActionError {
        code: ActionErrorCode::NotFound,
        message: "no process 3".into(),
    };
    it.handle.reply(two.id, Err(error.clone()));
    it.handle.reply(one.id, Ok(String::new()));
    // A second answer to the same request is nobody's.
    it.handle.reply(one.id, Ok("\"again\"".into()));
    let first = it.result().await;
    assert_eq!((first.id, first.error), (2, Some(error)));
    let second = it.result().await;
    assert_eq!((second.id, code(&second)), (1, None));
    it.ask(3, Action::Ping).await;
    assert_eq!(it.result().await.id, 3);
    stop(it.handle).await;
}

#[tokio::test]
async fn what_the_policy_does_not_allow_never_reaches_the_daemon() {
    let mut it = linked(None).await;
    it.ask(1, Action::Delete(Target::App("api".into()))).await;
    let result = it.result().await;
    assert_eq!(code(&result), Some(ActionErrorCode::Denied));
    let message = result.error.unwrap().message;
    assert!(
        message.contains("`delete`") && message.contains("policy.toml"),
        "{message}"
    );
    // The host's owner allows it: no restart of anything is needed.
    std::fs::write(it.home.path().join("policy.toml"), "allow = [\"delete\"]").unwrap();
    it.ask(2, Action::Delete(Target::App("api".into()))).await;
    let call = it.call().await;
    assert_eq!(
        call.action,
        Action::Delete(Target::App("api".into())),
        "the first one did not come through"
    );
    it.handle.reply(call.id, Ok(String::new()));
    assert_eq!(it.result().await.id, 2);
    it.ask(3, restart()).await;
    assert_eq!(code(&it.result().await), Some(ActionErrorCode::Denied));
    stop(it.handle).await;
    assert!(journal(it.home.path()).contains("action delete app `api`, asked by ann@example.org: refused"));
}

#[tokio::test]
async fn a_host_that_disabled_remote_actions_refuses_all_of_them() {
    let mut it = linked_with(None, false).await;
    assert!(it.allowed.is_empty());
    it.ask(1, restart()).await;
    let result = it.result().await;
    assert_eq!(code(&result), Some(ActionErrorCode::Denied));
    assert!(result.error.unwrap().message.contains("disabled on this host"));
    stop(it.handle).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_here() {
    let mut it = linked(None).await;
    let custom = |name: &str, opts: &str| {
        Action::Custom(Custom {
            target: Target::Process(1),
            name: name.into(),
            opts: opts.into(),
            uuid: String::new(),
        })
    };
    for (id, action, expected) in [
        (1, Action::Unknown(500), ActionErrorCode::Unsupported),
        (
            2,
            Action::Restart(Target::App(String::new())),
            ActionErrorCode::Invalid,
        ),
        (3, Action::Restart(Target::Unknown(9)), ActionErrorCode::Invalid),
        (4, custom("go", "{not json"), ActionErrorCode::Invalid),
        (5, custom("", "{}"), ActionErrorCode::Invalid),
    ] {
        it.ask(id, action).await;
        let result = it.result().await;
        assert_eq!((result.id, code(&result)), (id, Some(expected)));
    }
    stop(it.handle).await;
}

#[tokio::test]
async fn an_action_without_an_answer_ends_with_its_time() {
    let mut it = linked(None).await;
    it.ask_within(1, restart(), 50).await;
    let call = it.call().await;
    let result = it.result().await;
    assert_eq!((result.id, code(&result)), (1, Some(ActionErrorCode::TimedOut)));
    it.handle.reply(call.id, Ok(String::new()));
    it.ask(2, Action::Ping).await;
    assert_eq!(it.result().await.id, 2, "the late answer is nobody's");
    stop(it.handle).await;
}

#[tokio::test]
async fn too_many_actions_at_once_are_refused_and_a_repeat_is_one_action() {
    let mut it = linked(None).await;
    for id in 0..64 {
        it.ask(id, restart()).await;
        it.ask(id, restart()).await;
        it.call().await;
    }
    it.ask(100, restart()).await;
    let result = it.result().await;
    assert_eq!((result.id, code(&result)), (100, Some(ActionErrorCode::Busy)));
    stop(it.handle).await;
}

fn line(name: &str, data: &str) -> Observation {
    Observation::Log(LogLine {
        at: 1,
        pm_id: 0,
        name: name.into(),
        stream: LogStream::Out,
        data: data.into(),
    })
}

#[tokio::test]
async fn logs_flow_on_demand_for_the_app_that_is_watched() {
    let mut it = linked(None).await;
    it.session
        .send(LogSubscribe {
            id: 1,
            app: Some("api".into()),
            lease_ms: 0,
            by: "ann".into(),
        })
        .await;
    next_request(&mut it.requests, |r| *r == Request::Logs(true)).await;
    it.handle.observe(line("other", "not for you"));
    it.handle.observe(line("api", "hello"));
    let batch = it
        .session
        .pick(|m| {
            if let AgentMessage::Logs(l) = m {
                Some(l)
            } else {
                None
            }
        })
        .await;
    assert_eq!(
        batch.lines.iter().map(|l| l.data.as_str()).collect::<Vec<_>>(),
        ["hello"]
    );
    it.session.send(LogUnsubscribe { id: 1 }).await;
    next_request(&mut it.requests, |r| *r == Request::Logs(false)).await;
    stop(it.handle).await;
}

#[tokio::test]
async fn logs_stop_by_themselves_when_nobody_renews_them() {
    let mut it = linked(None).await;
    it.session
        .send(LogSubscribe {
            id: 5,
            app: None,
            lease_ms: 60,
            by: "ann".into(),
        })
        .await;
    next_request(&mut it.requests, |r| *r == Request::Logs(true)).await;
    let ended = it
        .session
        .pick(|m| {
            if let AgentMessage::LogsEnded(e) = m {
                Some(e)
            } else {
                None
            }
        })
        .await;
    assert_eq!((ended.id, ended.error), (5, None));
    next_request(&mut it.requests, |r| *r == Request::Logs(false)).await;
    stop(it.handle).await;
}

#[tokio::test]
async fn a_lost_link_stops_the_logs() {
    let mut it = linked(None).await;
    it.session
        .send(LogSubscribe {
            id: 5,
            app: None,
            lease_ms: 0,
            by: "ann".into(),
        })
        .await;
    next_request(&mut it.requests, |r| *r == Request::Logs(true)).await;
    drop(it.session);
    next_request(&mut it.requests, |r| *r == Request::Logs(false)).await;
    stop(it.handle).await;
}

#[tokio::test]
async fn logs_that_the_policy_forbids_are_refused() {
    let mut it = linked(Some("allow = [\"restart\"]")).await;
    assert_eq!(it.allowed, [Verb::Restart]);
    it.session
        .send(LogSubscribe {
            id: 5,
            app: None,
            lease_ms: 0,
            by: "ann".into(),
        })
        .await;
    let ended = it
        .session
        .pick(|m| {
            if let AgentMessage::LogsEnded(e) = m {
                Some(e)
            } else {
                None
            }
        })
        .await;
    assert_eq!(ended.error.map(|e| e.code), Some(ActionErrorCode::Denied));
    until("the audit", || {
        journal(it.home.path()).contains("live logs, asked by ann: refused")
    })
    .await;
    stop(it.handle).await;
}

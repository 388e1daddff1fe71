//! Actions, from the request to the agent and back.

use hub::store::catalog::AuditQuery;
use serde_json::{Value, json};
use wire::action::{self, Action, ActionErrorCode, ActionResult};
use wire::{AgentMessage, HubMessage};

use crate::lab::{Dashboard, Lab};
use crate::wire_agent::{WireAgent, hello, process};

async fn linked(lab: &Lab) -> (WireAgent, String) {
    let mut agent = WireAgent::link(lab, hello(1, "web")).await;
    agent
        .snapshot(&[(0, process("api", 1)), (1, process("api", 2))])
        .await;
    let server = lab
        .server("the processes", |s| {
            s["processes"].as_array().is_some_and(|p| p.len() == 2)
        })
        .await;
    (agent, server["id"].as_str().unwrap().to_owned())
}

async fn next_action(agent: &mut WireAgent) -> action::ActionRequest {
    match agent.hear().await {
        Some(HubMessage::Action(action)) => action,
        other => panic!("an action was expected: {other:?}"),
    }
}

fn done(id: u64, data: &str) -> AgentMessage {
    AgentMessage::Result(ActionResult {
        id,
        error: None,
        data: data.into(),
        took_ms: 3,
    })
}

#[tokio::test]
async fn an_action_goes_to_the_agent_and_its_result_comes_back() {
    let lab = Lab::start().await;
    let (mut agent, server) = linked(&lab).await;
    let path = format!("/servers/{server}/actions");
    let (answer, ()) = tokio::join!(
        lab.post(&path, json!({ "action": "restart", "process": "1:api" })),
        async {
            let asked = next_action(&mut agent).await;
            assert_eq!(asked.action, Action::Restart(action::Target::Process(1)));
            assert_eq!(asked.by, "owner@example.org");
            agent.say(&done(asked.id, r#"{"ok":1}"#)).await;
        }
    );
    assert_eq!(
        (answer.0, &answer.1["ok"], &answer.1["result"]),
        (200, &json!(true), &json!({ "ok": 1 }))
    );

    let (answer, ()) = tokio::join!(
        lab.post(
            &path,
            json!({ "action": "scale", "app": "api", "params": { "number": "+2" } })
        ),
        async {
            let asked = next_action(&mut agent).await;
            assert_eq!(
                asked.action,
                Action::Scale(action::Scale {
                    app: "api".into(),
                    number: 2,
                    relative: true
                })
            );
            let error = Some(action::ActionError {
                code: ActionErrorCode::Denied,
                message: "the policy says no".into(),
            });
            agent
                .say(&AgentMessage::Result(ActionResult {
                    id: asked.id,
                    error,
                    data: String::new(),
                    took_ms: 0,
                }))
                .await;
        }
    );
    assert_eq!(
        (answer.0, &answer.1["ok"], &answer.1["error"]),
        (200, &json!(false), &json!("the policy says no"))
    );
    let trail = lab
        .hub
        .state
        .catalog
        .audit_trail(AuditQuery {
            bucket: lab.bucket.parse().unwrap(),
            before: None,
            containing: String::new(),
            limit: 10,
        })
        .await
        .unwrap();
    let seen: Vec<_> = trail
        .iter()
        .map(|(_, e)| (e.what.as_str(), e.target.as_str(), e.outcome.as_str()))
        .collect();
    assert!(seen.contains(&("restart", "web/api/1", "ok")), "{seen:?}");
    assert!(
        seen.contains(&("scale", "web/api", "the policy says no")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_at_once() {
    let lab = Lab::start().await;
    let (agent, server) = linked(&lab).await;
    let path = format!("/servers/{server}/actions");
    for (ask, status) in [
        (json!({ "action": "restart", "process": 9 }), 404),
        (json!({ "action": "restart", "process": "1:other" }), 404),
        (json!({ "action": "restart", "app": "nobody" }), 404),
        (json!({ "action": "restart" }), 400),
        (
            json!({ "action": "scale", "app": "api", "params": { "number": "many" } }),
            400,
        ),
        (json!({}), 400),
    ] {
        let (got, body) = lab.post(&path, ask.clone()).await;
        assert_eq!(got, status, "{ask}: {body}");
        assert!(body["msg"].is_string(), "{body}");
    }
    let (status, _) = lab
        .post(
            "/servers/000000000000000000000000/actions",
            json!({ "action": "restart", "app": "api" }),
        )
        .await;
    assert_eq!(status, 404);
    drop(agent);
    let (status, body) = lab
        .post(&path, json!({ "action": "restart", "app": "api" }))
        .await;
    assert_eq!((status, &body["ok"]), (200, &json!(false)), "{body}");
}

#[tokio::test]
async fn a_host_that_takes_no_commands_gets_none() {
    let lab = Lab::start().await;
    let mut closed = hello(1, "web");
    closed.reverse_disabled = true;
    let mut agent = WireAgent::link(&lab, closed).await;
    agent.snapshot(&[(0, process("api", 1))]).await;
    let server = lab
        .server("the process", |s| s["processes"][0]["name"] == "api")
        .await;
    assert_eq!(
        (&server["reverse"], &server["reverse_disabled"]),
        (&json!(false), &json!(true))
    );
    let path = format!("/servers/{}/actions", server["id"].as_str().unwrap());
    let (_, body) = lab
        .post(&path, json!({ "action": "restart", "app": "api" }))
        .await;
    assert_eq!(body["error"], "Reverse connection not established");
}

#[tokio::test]
async fn pm2s_client_triggers_and_hears_the_result() {
    let lab = Lab::start().await;
    let (mut agent, _) = linked(&lab).await;
    let mut primus = Dashboard::primus(&lab, &lab.token).await;
    primus
        .say(json!({ "action": "sub", "public_id": lab.public_key, "filters": ["trigger:pm2:result", "axm:reply", "status"] }))
        .await;
    primus
        .hear("the subscription", |m| m["data"][1]["status"].is_object())
        .await;

    let (status, body) = lab
        .post(
            "/actions/triggerPM2",
            json!({ "server_name": "web", "method_name": "restart", "app_name": "api" }),
        )
        .await;
    assert_eq!((status, body), (200, json!({ "success": true })));
    let asked = next_action(&mut agent).await;
    assert_eq!(asked.action, Action::Restart(action::Target::App("api".into())));
    agent.say(&done(asked.id, "")).await;
    let told = primus
        .hear("the result", |m| m["data"][1]["trigger:pm2:result"].is_object())
        .await;
    let result = &told["data"][1]["trigger:pm2:result"];
    assert_eq!(
        (&result["ret"]["err"], &result["meta"]["method_name"]),
        (&Value::Null, &json!("restart"))
    );

    let ask = json!({ "server_name": "web", "process_id": "1", "app_name": "api", "action_name": "gc", "opts": { "full": true } });
    let (status, _) = lab.post("/actions/trigger", ask).await;
    assert_eq!(status, 200);
    let asked = next_action(&mut agent).await;
    let Action::Custom(custom) = &asked.action else {
        panic!("a custom action: {asked:?}")
    };
    assert_eq!(
        (custom.name.as_str(), custom.opts.as_str(), &custom.target),
        ("gc", r#"{"full":true}"#, &action::Target::Process(1))
    );
    agent.say(&done(asked.id, r#"{"freed":1}"#)).await;
    let told = primus
        .hear("the reply", |m| m["data"][1]["axm:reply"].is_object())
        .await;
    assert_eq!(
        told["data"][1]["axm:reply"]["data"]["return"],
        json!({ "freed": 1 })
    );

    let (status, _) = lab
        .post(
            "/actions/triggerPM2",
            json!({ "server_name": "web", "method_name": "explode", "app_name": "api" }),
        )
        .await;
    assert_eq!(status, 400);
    let (status, body) = lab
        .post(
            "/actions/triggerPM2",
            json!({ "server_name": "web", "method_name": "startLogging", "app_name": "api" }),
        )
        .await;
    assert_eq!((status, body), (200, json!({ "success": true })));
    assert!(matches!(agent.hear().await, Some(HubMessage::LogSubscribe(s)) if s.app.is_none()));
}

//! Our own agents at their door.

use serde_json::{Value, json};
use wire::message::{Bye, ByeReason, KeyOrder, RefuseCode};
use wire::telemetry::ProcessStatus;
use wire::{AgentMessage, HubMessage};

use crate::lab::{Dashboard, Lab};
use crate::wire_agent::{WireAgent, hello, knock, process};

#[tokio::test]
async fn a_linked_server_is_seen_and_its_changes_follow() {
    let lab = Lab::start().await;
    let (mut dashboard, snapshot) = lab.dashboard().await;
    assert_eq!(snapshot["servers"], json!([]));

    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(0, process("api", 100))]).await;
    let seen = |m: &Value| {
        let server = &m["servers"][0];
        server["processes"]
            .as_array()
            .is_some_and(|p| !p.is_empty())
            .then(|| server.clone())
    };
    let told = dashboard
        .hear("the new server", |m| m["op"] == "changes" && seen(m).is_some())
        .await;
    assert_eq!(seen(&told).unwrap()["processes"][0]["name"], "api");
    let server = lab.server("the server", |s| s["name"] == "web").await;
    assert_eq!(
        (
            &server["state"],
            &server["online"],
            &server["agent"],
            &server["versions"]["pm2"],
            &server["reverse"]
        ),
        (
            &json!("online"),
            &json!(true),
            &json!("pilothouse"),
            &json!("7.0.4"),
            &json!(true)
        )
    );

    // The end of a process does not wait for the next second.
    agent
        .change(|view| {
            let process = view.processes.get_mut(&0).unwrap();
            process.status = ProcessStatus::Errored;
            process.pid = 0;
        })
        .await;
    let told = dashboard
        .hear("the crash", |m| {
            m["servers"][0]["processes"][0]["status"] == "errored"
        })
        .await;
    assert_eq!(told["servers"][0]["processes"][0]["key"], "0:api");

    agent
        .say(&AgentMessage::Bye(Bye {
            reason: ByeReason::Stopped,
        }))
        .await;
    dashboard
        .hear("the goodbye", |m| m["servers"][0]["state"] == "stopped")
        .await;
}

#[tokio::test]
async fn keys_open_in_either_order_and_nothing_else_does() {
    let lab = Lab::start().await;
    let (public, secret) = (&lab.public_key, &lab.secret_key);
    let canonical = WireAgent::greet(
        knock(&lab, &format!("{public}.{secret}")).await.unwrap(),
        hello(1, "a"),
    )
    .await;
    assert_eq!(canonical.unwrap().welcome.key_order, KeyOrder::Canonical);
    let swapped = WireAgent::greet(
        knock(&lab, &format!("{secret}.{public}")).await.unwrap(),
        hello(2, "b"),
    )
    .await;
    assert_eq!(swapped.unwrap().welcome.key_order, KeyOrder::Swapped);
    for wrong in [
        format!("{public}.{public}"),
        format!("{public}."),
        format!("{public}.x"),
        "a.b".into(),
        String::new(),
    ] {
        let (status, body) = knock(&lab, &wrong)
            .await
            .err()
            .unwrap_or_else(|| panic!("{wrong:?} opened the door"));
        assert_eq!(status, 401, "{wrong}");
        assert!(body.contains("msg") && !body.contains(secret), "{body}");
    }
}

#[tokio::test]
async fn a_rename_keeps_the_server_and_equal_names_are_two() {
    let lab = Lab::start().await;
    let one = WireAgent::link(&lab, hello(1, "web")).await.welcome.server_id;
    let two = WireAgent::link(&lab, hello(2, "web")).await.welcome.server_id;
    assert_ne!(one, two);
    let renamed = WireAgent::link(&lab, hello(1, "renamed")).await;
    assert_eq!(renamed.welcome.server_id, one);
    lab.server("the new name", |s| {
        s["id"] == one.as_str() && s["name"] == "renamed"
    })
    .await;
    // PM2's client takes names for identities, so there they differ.
    let _again = WireAgent::link(&lab, hello(1, "web")).await;
    let status = lab.get("/data/status").await;
    let names: std::collections::BTreeSet<_> = status
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["server_name"].to_string())
        .collect();
    assert_eq!(names.len(), 2);
}

#[tokio::test]
async fn the_newer_link_of_a_machine_takes_over() {
    let lab = Lab::start().await;
    let mut old = WireAgent::link(&lab, hello(1, "web")).await;
    let mut new = WireAgent::link(&lab, hello(1, "web")).await;
    let Some(HubMessage::Refuse(refusal)) = old.hear().await else {
        panic!("the old link is told")
    };
    assert_eq!(refusal.code, RefuseCode::Replaced);
    new.snapshot(&[(0, process("api", 1))]).await;
    lab.server("the process", |s| {
        s["state"] == "online" && s["processes"][0]["name"] == "api"
    })
    .await;
}

#[tokio::test]
async fn a_copied_machine_is_a_second_server() {
    let lab = Lab::start().await;
    let mut original = WireAgent::link(&lab, hello(1, "web")).await;
    original.snapshot(&[]).await;
    lab.server("the original", |s| s["state"] == "online").await;
    let mut copied = hello(1, "web");
    copied.facts.boot_id = "another".into();
    copied.facts.hostname = "another".into();
    let copy = WireAgent::link(&lab, copied).await;
    assert_ne!(copy.welcome.server_id, original.welcome.server_id);
}

#[tokio::test]
async fn a_delta_that_does_not_fit_is_answered_by_a_question() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent
        .change(|view| drop(view.processes.insert(0, process("api", 1))))
        .await;
    assert!(matches!(agent.hear().await, Some(HubMessage::Resend(_))));
    agent.snapshot(&[(0, process("api", 1))]).await;
    lab.server("the process", |s| s["processes"][0]["name"] == "api")
        .await;
}

#[tokio::test]
async fn logs_flow_while_somebody_watches() {
    use wire::message::LogBatch;
    use wire::telemetry::{LogLine, LogStream};

    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(0, process("api", 1))]).await;
    let server = lab
        .server("the process", |s| s["processes"][0]["name"] == "api")
        .await;
    let mut dashboard = Dashboard::connect(&lab, &lab.token).await;
    let watch = json!({
        "op": "watch", "id": 7, "bucket": lab.bucket, "topic": "logs", "server": server["id"], "app": "api",
    });
    dashboard.say(watch).await;
    let Some(HubMessage::LogSubscribe(subscription)) = agent.hear().await else {
        panic!("a subscription")
    };
    assert_eq!(subscription.app.as_deref(), Some("api"));

    let line = |name: &str, data: &str, stream| LogLine {
        at: 5,
        pm_id: 0,
        name: name.into(),
        stream,
        data: data.into(),
    };
    let lines = vec![
        line("api", "hello", LogStream::Out),
        line("other", "hidden", LogStream::Out),
        line("api", "oh", LogStream::Err),
    ];
    agent
        .say(&AgentMessage::Logs(LogBatch { lines, dropped: 3 }))
        .await;
    let told = dashboard.hear("the lines", |m| m["op"] == "logs").await;
    assert_eq!((&told["id"], &told["dropped"]), (&json!(7), &json!(3)));
    assert_eq!(
        told["lines"],
        json!([
            { "at": 5, "server": server["id"], "pm_id": 0, "name": "api", "stream": "out", "data": "hello" },
            { "at": 5, "server": server["id"], "pm_id": 0, "name": "api", "stream": "err", "data": "oh" },
        ])
    );
    dashboard.say(json!({ "op": "unwatch", "id": 7 })).await;
    let Some(HubMessage::LogUnsubscribe(end)) = agent.hear().await else {
        panic!("the end of the subscription")
    };
    assert_eq!(end.id, subscription.id);
}

#[tokio::test]
async fn a_hidden_server_returns_only_when_linked_anew() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(0, process("api", 1))]).await;
    let server = lab
        .server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let path = format!(
        "/api/bucket/{}/servers/{}",
        lab.bucket,
        server["id"].as_str().unwrap()
    );

    let (status, answer) = lab.http("DELETE", &path, Some(json!({ "mode": "delete" }))).await;
    assert_eq!(status, 409, "a linked server would come back: {answer}");
    let (status, _) = lab
        .http("DELETE", &path, Some(json!({ "mode": "hide", "purge": true })))
        .await;
    assert_eq!(status, 200);
    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    let Err(Some(HubMessage::Refuse(refusal))) =
        WireAgent::greet(knock(&lab, &keys).await.unwrap(), hello(1, "web")).await
    else {
        panic!("a hidden server came back by itself")
    };
    assert_eq!(refusal.code, RefuseCode::Hidden);
    let (status, answer) = lab.http("DELETE", &path, Some(json!({ "mode": "delete" }))).await;
    assert_eq!(
        status, 409,
        "its agent would bring it back as a new one: {answer}"
    );
    let lab = lab.restart().await;
    let mut anew = hello(1, "web");
    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    assert!(
        WireAgent::greet(knock(&lab, &keys).await.unwrap(), anew.clone())
            .await
            .is_err(),
        "a restart forgets nothing"
    );
    anew.linked_at = anew.now;
    let back = WireAgent::link(&lab, anew).await;
    assert_eq!(server["id"], back.welcome.server_id.as_str());
}

#[tokio::test]
async fn a_hidden_server_that_nobody_asks_for_can_be_deleted() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(0, process("api", 1))]).await;
    let server = lab.server("the server", |s| s["name"] == "web").await;
    agent.socket.close(None).await.unwrap();
    lab.server("the end of its link", |s| s["state"] != "online")
        .await;
    let path = format!(
        "/api/bucket/{}/servers/{}",
        lab.bucket,
        server["id"].as_str().unwrap()
    );
    let (status, answer) = lab.http("DELETE", &path, Some(json!({ "mode": "hide" }))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(lab.get("/servers").await["servers"][0]["state"], "hidden");
    let (status, _) = lab.http("DELETE", &path, Some(json!({ "mode": "hide" }))).await;
    assert_eq!(status, 409, "once is enough");

    let (status, answer) = lab.http("DELETE", &path, Some(json!({ "mode": "delete" }))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(lab.get("/servers").await["servers"], json!([]));
    let (status, _) = lab.http("DELETE", &path, Some(json!({ "mode": "delete" }))).await;
    assert_eq!(status, 404);

    // The same machine, linked again, is a new server and the only one.
    let back = WireAgent::link(&lab, hello(1, "web")).await;
    assert_ne!(server["id"], back.welcome.server_id.as_str());
    let servers = lab.get("/servers").await;
    assert_eq!(servers["servers"].as_array().unwrap().len(), 1, "{servers}");
}

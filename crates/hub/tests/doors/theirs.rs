//! Unmodified PM2 agents at their door.

use serde_json::json;

use crate::lab::{Dashboard, Lab, until};
use crate::pm2_agent::{Pm2Agent, introduction, process};
use crate::wire_agent::now;

#[tokio::test]
async fn the_handshake_answers_the_same_addresses_each_time() {
    let lab = Lab::start().await;
    let (public, secret) = (lab.public_key.clone(), lab.secret_key.clone());
    let mut answers = Vec::new();
    for path in [
        "/api/node/verifyPM2",
        "//api/node/verifyPM2",
        "/api/node/verifyPM2",
    ] {
        for (a, b) in [(&public, &secret), (&secret, &public)] {
            let (status, answer) = lab.http("POST", path, Some(introduction(a, b, "web"))).await;
            assert_eq!(status, 200, "{path}: {answer}");
            assert_eq!(
                (&answer["active"], &answer["pending"], &answer["disabled"]),
                (&json!(true), &json!(false), &json!(false))
            );
            answers.push(answer["endpoints"].to_string());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let expected = json!({ "web": format!("http://{}", lab.address()), "ws": format!("ws://{}/interaction/pm2", lab.address()) });
    assert_eq!(answers[0], expected.to_string());

    let (_, answer) = lab
        .http(
            "POST",
            "/api/node/verifyPM2",
            Some(introduction(&public, "wrong", "web")),
        )
        .await;
    assert_eq!(
        (&answer["error"], &answer["active"]),
        (&json!(true), &json!(false))
    );
    assert!(answer["msg"].is_string() && answer.get("endpoints").is_none());
    assert_eq!(
        Pm2Agent::with_keys(&lab, &public, "wrong", "web").await.err(),
        Some(401)
    );

    // What the handshake told of the machine is shown with its server.
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[]).await;
    let server = lab.server("the server", |s| s["state"] == "online").await;
    assert_eq!((&server["cpus"], &server["cpu_model"]), (&json!(1), &json!("x")));
}

#[tokio::test]
async fn a_body_longer_than_announced_is_understood() {
    let lab = Lab::start().await;
    let body = introduction(&lab.public_key, &lab.secret_key, "srv-é-café").to_string();
    // Agents count characters where bytes are meant.
    let announced = body.chars().count();
    assert!(announced < body.len());
    let (status, answer) = lab
        .raw_http("POST", "/api/node/verifyPM2", body.as_bytes(), announced)
        .await;
    assert_eq!((status, &answer["active"]), (200, &json!(true)), "{answer}");
    let (status, answer) = lab.http("POST", "/api/node/verifyPM2", Some(json!([1, 2]))).await;
    assert_eq!((status, &answer["active"]), (400, &json!(false)), "{answer}");
}

#[tokio::test]
async fn a_status_is_seen_patched_and_its_values_kept() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent
        .status(&[process(0, "api", "online"), process(1, "job", "stopped")])
        .await;
    let server = lab
        .server("the server", |s| {
            s["processes"].as_array().is_some_and(|p| p.len() == 2)
        })
        .await;
    assert_eq!(
        (&server["agent"], &server["state"], &server["hostname"]),
        (&json!("pm2"), &json!("online"), &json!("vm"))
    );
    let api = &server["processes"][0];
    assert_eq!(
        api["metrics"]["HTTP"],
        json!({ "value": 12, "unit": "req/min", "type": "internal/http" })
    );
    assert_eq!(api["actions"][0]["name"], "gc");

    agent
        .say(
            "status:patch",
            json!([
                { "op": "replace", "path": "/data/process/0/cpu", "value": 42 },
                { "op": "remove", "path": "/data/process/1" },
            ]),
        )
        .await;
    lab.server("the patch", |s| {
        s["processes"][0]["cpu"] == 42 && s["processes"][1].is_null()
    })
    .await;

    agent
        .say(
            "status:patch",
            json!([{ "op": "replace", "path": "/data/process/9/cpu", "value": 1 }]),
        )
        .await;
    assert_eq!(agent.hear().await, ("status:resend".into(), json!({})));
    // Asked once; what does not fit meanwhile is ignored.
    agent
        .say(
            "status:patch",
            json!([{ "op": "replace", "path": "/data/process/0/cpu", "value": 99 }]),
        )
        .await;
    agent.status(&[process(0, "api", "online")]).await;
    lab.server("the whole status", |s| s["processes"][0]["cpu"] == 3)
        .await;

    // An app that sends on the channel `status` is not believed.
    agent
        .say(
            "status",
            json!({ "data": "nonsense", "process": agent.about(0, "api") }),
        )
        .await;
    agent
        .status(&[process(0, "api", "online"), process(2, "new", "online")])
        .await;
    lab.server("the next status", |s| s["processes"][1]["name"] == "new")
        .await;
    until("values of HTTP", async || {
        let list = lab.get("/metrics?app=api").await;
        list.as_array()
            .unwrap()
            .iter()
            .any(|m| m["name"] == "HTTP" && m["unit"] == "req/min")
            .then_some(())
    })
    .await;
    let status = lab.get("/data/status").await;
    let active = [
        &status[0]["active"],
        &status[0]["data"]["active"],
        &status[0]["data"]["server"]["active"],
    ];
    assert_eq!(active, [&json!(true); 3]);
    assert_eq!(lab.get("/meta_servers").await[0]["name"], "web");
}

#[tokio::test]
async fn many_sockets_of_one_agent_are_one_server_and_none_is_closed() {
    let lab = Lab::start().await;
    let mut first = Pm2Agent::connect(&lab, "web").await;
    first.status(&[process(0, "api", "online")]).await;
    lab.server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let mut second = Pm2Agent::connect(&lab, "web").await;
    second
        .status(&[process(0, "api", "online"), process(1, "job", "online")])
        .await;
    let server = lab
        .server("the second socket's word", |s| {
            s["processes"].as_array().is_some_and(|p| p.len() == 2)
        })
        .await;
    assert_eq!(lab.get("/servers").await["servers"].as_array().unwrap().len(), 1);

    // A command goes down one socket: the one that spoke last.
    let path = format!("/servers/{}/actions", server["id"].as_str().unwrap());
    let (answer, ()) = tokio::join!(
        lab.post(&path, json!({ "action": "restart", "app": "api" })),
        async {
            let (channel, payload) = second.hear().await;
            assert_eq!(channel, "trigger:pm2:action");
            assert_eq!(
                payload,
                json!({ "method_name": "restart", "parameters": { "name": "api" } })
            );
            let meta = json!({ "method_name": "restart", "app_name": "api", "machine_name": "web", "public_key": lab.public_key });
            second
                .say(
                    "trigger:pm2:result",
                    json!({ "ret": { "err": null, "data": { "env": "SECRET" } }, "meta": meta }),
                )
                .await;
        }
    );
    assert_eq!((answer.0, &answer.1["ok"]), (200, &json!(true)), "{}", answer.1);
    assert!(
        !answer.1.to_string().contains("SECRET"),
        "the environment of an app goes nowhere"
    );

    // The older one is still heard, and the end of one does not end the other.
    drop(second);
    first.status(&[process(0, "api", "stopped")]).await;
    let server = lab
        .server("the first socket's word", |s| {
            s["processes"][0]["status"] == "stopped"
        })
        .await;
    assert_eq!(server["state"], "online");
}

#[tokio::test]
async fn equal_names_of_two_daemons_become_two_servers() {
    let lab = Lab::start().await;
    let mut one = Pm2Agent::connect(&lab, "web").await;
    let mut two = Pm2Agent::connect(&lab, "web").await;
    two.unique_id = "another".into();
    until("two servers", async || {
        one.status(&[process(0, "one", "online")]).await;
        two.status(&[process(0, "two", "online")]).await;
        let servers = lab.get("/servers").await;
        let names: Vec<_> = servers["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["processes"][0]["name"].clone())
            .collect();
        for name in &names {
            assert!(name.is_null() || name == "one" || name == "two", "{names:?}");
        }
        let both = names.contains(&json!("one")) && names.contains(&json!("two"));
        (names.len() == 2 && both).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_name_beyond_ascii_is_read() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.name = "srv-é-café".into();
    agent.status(&[]).await;
    lab.server("the name", |s| {
        s["name"] == "srv-é-café" && s["processes"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn events_come_at_once_and_exceptions_once() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[process(0, "api", "stopped")]).await;
    lab.server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let (mut dashboard, _) = lab.dashboard().await;
    let event = |name: &str| json!({ "event": name, "manually": false, "process": { "pm_id": 0, "name": "api", "rev": null, "server": "web" }, "at": now() });
    agent.say("process:event", event("online")).await;
    dashboard
        .hear("the start", |m| {
            m["servers"][0]["processes"][0]["status"] == "online"
        })
        .await;

    let at = now();
    for _ in 0..2 {
        let exception = json!({ "at": at, "process": agent.about(0, "api"), "data": { "message": "boom", "stack": "Error: boom" } });
        agent.say("process:exception", exception).await;
    }
    let human =
        json!({ "at": now(), "process": agent.about(0, "api"), "name": "signup", "data": { "id": 1 } });
    agent.say("human:event", human).await;
    until("the event", async || {
        let (_, events) = lab.post("/data/events", json!({ "event_name": "signup" })).await;
        (events.as_array()?.len() == 1).then_some(())
    })
    .await;
    let stored = lab
        .hub
        .state
        .telemetry
        .events(hub::store::telemetry::EventQuery {
            bucket: lab.bucket.parse().unwrap(),
            server: None,
            app: None,
            kind: Some("process:exception".into()),
            name: None,
            from_ms: 0,
            to_ms: i64::MAX,
            limit: 10,
        })
        .await
        .unwrap();
    assert_eq!(stored.len(), 1, "PM2 6 tells each twice");
}

#[tokio::test]
async fn logs_are_switched_joined_and_switched_off() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[process(0, "api", "online")]).await;
    let server = lab
        .server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let mut dashboard = Dashboard::connect(&lab, &lab.token).await;
    dashboard
        .say(json!({ "op": "watch", "id": 1, "bucket": lab.bucket, "topic": "logs", "server": server["id"], "app": null }))
        .await;
    let (channel, payload) = agent.hear().await;
    assert_eq!(
        (channel.as_str(), payload),
        (
            "trigger:pm2:action",
            json!({ "method_name": "startLogging", "parameters": {} })
        )
    );
    for data in ["one\ntw", "o\n"] {
        agent
            .say(
                "logs",
                json!({ "data": data, "log_type": "out", "process": agent.about(0, "api"), "at": 5 }),
            )
            .await;
    }
    let first = dashboard.hear("the first line", |m| m["op"] == "logs").await;
    assert_eq!(first["lines"][0]["data"], "one");
    let second = dashboard.hear("the second line", |m| m["op"] == "logs").await;
    assert_eq!(second["lines"][0]["data"], "two");
    drop(dashboard);
    let (_, payload) = agent.hear().await;
    assert_eq!(payload["method_name"], "stopLogging");
}

#[tokio::test]
async fn custom_actions_are_answered_by_their_process() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[process(0, "api", "online")]).await;
    let server = lab
        .server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let path = format!("/servers/{}/actions", server["id"].as_str().unwrap());
    let (answer, ()) = tokio::join!(
        lab.post(
            &path,
            json!({ "action": "gc", "process": 0, "params": { "full": true } })
        ),
        async {
            let (channel, payload) = agent.hear().await;
            assert_eq!(channel, "trigger:action");
            assert_eq!(
                payload,
                json!({ "action_name": "gc", "process_id": 0, "opts": { "full": true } })
            );
            agent
                .say(
                    "trigger:action:success",
                    json!({ "success": true, "id": 0, "action_name": "gc" }),
                )
                .await;
            let data = json!({ "at": 1, "action_name": "gc", "return": { "freed": 5 } });
            agent
                .say(
                    "axm:reply",
                    json!({ "at": 1, "data": data, "process": agent.about(0, "api") }),
                )
                .await;
        }
    );
    assert_eq!(
        (&answer.1["ok"], &answer.1["result"]),
        (&json!(true), &json!({ "freed": 5 }))
    );

    let (_, answer) = lab.post(&path, json!({ "action": "stop", "process": 0 })).await;
    assert_eq!(answer["ok"], false, "PM2's agents know no stop: {answer}");
}

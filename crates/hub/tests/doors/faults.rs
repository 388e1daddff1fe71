//! What agents do wrong, or what is done to them: the state shown stays the truth, and nobody else notices.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use wire::HubMessage;
use wire::message::{Events, RefuseCode, ReportBody};
use wire::telemetry::{Event, ProcessRef, SampleBatch, Series};

use crate::lab::{Dashboard, Lab, until};
use crate::pm2_agent::{self, Pm2Agent};
use crate::wire_agent::{WireAgent, hello, knock, now, process};

const DAY: u64 = 86_400_000;

/// How many values of the metric `cpu` of an app the hub has, between two times.
async fn count(lab: &Lab, app: &str, from: u64, to: u64) -> u64 {
    let (_, found) = lab
        .http(
            "GET",
            &format!(
                "/api/bucket/{}/series?app={app}&metric=cpu&from={from}&to={to}&points=10000",
                lab.bucket
            ),
            None,
        )
        .await;
    let steps = found["series"][0]["avg"]
        .as_array()
        .map_or(0, |avg| avg.iter().filter(|v| !v.is_null()).count());
    steps as u64
}

#[tokio::test]
async fn a_flood_is_taken_in_order_and_holds_nobody_up() {
    let lab = Lab::start().await;
    let mut good = WireAgent::link(&lab, hello(1, "good")).await;
    good.snapshot(&[(0, process("api", 1))]).await;
    let mut flood = WireAgent::link(&lab, hello(2, "flood")).await;
    let begin = now() / 1000 * 1000 - 600_000;
    let reports = 150u64;
    // 150 reports of 800 values, nothing read meanwhile: far more than the hub lets wait.
    let flooding = tokio::spawn(async move {
        for seq in 1..=reports {
            let series = (0..400).map(|n| Series {
                pm_id: Some(0),
                app: "flood".into(),
                metric: if n == 0 { "cpu".into() } else { format!("m{n}") },
                values: vec![Some(n as f64); 2],
                ..Series::default()
            });
            let batch = SampleBatch {
                at: vec![begin + seq * 2000, begin + seq * 2000 + 1000],
                series: series.collect(),
            };
            flood.report(seq, ReportBody::Samples(batch)).await;
        }
        flood.acknowledged(reports).await;
        flood
    });
    let mut theirs = Pm2Agent::connect(&lab, "theirs").await;
    theirs.status(&[pm2_agent::process(0, "job", "online")]).await;
    let about = theirs.about(0, "job");
    let noise = tokio::spawn(async move {
        for n in 0..2_000 {
            theirs
                .say(
                    "process:event",
                    json!({ "event": "noise", "n": n, "at": now(), "process": about }),
                )
                .await;
        }
        theirs
            .status(&[
                pm2_agent::process(0, "job", "online"),
                pm2_agent::process(1, "last", "online"),
            ])
            .await;
        theirs
    });
    for restarts in 1..=8 {
        good.change(|view| view.processes.get_mut(&0).unwrap().restarts = restarts)
            .await;
        lab.server("the good one goes on", |s| {
            s["processes"][0]["restart_time"] == restarts
        })
        .await;
    }
    let _flood = flooding.await.unwrap();
    let _theirs = noise.await.unwrap();
    assert_eq!(count(&lab, "flood", begin, begin + 700_000).await, 2 * reports);
    lab.server("what came behind the flood", |s| {
        s["processes"][1]["name"] == "last"
    })
    .await;
}

#[tokio::test]
async fn patches_that_make_no_sense_change_nothing_and_are_asked_about_once() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    let deep = "/data".repeat(5_000);
    let many: Vec<Value> = (0..50_001)
        .map(|_| json!({ "op": "replace", "path": "/data/process/0/cpu", "value": 1 }))
        .collect();
    for (n, patch) in [
        json!(null),
        json!("patch"),
        json!({}),
        json!([1]),
        json!([{ "op": "replace" }]),
        json!([{ "op": "replace", "path": "/data/process/0/cpu" }]),
        json!([{ "op": "replace", "path": 7, "value": 1 }]),
        json!([{ "op": "move", "from": "/data", "path": "/x" }]),
        json!([{ "op": "replace", "path": "/data/process/0/cpu/deeper", "value": 1 }]),
        json!([{ "op": "replace", "path": "/data/process/0/cpu", "value": 66 }, { "op": "remove", "path": "/nothing" }]),
        json!([{ "op": "add", "path": "/data/process/99", "value": {} }]),
        json!([{ "op": "replace", "path": deep, "value": 1 }]),
        json!(many),
    ]
    .into_iter()
    .enumerate()
    {
        let fresh = agent_process(n);
        agent.status(&[fresh]).await;
        lab.server("the whole status", |s| s["processes"][0]["restart_time"] == n)
            .await;
        agent.say("status:patch", patch.clone()).await;
        assert_eq!(agent.hear().await, ("status:resend".into(), json!({})), "{n}");
        // Until the whole comes, nothing is believed, and nothing asked again.
        agent
            .say(
                "status:patch",
                json!([{ "op": "replace", "path": "/data/process/0/cpu", "value": 77 }]),
            )
            .await;
    }
    // What a patch makes of the document may be nonsense: the last good one is shown, until it is one again.
    agent.status(&[agent_process(50)]).await;
    let nonsense = json!([{ "op": "replace", "path": "/data/process", "value": 7 }]);
    agent.say("status:patch", nonsense).await;
    let back = json!([{ "op": "replace", "path": "/data/process", "value": [agent_process(51)] }]);
    agent.say("status:patch", back).await;
    let server = lab
        .server("a document that makes sense again", |s| {
            s["processes"][0]["restart_time"] == 51
        })
        .await;
    assert_eq!(server["processes"][0]["cpu"], 3);
}

fn agent_process(restarts: usize) -> Value {
    let mut process = pm2_agent::process(0, "api", "online");
    process["restart_time"] = json!(restarts);
    process
}

#[tokio::test]
async fn forged_channels_speak_for_nobody_else() {
    let lab = Lab::start().await;
    let mut victim = WireAgent::link(&lab, hello(1, "victim")).await;
    victim.snapshot(&[(0, process("api", 1))]).await;
    let mut forger = Pm2Agent::connect(&lab, "forger").await;
    forger.status(&[pm2_agent::process(0, "app", "online")]).await;
    lab.server("both", |s| s["name"] == "forger" && s["state"] == "online")
        .await;
    let mut primus = Dashboard::primus(&lab, &lab.token).await;
    primus.hear("the greeting", |_| true).await;
    primus
        .say(json!({ "action": "sub", "public_id": lab.public_key, "filters": [] }))
        .await;
    primus
        .hear("the forger", |m| m["data"][1]["server_name"] == "forger")
        .await;

    let about = json!({ "pm_id": 0, "name": "api", "rev": null, "server": "victim" });
    let long = "c".repeat(100_000);
    for channel in [
        "error",
        "__proto__",
        "constructor",
        "server_name",
        "data:incoming",
        "connection:success",
        "logs",
        "status",
        "status:patch",
        "trigger:pm2:result",
        "trigger:action:success",
        "axm:reply",
        "axm:scoped_action:end",
        "profiling",
        "profilings",
        "process:event",
        "process:exception",
        "human:event",
        "axm:transaction",
        "",
        &long,
    ] {
        for payload in [
            json!(null),
            json!(7),
            json!([[[]]]),
            json!({ "at": "soon", "data": { "__proto__": 1 }, "process": about, "event": "stop", "ret": [], "meta": 5 }),
        ] {
            forger.say(channel, payload).await;
        }
    }
    for raw in [
        "null",
        "[]",
        "{\"channel\":\"logs\"}",
        "{\"payload\":{}}",
        "{\"channel\":7,\"payload\":{}}",
    ] {
        forger.socket.send(Message::Text(raw.into())).await.ok();
    }
    // The socket may have been closed for what was no message at all: the agent comes back.
    let mut forger = Pm2Agent::connect(&lab, "forger").await;
    forger.status(&[pm2_agent::process(0, "app", "online")]).await;
    let last = json!({ "event": "last", "manually": false, "process": forger.about(0, "app"), "at": now() });
    let heard = async {
        primus
            .hear("the last event", |m| {
                assert!(
                    m["data"][1].is_object() && m["data"][1]["server_name"].is_string(),
                    "{m}"
                );
                assert!(
                    m["data"][1]["server_name"] != "victim" || m["data"][1]["status"].is_object(),
                    "in the victim's name: {m}"
                );
                m["data"][1]["process:event"][0]["event"] == "last"
            })
            .await;
    };
    let speak = async {
        loop {
            forger.say("process:event", last.clone()).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = heard => {}
        () = speak => {}
    }
    let victim = lab.server("the victim", |s| s["name"] == "victim").await;
    assert_eq!(
        (&victim["state"], &victim["processes"][0]["status"]),
        (&json!("online"), &json!("online"))
    );
}

#[tokio::test]
async fn clocks_a_year_off_lose_nothing_and_show_the_truth() {
    let lab = Lab::start().await;
    for (machine, name, off) in [(1, "ahead", 365 * DAY as i64), (2, "behind", -365 * DAY as i64)] {
        let wrong = || now().saturating_add_signed(off);
        let mut greeting = hello(machine, name);
        greeting.now = wrong();
        let mut agent = WireAgent::link(&lab, greeting).await;
        let begun = now();
        let mut api = process(name, 1);
        api.started_at = wrong();
        agent.view.processes = [(0, api)].into();
        agent.view.rev += 1;
        agent.view.at = wrong();
        let whole = wire::AgentMessage::Snapshot(agent.view.snapshot());
        agent.say(&whole).await;
        let server = lab
            .server(name, |s| s["name"] == name && s["processes"][0]["name"] == name)
            .await;
        assert_eq!(server["state"], "online");
        let uptime = server["processes"][0]["pm_uptime"].as_u64().unwrap();
        assert!(uptime.abs_diff(begun) < 60_000, "started a moment ago: {uptime}");

        let values: Vec<(u64, f64)> = (0..10).map(|n| (wrong() - 10_000 + n * 1000, 5.0)).collect();
        agent.report_cpu(1, name, &values).await;
        let stopped = Event {
            at: wrong(),
            name: "stop".into(),
            process: Some(ProcessRef {
                pm_id: 0,
                name: name.into(),
                ..ProcessRef::default()
            }),
            ..Event::default()
        };
        let body = ReportBody::Events(Events { list: vec![stopped] });
        agent.report(2, body).await;
        agent.acknowledged(2).await;
        // What just happened shows at once, although its date is a year off.
        lab.server("the hint", |s| {
            s["name"] == name && s["processes"][0]["status"] == "stopped"
        })
        .await;
        assert_eq!(
            count(&lab, name, begun - 60_000, now() + 60_000).await,
            10,
            "{name}"
        );
        let (_, events) = lab.post("/data/processEvents", json!({ "app_name": name })).await;
        let at = events[0]["at"].as_u64().unwrap_or_default();
        assert!(at.abs_diff(begun) < 60_000, "{events}");
    }

    let mut theirs = Pm2Agent::connect(&lab, "theirs").await;
    theirs.status(&[pm2_agent::process(0, "job", "online")]).await;
    for at in [now() + 365 * DAY, now() - 365 * DAY] {
        let event =
            json!({ "event": "stop", "manually": false, "process": theirs.about(0, "job"), "at": at });
        theirs.say("process:event", event).await;
    }
    let events = until("both events", async || {
        let (_, events) = lab
            .post("/data/processEvents", json!({ "app_name": "job" }))
            .await;
        events.as_array().filter(|list| list.len() == 2).cloned()
    })
    .await;
    for event in events {
        assert!(event["at"].as_u64().unwrap().abs_diff(now()) < 60_000, "{event}");
    }
}

#[tokio::test]
async fn what_comes_late_twice_and_out_of_order_counts_once() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    let begin = now() / 1000 * 1000 - 300_000;
    let part = |from: u64, to: u64| -> Vec<(u64, f64)> {
        (from..to).map(|n| (begin + n * 1000, n as f64)).collect()
    };
    // The newest first, then older ones, overlapping, under numbers that rise and under numbers that were used before.
    for (seq, from, to) in [
        (10, 200, 250),
        (11, 100, 220),
        (11, 100, 220),
        (9, 0, 50),
        (12, 0, 130),
        (13, 0, 250),
    ] {
        agent.report_cpu(seq, "api", &part(from, to)).await;
    }
    assert_eq!(count(&lab, "api", begin, begin + 300_000).await, 250);
    let lab = lab.restart().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    assert_eq!(agent.welcome.ack, 13);
    agent.report_cpu(14, "api", &part(0, 250)).await;
    let path = format!(
        "/series?app=api&metric=cpu&from={begin}&to={}&points=10000",
        begin + 300_000
    );
    let series = lab.get(&path).await;
    let values: Vec<f64> = series["series"][0]["avg"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    let expected: Vec<f64> = (0..250).map(f64::from).collect();
    assert_eq!(values, expected, "each once, with the value that came first");
}

#[tokio::test]
async fn replaced_keys_end_every_link_and_the_new_ones_bring_the_same_servers_back() {
    let mut lab = Lab::start().await;
    let mut ours = WireAgent::link(&lab, hello(1, "ours")).await;
    ours.snapshot(&[(0, process("api", 1))]).await;
    let mut theirs = Pm2Agent::connect(&lab, "theirs").await;
    theirs.status(&[pm2_agent::process(0, "job", "online")]).await;
    let before = lab
        .server("ours", |s| {
            s["name"] == "ours" && s["processes"][0]["name"] == "api"
        })
        .await;
    lab.server("theirs", |s| s["name"] == "theirs").await;

    let (status, bucket) = lab.post("/secret", json!({})).await;
    assert_eq!(status, 200, "{bucket}");
    let old = std::mem::replace(
        &mut lab.secret_key,
        bucket["secret_id"].as_str().unwrap().to_owned(),
    );
    assert_ne!(old, lab.secret_key);
    let refused = loop {
        if let HubMessage::Refuse(refusal) = ours.hear().await.expect("a refusal before the end") {
            break refusal;
        }
    };
    assert_eq!(refused.code, RefuseCode::BadKeys);
    assert!(
        refused.message.contains("keys of this bucket were replaced"),
        "{}",
        refused.message
    );
    while crate::lab::next(&mut theirs.socket, "the end of their socket")
        .await
        .is_some()
    {}
    let keys = format!("{}.{old}", lab.public_key);
    assert_eq!(
        knock(&lab, &keys).await.err().map(|(status, _)| status),
        Some(401)
    );
    assert_eq!(
        Pm2Agent::with_keys(&lab, &lab.public_key, &old, "theirs")
            .await
            .err(),
        Some(401)
    );

    let mut ours = WireAgent::link(&lab, hello(1, "ours")).await;
    ours.snapshot(&[(0, process("api", 2))]).await;
    let after = lab.server("ours again", |s| s["processes"][0]["pid"] == 2).await;
    assert_eq!((&after["id"], &after["state"]), (&before["id"], &json!("online")));
    let mut theirs = Pm2Agent::connect(&lab, "theirs").await;
    theirs.status(&[pm2_agent::process(0, "job", "online")]).await;
    until("theirs is one server still", async || {
        let servers = lab.get("/servers").await;
        let servers = servers["servers"].as_array().unwrap().clone();
        (servers.len() == 2 && servers.iter().all(|s| s["state"] == "online")).then_some(())
    })
    .await;
}

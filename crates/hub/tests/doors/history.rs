//! What must not be lost: acknowledged when stored, counted once, seen in charts and lists.

use serde_json::{Value, json};
use wire::message::{Events, Exceptions, ReportBody};
use wire::telemetry::{Event, EventKind, Exception, ProcessRef};

use crate::lab::{Lab, until};
use crate::wire_agent::{WireAgent, hello, now, process};

fn api() -> ProcessRef {
    ProcessRef {
        pm_id: 0,
        name: "api".into(),
        ..ProcessRef::default()
    }
}

#[tokio::test]
async fn back_fill_counts_once_even_over_a_restart() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    assert_eq!(agent.welcome.ack, 0);
    let at = now() / 1000 * 1000 - 60_000;
    let values: Vec<(u64, f64)> = (0..10).map(|n| (at + n * 1000, 10.0)).collect();
    agent.report_cpu(5, "api", &values).await;
    let restarted = Event {
        at,
        name: "restart".into(),
        process: Some(api()),
        manually: true,
        ..Event::default()
    };
    agent
        .report(
            6,
            ReportBody::Events(Events {
                list: vec![restarted.clone()],
            }),
        )
        .await;
    agent.acknowledged(6).await;
    drop(agent);

    // The agent never saw the acknowledgement and brings both again; the hub has been restarted meanwhile.
    let lab = lab.restart().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    assert_eq!(agent.welcome.ack, 6);
    agent.report_cpu(5, "api", &values).await;
    agent
        .report(
            6,
            ReportBody::Events(Events {
                list: vec![restarted],
            }),
        )
        .await;
    agent.acknowledged(6).await;
    agent.report_cpu(7, "api", &[(at + 10_000, 30.0)]).await;

    let query = format!(
        "/series?app=api&metric=cpu&from={}&to={}&points=1",
        at,
        at + 20_000
    );
    let series = lab.get(&query).await;
    assert_eq!(series["unit"], "%");
    let avg = series["series"][0]["avg"][0].as_f64().unwrap();
    assert!(
        (avg - 130.0 / 11.0).abs() < 1e-6,
        "eleven values, each once: {series}"
    );
    assert_eq!(
        (&series["series"][0]["min"][0], &series["series"][0]["max"][0]),
        (&json!(10.0), &json!(30.0))
    );
    assert_eq!(
        lab.get("/metrics?app=api").await,
        json!([{ "name": "cpu", "unit": "%" }])
    );

    let (_, events) = lab
        .post("/data/processEvents", json!({ "app_name": "api" }))
        .await;
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["event"], &events[0]["process"]["server"]),
        (&json!("restart"), &json!("web"))
    );
}

#[tokio::test]
async fn aggregations_have_the_shape_that_pm2s_client_reads() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(0, process("api", 1))]).await;
    let at = now() - 30_000;
    agent.report_cpu(1, "api", &[(at, 4.0), (at + 1000, 8.0)]).await;
    let asked = |servers: Value| {
        json!({ "aggregations": [{
            "name": "cpu", "types": ["servers", "apps", "histogram"], "start": "now-5m", "servers": servers, "apps": ["api"],
        }] })
    };
    let (status, answer) = lab
        .post("/data/metrics/aggregations", asked(json!(["web"])))
        .await;
    assert_eq!(status, 200, "{answer}");
    let bucket = &answer[0]["by_server"]["buckets"][0];
    assert_eq!((&bucket["key"], &bucket["doc_count"]), (&json!("web"), &json!(2)));
    let points = bucket["histogram"]["buckets"].as_array().unwrap();
    let sum: f64 = points.iter().map(|p| p["stats"]["sum"].as_f64().unwrap()).sum();
    assert_eq!(sum, 12.0);
    assert!(points[0]["key_as_string"].is_string() && points[0]["stats"]["avg"].is_number());
    assert_eq!(answer[0]["by_app"]["buckets"][0]["key"], "api");

    let (_, nothing) = lab
        .post("/data/metrics/aggregations", asked(json!(["nobody"])))
        .await;
    assert_eq!(nothing[0]["by_server"]["buckets"], json!([]));
    let (status, _) = lab
        .post(
            "/data/metrics/aggregations",
            json!({ "aggregations": [{ "name": "cpu", "start": "yesterday-ish" }] }),
        )
        .await;
    assert_eq!(status, 400);

    let (_, list) = lab.post("/data/metrics/list", json!({})).await;
    assert_eq!(
        list[0]["process"],
        json!({ "server": "web", "name": "api", "pm_id": 0 })
    );
    assert!(list[0]["initiator"].is_string());
    let (_, histogram) = lab
        .post("/data/metrics/histogram", json!({ "app_name": "api" }))
        .await;
    assert_eq!(histogram["web"]["api"]["cpu"]["agg_type"], "avg");
}

#[tokio::test]
async fn custom_events_and_exceptions_are_kept() {
    let lab = Lab::start().await;
    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    let event = Event {
        at: now(),
        kind: EventKind::Custom,
        name: "user:register".into(),
        process: Some(api()),
        data: r#"{"plan":"pro"}"#.into(),
        ..Event::default()
    };
    agent
        .report(1, ReportBody::Events(Events { list: vec![event] }))
        .await;
    let exception = Exception {
        at: now(),
        process: api(),
        message: "boom".into(),
        ..Exception::default()
    };
    agent
        .report(
            2,
            ReportBody::Exceptions(Exceptions {
                list: vec![exception],
            }),
        )
        .await;
    agent.acknowledged(2).await;
    let events = until("the event", async || {
        let (_, events) = lab
            .post("/data/events", json!({ "event_name": "user:register" }))
            .await;
        events.as_array().filter(|e| !e.is_empty()).cloned()
    })
    .await;
    assert_eq!(
        (&events[0]["name"], &events[0]["data"]),
        (&json!("user:register"), &json!({ "plan": "pro" }))
    );
    assert_eq!(
        lab.get("/data/eventsKeysByApp").await,
        json!([{ "app_name": "api", "events": ["user:register"] }])
    );
    let (_, none) = lab
        .post(
            "/data/events",
            json!({ "event_name": "user:register", "server_name": "nobody" }),
        )
        .await;
    assert_eq!(none, json!([]));
}

//! Plans, as the whole hub keeps them.

use serde_json::json;

use crate::lab::Lab;
use crate::wire_agent::{WireAgent, hello, now, process};

#[tokio::test]
async fn over_plan_is_listed_and_neither_stored_nor_commanded() {
    let lab = Lab::start().await;
    let id = lab.bucket.parse().unwrap();
    let mut bucket = lab.hub.state.catalog.bucket(id).await.unwrap().unwrap();
    bucket.plan = "pro_1".into();
    lab.hub.state.catalog.update_bucket(bucket.clone()).await.unwrap();
    lab.hub.state.live.bucket_changed(id).await;

    let mut agent = WireAgent::link(&lab, hello(1, "web")).await;
    agent.snapshot(&[(5, process("first", 1))]).await;
    lab.server("the first", |s| {
        s["processes"].as_array().is_some_and(|p| p.len() == 1)
    })
    .await;
    agent
        .snapshot(&[(0, process("second", 2)), (5, process("first", 1))])
        .await;
    let server = lab
        .server("both", |s| {
            s["processes"].as_array().is_some_and(|p| p.len() == 2)
        })
        .await;
    let over: Vec<_> = server["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["name"], &p["over_plan"]))
        .collect();
    assert_eq!(
        over,
        [(&json!("second"), &json!(true)), (&json!("first"), &json!(false))]
    );
    let status = lab.get("/data/status").await;
    assert_eq!(status[0]["data"]["process"].as_array().unwrap().len(), 1);
    let held = lab.get("/data/status/blacklisted").await;
    assert_eq!(held[0]["data"]["process"][0]["name"], "second");

    let at = now() - 5_000;
    agent.report_cpu(1, "second", &[(at, 1.0)]).await;
    assert_eq!(
        lab.get("/metrics?app=second").await,
        json!([]),
        "values of pm_id 0 are not kept"
    );
    let path = format!("/servers/{}/actions", server["id"].as_str().unwrap());
    let (status, body) = lab
        .post(&path, json!({ "action": "restart", "process": 0 }))
        .await;
    assert_eq!(status, 403, "{body}");

    // A bigger plan holds at once.
    bucket.plan = "pro_8".into();
    lab.hub.state.catalog.update_bucket(bucket).await.unwrap();
    lab.hub.state.live.bucket_changed(id).await;
    assert_eq!(lab.get("/data/status/blacklisted").await, json!([]));
    agent.report_cpu(2, "second", &[(at + 1000, 2.0)]).await;
    assert_eq!(
        lab.get("/metrics?app=second").await,
        json!([{ "name": "cpu", "unit": "%" }])
    );
}

//! A bucket's limit on servers, at both doors.

use serde_json::{Value, json};
use wire::HubMessage;
use wire::message::RefuseCode;

use crate::lab::{Lab, until};
use crate::pm2_agent::{Pm2Agent, introduction};
use crate::wire_agent::{WireAgent, hello, knock};

async fn limit(lab: &Lab, max_servers: u32) {
    let path = format!("/api/bucket/{}", lab.bucket);
    let (status, body) = lab
        .http("PUT", &path, Some(json!({ "max_servers": max_servers })))
        .await;
    assert_eq!(status, 200, "{body}");
}

async fn delete(lab: &Lab, server: &Value) {
    let path = format!(
        "/api/bucket/{}/servers/{}",
        lab.bucket,
        server["id"].as_str().unwrap()
    );
    let (status, body) = lab.http("DELETE", &path, Some(json!({}))).await;
    assert_eq!(status, 200, "{body}");
}

async fn introduce(lab: &Lab, name: &str) -> Value {
    let body = introduction(&lab.public_key, &lab.secret_key, name);
    lab.http("POST", "/api/node/verifyPM2", Some(body)).await.1
}

#[tokio::test]
async fn one_server_more_is_told_to_wait_at_both_doors_until_one_is_deleted() {
    let lab = Lab::start().await;
    limit(&lab, 1).await;
    let first = WireAgent::link(&lab, hello(1, "first")).await;

    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    let refused = WireAgent::greet(knock(&lab, &keys).await.unwrap(), hello(2, "second")).await;
    let Err(Some(HubMessage::Refuse(refusal))) = refused else {
        panic!("let in beyond the limit")
    };
    assert_eq!(refusal.code, RefuseCode::Pending);
    assert!(refusal.message.contains("takes 1 servers"), "{}", refusal.message);
    let answer = introduce(&lab, "third").await;
    assert_eq!(
        (&answer["active"], &answer["pending"], &answer["error"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert!(answer.get("endpoints").is_none());

    // One that opens its socket all the same waits there, and is let in by itself.
    let mut stubborn = Pm2Agent::connect(&lab, "third").await;
    stubborn.status(&[]).await;
    let waiting = until("all of them wait", async || {
        let list = lab.get("/servers").await["waiting"].clone();
        (list.as_array().unwrap().len() == 2).then_some(list)
    })
    .await;
    assert_eq!(
        (&waiting[0]["name"], &waiting[1]["name"]),
        (&json!("second"), &json!("third"))
    );
    assert_eq!(lab.get("/servers").await["servers"].as_array().unwrap().len(), 1);

    // That the first is gone frees nothing; that it is deleted does.
    drop(first);
    let first = lab.server("the first is gone", |s| s["state"] == "lost").await;
    assert_eq!(introduce(&lab, "third").await["pending"], json!(true));
    delete(&lab, &first).await;
    stubborn.status(&[]).await;
    lab.server("the third", |s| s["name"] == "third").await;
    assert!(
        WireAgent::greet(knock(&lab, &keys).await.unwrap(), hello(2, "second"))
            .await
            .is_err()
    );
    limit(&lab, 2).await;
    WireAgent::link(&lab, hello(2, "second")).await;
}

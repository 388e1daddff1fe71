//! What an agent is told before it links, and what is refused for its versions.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::HubMessage;
use wire::message::RefuseCode;

use crate::lab::Lab;
use crate::pm2_agent::{Pm2Agent, introduction};
use crate::wire_agent::{WireAgent, hello, knock, now};

/// Asks with these keys; status and answer.
async fn ask(lab: &Lab, keys: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(lab.hub.address).await.unwrap();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {keys}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        wire::CHECK_PATH,
        lab.address(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_look_before_linking_links_nothing() {
    let lab = Lab::start().await;
    let (public, secret) = (&lab.public_key, &lab.secret_key);
    let question = json!({ "name": "web", "machine": null, "pm2": "7.0.4", "node": "v0.10.1" }).to_string();
    let (status, answer) = ask(&lab, &format!("{public}.{secret}"), &question).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["protocol"], wire::PROTOCOL);
    assert_eq!(
        (&answer["swapped"], &answer["prospect"]["linked"]),
        (&json!(false), &json!(false))
    );
    assert!(answer["too_old"].as_str().unwrap().contains("needs Node.js 4"));
    assert!(answer["now"].as_u64().unwrap().abs_diff(now()) < 60_000);
    let (_, answer) = ask(&lab, &format!("{secret}.{public}"), &question).await;
    assert_eq!(answer["swapped"], true);

    let (status, answer) = ask(&lab, &format!("{public}.wrong"), &question).await;
    assert_eq!(status, 401);
    assert!(
        answer["msg"]
            .as_str()
            .unwrap()
            .contains("does not know these keys")
    );
    for body in ["", "7", "{\"name\":7}", &"{".repeat(10_000)] {
        assert_eq!(ask(&lab, &format!("{public}.{secret}"), body).await.0, 400);
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(ask(&lab, &format!("{public}.{secret}"), &large).await.0, 413);
    assert!(
        lab.get("/servers").await["servers"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let _linked = WireAgent::link(&lab, hello(1, "web")).await;
    let (_, answer) = ask(&lab, &format!("{public}.{secret}"), &question).await;
    let twin = json!([{ "hostname": "host-1", "username": "root" }]);
    assert_eq!(answer["prospect"]["twins"], twin);
}

#[tokio::test]
async fn s42_a_host_below_the_floor_is_refused_with_the_reason_and_marked() {
    let lab = Lab::start().await;
    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    let agent = WireAgent::link(&lab, hello(1, "web")).await;
    drop(agent);
    let mut old = hello(1, "web");
    old.facts.versions.node = "0.10.48".into();
    let Err(Some(HubMessage::Refuse(refusal))) =
        WireAgent::greet(knock(&lab, &keys).await.unwrap(), old).await
    else {
        panic!("let in")
    };
    assert_eq!(refusal.code, RefuseCode::Versions);
    assert!(
        refusal.message.contains("PM2 7.0.4 needs Node.js 4 or newer"),
        "{}",
        refusal.message
    );
    let shown = lab
        .server("why", |s| {
            !s["failure"].is_null() && s["versions"]["node"] == "0.10.48"
        })
        .await;
    assert!(
        shown["failure"]["text"]
            .as_str()
            .unwrap()
            .contains("needs Node.js 4")
    );

    // PM2's agents tell their Node only once they are in: from then on their handshake is refused.
    let introduce = async || {
        let body = introduction(&lab.public_key, &lab.secret_key, "old");
        lab.http("POST", "/api/node/verifyPM2", Some(body)).await.1
    };
    assert_eq!(introduce().await["active"], true);
    let mut agent = Pm2Agent::connect(&lab, "old").await;
    agent.node = "v0.10.48".into();
    agent.status(&[]).await;
    lab.server("it is shown with its Node", |s| {
        s["name"] == "old" && s["versions"]["node"] == "v0.10.48"
    })
    .await;
    let answer = introduce().await;
    assert_eq!(
        (&answer["active"], &answer["error"]),
        (&json!(false), &json!(true))
    );
    assert!(
        answer["msg"].as_str().unwrap().contains("needs Node.js 4"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_and_a_link_that_breaks_are_shown() {
    let lab = Lab::start().await;
    let mut greeting = hello(1, "web");
    greeting.now += 90_000;
    let agent = WireAgent::link(&lab, greeting).await;
    let ahead = |s: &Value| s["clock_ahead"].as_i64();
    let shown = lab.server("it", |s| ahead(s).is_some()).await;
    let off = ahead(&shown).unwrap();
    assert!((60_000..=90_000).contains(&off), "{off}");
    assert!(shown["failure"].is_null());
    drop(agent);
    let shown = lab.server("the break", |s| !s["failure"].is_null()).await;
    assert!(
        shown["failure"]["text"]
            .as_str()
            .unwrap()
            .contains("without a goodbye")
    );
}

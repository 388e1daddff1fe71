//! Garbage, giants and the expired: each ends with a reason, and nobody else notices.

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use wire::message::RefuseCode;
use wire::{AgentMessage, HubMessage};

use crate::lab::{Dashboard, Lab, next};
use crate::pm2_agent::Pm2Agent;
use crate::wire_agent::{WireAgent, hello, knock, process};

/// Reads until the hub says why, or ends.
async fn refusal(agent: &mut WireAgent) -> Option<RefuseCode> {
    loop {
        if let HubMessage::Refuse(refusal) = agent.hear().await? {
            return Some(refusal.code);
        }
    }
}

#[tokio::test]
async fn garbage_ends_one_link_and_harms_nobody() {
    let lab = Lab::start().await;
    let mut good = WireAgent::link(&lab, hello(1, "good")).await;
    good.snapshot(&[(0, process("api", 1))]).await;
    lab.server("the good one", |s| s["state"] == "online").await;

    for garbage in [
        vec![],
        vec![0xff; 64],
        vec![0x10, 0xff],
        b"\x11not zstd at all".to_vec(),
    ] {
        let mut bad = WireAgent::link(&lab, hello(2, "bad")).await;
        bad.socket.send(Message::Binary(garbage.into())).await.unwrap();
        assert_eq!(refusal(&mut bad).await, Some(RefuseCode::Violation));
    }
    let mut bad = WireAgent::link(&lab, hello(2, "bad")).await;
    bad.socket.send(Message::Text("{}".into())).await.unwrap();
    assert_eq!(refusal(&mut bad).await, Some(RefuseCode::Violation));
    let mut bad = WireAgent::link(&lab, hello(2, "bad")).await;
    bad.say(&AgentMessage::Hello(hello(2, "bad"))).await;
    assert_eq!(refusal(&mut bad).await, Some(RefuseCode::Violation));

    good.change(|view| view.processes.get_mut(&0).unwrap().restarts = 7)
        .await;
    lab.server("the good one goes on", |s| s["processes"][0]["restart_time"] == 7)
        .await;
}

#[tokio::test]
async fn a_frame_of_100_mb_ends_one_link_and_harms_nobody() {
    let lab = Lab::start().await;
    let mut good = WireAgent::link(&lab, hello(1, "good")).await;
    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    let mut socket = knock(&lab, &keys).await.unwrap();
    // The hub may hang up in the middle of it.
    let _ = socket.send(Message::Binary(vec![7u8; 100 << 20].into())).await;
    while next(&mut socket, "the end of the socket").await.is_some() {}

    let mut agent = Pm2Agent::connect(&lab, "giant").await;
    let _ = agent
        .socket
        .send(Message::Text("x".repeat(100 << 20).into()))
        .await;
    while next(&mut agent.socket, "the end of the socket").await.is_some() {}

    good.snapshot(&[(0, process("api", 1))]).await;
    lab.server("the good one goes on", |s| s["processes"][0]["name"] == "api")
        .await;
}

#[tokio::test]
async fn a_socket_without_a_good_token_is_told_and_closed() {
    let lab = Lab::start().await;
    let mut stranger = Dashboard::connect(&lab, "nonsense").await;
    let told = stranger.hear("the error", |m| m["op"] == "error").await;
    assert_eq!(told["code"], "forbidden");
    assert_eq!(stranger.close_code().await, 4401);
    assert_eq!(Dashboard::primus(&lab, "nonsense").await.close_code().await, 4401);
}

#[tokio::test]
async fn a_dashboard_that_asks_nonsense_is_told() {
    let lab = Lab::start().await;
    let mut dashboard = Dashboard::connect(&lab, &lab.token).await;
    for (ask, code) in [
        (json!({ "op": "dance" }), "bad_request"),
        (
            json!({ "op": "watch", "id": 1, "bucket": "x", "topic": "servers" }),
            "unknown_bucket",
        ),
        (
            json!({ "op": "watch", "id": 2, "bucket": "000000000000000000000000", "topic": "servers" }),
            "unknown_bucket",
        ),
        (
            json!({ "op": "watch", "id": 3, "bucket": lab.bucket, "topic": "logs", "server": "x", "app": null }),
            "bad_request",
        ),
    ] {
        dashboard.say(ask).await;
        let told = dashboard.hear("the error", |m| m["op"] == "error").await;
        assert_eq!(told["code"], code, "{told}");
    }
    dashboard.say(json!({ "op": "ping", "id": 9 })).await;
    dashboard
        .hear("the pong", |m| m["op"] == "pong" && m["id"] == 9)
        .await;
}

#[tokio::test]
async fn a_token_that_runs_out_is_told_on_the_open_socket() {
    let lab = Lab::start_with(|options| options.access_ttl = std::time::Duration::from_secs(2)).await;
    let (mut dashboard, _) = lab.dashboard().await;
    let told = dashboard.hear("the error", |m| m["op"] == "error").await;
    assert_eq!(
        (&told["id"], &told["code"]),
        (&serde_json::Value::Null, &json!("expired"))
    );
    assert_eq!(dashboard.close_code().await, 4401);
}

#[tokio::test]
async fn posts_that_make_no_sense_are_refused_and_hurt_nobody() {
    let lab = Lab::start().await;
    let path = wire::push::PATH;
    let good = format!("{}.{}", lab.public_key, lab.secret_key);
    for (keys, session, body, expected) in [
        ("wrong.keys", None, vec![], 401),
        (good.as_str(), None, vec![0, 0, 0, 9, 1], 400),
        (
            good.as_str(),
            Some("0123456789abcdef0123456789abcdef"),
            vec![],
            410,
        ),
        // Frames that are none: the session says so, and is over.
        (good.as_str(), None, vec![0, 0, 0, 1, 0xff], 200),
    ] {
        let answer = push(&lab, path, keys, session, &body).await;
        assert_eq!(answer, expected, "{session:?} {body:?}");
    }
    let huge = vec![0; wire::push::MAX_BODY + 1];
    assert_eq!(push(&lab, path, &good, None, &huge).await, 413);
    assert_eq!(lab.get("/servers").await["servers"], serde_json::json!([]));
}

/// Posts as an agent does; gives the status of the answer.
async fn push(lab: &Lab, path: &str, keys: &str, session: Option<&str>, body: &[u8]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(lab.hub.address).await.unwrap();
    let session = session.map_or_else(String::new, |s| {
        format!("{}: {s}\r\n", wire::push::SESSION_HEADER)
    });
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {keys}\r\n{session}Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        lab.address(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The hub may refuse before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(crate::lab::PATIENCE, stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

//! The socket that PM2's client knows.

use serde_json::{Value, json};

use crate::lab::{Dashboard, Lab};
use crate::pm2_agent::{Pm2Agent, process};
use crate::wire_agent::now;

#[tokio::test]
async fn every_frame_can_be_read_by_pm2s_client() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[process(0, "api", "online")]).await;
    lab.server("the server", |s| s["processes"][0]["name"] == "api")
        .await;

    let mut primus = Dashboard::primus(&lab, &lab.token).await;
    let hello = primus.hear("the greeting", |_| true).await;
    assert_eq!(hello, json!({ "type": 0, "data": ["connection:success", {}] }));
    primus
        .say(json!({ "action": "sub", "public_id": lab.public_key, "filters": [] }))
        .await;
    let told = primus
        .hear("a status", |m| m["data"][1]["status"].is_object())
        .await;
    assert_eq!(
        (&told["data"][0], &told["data"][1]["server_name"]),
        (&json!("data:incoming"), &json!("web"))
    );
    let status = &told["data"][1]["status"];
    assert_eq!(
        status["data"]["process"][0]["axm_monitor"]["HTTP"]["unit"],
        "req/min"
    );

    let event =
        json!({ "event": "online", "manually": false, "process": agent.about(0, "api"), "at": now() });
    agent.say("process:event", event).await;
    let told = primus
        .hear("the event", |m| m["data"][1]["process:event"].is_array())
        .await;
    assert_eq!(told["data"][1]["process:event"][0]["event"], "online");

    primus.0.send_text("\"primus::ping::5\"").await;
    primus.hear("the pong", |m| m == "primus::pong::5").await;
}

#[tokio::test]
async fn filters_are_kept_and_strangers_hear_nothing() {
    let lab = Lab::start().await;
    let mut agent = Pm2Agent::connect(&lab, "web").await;
    agent.status(&[process(0, "api", "online")]).await;
    lab.server("the server", |s| s["processes"][0]["name"] == "api")
        .await;
    let mut primus = Dashboard::primus(&lab, &lab.token).await;
    primus.hear("the greeting", |_| true).await;
    primus
        .say(json!({ "action": "sub", "public_id": "somebody-elses", "filters": [] }))
        .await;
    primus
        .say(json!({ "action": "sub", "public_id": lab.public_key, "filters": ["human:event"] }))
        .await;
    let send = async |agent: &mut Pm2Agent, channel: &str, payload: Value| agent.say(channel, payload).await;
    let about = agent.about(0, "api");
    // The subscription has begun when the first event comes through.
    let heard = async {
        let first = primus.hear("an event", |m| m["data"][0] == "data:incoming").await;
        assert!(
            first["data"][1]["human:event"].is_array(),
            "only what was asked for: {first}"
        );
    };
    let speak = async {
        loop {
            send(
                &mut agent,
                "axm:reply",
                json!({ "at": 1, "data": { "action_name": "x" }, "process": about }),
            )
            .await;
            send(
                &mut agent,
                "human:event",
                json!({ "at": now(), "name": "n", "data": {}, "process": about }),
            )
            .await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = heard => {}
        () = speak => {}
    }
}

trait SendText {
    async fn send_text(&mut self, text: &str);
}

impl SendText for crate::lab::Socket {
    async fn send_text(&mut self, text: &str) {
        use futures_util::SinkExt;
        self.send(tokio_tungstenite::tungstenite::Message::Text(
            text.to_owned().into(),
        ))
        .await
        .unwrap();
    }
}

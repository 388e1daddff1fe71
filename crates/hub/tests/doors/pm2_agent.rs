//! An unmodified agent of PM2, reduced to what it says.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::lab::{Lab, Socket, next};

pub(crate) struct Pm2Agent {
    pub(crate) socket: Socket,
    pub(crate) name: String,
    pub(crate) unique_id: String,
    /// Version of its Node.
    pub(crate) node: String,
}

pub(crate) fn process(pm_id: u32, name: &str, status: &str) -> Value {
    json!({
        "pid": if status == "online" { 1000 + pm_id } else { 0 }, "name": name, "interpreter": "node",
        "path": format!("/srv/{name}.js"), "restart_time": 0, "created_at": 1700000000000u64, "exec_mode": "fork_mode",
        "pm_uptime": 1700000000000u64, "status": status, "pm_id": pm_id, "unique_id": format!("start-of-{name}"),
        "cpu": 3, "memory": 50000000, "versioning": null, "node_env": null,
        "axm_actions": [{ "action_name": "gc", "action_type": "custom", "arity": 1 }],
        "axm_monitor": { "HTTP": { "value": "12", "unit": "req/min", "type": "internal/http", "historic": true } },
        "axm_options": {}, "axm_dynamic": {},
    })
}

/// What such an agent posts first.
pub(crate) fn introduction(public: &str, secret: &str, name: &str) -> Value {
    json!({ "public_id": public, "private_id": secret, "data": {
        "MACHINE_NAME": name, "PUBLIC_KEY": public, "RECYCLE": false, "PM2_VERSION": "7.0.4", "MEMORY": 8000.5,
        "HOSTNAME": "vm", "CPUS": [{ "model": "x", "speed": 0, "times": {} }],
    } })
}

impl Pm2Agent {
    pub(crate) async fn connect(lab: &Lab, name: &str) -> Self {
        Self::with_keys(lab, &lab.public_key, &lab.secret_key, name)
            .await
            .unwrap()
    }

    /// The status of the answer, when it is no upgrade.
    pub(crate) async fn with_keys(lab: &Lab, public: &str, secret: &str, name: &str) -> Result<Self, u16> {
        let mut request = format!("ws://{}/interaction/pm2", lab.address())
            .into_client_request()
            .unwrap();
        for (header, value) in [
            ("X-KM-PUBLIC", public),
            ("X-KM-SECRET", secret),
            ("X-KM-SERVER", name),
            ("X-PM2-VERSION", "7.0.4"),
            ("X-PROTOCOL-VERSION", "1"),
        ] {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self {
                socket,
                name: name.into(),
                unique_id: format!("agent-of-{name}"),
                node: "v20.1.0".into(),
            }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no upgrade and no answer: {error}"),
        }
    }

    pub(crate) async fn say(&mut self, channel: &str, payload: Value) {
        let frame = json!({ "payload": payload, "channel": channel }).to_string();
        self.socket.send(Message::Text(frame.into())).await.unwrap();
    }

    pub(crate) async fn status(&mut self, processes: &[Value]) {
        let status = json!({
            "data": {
                "process": processes,
                "server": {
                    "username": "root", "hostname": "vm", "uptime": 5.5, "platform": "linux", "pm2_version": "7.0.4",
                    "pm2_agent_version": "7.0.4", "node_version": self.node, "unique_id": self.unique_id,
                    "loadavg": [0.1, 0.2, 0.3], "total_mem": 8000000000u64, "type": "Linux",
                },
            },
            "server_name": self.name,
            "internal_ip": "10.0.0.3",
        });
        self.say("status", status).await;
    }

    /// The next command: channel and payload.
    pub(crate) async fn hear(&mut self) -> (String, Value) {
        loop {
            match next(&mut self.socket, "a command")
                .await
                .expect("the socket is open")
            {
                Message::Text(text) => {
                    let mut frame: Value = serde_json::from_str(&text).unwrap();
                    // A missing payload crashes real agents, but for one channel.
                    assert!(frame["payload"].is_object(), "{text}");
                    return (
                        frame["channel"].as_str().unwrap().to_owned(),
                        frame["payload"].take(),
                    );
                }
                Message::Close(frame) => panic!("the hub closed a PM2 agent's socket: {frame:?}"),
                _ => {}
            }
        }
    }

    pub(crate) fn about(&self, pm_id: u32, name: &str) -> Value {
        json!({ "pm_id": pm_id, "name": name, "rev": null, "server": self.name })
    }
}

//! An unmodified agent of PM2, reduced to its socket: one full status, then patches, once a second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::browser::PROBE;
use crate::counted::{Socket, open};
use crate::{Failure, Fleet, Noise, now_ms};

/// After a failed try.
const AGAIN: Duration = Duration::from_secs(5);
/// The agent pings this often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// What a Node app under PM2 measures by itself: name, unit, type, decimals, range.
const METRICS: [(&str, &str, &str, u32, u64); 7] = [
    ("Heap Size", "MiB", "internal/v8/heap/total", 2, 12_000),
    ("Heap Usage", "%", "internal/v8/heap/usage", 2, 10_000),
    ("Used Heap Size", "MiB", "internal/v8/heap/used", 2, 9_000),
    ("Active requests", "", "internal/libuv/requests", 0, 2),
    ("Active handles", "", "internal/libuv/handles", 0, 6),
    ("Event Loop Latency", "ms", "internal/libuv/latency/p50", 2, 300),
    (
        "Event Loop Latency p95",
        "ms",
        "internal/libuv/latency/p95",
        2,
        900,
    ),
];
const ACTIONS: [&str; 6] = [
    "km:heapdump",
    "km:cpu:profiling:start",
    "km:cpu:profiling:stop",
    "km:heap:sampling:start",
    "km:heap:sampling:stop",
    "gc",
];

/// Runs one agent for ever.
pub(crate) async fn run(fleet: Arc<Fleet>, number: u64, probes: bool) {
    let mut noise = Noise::new(number);
    let name = format!("pm2-host-{number}");
    loop {
        let opening = async { open(&fleet, request(&fleet, &name)?).await };
        let Ok(socket) = opening.await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        fleet.linked.fetch_add(1, Ordering::Relaxed);
        // How it ended makes no difference: the agent comes back at once.
        let _ = talk(&fleet, socket, &name, &mut noise, probes).await;
        fleet.linked.fetch_sub(1, Ordering::Relaxed);
        fleet.lost.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5 + noise.below(10))).await;
    }
}

fn request(fleet: &Fleet, name: &str) -> Result<Request, Failure> {
    let mut request = format!("ws://{}/interaction/pm2", fleet.address).into_client_request()?;
    for (header, value) in [
        ("X-KM-PUBLIC", fleet.public.as_str()),
        ("X-KM-SECRET", &fleet.secret),
        ("X-KM-SERVER", name),
        ("X-PM2-VERSION", "7.0.4"),
        ("X-PROTOCOL-VERSION", "1"),
        ("User-Agent", "PM2 Agent v7.0.4"),
    ] {
        request.headers_mut().insert(header, value.parse()?);
    }
    Ok(request)
}

async fn talk(
    fleet: &Arc<Fleet>,
    mut socket: Socket,
    name: &str,
    noise: &mut Noise,
    probes: bool,
) -> Result<(), Failure> {
    let first = Instant::now() + Duration::from_millis(noise.below(1000));
    let mut second = tokio::time::interval_at(first, Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut probe = Instant::now() + fleet.probes;
    let (mut whole, mut number) = (true, 0);
    loop {
        tokio::select! {
            _ = second.tick() => {
                let message = if whole { status(fleet, name, noise) } else { patch(fleet, noise) };
                whole = false;
                say(fleet, &mut socket, &message).await?;
            }
            _ = ping.tick() => socket.send(Message::Ping(Vec::new().into())).await?,
            () = tokio::time::sleep_until(probe), if probes && !fleet.probes.is_zero() => {
                probe = Instant::now() + fleet.probes / 2 + Duration::from_millis(noise.below(fleet.probes.as_millis() as u64));
                number += 1;
                fleet.probe_leaves(number);
                let event = json!({ "channel": "process:event", "payload": {
                    "event": format!("{PROBE}{number}"), "manually": false, "at": now_ms(),
                    "process": { "pm_id": 0, "name": "app-0", "rev": null, "server": name },
                } });
                say(fleet, &mut socket, &event).await?;
            }
            message = socket.next() => match message {
                None => return Ok(()),
                Some(message) => if let Message::Text(text) = message?
                    && text.contains("status:resend") {
                    whole = true;
                },
            },
        }
    }
}

async fn say(fleet: &Fleet, socket: &mut Socket, message: &Value) -> Result<(), Failure> {
    fleet.messages.fetch_add(1, Ordering::Relaxed);
    socket.send(Message::Text(message.to_string().into())).await?;
    Ok(())
}

fn number(noise: &mut Noise, decimals: u32, range: u64) -> Value {
    let drawn = noise.below(range.max(1));
    match decimals {
        0 => json!(drawn),
        // The library rounds to text.
        _ => json!(format!("{:.2}", drawn as f64 / 100.0)),
    }
}

fn status(fleet: &Fleet, name: &str, noise: &mut Noise) -> Value {
    let processes: Vec<Value> = (0..fleet.processes)
        .map(|id| {
            let metrics: serde_json::Map<String, Value> = METRICS
                .iter()
                .map(|(name, unit, kind, decimals, range)| {
                    let metric = json!({
                        "historic": true, "unit": unit, "type": kind, "value": number(noise, *decimals, *range),
                    });
                    ((*name).to_owned(), metric)
                })
                .collect();
            let actions: Vec<Value> = ACTIONS
                .iter()
                .map(|name| json!({ "action_name": name, "action_type": "internal", "arity": 2 }))
                .collect();
            json!({
                "pid": 1000 + id, "name": format!("app-{id}"), "interpreter": "node", "args": [],
                "path": format!("/srv/app-{id}/server.js"), "restart_time": 0, "created_at": 1_795_336_803_906_u64,
                "exec_mode": "fork_mode", "pm_uptime": 1_795_336_803_906_u64, "status": "online", "pm_id": id,
                "unique_id": format!("{name}-{id}"), "cpu": noise.below(20), "memory": 52_289_536, "versioning": null,
                "node_env": "production", "axm_actions": actions, "axm_monitor": metrics, "axm_options": {}, "axm_dynamic": {},
            })
        })
        .collect();
    json!({ "channel": "status", "payload": {
        "data": {
            "process": processes,
            "server": {
                "username": "deploy", "hostname": name, "uptime": 3600, "platform": "linux", "pm2_version": "7.0.4",
                "pm2_agent_version": "7.0.4", "node_version": "v20.20.2", "unique_id": format!("agent-of-{name}"),
                "loadavg": [0.1, 0.1, 0.1], "total_mem": 8_000_000_000_u64, "type": "Linux",
            },
        },
        "server_name": name, "internal_ip": "10.0.0.1", "rev_con": true,
    } })
}

/// Each second of a Node app changes most of its numbers.
fn patch(fleet: &Fleet, noise: &mut Noise) -> Value {
    let mut steps = Vec::new();
    let mut replace =
        |path: String, value: Value| steps.push(json!({ "op": "replace", "path": path, "value": value }));
    replace("/data/server/uptime".into(), json!(3600 + noise.below(1000)));
    for id in 0..fleet.processes {
        let at = format!("/data/process/{id}");
        replace(format!("{at}/cpu"), json!(noise.below(20)));
        replace(
            format!("{at}/memory"),
            json!(52_289_536 + noise.below(4096) * 4096),
        );
        for (name, _, _, decimals, range) in &METRICS {
            // What an idle app counts rarely changes.
            if *decimals > 0 || noise.below(10) == 0 {
                let value = number(noise, *decimals, *range);
                replace(format!("{at}/axm_monitor/{name}/value"), value);
            }
        }
    }
    json!({ "channel": "status:patch", "payload": steps })
}

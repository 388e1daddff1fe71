//! Frames of PM2's agent, one small one of each kind, and, where `PILOTHOUSE_AGENT_SAMPLES` names a folder of recorded
//! frames, all of these too.

use pm2::agent_wire::command::{Addressee, Method, Target, action, pm2_action, scoped_action, status_resend};
use pm2::agent_wire::{Incoming, Message, Status, StatusDoc, VerifyRequest};
use serde_json::Value;
use std::path::PathBuf;

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Status(_) => "status",
        Message::StatusPatch(_) => "patch",
        Message::Event(_) => "event",
        Message::Log(_) => "log",
        Message::Reply(_) => "reply",
        Message::Scoped(_) => "scoped",
        Message::ActionAccepted { .. } => "accepted",
        Message::ActionRefused { .. } => "refused",
        Message::Pm2Result(_) => "result",
        Message::Exception(_) => "exception",
        Message::Human { .. } => "human",
        Message::Profile(_) => "profile",
        Message::Span(_) => "span",
        Message::Transaction(_) => "transaction",
        Message::Dependencies => "dependencies",
        Message::ProcessMsg(_) => "msg",
        Message::Other(_) => "other",
        Message::Malformed(_) => "malformed",
    }
}

#[test]
fn every_kind_of_frame_is_known() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("fixtures/agent.json")).unwrap();
    let mut doc = StatusDoc::new();
    for case in &cases {
        let frame = Incoming::parse(&case["frame"].to_string()).unwrap();
        let about_process = case["frame"]["payload"].get("process").is_some();
        assert_eq!(
            frame.process().is_some(),
            about_process || frame.channel == "profiling",
            "{case}"
        );
        let message = Message::read(frame);
        assert_eq!(kind(&message), case["kind"], "{case}");
        match message {
            Message::Status(payload) => doc.full(payload).unwrap(),
            Message::StatusPatch(payload) => doc.patch(payload).unwrap(),
            _ => {}
        }
    }
    let status = Status::read(doc.document().unwrap());
    assert_eq!(status.processes.len(), 1);
    assert_eq!(status.processes[0].metrics[0].number(), Some(2.5));
    recorded_frames_are_known_too(&samples());
}

/// The recorded frames: name and content of each file.
fn samples() -> Vec<(String, Value)> {
    let Some(folder) = std::env::var_os("PILOTHOUSE_AGENT_SAMPLES").map(PathBuf::from) else {
        return Vec::new();
    };
    let mut files: Vec<(String, Value)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                serde_json::from_str(&text).unwrap(),
            )
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!files.is_empty(), "{} holds no samples", folder.display());
    files
}

/// The frame that this room makes for the same command.
fn our_command(sample: &Value) -> String {
    let payload = &sample["payload"];
    let text = |key: &str| payload[key].as_str().unwrap().to_owned();
    let to = || match payload["process_id"].as_u64() {
        Some(id) => Addressee::Process(id as u32),
        None => Addressee::App(text("app_name")),
    };
    match sample["channel"].as_str().unwrap() {
        "status:resend" => status_resend(),
        "trigger:action" => action(&text("action_name"), &to(), payload.get("opts")),
        "trigger:scoped_action" => {
            scoped_action(&text("action_name"), &to(), payload.get("opts"), &text("uuid"))
        }
        "trigger:pm2:action" => {
            let parameters = &payload["parameters"];
            let target = || match parameters["id"].as_u64() {
                Some(id) => Target::Id(id as u32),
                None => Target::Name(parameters["name"].as_str().unwrap().to_owned()),
            };
            pm2_action(&match text("method_name").as_str() {
                "restart" => Method::Restart(target()),
                "reload" => Method::Reload(target()),
                "reset" => Method::Reset(target()),
                "ping" => Method::Ping(target()),
                "scale" => {
                    let name = parameters["name"].as_str().unwrap().to_owned();
                    match &parameters["number"] {
                        Value::String(by) => Method::ScaleBy {
                            name,
                            by: by.parse().unwrap(),
                        },
                        number => Method::Scale {
                            name,
                            number: number.as_u64().unwrap() as u32,
                        },
                    }
                }
                "startLogging" => Method::StartLogging,
                "stopLogging" => Method::StopLogging,
                other => panic!("unknown method {other}"),
            })
        }
        other => panic!("unknown channel {other}"),
    }
}

fn recorded_frames_are_known_too(files: &[(String, Value)]) {
    let find = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    for (name, sample) in files {
        if name.starts_with("to-agent.") {
            let ours: Value = serde_json::from_str(&our_command(sample)).unwrap();
            assert_eq!(&ours, sample, "{name}");
        } else if name.starts_with("http-verifyPM2") && sample.get("request").is_some() {
            let body = sample["request"]["body"].to_string();
            VerifyRequest::parse(body.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        } else if name.starts_with("status-sequence") {
            let mut doc = StatusDoc::new();
            let first = match &sample["status"] {
                Value::String(file) => find(file.trim_end_matches(".json")).unwrap(),
                _ => sample["base"].clone(),
            };
            let first = first.get("payload").cloned().unwrap_or(first);
            doc.full(first).unwrap_or_else(|e| panic!("{name}: {e}"));
            let patches = sample["patches"]
                .as_array()
                .into_iter()
                .flatten()
                .chain(sample.get("patch"));
            for patch in patches {
                doc.patch(patch["payload"].clone())
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            assert!(
                !Status::read(doc.document().unwrap()).server_name.is_empty(),
                "{name}"
            );
        } else if sample.get("channel").is_some() {
            let message = Message::read(Incoming::parse(&sample.to_string()).unwrap());
            let spoofed = name.contains("spoofed");
            assert_eq!(kind(&message) == "malformed", spoofed, "{name}: {message:?}");
            if let Message::Status(payload) = message {
                StatusDoc::new()
                    .full(payload)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
}

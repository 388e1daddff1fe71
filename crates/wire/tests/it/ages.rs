//! Old and new understand each other. The frames in `fixtures/` were written by the first version; they are read for
//! ever and never rewritten. A new message gets a new file.

use minicbor::Encoder;
use std::path::PathBuf;
use wire::action::{
    Action, ActionError, ActionErrorCode, ActionRequest, ActionResult, Custom, Scale, Target, Verb,
};
use wire::live::View;
use wire::message::{
    Ack, Events, Exceptions, Hello, KeyOrder, LogBatch, LogSubscribe, LogsEnded, Refuse, RefuseCode, Report,
    ReportBody, Settings, Welcome,
};
use wire::telemetry::{
    Event, EventKind, Exception, Host, LogLine, LogStream, Metric, Process, ProcessRef, ProcessStatus,
    SampleBatch, Series, ServerFacts, Value, Versions,
};
use wire::{AgentMessage, HubMessage, MachineId, SessionId, StreamId};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A missing fixture is written, so that a new message needs no tool; an existing one is only read.
fn stored(name: &str, now: Vec<u8>) -> Vec<u8> {
    let path = fixture(name);
    if !path.exists() {
        std::fs::write(&path, now).unwrap();
        panic!(
            "{} was missing and is written now: look at it and commit it",
            path.display()
        );
    }
    std::fs::read(path).unwrap()
}

fn check_agent(name: &str, message: impl Into<AgentMessage>) {
    let message = message.into();
    let bytes = stored(name, message.to_frame().unwrap());
    assert_eq!(AgentMessage::from_frame(&bytes).unwrap(), message, "{name}");
}

fn check_hub(name: &str, message: impl Into<HubMessage>) {
    let message = message.into();
    let bytes = stored(name, message.to_frame().unwrap());
    assert_eq!(HubMessage::from_frame(&bytes).unwrap(), message, "{name}");
}

fn of_api() -> ProcessRef {
    ProcessRef {
        pm_id: 3,
        name: "api".into(),
        namespace: "default".into(),
        rev: "f00".into(),
    }
}

fn a_view(rev: u64, cpu: f64) -> View {
    let used = Metric {
        value: Value::Number(12.5 + cpu),
        unit: "MiB".into(),
        kind: "internal/v8/heap/used".into(),
        historic: true,
    };
    let process = Process {
        name: "api".into(),
        pid: 4242,
        status: ProcessStatus::Online,
        cpu,
        memory: 52_428_800,
        started_at: 1_767_225_600_000,
        metrics: [("Used Heap Size".to_owned(), used)].into_iter().collect(),
        ..Process::default()
    };
    let host = Host {
        free_mem: 1 << 30,
        load1: 0.25,
        internal_ip: "10.0.0.3".into(),
        ..Host::default()
    };
    View {
        rev,
        at: 1_767_225_600_000 + rev * 1000,
        host,
        processes: [(3, process)].into(),
    }
}

#[test]
fn what_the_first_version_of_the_agent_sent_is_still_read() {
    check_agent(
        "v1-hello.bin",
        Hello {
            protocol: 1,
            machine: MachineId([1; 16]),
            session: SessionId([2; 16]),
            facts: ServerFacts {
                name: "web-1".into(),
                hostname: "host".into(),
                user: "deploy".into(),
                platform: "linux".into(),
                cpus: 8,
                total_mem: 16 << 30,
                versions: Versions {
                    pm2: "7.0.4".into(),
                    node: "20.20.2".into(),
                    agent: "0.1.0".into(),
                },
                home: "/home/deploy/.pm2".into(),
                boot_id: "b".into(),
                ..ServerFacts::default()
            },
            stream: StreamId([3; 16]),
            first_seq: 17,
            now: 1_767_225_600_000,
            allowed: vec![Verb::Restart, Verb::Logs],
            reverse_disabled: false,
            linked_at: 0,
            manifest: None,
        },
    );
    check_agent("v1-snapshot.bin", a_view(7, 1.5).snapshot());
    check_agent("v1-delta.bin", a_view(7, 1.5).diff(&a_view(8, 2.5)));
    let series = Series {
        pm_id: Some(3),
        app: "api".into(),
        metric: "cpu".into(),
        unit: "%".into(),
        values: vec![Some(1.5), None, Some(2.25)],
    };
    let batch = SampleBatch {
        at: vec![1_767_225_600_000, 1_767_225_601_000, 1_767_225_602_001],
        series: vec![series],
    };
    check_agent(
        "v1-samples.bin",
        Report {
            seq: 18,
            dropped: 2,
            body: ReportBody::Samples(batch),
        },
    );
    let event = Event {
        at: 1_767_225_600_000,
        kind: EventKind::Process,
        name: "exit".into(),
        process: Some(of_api()),
        manually: true,
        data: "{\"code\":1}".into(),
    };
    check_agent(
        "v1-events.bin",
        Report {
            seq: 19,
            dropped: 0,
            body: ReportBody::Events(Events { list: vec![event] }),
        },
    );
    let exception = Exception {
        at: 1_767_225_600_000,
        process: of_api(),
        name: "TypeError".into(),
        message: "x is not a function".into(),
        stack: "TypeError: x is not a function\n    at /srv/api.js:3:1".into(),
        callsite: "/srv/api.js:3".into(),
        context: ">>x()".into(),
        metadata: "{}".into(),
        last_logs: vec!["listening\n".into()],
    };
    check_agent(
        "v1-exceptions.bin",
        Report {
            seq: 20,
            dropped: 0,
            body: ReportBody::Exceptions(Exceptions {
                list: vec![exception],
            }),
        },
    );
    let line = LogLine {
        at: 1_767_225_600_000,
        pm_id: 3,
        name: "api".into(),
        stream: LogStream::Err,
        data: "oh".into(),
    };
    let error = Some(ActionError {
        code: ActionErrorCode::Denied,
        message: "no logs".into(),
    });
    check_agent("v1-logs-ended.bin", LogsEnded { id: 4, error });
    check_agent(
        "v1-reverse.bin",
        wire::message::Reverse {
            session: SessionId([7; 16]),
        },
    );
    check_hub(
        "v1-welcome-ports.bin",
        Welcome {
            protocol: 1,
            server_id: "s1".into(),
            push_url: "http://hub.example.org:80".into(),
            reverse_url: "http://hub.example.org:43554".into(),
            ..Welcome::default()
        },
    );
    check_agent(
        "v1-logs.bin",
        LogBatch {
            lines: vec![line],
            dropped: 4,
        },
    );
    check_agent(
        "v1-result.bin",
        ActionResult {
            id: 9,
            error: Some(ActionError {
                code: ActionErrorCode::Denied,
                message: "no".into(),
            }),
            data: String::new(),
            took_ms: 12,
        },
    );
}

#[test]
fn what_the_first_version_of_the_hub_sent_is_still_read() {
    check_hub(
        "v1-welcome.bin",
        Welcome {
            protocol: 1,
            server_id: "s1".into(),
            ack: 17,
            now: 1_767_225_600_000,
            settings: Settings {
                live_interval_ms: 1000,
                samples_interval_ms: 5000,
            },
            key_order: KeyOrder::Swapped,
            web_url: "https://hub.example".into(),
            ..Welcome::default()
        },
    );
    check_hub(
        "v1-refuse.bin",
        Refuse {
            code: RefuseCode::Pending,
            message: "plan is full".into(),
        },
    );
    check_hub("v1-ack.bin", Ack { seq: 18 });
    check_hub(
        "v1-subscribe.bin",
        LogSubscribe {
            id: 1,
            app: Some("api".into()),
            lease_ms: 60_000,
            by: "a@b".into(),
        },
    );
    let actions = [
        ("restart", Action::Restart(Target::App("api".into()))),
        ("stop", Action::Stop(Target::Process(3))),
        (
            "scale",
            Action::Scale(Scale {
                app: "api".into(),
                number: -2,
                relative: true,
            }),
        ),
        (
            "custom",
            Action::Custom(Custom {
                target: Target::Process(3),
                name: "km:heapdump".into(),
                opts: "{}".into(),
                uuid: String::new(),
            }),
        ),
    ];
    for (name, action) in actions {
        check_hub(
            &format!("v1-action-{name}.bin"),
            ActionRequest {
                id: 9,
                action,
                timeout_ms: 30_000,
                by: "a@b".into(),
            },
        );
    }
}

fn frame(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = vec![0x10];
    build(&mut Encoder::new(&mut out));
    out
}

#[test]
fn a_field_of_a_newer_peer_is_skipped() {
    let newer = frame(|e| {
        e.array(2).unwrap().u32(3).unwrap().map(3).unwrap();
        e.u32(0).unwrap().u64(18).unwrap();
        e.u32(40)
            .unwrap()
            .array(2)
            .unwrap()
            .str("new")
            .unwrap()
            .map(0)
            .unwrap();
        e.u32(41).unwrap().null().unwrap();
    });
    assert_eq!(
        HubMessage::from_frame(&newer).unwrap(),
        HubMessage::Ack(Ack { seq: 18 })
    );
}

#[test]
fn a_message_of_a_newer_peer_survives_as_unknown() {
    let newer = frame(|e| {
        e.array(2)
            .unwrap()
            .u32(999)
            .unwrap()
            .map(1)
            .unwrap()
            .u32(0)
            .unwrap()
            .str("x")
            .unwrap();
    });
    assert_eq!(HubMessage::from_frame(&newer).unwrap(), HubMessage::Unknown(999));
    assert_eq!(
        AgentMessage::from_frame(&newer).unwrap(),
        AgentMessage::Unknown(999)
    );
}

#[test]
fn an_action_of_a_newer_hub_keeps_its_id_so_that_it_can_be_refused() {
    let newer = frame(|e| {
        e.array(2).unwrap().u32(4).unwrap().map(3).unwrap();
        e.u32(0).unwrap().u64(5).unwrap();
        e.u32(1)
            .unwrap()
            .array(2)
            .unwrap()
            .u32(500)
            .unwrap()
            .array(1)
            .unwrap()
            .str("what")
            .unwrap();
        e.u32(2).unwrap().u32(1000).unwrap();
    });
    let HubMessage::Action(request) = HubMessage::from_frame(&newer).unwrap() else {
        panic!("not an action")
    };
    assert_eq!((request.id, request.action), (5, Action::Unknown(500)));
}

#[test]
fn a_state_of_a_newer_agent_is_unknown_not_an_error() {
    let mut view = View::default();
    view.processes.insert(
        1,
        Process {
            status: ProcessStatus::Unknown(77),
            ..Process::default()
        },
    );
    let bytes = AgentMessage::from(view.snapshot()).to_frame().unwrap();
    let AgentMessage::Snapshot(seen) = AgentMessage::from_frame(&bytes).unwrap() else {
        panic!("not a snapshot")
    };
    assert_eq!(seen.processes[0].process.status, ProcessStatus::Unknown(77));
    assert_eq!(seen.processes[0].process.status.as_str(), "unknown");
}

#[test]
fn an_older_peer_that_leaves_fields_out_is_read_with_defaults() {
    let older = frame(|e| {
        e.array(2).unwrap().u32(1).unwrap().map(4).unwrap();
        e.u32(0).unwrap().u32(1).unwrap();
        e.u32(1).unwrap().str("s1").unwrap();
        e.u32(2).unwrap().u64(4).unwrap();
        e.u32(3).unwrap().u64(9).unwrap();
    });
    let expected = Welcome {
        protocol: 1,
        server_id: "s1".into(),
        ack: 4,
        now: 9,
        ..Welcome::default()
    };
    assert_eq!(
        HubMessage::from_frame(&older).unwrap(),
        HubMessage::Welcome(expected)
    );
}

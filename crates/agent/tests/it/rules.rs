//! What the host keeps to itself, as the hub sees it.

use crate::hub::{Hub, Session, event, event_names, processes, soon, stop, until};
use agent::telemetry::{Exception, Metric, Process, Value};
use agent::{LinkStatus, Observation, ProcessObservation};
use std::path::Path;
use wire::AgentMessage;
use wire::message::{LogSubscribe, ReportBody};

fn rules(home: &Path, text: &str) {
    std::fs::write(home.join(agent::rules::FILE), text).unwrap();
}

async fn logs(session: &mut Session) -> Vec<String> {
    session
        .pick(|message| match message {
            AgentMessage::Logs(logs) => Some(logs.lines.into_iter().map(|line| line.data).collect()),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn what_the_rules_hide_does_not_reach_the_hub() {
    let home = tempfile::tempdir().unwrap();
    let text = r"
        text = ['card \d+']
        names = ['^iban$']
        metrics = ['^revenue']
    ";
    rules(home.path(), text);
    let hub = Hub::start().await;
    let (handle, mut requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    soon("the link", handle.settled()).await;
    let subscribe = LogSubscribe {
        id: 1,
        ..LogSubscribe::default()
    };
    session.send(subscribe).await;
    while soon("a request", requests.recv()).await != Some(agent::Request::Logs(true)) {}
    handle.observe(Observation::Log(agent::telemetry::LogLine {
        data: "paid by card 1234".into(),
        ..Default::default()
    }));
    assert_eq!(logs(&mut session).await, ["paid by [redacted]"]);

    handle.observe(Observation::Exception(Exception {
        message: "no such card 99".into(),
        metadata: r#"{"iban":"DE1","n":2}"#.into(),
        ..Exception::default()
    }));
    let report = session.report().await;
    let ReportBody::Exceptions(told) = &report.body else {
        panic!("no exceptions: {report:?}")
    };
    assert_eq!(told.list[0].message, "no such [redacted]");
    assert_eq!(told.list[0].metadata, r#"{"iban":"[redacted]","n":2}"#);

    let metric = |value| Metric {
        value: Value::Number(value),
        ..Metric::default()
    };
    let process = Process {
        name: "api".into(),
        pid: 1,
        metrics: [
            ("revenue".to_owned(), metric(5.0)),
            ("visits".to_owned(), metric(7.0)),
        ]
        .into_iter()
        .collect(),
        ..Process::default()
    };
    handle.observe(Observation::Processes(vec![ProcessObservation {
        pm_id: 0,
        process,
    }]));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let names: Vec<String> = session
            .pick(|message| match message {
                AgentMessage::Snapshot(snapshot) => Some(
                    snapshot
                        .processes
                        .iter()
                        .flat_map(|p| p.process.metrics.keys().cloned())
                        .collect(),
                ),
                AgentMessage::Report(report) => match report.body {
                    ReportBody::Samples(batch) => Some(batch.series.into_iter().map(|s| s.metric).collect()),
                    _ => None,
                },
                _ => None,
            })
            .await;
        assert!(!names.contains(&"revenue".to_owned()), "{names:?}");
        if names.contains(&"visits".to_owned()) {
            seen.push(names);
        }
    }
    stop(handle).await;
}

#[tokio::test]
async fn reports_that_wait_on_disk_are_cleaned_by_the_rules_of_when_they_leave() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let port = hub.port();
    let config = hub.config(home.path());
    drop(hub);
    let (handle, _requests) = agent::start(config).unwrap();
    handle.observe(event("card 1234"));
    until("it is on disk", || handle.info().reports_waiting == 1).await;
    rules(home.path(), r"text = ['card \d+']");
    handle.observe(event("card 5678"));
    until("both are on disk", || handle.info().reports_waiting == 2).await;
    let hub = Hub::start_on(port).await;
    let (mut session, _) = hub.link(0).await;
    for _ in 0..2 {
        assert_eq!(event_names(&session.report().await), ["[redacted]"]);
    }
    stop(handle).await;
}

#[tokio::test]
async fn rules_that_are_not_understood_let_nothing_leave_until_they_are() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    soon("the link", handle.settled()).await;
    rules(home.path(), "text = ['card',\n  '(']");
    handle.observe(event("card 1"));
    assert!(
        session.next_or_end().await.is_none(),
        "the link ends, and nothing was told before"
    );
    let waits = |status: &LinkStatus| match status {
        LinkStatus::Waiting { cause, .. } => {
            cause.contains("redact.toml, line 2, column 3: not a regular expression: unclosed group")
        }
        _ => false,
    };
    until("the reason is told", || waits(&handle.status())).await;
    handle.observe(event("card 2"));
    handle.observe(processes(1.0));
    rules(home.path(), "text = ['card']");
    // The next observation finds them mended, and no pause is waited out.
    handle.observe(event("card 3"));
    let (mut session, _) = hub.link(0).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|name| name != "[redacted] 3") {
        told.extend(event_names(&session.report().await));
    }
    assert!(told.iter().all(|name| !name.contains("card")), "{told:?}");
    let log = std::fs::read_to_string(home.path().join("agent.log")).unwrap();
    assert!(log.contains("redact.toml, line 2, column 3"), "{log}");
    stop(handle).await;
}

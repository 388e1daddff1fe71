//! What must not be lost is not lost and not doubled, whatever the link does.

use crate::hub::{Hub, event, event_names, processes, samples, soon, stop, until, welcome};
use agent::telemetry::{Exception, LogLine};
use agent::{LinkStatus, Observation};
use std::collections::BTreeMap;
use wire::message::{ReportBody, Welcome};

#[tokio::test]
async fn what_happened_without_a_link_is_told_in_order_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (config, port) = (hub.config(home.path()), hub.port());
    drop(hub);
    let (handle, _requests) = agent::start(config).unwrap();
    until("a failed try", || {
        matches!(handle.status(), LinkStatus::Waiting { .. })
    })
    .await;
    let mut expected = Vec::new();
    for n in 0..20u64 {
        expected.push(format!("e{n}"));
        handle.observe(event(&format!("e{n}")));
        if n % 5 == 0 {
            until("it on disk", || handle.info().reports_waiting > n / 5).await;
        }
    }
    let hub = Hub::start_on(port).await;
    let (mut session, _) = hub.link(0).await;
    let mut told = Vec::new();
    let mut last = 0;
    while told.len() < expected.len() {
        let report = session.report().await;
        assert!(report.seq > last, "numbers ascend");
        last = report.seq;
        if let ReportBody::Events(events) = &report.body {
            assert!(
                events.list.iter().all(|e| e.at == 1_767_225_600_000),
                "times are the original ones"
            );
        }
        told.extend(event_names(&report));
        session.ack(report.seq).await;
    }
    assert_eq!(told, expected);
    until("nothing waiting", || handle.info().reports_waiting == 0).await;
    stop(handle).await;
}

/// The hub dies at random moments, with and without having acknowledged; a store that knows reports by their numbers
/// ends with each event exactly once.
#[tokio::test]
async fn a_link_that_breaks_again_and_again_loses_nothing_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (mut handle, mut _requests) = agent::start(hub.config(home.path())).unwrap();
    let mut stored: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut expected = Vec::new();
    let mut acked = 0;
    for round in 0..6u32 {
        let (mut session, _) = hub.link(acked).await;
        soon("the link", handle.settled()).await;
        for n in 0..3 {
            expected.push(format!("r{round}n{n}"));
            handle.observe(event(expected.last().unwrap()));
            let report = session.report().await;
            // Stored, but the agent may never hear of it.
            stored.entry(report.seq).or_insert_with(|| event_names(&report));
            if (round + n) % 3 != 0 {
                acked = report.seq;
                session.ack(acked).await;
            }
        }
        acked = *stored.keys().last().unwrap();
        drop(session);
        if round == 3 {
            // The agent goes, too.
            stop(handle).await;
            (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
        }
    }
    let (mut session, _) = hub.link(acked).await;
    handle.observe(event("end"));
    expected.push("end".into());
    loop {
        let report = session.report().await;
        let names = event_names(&report);
        let end = names.contains(&"end".to_owned());
        stored.entry(report.seq).or_insert(names);
        if end {
            break;
        }
    }
    assert_eq!(stored.into_values().flatten().collect::<Vec<_>>(), expected);
    stop(handle).await;
}

#[tokio::test]
async fn unacknowledged_reports_come_again_and_acknowledged_ones_do_not() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    soon("the link", handle.settled()).await;
    handle.observe(event("one"));
    let one = session.report().await;
    handle.observe(event("two"));
    let two = session.report().await;
    session.ack(one.seq).await;
    until("the acknowledgement", || handle.info().reports_waiting == 1).await;
    drop(session);
    let (mut session, hello) = hub.link(one.seq).await;
    assert_eq!(hello.first_seq, two.seq);
    assert_eq!(session.report().await, two);
    stop(handle).await;
}

#[tokio::test]
async fn samples_come_in_batches_with_their_times() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link_with(Welcome { ack: 0, ..welcome() }).await;
    soon("the link", handle.settled()).await;
    handle.observe(processes(12.5));
    let report = session.report().await;
    let batch = samples(&report).expect("samples");
    assert!(batch.is_consistent());
    let find = |app: &str, metric: &str| {
        batch
            .series
            .iter()
            .find(|s| s.app == app && s.metric == metric)
            .unwrap()
            .values
            .clone()
    };
    assert_eq!(find("api", "cpu"), [Some(12.5)]);
    assert_eq!(find("api", "memory"), [Some(f64::from(1 << 20))]);
    assert!(find("", "free_mem")[0].unwrap() > 0.0);
    stop(handle).await;
}

#[tokio::test]
async fn exceptions_are_reported_without_environments_and_secrets() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    soon("the link", handle.settled()).await;
    handle.observe(Observation::Exception(Exception {
        message: "boom".into(),
        metadata: r#"{"http":{"body":{"password":"hunter2"}},"env":{"KEY":"v"}}"#.into(),
        ..Exception::default()
    }));
    // Nobody asked for logs: they stay here.
    handle.observe(Observation::Log(LogLine {
        data: "private".into(),
        ..LogLine::default()
    }));
    let report = session.report().await;
    let ReportBody::Exceptions(list) = &report.body else {
        panic!("{report:?}")
    };
    assert_eq!(list.list[0].message, "boom");
    assert_eq!(
        list.list[0].metadata,
        r#"{"http":{"body":{"password":"[redacted]"}}}"#
    );
    stop(handle).await;
}

#[tokio::test]
async fn the_hub_is_told_how_many_reports_found_no_room() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (mut config, port) = (hub.config(home.path()), hub.port());
    config.spool_max_bytes = 8 << 10;
    drop(hub);
    let (handle, _requests) = agent::start(config).unwrap();
    for n in 0..6u64 {
        let waiting = handle.info();
        let noise: String = (0..300u64)
            .map(|i| format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n))
            .collect();
        handle.observe(Observation::Event(agent::telemetry::Event {
            name: format!("e{n}"),
            data: format!("\"{noise}\""),
            ..agent::telemetry::Event::default()
        }));
        until("it taken in", || {
            let now = handle.info();
            now.reports_waiting + now.reports_dropped > waiting.reports_waiting + waiting.reports_dropped
        })
        .await;
    }
    let dropped = handle.info().reports_dropped;
    assert!(dropped > 0, "the room is too small for six");
    let hub = Hub::start_on(port).await;
    let (mut session, _) = hub.link(0).await;
    let first = session.report().await;
    assert_eq!(first.dropped, dropped);
    assert_eq!(event_names(&first), [format!("e{dropped}")], "the oldest went");
    stop(handle).await;
}

/// A disk that is full: nothing new can be written. A folder that is gone refuses new files whoever runs the test.
#[tokio::test]
async fn a_full_disk_ends_nothing_and_what_finds_no_room_is_counted() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    std::fs::remove_dir_all(home.path().join(agent::spool::DIR)).unwrap();
    // Noise, since reports are packed.
    let tell = |name: &str, words: u64| {
        let noise: String = (0..words)
            .map(|n| format!("{:016x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        handle.observe(Observation::Event(agent::telemetry::Event {
            name: name.into(),
            data: format!("\"{noise}\""),
            ..agent::telemetry::Event::default()
        }));
    };
    // While the hub takes them, reports go on.
    for n in 0..3 {
        tell(&format!("linked-{n}"), 1);
        let report = session.report().await;
        assert_eq!(event_names(&report), [format!("linked-{n}")]);
        session.ack(report.seq).await;
    }
    until("all of them stored", || handle.info().reports_waiting == 0).await;
    // While it does not, a little is kept in memory: the rest is counted.
    let port = hub.port();
    drop(session);
    drop(hub);
    for n in 0..14u64 {
        tell(&format!("away-{n}"), 12_000);
        until("it taken in", || {
            let now = handle.info();
            now.reports_waiting + now.reports_dropped > n
        })
        .await;
    }
    let (waiting, dropped) = (handle.info().reports_waiting, handle.info().reports_dropped);
    assert!(
        waiting > 0 && dropped > 0,
        "{waiting} wait, {dropped} are dropped"
    );
    let hub = Hub::start_on(port).await;
    let (mut session, _) = hub.link(0).await;
    let first = session.report().await;
    assert_eq!(
        (event_names(&first), first.dropped),
        (vec!["away-0".to_owned()], dropped)
    );
    stop(handle).await;
}

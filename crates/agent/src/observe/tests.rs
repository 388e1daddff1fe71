use super::*;
use std::time::Duration;
use wire::telemetry::{Metric, Value};

fn process(name: &str, pid: u32, cpu: f64) -> Process {
    Process {
        name: name.into(),
        pid,
        cpu,
        memory: 1000,
        ..Process::default()
    }
}

fn observe(live: &mut Live, at: u64, processes: &[(u32, Process)]) {
    let list = processes
        .iter()
        .map(|(pm_id, process)| ProcessObservation {
            pm_id: *pm_id,
            process: process.clone(),
        })
        .collect();
    live.observe(at, Host::default(), list, &Rules::default());
}

#[test]
fn the_first_update_is_whole_and_later_ones_are_changes() {
    let mut live = Live::default();
    let mut hub = View::default();
    observe(
        &mut live,
        1,
        &[(0, process("a", 1, 0.0)), (1, process("b", 2, 0.0))],
    );
    let Some(Update::Whole(snapshot)) = live.update() else {
        panic!("not whole")
    };
    hub.reset(snapshot);
    live.mark_told();
    assert!(live.update().is_none(), "nothing changed");
    observe(&mut live, 2, &[(1, process("b", 2, 5.0))]);
    // This one cannot be sent: the next one makes up for it.
    assert!(matches!(live.update(), Some(Update::Change(_))));
    observe(
        &mut live,
        3,
        &[(1, process("b", 2, 6.0)), (2, process("c", 3, 0.0))],
    );
    let Some(Update::Change(delta)) = live.update() else {
        panic!("not a change")
    };
    hub.apply(delta).unwrap();
    live.mark_told();
    assert_eq!(&hub, live.view());
    live.forget();
    assert!(matches!(live.update(), Some(Update::Whole(_))));
}

#[test]
fn a_process_that_does_not_run_leaves_a_gap() {
    let mut live = Live::default();
    let mut samples = Samples::default();
    for (at, pid) in [(1000, 5), (2000, 0), (3000, 6)] {
        observe(&mut live, at, &[(0, process("a", pid, 1.5))]);
        samples.add(live.view());
    }
    let Some(ReportBody::Samples(batch)) = samples.take() else {
        panic!("no samples")
    };
    assert!(batch.is_consistent());
    assert_eq!(batch.at, [1000, 2000, 3000]);
    let cpu = batch
        .series
        .iter()
        .find(|s| s.metric == "cpu" && s.app == "a")
        .unwrap();
    assert_eq!(cpu.values, [Some(1.5), None, Some(1.5)]);
    assert!(samples.take().is_none());
}

#[test]
fn metrics_of_apps_are_sampled_when_they_are_numbers() {
    let metric = |value| Metric {
        value,
        unit: "ms".into(),
        ..Metric::default()
    };
    let mut p = process("a", 1, 1.0);
    p.metrics = [
        ("lag".to_owned(), metric(Value::Text("5.5".into()))),
        ("words".to_owned(), metric(Value::Text("none".into()))),
        ("cpu".to_owned(), metric(Value::Number(99.0))),
    ]
    .into_iter()
    .collect();
    let (mut live, mut samples) = (Live::default(), Samples::default());
    observe(&mut live, 1, &[(0, p)]);
    samples.add(live.view());
    let Some(ReportBody::Samples(batch)) = samples.take() else {
        panic!("no samples")
    };
    let of = |name: &str| {
        batch
            .series
            .iter()
            .find(|s| s.app == "a" && s.metric == name)
            .map(|s| s.values[0])
    };
    assert_eq!(of("lag"), Some(Some(5.5)));
    assert_eq!(of("words"), None);
    assert_eq!(
        of("cpu"),
        Some(Some(1.0)),
        "an app cannot replace what is measured"
    );
}

#[test]
fn a_clock_that_is_set_back_makes_no_double_moment() {
    let (mut live, mut samples) = (Live::default(), Samples::default());
    for at in [2000, 1000, 2000, 3000] {
        observe(&mut live, at, &[(0, process("a", 1, 1.0))]);
        samples.add(live.view());
    }
    let Some(ReportBody::Samples(batch)) = samples.take() else {
        panic!("no samples")
    };
    assert_eq!(batch.at, [2000, 3000]);
    assert!(batch.is_consistent());
}

#[test]
fn what_an_app_says_is_bounded() {
    let mut p = process(&"n".repeat(10_000), 1, f64::NAN);
    p.metrics = (0..2_000).map(|i| (format!("m{i}"), Metric::default())).collect();
    let mut live = Live::default();
    observe(&mut live, 1, &[(0, p)]);
    let p = &live.view().processes[&0];
    assert_eq!(
        (p.name.len(), p.cpu, p.metrics.len()),
        (256, 0.0, wire::MAX_METRICS)
    );
}

#[test]
fn logs_go_to_who_asked_until_the_time_is_over() {
    let line = |name: &str| LogLine {
        name: name.into(),
        data: "x".into(),
        ..LogLine::default()
    };
    let mut logs = Logs::default();
    logs.line(line("a"), &Rules::default());
    assert!(!logs.has_lines(), "nobody asked");
    logs.subscribe(1, Some("a".into()), Duration::from_secs(120));
    logs.line(line("a"), &Rules::default());
    logs.line(line("b"), &Rules::default());
    assert_eq!(logs.take().lines, [line("a")]);
    logs.subscribe(1, Some("a".into()), Duration::from_secs(200));
    assert!(logs.expire(Duration::from_secs(120)).is_empty(), "renewed");
    assert_eq!(logs.expire(Duration::from_secs(200)), [1].into());
    assert!(!logs.wanted());
}

#[test]
fn lines_that_do_not_fit_are_counted() {
    let mut logs = Logs::default();
    logs.subscribe(1, None, Duration::from_secs(1));
    for _ in 0..6_000 {
        logs.line(LogLine::default(), &Rules::default());
    }
    let batch = logs.take();
    assert_eq!((batch.lines.len(), batch.dropped), (5_000, 1_000));
    logs.lost(&batch);
    assert_eq!(logs.take().dropped, 6_000);
}

#[test]
fn what_happened_is_cleaned_of_environments() {
    let mut happened = Happened::default();
    let event = Event {
        data: r#"{"env":{"SECRET":"x"},"code":1}"#.into(),
        ..Event::default()
    };
    let exception = Exception {
        metadata: r#"{"password":"x"}"#.into(),
        ..Exception::default()
    };
    happened.event(event, &Rules::default());
    happened.exception(exception, &Rules::default());
    let bodies = happened.take();
    let ReportBody::Events(events) = &bodies[0] else {
        panic!("no events")
    };
    assert_eq!(events.list[0].data, r#"{"code":1}"#);
    let ReportBody::Exceptions(exceptions) = &bodies[1] else {
        panic!("no exceptions")
    };
    assert_eq!(exceptions.list[0].metadata, r#"{"password":"[redacted]"}"#);
    assert!(happened.is_empty());
}

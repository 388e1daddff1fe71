//! The bucket as its owner would tell it: what comes in, and what is seen.

mod absences;
mod identities;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::identities::{bucket_of_pm2, told, told_facts};
use super::absence::{Departure, Life};
use super::bucket::{Bucket, Joining, Output, Settings};
use super::identity::{Decision, Newcomer};
use super::link::Reverse;
use super::model::{
    AgentKind, LinkId, Manifest, Millis, Process, ProcessFacts, Resealed, ServerFacts, ServerId, ServerState,
};
use super::server::{Identity, ProcessUpdate, Report};
use crate::plans::Plan;

mod links;

const START: Millis = 1_700_000_000_000;

fn server_id(n: u8) -> ServerId {
    ServerId::from_bytes([n; 12])
}

fn process(pm_id: u32, name: &str) -> Process {
    Process {
        pm_id,
        facts: Arc::new(ProcessFacts {
            name: name.into(),
            unique_id: Some(format!("start-of-{name}")),
            ..ProcessFacts::default()
        }),
        pid: 1000 + pm_id,
        status: "online".into(),
        cpu: 1.0,
        memory: 1 << 20,
        restart_time: 0,
        pm_uptime: Some(START),
        metrics: Vec::new(),
    }
}

fn full(processes: Vec<Process>) -> Report {
    Report {
        processes: Some(ProcessUpdate::Full(processes)),
        ..Report::default()
    }
}

fn ours(machine: &str) -> Identity {
    Identity::Machine {
        machine: machine.into(),
        copy: None,
    }
}

fn joining(link: LinkId, reverse: Reverse, life: Life) -> Joining {
    Joining { link, reverse, life }
}

/// A bucket with `count` linked servers, server n over link n.
fn bucket_with(count: u8, settings: Settings) -> Bucket {
    let mut bucket = Bucket::new(settings);
    for n in 0..count {
        bucket.add(START, server_id(n), AgentKind::Pilothouse, ours(&format!("m{n}")));
        bucket.attach(
            START,
            server_id(n),
            joining(LinkId(n.into()), Reverse::Open, Life::default()),
            "web",
            None,
        );
    }
    bucket
}

fn state(bucket: &Bucket, n: u8) -> ServerState {
    bucket.server(server_id(n)).unwrap().state()
}

fn held_back(bucket: &Bucket) -> Vec<(ServerId, u32)> {
    bucket
        .servers()
        .flat_map(|s| s.held_back().map(|p| (s.id(), p.pm_id)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn ages_of_entries_that_left_are_not_kept_without_end() {
    let mut bucket = bucket_with(1, Settings::default());
    // All within a second: nothing is forgotten for its age.
    for round in 0..5u32 {
        let list = (0..5_000).map(|n| process(round * 5_000 + n, "job")).collect();
        bucket.report(START + 1, server_id(0), LinkId(0), full(list));
    }
    let server = bucket.server(server_id(0)).unwrap();
    assert_eq!(server.processes().count(), 5_000);
    assert_eq!(server.remembered(), super::server::MAX_PROCESSES);
}

#[test]
fn a_silent_server_is_lost_then_offline_and_a_goodbye_is_no_loss() {
    let mut bucket = bucket_with(2, Settings::default());
    assert_eq!(
        (state(&bucket, 0), state(&bucket, 1)),
        (ServerState::Online, ServerState::Online)
    );

    bucket.detach(START + 1000, server_id(0), LinkId(0), Departure::Lost);
    bucket.detach(START + 1000, server_id(1), LinkId(1), Departure::Goodbye);
    assert_eq!(
        (state(&bucket, 0), state(&bucket, 1)),
        (ServerState::Online, ServerState::Stopped)
    );

    bucket.tick(START + 7000);
    assert_eq!(
        (state(&bucket, 0), state(&bucket, 1)),
        (ServerState::Lost, ServerState::Stopped)
    );
    bucket.tick(START + 119_999);
    assert_eq!(state(&bucket, 0), ServerState::Lost);
    bucket.tick(START + 120_000);
    assert_eq!(
        (state(&bucket, 0), state(&bucket, 1)),
        (ServerState::Offline, ServerState::Stopped)
    );

    bucket.attach(
        START + 130_000,
        server_id(0),
        joining(LinkId(7), Reverse::Open, Life::default()),
        "web",
        None,
    );
    assert_eq!(state(&bucket, 0), ServerState::Online);
}

#[test]
fn a_quick_reconnect_is_never_seen() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.snapshot(START);
    while bucket.poll().is_some() {}
    bucket.detach(START + 100, server_id(0), LinkId(0), Departure::Lost);
    bucket.attach(
        START + 900,
        server_id(0),
        joining(LinkId(1), Reverse::Open, Life::default()),
        "web",
        None,
    );
    bucket.tick(START + 1000);
    let states = std::iter::from_fn(|| bucket.poll())
        .filter(|o| matches!(o, Output::State(..)))
        .count();
    assert_eq!(states, 0);
}

#[test]
fn an_old_link_that_ends_late_takes_nothing_down() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.attach(
        START + 10,
        server_id(0),
        joining(LinkId(9), Reverse::Open, Life::default()),
        "web",
        None,
    );
    bucket.report(START + 20, server_id(0), LinkId(9), full(vec![process(0, "api")]));
    bucket.detach(START + 30, server_id(0), LinkId(0), Departure::Lost);
    bucket.tick(START + 9000);
    assert_eq!(state(&bucket, 0), ServerState::Online);
    assert_eq!(
        bucket.server(server_id(0)).unwrap().command_link(),
        Some(LinkId(9))
    );
    // What a link says after it ended is not heard.
    bucket.report(START + 40, server_id(0), LinkId(0), full(vec![]));
    assert_eq!(bucket.server(server_id(0)).unwrap().processes().count(), 1);
}

#[test]
fn commands_go_to_the_link_that_reported_last() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.attach(
        START,
        server_id(0),
        joining(LinkId(5), Reverse::Open, Life::default()),
        "web",
        None,
    );
    bucket.report(START + 100, server_id(0), LinkId(0), full(vec![]));
    assert_eq!(
        bucket.server(server_id(0)).unwrap().command_link(),
        Some(LinkId(0))
    );
    bucket.set_reverse(START, server_id(0), LinkId(0), false);
    bucket.set_reverse(START, server_id(0), LinkId(5), false);
    assert_eq!(bucket.server(server_id(0)).unwrap().command_link(), None);
}

#[test]
fn a_way_for_commands_of_its_own_is_missed_after_a_while_and_refused_at_once() {
    let mut bucket = Bucket::new(Settings::default());
    bucket.add(START, server_id(0), AgentKind::Pilothouse, ours("m"));
    bucket.attach(
        START,
        server_id(0),
        joining(LinkId(0), Reverse::Awaited, Life::default()),
        "web",
        None,
    );
    let look = |bucket: &Bucket| {
        let server = bucket.server(server_id(0)).unwrap();
        (server.reverse(), server.reachable().is_ok())
    };
    let report = |bucket: &mut Bucket, at| bucket.report(START + at, server_id(0), LinkId(0), full(vec![]));
    assert_eq!(look(&bucket), (true, false));
    report(&mut bucket, 9_999);
    assert_eq!(look(&bucket), (true, false));
    report(&mut bucket, 10_000);
    assert_eq!(look(&bucket), (false, false));
    bucket.set_reverse(START + 11_000, server_id(0), LinkId(0), true);
    assert_eq!(look(&bucket), (true, true));
    bucket.set_reverse(START + 12_000, server_id(0), LinkId(0), false);
    assert_eq!(look(&bucket), (true, false));
    report(&mut bucket, 22_000);
    assert_eq!(look(&bucket), (false, false));
    assert_eq!(state(&bucket, 0), ServerState::Online);
}

#[test]
fn watchers_are_told_what_changed_and_nothing_else() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.report(
        START,
        server_id(0),
        LinkId(0),
        full(vec![process(0, "api"), process(1, "job")]),
    );
    let (rev, snapshot) = bucket.snapshot(START);
    assert_eq!(snapshot[0]["processes"].as_array().unwrap().len(), 2);
    assert_eq!(
        snapshot[0]["processes"][0]["recent"]["cpu"]
            .as_array()
            .unwrap()
            .len(),
        60
    );
    assert_eq!(bucket.flush(START, false), None);

    let mut busy = process(0, "api");
    busy.cpu = 55.0;
    bucket.report(
        START + 1000,
        server_id(0),
        LinkId(0),
        full(vec![busy.clone(), process(1, "job")]),
    );
    assert!(!bucket.is_urgent(), "numbers wait for the second");
    assert_eq!(bucket.flush(START + 1000, true), None);
    let changes = bucket.flush(START + 1000, false).unwrap();
    assert_eq!(changes.rev, rev + 1);
    assert_eq!(
        Value::Object(changes.servers[0].clone()),
        json!({ "id": server_id(0), "processes": [{ "cpu": 55, "key": "0:api" }], "removed": [] })
    );

    let mut down = busy;
    down.status = "errored".into();
    bucket.report(START + 1500, server_id(0), LinkId(0), full(vec![down]));
    assert!(bucket.is_urgent());
    let changes = bucket.flush(START + 1500, true).unwrap();
    assert_eq!(
        changes.servers[0]["processes"],
        json!([{ "status": "errored", "key": "0:api" }])
    );
    assert_eq!(changes.servers[0]["removed"], json!(["1:job"]));
}

#[test]
fn the_last_minute_has_no_gap_where_nothing_changed() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.report(START, server_id(0), LinkId(0), full(vec![process(0, "idle")]));
    for second in 1..=5 {
        let unchanged = ProcessUpdate::Delta {
            changed: vec![],
            removed: vec![],
        };
        let report = Report {
            processes: Some(unchanged),
            ..Report::default()
        };
        bucket.report(START + second * 1000, server_id(0), LinkId(0), report);
        bucket.tick(START + second * 1000 + 10);
    }
    let described = bucket.describe(START + 5_500);
    let cpu = described[0]["processes"][0]["recent"]["cpu"].as_array().unwrap();
    assert_eq!(
        cpu[54..],
        [json!(1), json!(1), json!(1), json!(1), json!(1), json!(1)]
    );
    assert!(cpu[..54].iter().all(Value::is_null));

    // Silence is a gap.
    bucket.detach(START + 6_000, server_id(0), LinkId(0), Departure::Goodbye);
    bucket.tick(START + 7_000);
    let described = bucket.describe(START + 7_500);
    assert_eq!(described[0]["processes"][0]["recent"]["cpu"][59], Value::Null);
}

#[test]
fn a_deleted_server_is_gone_for_watchers_and_frees_its_places() {
    let settings = Settings {
        plan: Plan::Processes(1),
        ..Settings::default()
    };
    let mut bucket = bucket_with(2, settings);
    bucket.report(START, server_id(0), LinkId(0), full(vec![process(0, "api")]));
    bucket.report(START + 1, server_id(1), LinkId(1), full(vec![process(0, "api")]));
    assert_eq!(held_back(&bucket), [(server_id(1), 0)]);
    bucket.snapshot(START);
    assert!(bucket.forget(server_id(0)));
    assert!(held_back(&bucket).is_empty());
    let changes = bucket.flush(START + 2, true).unwrap();
    assert_eq!(changes.gone, [server_id(0)]);
    assert_eq!(changes.servers[0]["processes"][0]["over_plan"], json!(false));
}

fn machine(name: &str) -> Newcomer {
    Newcomer::Machine {
        name: name.into(),
        hostname: "host".into(),
        username: None,
        machine: name.into(),
        incarnation: format!("boot of {name}"),
        linked_at: START + 50_000,
    }
}

#[test]
fn one_server_more_than_the_limit_waits_until_a_place_is_free() {
    let limited = |max_servers| Settings {
        max_servers,
        ..Settings::default()
    };
    let mut bucket = bucket_with(2, limited(Some(2)));
    assert_eq!(bucket.identify(START, &machine("m2")), Decision::NoPlace);
    assert_eq!(
        bucket.identify(START, &told(START, "u", &[], None)),
        Decision::NoPlace
    );
    bucket.turned_back(START, "late", "host", AgentKind::Pilothouse);
    assert_eq!(bucket.waiting()[0]["name"], "late");
    assert_eq!(
        bucket.identify(START + 5_000, &machine("m1")),
        Decision::Known(server_id(1)),
        "who is in stays in"
    );

    // Gone is not deleted.
    bucket.detach(START, server_id(0), LinkId(0), Departure::Goodbye);
    bucket.tick(START + 40_000);
    assert_eq!(bucket.identify(START + 40_000, &machine("m2")), Decision::NoPlace);
    assert!(bucket.hide(START + 40_000, server_id(0)));
    assert!(matches!(
        bucket.identify(START + 40_000, &machine("m2")),
        Decision::New(_)
    ));
    bucket.configure(START + 40_000, limited(Some(1)));
    assert_eq!(
        bucket.identify(START + 60_000, &machine("m0")),
        Decision::NoPlace,
        "a hidden one that is linked anew needs a place again"
    );
    assert_eq!(
        bucket.identify(START + 60_000, &machine("m1")),
        Decision::Known(server_id(1)),
        "a lower limit sends nobody away"
    );
    bucket.configure(START + 60_000, limited(None));
    assert_eq!(
        bucket.identify(START + 60_000, &machine("m0")),
        Decision::Known(server_id(0))
    );
}

#[test]
fn a_pm2_agent_that_may_be_a_known_server_is_let_in_to_tell() {
    let mut bucket = bucket_of_pm2();
    bucket.configure(
        START,
        Settings {
            max_servers: Some(1),
            ..Settings::default()
        },
    );
    assert!(bucket.may_open(START, "web", "host"), "it is known by its name");
    assert!(
        !bucket.may_open(START, "other", "host"),
        "that one is linked: this is another"
    );
    assert!(!bucket.may_open(START, "web", "elsewhere"));
    assert_eq!(bucket.waiting().as_array().unwrap().len(), 2);
    bucket.detach(START, server_id(1), LinkId(1), Departure::Goodbye);
    assert!(bucket.may_open(START, "renamed", "host"));
}

#[test]
fn over_plan_shows_no_values_and_a_bigger_plan_brings_them_at_once() {
    let mut bucket = bucket_with(
        1,
        Settings {
            plan: Plan::Processes(1),
            ..Settings::default()
        },
    );
    bucket.report(START, server_id(0), LinkId(0), full(vec![process(0, "a")]));
    bucket.report(
        START + 10,
        server_id(0),
        LinkId(0),
        full(vec![process(0, "a"), process(1, "b")]),
    );
    let (_, snapshot) = bucket.snapshot(START + 10);
    let second = &snapshot[0]["processes"][1];
    assert_eq!(
        (&second["over_plan"], &second["cpu"], &second["memory"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    assert!(second.get("recent").is_none());
    assert_eq!(
        bucket.usage(),
        json!({ "limit": 1, "used": 2, "over_plan": 1, "servers": 1, "max_servers": null })
    );

    while bucket.poll().is_some() {}
    bucket.configure(
        START + 20,
        Settings {
            plan: Plan::Processes(8),
            ..Settings::default()
        },
    );
    assert!(held_back(&bucket).is_empty());
    assert!(
        std::iter::from_fn(|| bucket.poll()).any(|o| o == Output::HeldBack(server_id(0), BTreeSet::new()))
    );
}

#[test]
fn the_choice_survives_a_restart_of_the_hub_and_of_the_daemon() {
    let settings = Settings {
        plan: Plan::Processes(1),
        ..Settings::default()
    };
    let mut bucket = bucket_with(1, settings);
    bucket.report(START, server_id(0), LinkId(0), full(vec![process(1, "old")]));
    bucket.report(
        START + 10,
        server_id(0),
        LinkId(0),
        full(vec![process(0, "new"), process(1, "old")]),
    );
    assert_eq!(held_back(&bucket), [(server_id(0), 0)]);

    // The daemon restarts: an empty list, then both again.
    bucket.report(START + 20, server_id(0), LinkId(0), full(vec![]));
    bucket.report(START + 30, server_id(0), LinkId(0), full(vec![process(0, "new")]));
    bucket.report(
        START + 40,
        server_id(0),
        LinkId(0),
        full(vec![process(0, "new"), process(1, "old")]),
    );
    assert_eq!(held_back(&bucket), [(server_id(0), 0)]);

    let stored = bucket.stored(START + 50, server_id(0)).unwrap();
    let mut again = Bucket::new(settings);
    assert!(again.restore(START + 1000, vec![stored]).is_empty());
    assert_eq!(held_back(&again), [(server_id(0), 0)]);
    assert_eq!(state(&again, 0), ServerState::Lost);
    assert_eq!(again.server(server_id(0)).unwrap().processes().count(), 1);
}

#[test]
fn an_unreadable_snapshot_costs_the_details_and_not_the_server() {
    let mut bucket = bucket_with(1, Settings::default());
    let mut stored = bucket.stored(START, server_id(0)).unwrap();
    for bad in [&b"{"[..], br#"{"format":99}"#, br#"{"format":1}"#] {
        stored.snapshot = bad.to_vec();
        let mut again = Bucket::default();
        assert_eq!(again.restore(START, vec![stored.clone()]).len(), 1);
        assert_eq!(again.server(server_id(0)).unwrap().name(), "web");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Attach(u8, u8),
    Detach(u8, u8, bool),
    Report(u8, u8, Vec<u8>),
    Hint(u8, u8),
    Forget(u8),
    Hide(u8),
    Plan(Option<u8>),
    Wait(u32),
    Flush(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (s, l) = (0u8..3, 0u8..4);
    prop_oneof![
        1 => (s.clone(), l.clone()).prop_map(|(s, l)| Step::Attach(s, l)),
        1 => (s.clone(), l.clone(), any::<bool>()).prop_map(|(s, l, c)| Step::Detach(s, l, c)),
        4 => (s.clone(), l, prop::collection::vec(0u8..6, 0..6)).prop_map(|(s, l, p)| Step::Report(s, l, p)),
        1 => (s.clone(), 0u8..6).prop_map(|(s, p)| Step::Hint(s, p)),
        1 => s.clone().prop_map(Step::Forget),
        1 => s.prop_map(Step::Hide),
        1 => prop::option::of(0u8..8).prop_map(Step::Plan),
        1 => (0u32..200_000).prop_map(Step::Wait),
        3 => any::<bool>().prop_map(Step::Flush),
    ]
}

/// What a dashboard does with what it is told.
#[derive(Default)]
struct Dashboard(std::collections::BTreeMap<String, serde_json::Map<String, Value>>);

impl Dashboard {
    fn load(snapshot: &Value) -> Self {
        let mut all = Self::default();
        for server in snapshot.as_array().unwrap() {
            all.merge(server.as_object().unwrap());
        }
        all
    }

    fn merge(&mut self, changed: &serde_json::Map<String, Value>) {
        let id = changed["id"].as_str().unwrap().to_owned();
        let server = self.0.entry(id).or_default();
        for (name, value) in changed {
            match name.as_str() {
                "processes" => {
                    let list = server
                        .entry("processes")
                        .or_insert_with(|| json!({}))
                        .as_object_mut()
                        .unwrap();
                    for process in value.as_array().unwrap() {
                        let key = process["key"].as_str().unwrap().to_owned();
                        let known = list
                            .entry(key)
                            .or_insert_with(|| json!({}))
                            .as_object_mut()
                            .unwrap();
                        known.extend(process.as_object().unwrap().clone());
                        known.remove("recent");
                    }
                }
                "removed" => {
                    let list = server
                        .entry("processes")
                        .or_insert_with(|| json!({}))
                        .as_object_mut()
                        .unwrap();
                    for key in value.as_array().unwrap() {
                        list.remove(key.as_str().unwrap());
                    }
                }
                "last_seen" => {}
                _ => drop(server.insert(name.clone(), value.clone())),
            }
        }
    }
}

proptest! {
    /// Whatever happens: no panic, the plan holds, and somebody who followed the changes sees what a newcomer sees.
    #[test]
    fn following_changes_equals_a_fresh_snapshot(steps in prop::collection::vec(step(), 1..60)) {
        let mut bucket = Bucket::default();
        let mut now = START;
        let mut dashboard = Dashboard::load(&bucket.snapshot(now).1);
        let mut rev = bucket.snapshot(now).0;
        let mut take = |bucket: &mut Bucket, now, only_urgent, dashboard: &mut Dashboard| {
            if let Some(changes) = bucket.flush(now, only_urgent) {
                assert_eq!(changes.rev, rev + 1);
                rev = changes.rev;
                for id in &changes.gone { dashboard.0.remove(&id.to_string()); }
                for server in &changes.servers { dashboard.merge(server); }
            }
        };
        for step in steps {
            now += 7;
            match step {
                Step::Attach(s, l) => {
                    bucket.add(now, server_id(s), AgentKind::Pm2, Identity::Told);
                    bucket.attach(now, server_id(s), joining(LinkId(l.into()), Reverse::Open, Life::default()), "n", None);
                }
                Step::Detach(s, l, clean) => {
                    let departure = if clean { Departure::Goodbye } else { Departure::Lost };
                    bucket.detach(now, server_id(s), LinkId(l.into()), departure);
                },
                Step::Report(s, l, ids) => {
                    let list = ids.iter().map(|p| process(u32::from(*p), "app")).collect();
                    bucket.report(now, server_id(s), LinkId(l.into()), full(list));
                }
                Step::Hint(s, p) => bucket.hint(server_id(s), p.into(), "stopped"),
                Step::Forget(s) => drop(bucket.forget(server_id(s))),
                Step::Hide(s) => drop(bucket.hide(now, server_id(s))),
                Step::Plan(limit) => {
                    let plan = limit.map_or(Plan::Unlimited, |n| Plan::Processes(n.into()));
                    bucket.configure(now, Settings { plan, ..Settings::default() });
                }
                Step::Wait(ms) => { now += Millis::from(ms); bucket.tick(now); }
                Step::Flush(urgent) => take(&mut bucket, now, urgent, &mut dashboard),
            }
            if let Some(limit) = bucket.settings().plan.limit() {
                let counted: usize = bucket.servers().map(|s| s.processes().count()).sum();
                prop_assert!(counted <= limit as usize);
            }
        }
        take(&mut bucket, now, false, &mut dashboard);
        let fresh = Dashboard::load(&bucket.snapshot(now).1);
        prop_assert_eq!(json!(dashboard.0), json!(fresh.0));
    }
}

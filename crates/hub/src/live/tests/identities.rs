//! For whom a newcomer speaks: restarts, copies, renames, and what is hidden.

use super::*;

pub(super) fn told(since: Millis, unique: &str, processes: &[&str], relinked: Option<bool>) -> Newcomer {
    Newcomer::Told {
        since,
        name: "web".into(),
        hostname: "host".into(),
        username: Some("root".into()),
        unique_id: Some(unique.into()),
        processes: processes.iter().map(|p| (*p).to_owned()).collect(),
        relinked,
    }
}

pub(super) fn told_facts(unique: &str) -> ServerFacts {
    ServerFacts {
        hostname: "host".into(),
        username: Some("root".into()),
        unique_id: Some(unique.into()),
        ..ServerFacts::default()
    }
}

/// Server 1 reported by PM2 agent `u1` over link 1, running app `api`.
pub(super) fn bucket_of_pm2() -> Bucket {
    let mut bucket = Bucket::default();
    assert_eq!(
        bucket.identify(START, &told(START, "u1", &[], None)),
        Decision::New(Identity::Told)
    );
    bucket.add(START, server_id(1), AgentKind::Pm2, Identity::Told);
    bucket.attach(
        START,
        server_id(1),
        joining(LinkId(1), Reverse::Open, Life::default()),
        "web",
        Some(told_facts("u1")),
    );
    bucket.report(START, server_id(1), LinkId(1), full(vec![process(0, "api")]));
    bucket
}

#[test]
fn sockets_of_one_agent_are_one_server() {
    let bucket = bucket_of_pm2();
    assert_eq!(
        bucket.identify(START + 5, &told(START + 5, "u1", &[], None)),
        Decision::Known(server_id(1))
    );
}

#[test]
fn an_agent_that_restarts_is_the_same_server() {
    let mut bucket = bucket_of_pm2();
    // The new agent overlaps the old one.
    let since = START + 300;
    assert_eq!(
        bucket.identify(since, &told(since, "u2", &[], None)),
        Decision::Wait
    );
    bucket.report(since + 10, server_id(1), LinkId(1), Report::default());
    assert_eq!(
        bucket.identify(since + 1000, &told(since, "u2", &[], None)),
        Decision::Wait
    );
    assert_eq!(
        bucket.identify(since + 3000, &told(since, "u2", &[], None)),
        Decision::Known(server_id(1))
    );
}

#[test]
fn two_daemons_with_one_name_are_two_servers() {
    let mut bucket = bucket_of_pm2();
    let since = START + 300;
    assert_eq!(
        bucket.identify(since, &told(since, "u2", &["other"], None)),
        Decision::Wait
    );
    bucket.report(since + 1000, server_id(1), LinkId(1), Report::default());
    let decision = bucket.identify(since + 1100, &told(since, "u2", &["other"], None));
    assert_eq!(decision, Decision::New(Identity::Told));

    bucket.add(since + 1100, server_id(2), AgentKind::Pm2, Identity::Told);
    bucket.attach(
        since + 1100,
        server_id(2),
        joining(LinkId(2), Reverse::Open, Life::default()),
        "web",
        Some(told_facts("u2")),
    );
    assert_eq!(
        bucket.identify(since + 1200, &told(since, "u2", &[], None)),
        Decision::Known(server_id(2))
    );
    assert_eq!(
        bucket.identify(since + 1200, &told(since, "u1", &[], None)),
        Decision::Known(server_id(1))
    );
}

#[test]
fn a_new_name_keeps_the_history_of_the_same_processes() {
    let mut bucket = bucket_of_pm2();
    bucket.detach(START + 500, server_id(1), LinkId(1), Departure::Goodbye);
    let mut renamed = told(START + 4000, "u2", &["start-of-api"], None);
    if let Newcomer::Told { name, .. } = &mut renamed {
        *name = "renamed".into();
    }
    assert_eq!(
        bucket.identify(START + 4000, &renamed),
        Decision::Known(server_id(1))
    );
    // Another name and other processes on that host: another server.
    if let Newcomer::Told { processes, .. } = &mut renamed {
        processes.clear();
    }
    assert_eq!(
        bucket.identify(START + 4000, &renamed),
        Decision::New(Identity::Told)
    );
}

#[test]
fn a_hidden_server_returns_only_when_linked_anew() {
    let mut bucket = bucket_of_pm2();
    bucket.hide(START, server_id(1));
    assert_eq!(bucket.servers().count(), 0);
    assert_eq!(
        bucket.identify(START + 9, &told(START, "u1", &[], Some(true))),
        Decision::Hidden(server_id(1))
    );
    assert_eq!(
        bucket.identify(START + 9, &told(START, "u2", &[], None)),
        Decision::Wait
    );
    assert_eq!(
        bucket.identify(START + 9, &told(START, "u2", &[], Some(false))),
        Decision::Hidden(server_id(1))
    );
    assert_eq!(
        bucket.identify(START + 9, &told(START, "u2", &[], Some(true))),
        Decision::Known(server_id(1))
    );
    bucket.attach(
        START + 10,
        server_id(1),
        joining(LinkId(2), Reverse::Open, Life::default()),
        "web",
        Some(told_facts("u2")),
    );
    assert_eq!(bucket.servers().count(), 1);
}

fn greeting(machine: &str, incarnation: &str) -> Newcomer {
    linked(machine, incarnation, 0)
}

fn linked(machine: &str, incarnation: &str, linked_at: Millis) -> Newcomer {
    Newcomer::Machine {
        name: "web".into(),
        hostname: "host".into(),
        username: Some("root".into()),
        machine: machine.into(),
        incarnation: incarnation.into(),
        linked_at,
    }
}

#[test]
fn a_hidden_machine_returns_only_when_linked_later() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.hide(START + 50, server_id(0));
    let stored = bucket.stored(START + 60, server_id(0)).unwrap();
    let mut bucket = Bucket::default();
    bucket.restore(START + 70, vec![stored]);
    for (linked_at, expected) in [
        (0, Decision::Hidden(server_id(0))),
        (START + 50, Decision::Hidden(server_id(0))),
        (START + 51, Decision::Known(server_id(0))),
    ] {
        assert_eq!(
            bucket.identify(START + 100, &linked("m0", "boot1", linked_at)),
            expected
        );
    }
}

#[test]
fn machines_are_told_apart_by_id_and_copies_by_their_boot() {
    let mut bucket = Bucket::default();
    let Decision::New(identity) = bucket.identify(START, &greeting("m", "boot1")) else {
        panic!("unknown")
    };
    bucket.add(START, server_id(1), AgentKind::Pilothouse, identity);
    let facts = |boot: &str| {
        Some(ServerFacts {
            unique_id: Some(boot.into()),
            ..ServerFacts::default()
        })
    };
    bucket.attach(
        START,
        server_id(1),
        joining(LinkId(1), Reverse::Open, Life::default()),
        "web",
        facts("boot1"),
    );
    assert_eq!(
        bucket.identify(START + 1, &greeting("m", "boot1")),
        Decision::Known(server_id(1))
    );
    assert!(matches!(
        bucket.identify(START + 1, &greeting("other", "boot1")),
        Decision::New(_)
    ));

    let Decision::New(copy) = bucket.identify(START + 1, &greeting("m", "boot2")) else {
        panic!("a copy")
    };
    bucket.add(START + 1, server_id(2), AgentKind::Pilothouse, copy);
    bucket.attach(
        START + 1,
        server_id(2),
        joining(LinkId(2), Reverse::Open, Life::default()),
        "web",
        facts("boot2"),
    );
    assert_eq!(
        bucket.identify(START + 2, &greeting("m", "boot2")),
        Decision::Known(server_id(2))
    );
    assert_eq!(
        bucket.identify(START + 2, &greeting("m", "boot1")),
        Decision::Known(server_id(1))
    );
}

#[test]
fn a_reboot_is_no_copy() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.detach(START + 100, server_id(0), LinkId(0), Departure::Lost);
    assert_eq!(
        bucket.identify(START + 200, &greeting("m0", "boot2")),
        Decision::Known(server_id(0))
    );
}

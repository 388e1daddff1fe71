//! Why a server is away: what is guessed meanwhile, and what is known afterwards.

use super::*;

/// What watchers are told of an absence: reason, whether it is sure, whether it is over, whether it was filled in.
fn absence(bucket: &Bucket, now: Millis) -> Value {
    let shown = bucket.describe(now);
    let absence = &shown[0]["absence"];
    if absence.is_null() {
        return Value::Null;
    }
    json!([
        absence["reason"],
        absence["sure"],
        !absence["until"].is_null(),
        absence["filled"]
    ])
}

fn life(session: &str, boot: &str) -> Life {
    Life {
        session: Some(session.into()),
        boot: Some(boot.into()),
    }
}

#[test]
fn why_a_server_is_away_is_guessed_and_then_known() {
    const AWAY: Millis = 300_000;
    let story = |departure: Departure, now: Life| {
        let mut bucket = Bucket::new(Settings::default());
        bucket.add(START, server_id(0), AgentKind::Pilothouse, ours("m"));
        bucket.attach(
            START,
            server_id(0),
            joining(LinkId(0), Reverse::Open, life("s1", "b1")),
            "web",
            None,
        );
        assert_eq!(absence(&bucket, START), Value::Null);
        bucket.detach(START, server_id(0), LinkId(0), departure);
        let mut told = Vec::new();
        for at in [20_000, AWAY] {
            bucket.tick(START + at);
            told.push(absence(&bucket, START + at));
        }
        bucket.attach(
            START + AWAY,
            server_id(0),
            joining(LinkId(1), Reverse::Open, now),
            "web",
            None,
        );
        told.push(absence(&bucket, START + AWAY));
        (bucket, told)
    };
    let (_, told) = story(Departure::Goodbye, life("s2", "b1"));
    let stopped = json!(["stopped", true, false, false]);
    assert_eq!(
        told,
        [stopped.clone(), stopped, json!(["stopped", true, true, false])]
    );
    let (_, told) = story(Departure::Cut, life("s2", "b1"));
    let dead = json!(["daemon_dead", false, false, false]);
    assert_eq!(
        told,
        [dead.clone(), dead, json!(["daemon_dead", true, true, false])]
    );
    let lost = json!(["link_lost", false, false, false]);
    let gone = json!(["host_gone", false, false, false]);
    let (_, told) = story(Departure::Lost, life("s1", "b1"));
    assert_eq!(
        told,
        [
            lost.clone(),
            gone.clone(),
            json!(["link_lost", true, true, false])
        ]
    );
    let (mut bucket, told) = story(Departure::Lost, life("s2", "b2"));
    assert_eq!(told, [lost, gone, json!(["host_gone", true, true, false])]);
    // It had measured for most of the time, and started anew only to come back.
    bucket.filled(START + AWAY + 1_000, server_id(0), START, START + 200_000, 201);
    assert_eq!(
        absence(&bucket, START + AWAY),
        json!(["link_lost", true, true, true])
    );
}

#[test]
fn an_agent_that_only_breathes_has_no_pm2_to_tell_of() {
    let mut bucket = bucket_with(1, Settings::default());
    for second in 1..=15 {
        bucket.breathes(START + second * 1000, server_id(0));
        bucket.tick(START + second * 1000);
    }
    assert_eq!(
        absence(&bucket, START),
        json!(["daemon_dead", true, false, false])
    );
    bucket.tick(START + 60_000);
    assert_eq!(absence(&bucket, START), json!(["link_lost", false, false, false]));
    // By the uptime that it tells: the machine was off.
    let facts = ServerFacts {
        uptime: Some(5.0),
        ..ServerFacts::default()
    };
    let report = Report {
        facts: Some(facts),
        ..Report::default()
    };
    bucket.report(START + 70_000, server_id(0), LinkId(0), report);
    assert_eq!(absence(&bucket, START), json!(["host_gone", true, true, false]));
}

#[test]
fn an_absence_outlives_a_restart_of_the_hub_and_the_hubs_own_is_not_told() {
    let restarted = |bucket: &mut Bucket, now| {
        let stored = bucket.stored(now, server_id(0)).unwrap();
        let mut again = Bucket::default();
        assert!(again.restore(now, vec![stored]).is_empty());
        again
    };
    let mut bucket = bucket_with(1, Settings::default());
    bucket.detach(START, server_id(0), LinkId(0), Departure::Goodbye);
    bucket.tick(START + 10_000);
    let mut again = restarted(&mut bucket, START + 20_000);
    assert_eq!(absence(&again, START), json!(["stopped", true, false, false]));
    again.attach(
        START + 30_000,
        server_id(0),
        joining(LinkId(1), Reverse::Open, Life::default()),
        "web",
        None,
    );
    assert_eq!(absence(&again, START), json!(["stopped", true, true, false]));

    let mut bucket = bucket_with(1, Settings::default());
    let mut again = restarted(&mut bucket, START + 20_000);
    assert_eq!(absence(&again, START), json!(["link_lost", false, false, false]));
    again.attach(
        START + 30_000,
        server_id(0),
        joining(LinkId(1), Reverse::Open, Life::default()),
        "web",
        None,
    );
    assert_eq!(absence(&again, START), Value::Null);
}

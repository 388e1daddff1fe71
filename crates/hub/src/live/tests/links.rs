//! What stands between a host and a bucket: versions, places, names, and what went wrong.

use super::*;

#[test]
fn s44_our_agent_takes_over_the_server_of_pm2s_agent_that_has_gone() {
    let mut bucket = bucket_of_pm2();
    let Decision::New(identity) = take_over(&bucket, "m", "web", "host", "root") else {
        panic!("PM2's agent still speaks")
    };
    assert_eq!(identity, ours("m"));
    bucket.detach(START + 100, server_id(1), LinkId(1), Departure::Goodbye);
    for (name, host, user) in [
        ("other", "host", "root"),
        ("web", "other", "root"),
        ("web", "host", "other"),
    ] {
        assert!(
            matches!(take_over(&bucket, "m", name, host, user), Decision::New(_)),
            "{name} {host} {user}"
        );
    }
    assert_eq!(
        take_over(&bucket, "m", "web", "host", "root"),
        Decision::Adopted(server_id(1), ours("m"))
    );
    bucket.adopt(server_id(1), AgentKind::Pilothouse, ours("m"));
    assert_eq!(
        take_over(&bucket, "m", "web", "host", "root"),
        Decision::Known(server_id(1))
    );
    assert_eq!(
        bucket
            .servers()
            .map(|s| (s.kind(), s.processes().count()))
            .collect::<Vec<_>>(),
        [(AgentKind::Pilothouse, 1)],
        "what was known of it stays"
    );
}

fn take_over(bucket: &Bucket, machine: &str, name: &str, hostname: &str, user: &str) -> Decision {
    let newcomer = Newcomer::Machine {
        name: name.into(),
        hostname: hostname.into(),
        username: Some(user.into()),
        machine: machine.into(),
        incarnation: "boot".into(),
        linked_at: 0,
    };
    bucket.identify(START + 200, &newcomer)
}

#[test]
fn what_went_wrong_is_kept_over_a_restart_of_the_hub() {
    let mut bucket = bucket_with(1, Settings::default());
    bucket.failed(START + 5, server_id(0), &"x".repeat(5_000));
    let stored = bucket.stored(START + 6, server_id(0)).unwrap();
    let mut again = Bucket::default();
    again.restore(START + 7, vec![stored]);
    let shown = again.describe(START + 8);
    assert_eq!(shown[0]["failure"]["at"], START + 5);
    assert_eq!(shown[0]["failure"]["text"].as_str().unwrap().len(), 256);
}

#[test]
fn f14_what_a_host_says_that_it_sends_is_as_old_as_it_is_the_same() {
    let mut bucket = bucket_with(1, Settings::default());
    let mut tell = |at: Millis, sealed: Option<(&str, &str)>| {
        let manifest = sealed.map(|(digest, key)| Manifest {
            digest: digest.into(),
            key: key.into(),
            known: true,
            since: START + at,
        });
        let facts = Some(ServerFacts {
            manifest,
            ..ServerFacts::default()
        });
        let report = Report {
            facts,
            ..Report::default()
        };
        bucket.report(START + at, server_id(0), LinkId(0), report);
        let told: Vec<Resealed> = std::iter::from_fn(|| bucket.poll())
            .filter_map(|output| match output {
                Output::Resealed(_, what) => Some(what),
                _ => None,
            })
            .collect();
        let shown = bucket.describe(START + at);
        (
            told,
            shown[0]["manifest"]["since"].as_i64().map(|since| since - START),
        )
    };
    assert_eq!(tell(1, None), (vec![], None));
    assert_eq!(
        tell(2, Some(("list", "key"))),
        (vec![], Some(2)),
        "the first is no change"
    );
    assert_eq!(tell(3, Some(("list", "key"))), (vec![], Some(2)));
    assert_eq!(tell(4, None), (vec![], Some(2)), "silence takes nothing back");
    assert_eq!(tell(5, Some(("other", "key"))), (vec![Resealed::List], Some(5)));
    assert_eq!(
        tell(6, Some(("other", "another"))),
        (vec![Resealed::Key], Some(6))
    );
}

#[test]
fn s42_a_server_that_is_refused_shows_why() {
    let mut bucket = bucket_with(1, Settings::default());
    let facts = ServerFacts {
        pm2_version: Some("7.0.4".into()),
        node_version: Some("0.10.48".into()),
        ..ServerFacts::default()
    };
    bucket.refused(START + 5, "m0", "web", facts.clone(), "too old");
    bucket.refused(START + 5, "nobody", "new", facts, "too old");
    let shown = bucket.describe(START + 6);
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["failure"]["text"], "too old");
    assert_eq!(shown[0]["versions"]["node"], "0.10.48");
    let waiting = bucket.waiting();
    assert_eq!(
        (&waiting[0]["name"], &waiting[0]["why"]),
        (&json!("new"), &json!("too old"))
    );
}

#[test]
fn s42_an_agent_of_pm2_is_refused_while_it_is_known_to_be_too_old() {
    let mut bucket = bucket_of_pm2();
    let told = |node: &str| Report {
        facts: Some(ServerFacts {
            pm2_version: Some("7.0.4".into()),
            node_version: Some(node.into()),
            ..told_facts("u1")
        }),
        ..Report::default()
    };
    bucket.report(START, server_id(1), LinkId(1), told("v0.10.48"));
    let refused = |bucket: &Bucket, at, name, host| bucket.too_old(START + at, name, host).is_some();
    assert!(refused(&bucket, 0, "web", "host"));
    assert!(!refused(&bucket, 0, "other", "host") && !refused(&bucket, 0, "web", "other"));
    bucket.detach(START + 10, server_id(1), LinkId(1), Departure::Goodbye);
    assert!(refused(&bucket, 29_999, "web", "host"));
    assert!(
        !refused(&bucket, 30_000, "web", "host"),
        "then it may show whether it still is"
    );
    bucket.attach(
        START + 31_000,
        server_id(1),
        joining(LinkId(2), Reverse::Open, Life::default()),
        "web",
        None,
    );
    bucket.report(START + 31_000, server_id(1), LinkId(2), told("v20.1.0"));
    assert!(!refused(&bucket, 31_000, "web", "host"));
}

#[test]
fn whoever_asks_before_linking_is_told_what_it_would_meet() {
    let limited = Settings {
        plan: Plan::Processes(1),
        max_servers: Some(2),
        ..Settings::default()
    };
    let mut bucket = bucket_with(2, limited);
    let stranger = bucket.prospect(None, "web");
    assert_eq!(
        (stranger.linked, stranger.full, stranger.twins.len()),
        (false, true, 2)
    );
    let own = bucket.prospect(Some("m0"), "web");
    assert_eq!((own.linked, own.full, own.twins.len()), (true, false, 1));
    assert!(bucket.prospect(Some("m0"), "lonely").twins.is_empty());
    bucket.report(
        START,
        server_id(0),
        LinkId(0),
        full(vec![process(0, "a"), process(1, "b")]),
    );
    assert_eq!(bucket.prospect(Some("m0"), "web").held_back, 1);
    bucket.detach(START, server_id(1), LinkId(1), Departure::Lost);
    assert!(
        bucket.prospect(Some("m0"), "web").twins.is_empty(),
        "one that is gone clashes with nobody"
    );
    bucket.hide(START + 1, server_id(0));
    let hidden = bucket.prospect(Some("m0"), "web");
    assert_eq!((hidden.linked, hidden.hidden, hidden.full), (false, true, false));
}

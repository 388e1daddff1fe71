use super::super::{Failure, Twin, Usage};
use super::*;

fn says() -> HubSays {
    HubSays {
        hub: "0.1.0".into(),
        protocol: wire::PROTOCOL,
        prospect: Some(Prospect {
            linked: true,
            usage: Usage {
                limit: Some(4),
                used: 2,
                ..Usage::default()
            },
            ..Prospect::default()
        }),
        ..HubSays::default()
    }
}

fn healthy() -> Facts {
    let address = "192.0.2.7:443".parse().unwrap();
    Facts {
        name: "web-1".into(),
        root: "https://hub.example".into(),
        host_port: "hub.example:443".into(),
        is_secure: true,
        pm2_version: "7.0.4".into(),
        node_version: "v20.1.0".into(),
        looked_up: "hub.example".into(),
        names: Step::Done(vec![address]),
        ports: vec![(address, Ok(()))],
        tls: Step::Done(()),
        answer: Step::Done(Answer::Hub(says())),
        clock_ahead_ms: Some(40),
        upgrade: Step::Done(()),
        ..Facts::default()
    }
}

/// Everything from a step on was not reached.
fn nothing_after_tcp(facts: &mut Facts) {
    facts.tls = Step::NotReached;
    nothing_after_tls(facts);
}

fn nothing_after_tls(facts: &mut Facts) {
    facts.answer = Step::NotReached;
    facts.upgrade = Step::NotReached;
    facts.clock_ahead_ms = None;
}

fn hub_says(facts: &mut Facts, change: impl FnOnce(&mut HubSays)) {
    let mut says = says();
    change(&mut says);
    facts.answer = Step::Done(Answer::Hub(says));
}

fn prospect(facts: &mut Facts, change: impl FnOnce(&mut Prospect)) {
    hub_says(facts, |says| change(says.prospect.as_mut().unwrap()));
}

/// Areas that are neither well nor merely out of reach, with their state and mend.
fn ill(facts: &Facts) -> Vec<(&'static str, State, String)> {
    let findings = judge(facts, "pm2");
    let areas: Vec<_> = findings.iter().map(|f| f.area).collect();
    for area in [
        "names",
        "tcp",
        "proxy",
        "tls",
        "hub",
        "websocket",
        "clock",
        "keys",
        "name",
        "plan",
        "versions",
    ] {
        assert!(areas.contains(&area), "{area} is always told");
    }
    for finding in &findings {
        let is_ill = matches!(finding.state, State::Warning | State::Broken);
        assert_eq!(finding.mend.is_some(), is_ill, "{finding:?}");
    }
    let ill = findings
        .into_iter()
        .filter(|f| matches!(f.state, State::Warning | State::Broken));
    ill.map(|f| (f.area, f.state, f.mend.unwrap())).collect()
}

#[test]
fn a_good_way_has_nothing_to_mend() {
    assert_eq!(ill(&healthy()), []);
    let mut by_proxy = healthy();
    by_proxy.proxy = Some("http://proxy.example:3128".into());
    by_proxy.tunnel = Step::Done(());
    assert_eq!(ill(&by_proxy), []);
    let mut at_home = healthy();
    at_home.is_secure = false;
    at_home.tls = Step::NotReached;
    at_home.host_port = "[::1]:8080".into();
    assert_eq!(ill(&at_home), []);
}

#[test]
fn each_step_that_fails_is_named_with_its_mend() {
    type Spoil = fn(&mut Facts);
    let cases: [(Spoil, &str, State, &str); 22] = [
        (
            |f| {
                f.names = Step::Failed("Name or service not known".into());
                f.ports.clear();
                nothing_after_tcp(f);
            },
            "names",
            State::Broken,
            "/etc/resolv.conf",
        ),
        (
            |f| {
                f.ports[0].1 = Err("Connection refused".into());
                nothing_after_tcp(f);
            },
            "tcp",
            State::Broken,
            "outbound TCP to 192.0.2.7:443",
        ),
        (
            |f| {
                f.ports
                    .push(("[2001:db8::1]:443".parse().unwrap(), Err("no route".into())));
            },
            "tcp",
            State::Warning,
            "[2001:db8::1]:443",
        ),
        (
            |f| {
                f.proxy = Some("http://proxy:3128".into());
                f.tunnel = Step::Failed("it answered 403".into());
                nothing_after_tcp(f);
            },
            "proxy",
            State::Broken,
            "CONNECT) to hub.example:443",
        ),
        (
            |f| {
                f.proxy = Some("http://proxy:3128".into());
                f.tunnel = Step::Failed("it asks for a user and a password".into());
                nothing_after_tcp(f);
            },
            "proxy",
            State::Broken,
            "<user>:<password>@",
        ),
        (
            |f| {
                f.proxy = Some("http://proxy:3128".into());
                f.proxy_login = true;
                f.tunnel = Step::Failed("it does not accept this user and password".into());
                nothing_after_tcp(f);
            },
            "proxy",
            State::Broken,
            "mend user and password",
        ),
        (
            |f| spoil_tls(f, TlsFault::Authority),
            "tls",
            State::Broken,
            "SSL_CERT_FILE",
        ),
        (
            |f| spoil_tls(f, TlsFault::Name),
            "tls",
            State::Broken,
            "name that the certificate is for",
        ),
        (
            |f| spoil_tls(f, TlsFault::Time),
            "tls",
            State::Broken,
            "renew the hub's certificate",
        ),
        (|f| spoil_tls(f, TlsFault::Other), "tls", State::Broken, "http://"),
        (|f| f.is_secure = false, "tls", State::Warning, "https://"),
        (
            |f| f.answer = Step::Done(Answer::Stranger(404)),
            "hub",
            State::Broken,
            "--info-node",
        ),
        (
            |f| f.answer = Step::Failed("no answer within 4 s".into()),
            "hub",
            State::Broken,
            "its log",
        ),
        (
            |f| f.upgrade = Step::Failed("HTTP status 400".into()),
            "websocket",
            State::Broken,
            "Upgrade: websocket",
        ),
        (
            |f| f.clock_ahead_ms = Some(-30_000),
            "clock",
            State::Warning,
            "timedatectl",
        ),
        (
            |f| f.clock_ahead_ms = Some(31_536_000_000),
            "clock",
            State::Broken,
            "timedatectl",
        ),
        (
            |f| f.answer = Step::Done(Answer::Refused(401, "unknown keys".into())),
            "keys",
            State::Broken,
            "dashboard",
        ),
        (
            |f| hub_says(f, |says| says.swapped = true),
            "keys",
            State::Warning,
            "pm2 link <secret> <public>",
        ),
        (
            |f| {
                prospect(f, |p| {
                    p.twins.push(Twin {
                        hostname: "other".into(),
                        username: Some("me".into()),
                    });
                });
            },
            "name",
            State::Warning,
            "PM2_MACHINE_NAME",
        ),
        (
            |f| f.neighbours.push("/home/other/.pm2".into()),
            "name",
            State::Warning,
            "PM2_MACHINE_NAME",
        ),
        (
            |f| prospect(f, |p| p.full = true),
            "plan",
            State::Broken,
            "delete one",
        ),
        (
            |f| f.node_version = "v0.10.48".into(),
            "versions",
            State::Broken,
            "newer Node.js",
        ),
    ];
    for (spoil, area, state, mend) in cases {
        let mut facts = healthy();
        spoil(&mut facts);
        let found = ill(&facts);
        assert_eq!(found.len(), 1, "{area}: {found:?}");
        assert_eq!((found[0].0, found[0].1), (area, state));
        assert!(found[0].2.contains(mend), "{found:?}");
    }
}

fn spoil_tls(facts: &mut Facts, kind: TlsFault) {
    let cause = "bad certificate".into();
    facts.tls = Step::Failed(TlsTrouble { kind, cause });
    nothing_after_tls(facts);
}

#[test]
fn what_the_plan_and_the_hub_say_is_told() {
    let mut facts = healthy();
    prospect(&mut facts, |p| p.held_back = 2);
    assert_eq!(ill(&facts)[0].1, State::Warning);
    prospect(&mut facts, |p| p.hidden = true);
    assert_eq!(ill(&facts), [("plan", State::Broken, "pm2 link".to_owned())]);
    hub_says(&mut facts, |says| {
        says.too_old = Some("PM2 9 needs Node.js 30".into());
    });
    assert_eq!(ill(&facts)[0].0, "versions");
    hub_says(&mut facts, |says| says.protocol = 99);
    assert_eq!((ill(&facts)[0].0, ill(&facts)[0].1), ("versions", State::Warning));
    prospect(&mut facts, |p| {
        p.failure = Some(Failure {
            at: 1,
            text: "The connection broke".into(),
        });
    });
    let findings = judge(&facts, "pm2");
    let hub = findings.iter().find(|f| f.area == "hub").unwrap();
    assert!(hub.text.ends_with("complain of: The connection broke"), "{hub:?}");
}

#[test]
fn what_was_not_reached_is_not_called_well() {
    let findings = judge(&Facts::default(), "pm2");
    for area in [
        "names",
        "tcp",
        "hub",
        "websocket",
        "clock",
        "keys",
        "name",
        "plan",
    ] {
        let finding = findings.iter().find(|f| f.area == area).unwrap();
        assert_eq!(finding.state, State::Unknown, "{area}");
    }
}

//! Linking, being refused, losing the link, coming back.

use crate::hub::{Hub, PUBLIC, SECRET, event, event_names, journal, processes, soon, stop, until, welcome};
use agent::config::{self, AgentFile};
use agent::{LinkStatus, Observation, StartError, StopReason};
use std::time::Duration;
use wire::AgentMessage;
use wire::live::View;
use wire::message::{Bye, ByeReason, KeyOrder, Refuse, RefuseCode, Resend, Welcome};

#[tokio::test]
async fn a_link_tells_who_it_is_and_shows_the_present() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    handle.observe(processes(1.0));
    let (mut session, hello) = hub.link(0).await;
    assert_eq!((hello.protocol, hello.facts.name.as_str()), (1, "web-1"));
    assert_eq!(hello.facts.versions.pm2, "7.0.4");
    assert!(hello.facts.cpus > 0 && hello.facts.total_mem > 0 && !hello.facts.hostname.is_empty());
    assert_eq!(hello.facts.home, home.path().display().to_string());

    let mut view = View::default();
    let whole = session
        .pick(|m| {
            if let AgentMessage::Snapshot(s) = m {
                Some(s)
            } else {
                None
            }
        })
        .await;
    view.reset(whole);
    assert_eq!(view.processes[&0].cpu, 1.0);
    assert_eq!(view.host.internal_ip, "127.0.0.1");
    // Later only what changed.
    let teller = tokio::spawn({
        let handle = handle.clone();
        async move {
            loop {
                handle.observe(processes(2.0));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    while view.processes[&0].cpu < 2.0 {
        let delta = session
            .pick(|m| {
                if let AgentMessage::Delta(d) = m {
                    Some(d)
                } else {
                    None
                }
            })
            .await;
        assert!(
            delta.changed.iter().all(|c| c.change.name.is_none()),
            "the name did not change"
        );
        view.apply(delta).unwrap();
    }
    teller.abort();
    // A hub that lost its place asks for the whole.
    session.send(Resend {}).await;
    let whole = session
        .pick(|m| {
            if let AgentMessage::Snapshot(s) = m {
                Some(s)
            } else {
                None
            }
        })
        .await;
    assert_eq!(whole.processes.len(), 1);
    let info = handle.info();
    assert!(info.connected && info.status == LinkStatus::Linked);
    assert_eq!(info.public_key, PUBLIC);
    assert!(!format!("{info:?}").contains(SECRET));
    stop(handle).await;
}

#[tokio::test]
async fn wrong_keys_are_refused_with_the_hubs_words_and_no_secret_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let mut config = hub.config(home.path());
    config.settings.secret_key = "wrongsecret999".into();
    let (handle, mut requests) = agent::start(config).unwrap();
    assert!(hub.accept().await.is_err());
    let status = soon("the refusal", handle.settled()).await;
    assert_eq!(
        status,
        LinkStatus::Refused {
            reason: "no such keys here".into()
        }
    );
    assert!(!handle.info().connected);
    // The daemon need not sample for a hub that does not want it.
    crate::hub::next_request(&mut requests, |r| *r == agent::Request::Sampling(false)).await;
    stop(handle).await;
    let log = journal(home.path());
    assert!(
        log.contains("refused by 127.0.0.1:") && log.contains("no such keys here"),
        "{log}"
    );
    assert!(!log.contains("wrongsecret999") && !log.contains(PUBLIC), "{log}");
}

#[tokio::test]
async fn a_refusal_on_the_socket_is_told() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let mut session = hub.accept().await.unwrap();
    session.hello().await;
    session
        .send(Refuse {
            code: RefuseCode::Pending,
            message: "the plan is full".into(),
        })
        .await;
    let status = soon("the refusal", handle.settled()).await;
    assert_eq!(
        status,
        LinkStatus::Pending {
            reason: "the plan is full".into()
        }
    );
    stop(handle).await;
}

#[tokio::test]
async fn keys_the_wrong_way_round_are_stored_the_right_way() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let mut config = hub.config(home.path());
    std::mem::swap(&mut config.settings.public_key, &mut config.settings.secret_key);
    config::save(home.path(), &config::to_file(&config.settings, "7.0.4", None)).unwrap();
    let (handle, _requests) = agent::start(config).unwrap();
    let (_session, hello) = hub
        .link_with(Welcome {
            key_order: KeyOrder::Swapped,
            ..welcome()
        })
        .await;
    assert!(hello.linked_at > 0, "the file is there, so the user linked");
    let stored = || config::load(home.path()).unwrap().unwrap();
    until("the stored keys", || {
        stored().public_key == PUBLIC && stored().secret_key == SECRET
    })
    .await;
    until("the shown key", || handle.info().public_key == PUBLIC).await;
    assert_eq!(
        stored(),
        AgentFile {
            public_key: PUBLIC.into(),
            secret_key: SECRET.into(),
            ..stored()
        }
    );
    stop(handle).await;
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_tried_again_until_it_is() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (config, port) = (hub.config(home.path()), hub.port());
    drop(hub);
    let (handle, _requests) = agent::start(config).unwrap();
    until("a failed try", || {
        matches!(handle.status(), LinkStatus::Waiting { .. })
    })
    .await;
    let log = journal(home.path());
    assert!(
        log.contains(&format!("connecting to 127.0.0.1:{port}: ")) && log.contains("next try in"),
        "{log}"
    );
    let hub = Hub::start_on(port).await;
    let (_session, _) = hub.link(0).await;
    assert_eq!(soon("the link", handle.settled()).await, LinkStatus::Linked);
    stop(handle).await;
}

#[tokio::test]
async fn a_lost_link_comes_back_with_the_same_identity() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    handle.observe(processes(1.0));
    let (session, first) = hub.link(0).await;
    drop(session);
    let (mut session, second) = hub.link(0).await;
    assert_eq!(
        (first.machine, first.session, first.stream),
        (second.machine, second.session, second.stream)
    );
    // And shows everything anew: the other side may have forgotten.
    session
        .pick(|m| matches!(m, AgentMessage::Snapshot(_)).then_some(()))
        .await;
    stop(handle).await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (_session, third) = hub.link(0).await;
    assert_eq!((first.machine, first.stream), (third.machine, third.stream));
    assert_ne!(first.session, third.session);
    stop(handle).await;
}

#[tokio::test]
async fn garbage_from_the_hub_ends_that_connection_only() {
    for garbage in [
        vec![],
        vec![0xff; 100],
        b"{}".to_vec(),
        vec![0x11, 1, 2, 3],
        vec![0x10, 0x82, 0x01],
    ] {
        let home = tempfile::tempdir().unwrap();
        let hub = Hub::start().await;
        let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
        let (mut session, _) = hub.link(0).await;
        session.send_bytes(garbage).await;
        while session.next_or_end().await.is_some() {}
        let (mut session, _) = hub.link(0).await;
        handle.observe(event("after"));
        assert_eq!(event_names(&session.report().await), ["after"]);
        stop(handle).await;
        assert!(journal(home.path()).contains("the hub sent what is not understood: "));
    }
}

#[tokio::test]
async fn a_frame_of_100_mb_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    session.send_bytes(vec![0x10; 100 << 20]).await;
    while session.next_or_end().await.is_some() {}
    let (mut session, _) = hub.link(0).await;
    handle.observe(event("after"));
    assert_eq!(event_names(&session.report().await), ["after"]);
    stop(handle).await;
    assert!(
        journal(home.path()).contains("the hub sent too much"),
        "{}",
        journal(home.path())
    );
}

#[tokio::test]
async fn stopping_says_good_bye_and_frees_the_home() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, mut requests) = agent::start(hub.config(home.path())).unwrap();
    assert!(matches!(
        agent::start(hub.config(home.path())),
        Err(StartError::AlreadyRunning(_))
    ));
    let (mut session, _) = hub.link(0).await;
    soon("the link", handle.settled()).await;
    handle.observe(event("last words"));
    handle.stop(StopReason::Relink);
    let (mut said, mut bye) = (Vec::new(), None);
    while let Some(message) = session.next_or_end().await {
        match message {
            AgentMessage::Report(report) => said.extend(event_names(&report)),
            AgentMessage::Bye(b) => bye = Some(b),
            _ => {}
        }
    }
    assert_eq!(
        bye,
        Some(Bye {
            reason: ByeReason::Relink
        })
    );
    soon("the end", handle.ended()).await;
    assert_eq!(handle.status(), LinkStatus::Stopped);
    while soon("the end of requests", requests.recv()).await.is_some() {}
    // What was not acknowledged waits for the next agent.
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    let (mut session, _) = hub.link(0).await;
    said.extend(event_names(&session.report().await));
    assert!(said.contains(&"last words".to_owned()), "{said:?}");
    stop(handle).await;
}

#[tokio::test]
async fn telling_never_blocks_and_counts_what_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start().await;
    let (handle, _requests) = agent::start(hub.config(home.path())).unwrap();
    stop(handle.clone()).await;
    handle.observe(Observation::Event(agent::telemetry::Event::default()));
    assert_eq!(handle.info().observations_lost, 1);
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_told_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Hub::start().await.config(home.path());
    config.settings.root = "gopher://x".into();
    assert!(matches!(agent::start(config), Err(StartError::Address(_))));
}

use super::*;
use proptest::prelude::*;

const S: fn(u64) -> Duration = Duration::from_secs;

fn effects(link: &mut Link) -> Vec<Effect> {
    std::iter::from_fn(|| link.poll_effect()).collect()
}

/// A link that was accepted at time zero.
fn linked() -> Link {
    let mut link = Link::new(7);
    link.handle(S(0), Input::Start);
    let conn = link.conn().unwrap();
    link.handle(S(0), Input::Opened(conn));
    link.handle(S(0), Input::Welcomed(conn));
    effects(&mut link);
    link
}

#[test]
fn the_way_to_a_link() {
    let mut link = Link::new(1);
    link.handle(S(0), Input::Start);
    assert_eq!(effects(&mut link), [Effect::Open(ConnId(1)), Effect::Changed]);
    link.handle(S(1), Input::Opened(ConnId(1)));
    assert_eq!(effects(&mut link), [Effect::Hello(ConnId(1)), Effect::Changed]);
    link.handle(S(2), Input::Welcomed(ConnId(1)));
    assert!(matches!(link.state(), State::Linked { .. }));
}

#[test]
fn pauses_double_up_to_the_longest_and_are_jittered() {
    let mut link = Link::new(99);
    let mut now = S(0);
    link.handle(now, Input::Start);
    for n in 0..12u32 {
        let conn = link.conn().unwrap();
        link.handle(now, Input::OpenFailed(conn, OpenError::Failed("refused".into())));
        let State::Waiting { until, .. } = link.state().clone() else {
            panic!("{:?}", link.state())
        };
        let full = BACKOFF.0.saturating_mul(1 << n).min(BACKOFF.1);
        assert!(
            until - now >= full / 2 && until - now <= full,
            "try {n}: {:?} of {full:?}",
            until - now
        );
        now = until;
        link.handle_timeout(now);
    }
    let (mut one, mut two) = (Link::new(3), Link::new(5));
    for link in [&mut one, &mut two] {
        link.handle(S(0), Input::Start);
        link.handle(S(0), Input::OpenFailed(ConnId(1), OpenError::Failed("x".into())));
    }
    assert_ne!(
        one.next_deadline(),
        two.next_deadline(),
        "agents must not come back together"
    );
}

#[test]
fn wrong_keys_are_asked_about_again_once_a_minute() {
    let mut link = Link::new(1);
    link.handle(S(0), Input::Start);
    link.handle(
        S(0),
        Input::OpenFailed(ConnId(1), OpenError::Status(401, String::new())),
    );
    let State::Refused { reason, until, .. } = link.state().clone() else {
        panic!("{:?}", link.state())
    };
    assert_eq!(reason, "the hub does not know these keys");
    assert!(until >= S(60) && until <= S(66));
    link.handle_timeout(S(59));
    assert!(matches!(link.state(), State::Refused { .. }));
    link.handle_timeout(until);
    assert!(matches!(link.state(), State::Connecting { conn: ConnId(2), .. }));
}

#[test]
fn another_status_is_no_refusal() {
    for status in [200, 404, 407, 429, 500, 502, 503] {
        let mut link = Link::new(1);
        link.handle(S(0), Input::Start);
        link.handle(
            S(0),
            Input::OpenFailed(ConnId(1), OpenError::Status(status, "busy".into())),
        );
        let State::Waiting { cause, .. } = link.state() else {
            panic!("{status}: {:?}", link.state())
        };
        assert!(
            cause.contains(&status.to_string()) && cause.contains("busy"),
            "{cause}"
        );
    }
}

#[test]
fn a_refusal_on_the_socket_closes_it() {
    for (code, refused) in [
        (RefuseCode::Pending, true),
        (RefuseCode::Unknown(99), true),
        (RefuseCode::Unavailable, false),
    ] {
        let mut link = linked();
        link.handle(S(1), Input::Refused(ConnId(1), code, "no".into()));
        assert_eq!(matches!(link.state(), State::Refused { .. }), refused, "{code:?}");
        assert!(matches!(effects(&mut link)[0], Effect::Close(ConnId(1), _)));
    }
}

#[test]
fn a_freed_place_is_asked_for_within_half_a_minute() {
    let mut link = linked();
    link.handle(
        S(1),
        Input::Refused(ConnId(1), RefuseCode::Pending, "full".into()),
    );
    assert!(matches!(link.state(), State::Refused { pending: true, .. }));
    assert!(link.next_deadline().unwrap() <= S(31));
}

#[test]
fn nothing_is_waited_for_for_ever() {
    let mut link = Link::new(1);
    link.handle(S(0), Input::Start);
    link.handle_timeout(S(10));
    assert!(
        matches!(link.state(), State::Waiting { .. }),
        "a connection that does not open"
    );
    let mut link = Link::new(1);
    link.handle(S(0), Input::Start);
    link.handle(S(1), Input::Opened(ConnId(1)));
    link.handle_timeout(S(11));
    assert!(
        matches!(link.state(), State::Waiting { .. }),
        "a hub that does not answer the hello"
    );
    let mut link = linked();
    for second in 1..=14 {
        link.handle_timeout(S(second));
        assert!(matches!(link.state(), State::Linked { .. }));
    }
    assert_eq!(
        effects(&mut link),
        [Effect::Ping(ConnId(1)), Effect::Ping(ConnId(1))]
    );
    link.handle_timeout(S(15));
    let State::Waiting { cause, .. } = link.state() else {
        panic!("a silent hub is gone")
    };
    assert_eq!(cause, "the hub was silent for 15 s");
}

#[test]
fn signs_of_life_keep_the_link() {
    let mut link = linked();
    for second in 1..100 {
        link.handle(S(second), Input::Heard(ConnId(1)));
        link.handle_timeout(S(second));
    }
    assert!(matches!(link.state(), State::Linked { .. }));
}

#[test]
fn only_a_link_that_held_shortens_the_next_pause() {
    let mut link = Link::new(1);
    let mut now = S(0);
    link.handle(now, Input::Start);
    for _ in 0..8 {
        let conn = link.conn().unwrap();
        link.handle(now, Input::Opened(conn));
        link.handle(now, Input::Welcomed(conn));
        link.handle(now, Input::Closed(conn, "gone".into()));
        now = link.next_deadline().unwrap();
        link.handle_timeout(now);
    }
    let conn = link.conn().unwrap();
    link.handle(now, Input::Opened(conn));
    link.handle(now, Input::Welcomed(conn));
    link.handle(now + STABLE_AFTER, Input::Closed(conn, "gone".into()));
    assert!(link.next_deadline().unwrap() - (now + STABLE_AFTER) <= BACKOFF.0);
}

/// The hub is killed under a thousand agents and is back after a while.
#[test]
fn a_crowd_is_back_within_15_s_of_the_hubs_return_and_never_comes_all_at_once() {
    const AGENTS: u64 = 1000;
    for outage_ms in [50, 1_000, 7_000, 40_000, 600_000] {
        let died = S(60);
        let back = died + Duration::from_millis(outage_ms);
        let mut tries = Vec::new();
        for seed in 0..AGENTS {
            let mut link = Link::new(seed);
            link.handle(S(0), Input::Start);
            link.handle(S(0), Input::Opened(ConnId(1)));
            link.handle(S(0), Input::Welcomed(ConnId(1)));
            link.handle(died, Input::Closed(ConnId(1), "killed".into()));
            loop {
                let now = link.next_deadline().unwrap();
                link.handle_timeout(now);
                tries.push(now);
                let conn = link.conn().unwrap();
                if now >= back {
                    assert!(now <= back + S(15), "{seed}: {now:?} after {outage_ms} ms");
                    break;
                }
                link.handle(now, Input::OpenFailed(conn, OpenError::Failed("refused".into())));
            }
        }
        let mut tenths = std::collections::BTreeMap::new();
        for at in tries {
            *tenths.entry(at.as_millis() / 100).or_insert(0) += 1;
        }
        let most = *tenths.values().max().unwrap();
        assert!(most < AGENTS / 2, "{most} in 100 ms after {outage_ms} ms");
        // Long after, they are spread over seconds.
        let late = tenths
            .range(died.as_millis() / 100 + 150..)
            .map(|(_, n)| *n)
            .max();
        assert!(
            late.unwrap_or(0) < AGENTS / 20,
            "{late:?} in 100 ms after {outage_ms} ms"
        );
    }
}

#[test]
fn what_an_old_connection_says_changes_nothing() {
    let mut link = linked();
    link.handle(S(1), Input::Closed(ConnId(1), "gone".into()));
    let at = link.next_deadline().unwrap();
    link.handle_timeout(at);
    effects(&mut link);
    let before = link.state().clone();
    for input in [
        Input::Opened(ConnId(1)),
        Input::Welcomed(ConnId(1)),
        Input::Heard(ConnId(1)),
        Input::Closed(ConnId(1), "x".into()),
        Input::Refused(ConnId(1), RefuseCode::BadKeys, "x".into()),
        Input::OpenFailed(ConnId(1), OpenError::Status(401, "x".into())),
    ] {
        link.handle(at, input);
    }
    assert_eq!(effects(&mut link), []);
    assert_eq!(link.state(), &before);
}

fn input() -> impl Strategy<Value = Input> {
    let conn = (0..6u64).prop_map(ConnId);
    (0..9u8, conn, 0..9u32).prop_map(|(which, conn, code)| match which {
        0 => Input::Start,
        1 => Input::Stop,
        2 | 3 => Input::Opened(conn),
        4 => Input::OpenFailed(
            conn,
            OpenError::Status(if code > 4 { 401 } else { 500 }, "x".into()),
        ),
        5 | 6 => Input::Welcomed(conn),
        7 => Input::Heard(conn),
        _ if code > 4 => Input::Refused(conn, RefuseCode::Unknown(code), "x".into()),
        _ => Input::Closed(conn, "x".into()),
    })
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_connection_and_a_deadline(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0..40u64, proptest::option::of(input())), 1..200),
    ) {
        let mut link = Link::new(seed);
        let mut now = S(0);
        let mut open = std::collections::BTreeSet::new();
        link.handle(now, Input::Start);
        effects(&mut link);
        open.insert(ConnId(1));
        for (wait, input) in steps {
            now += S(wait);
            match input {
                Some(input) => {
                    if let Input::OpenFailed(conn, _) | Input::Closed(conn, _) = &input {
                        open.remove(conn);
                    }
                    link.handle(now, input);
                }
                None => link.handle_timeout(now),
            }
            for effect in effects(&mut link) {
                match effect {
                    Effect::Open(conn) => prop_assert!(open.insert(conn), "opened twice"),
                    Effect::Close(conn, _) => { open.remove(&conn); }
                    Effect::Hello(conn) | Effect::Ping(conn) => prop_assert_eq!(link.conn(), Some(conn)),
                    Effect::Changed => {}
                }
            }
            prop_assert!(open.len() <= 1, "{:?}", open);
            let resting = matches!(link.state(), State::Idle | State::Stopped);
            prop_assert_eq!(link.next_deadline().is_none(), resting);
            // A deadline that has passed is always acted on.
            if link.next_deadline().is_some_and(|at| at <= now) {
                link.handle_timeout(now);
                prop_assert!(link.next_deadline().is_none_or(|at| at > now));
                for effect in effects(&mut link) {
                    if let Effect::Open(conn) = effect { open.insert(conn); }
                    if let Effect::Close(conn, _) = effect { open.remove(&conn); }
                }
            }
        }
    }
}

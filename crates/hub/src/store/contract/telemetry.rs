//! The contract of [`Telemetry`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::ids::{BucketId, ServerId};
use crate::store::Telemetry;
use crate::store::telemetry::*;

/// A time at which every page of a good size begins.
pub(crate) const BEGIN: i64 = 604_800_000 * 2_800;

pub(crate) const BUCKET: BucketId = BucketId::from_bytes([1; 12]);
pub(crate) const SERVER: ServerId = ServerId::from_bytes([2; 12]);

/// Runs every rule on an empty store that reads this clock.
pub(crate) async fn check(store: Arc<dyn Telemetry>, clock: Clock) {
    clock.set(BEGIN + 3_600_000);
    what_was_taken_is_read(&*store).await;
    each_time_counts_once(&*store).await;
    streams_only_go_forward(&*store).await;
    bad_samples_are_left_out(&*store, &clock).await;
    servers_and_buckets_are_apart(&*store).await;
    downsampling(&*store).await;
    events(&*store).await;
    purging(&*store).await;
    history_survives_its_folding(&*store, &clock).await;
}

pub(crate) fn sample(app: &str, metric: &str, at_ms: i64, value: f64) -> Sample {
    Sample {
        app: Some(app.into()),
        pm_id: Some(0),
        metric: metric.into(),
        unit: "%".into(),
        at_ms,
        value,
    }
}

pub(crate) fn batch(samples: Vec<Sample>) -> Batch {
    Batch {
        bucket: BUCKET,
        server: SERVER,
        source: None,
        samples,
        events: Vec::new(),
    }
}

pub(crate) fn ask(app: &str, metric: &str, from_ms: i64, to_ms: i64, points: u32) -> RangeQuery {
    RangeQuery {
        bucket: BUCKET,
        server: Some(SERVER),
        app: Some(app.into()),
        pm_id: None,
        metric: metric.into(),
        from_ms,
        to_ms,
        points,
    }
}

/// Time after [`BEGIN`] and sum of each point of the only series there is, or nothing.
async fn sums(store: &dyn Telemetry, query: RangeQuery) -> Vec<(i64, f64)> {
    let found = store.range(query).await.unwrap();
    assert!(found.len() <= 1, "{found:?}");
    found
        .iter()
        .flat_map(|range| &range.points)
        .map(|point| (point.at_ms - BEGIN, point.sum))
        .collect()
}

async fn what_was_taken_is_read(store: &dyn Telemetry) {
    let taken = batch(vec![
        sample("read", "cpu", BEGIN, 1.5),
        sample("read", "cpu", BEGIN + 1000, 2.5),
    ]);
    assert_eq!(store.append(taken).await.unwrap(), Appended::New);
    assert_eq!(
        sums(store, ask("read", "cpu", BEGIN, BEGIN + 10_000, 100)).await,
        [(0, 1.5), (1000, 2.5)]
    );
    assert_eq!(
        sums(store, ask("read", "cpu", BEGIN + 1, BEGIN + 1000, 1000)).await,
        [],
        "the end is not part of it"
    );
    assert_eq!(
        sums(store, ask("read", "memory", BEGIN, BEGIN + 10_000, 100)).await,
        []
    );
    assert_eq!(
        sums(store, ask("other", "cpu", BEGIN, BEGIN + 10_000, 100)).await,
        []
    );
    assert_eq!(
        sums(store, ask("read", "cpu", BEGIN + 10, BEGIN, 100)).await,
        [],
        "an empty range"
    );
    assert_eq!(
        sums(store, ask("read", "cpu", i64::MIN, i64::MAX, 10_000))
            .await
            .len(),
        1,
        "any range"
    );

    let listed = store.series(BUCKET, Some(SERVER), BEGIN).await.unwrap();
    assert_eq!(
        listed.iter().find(|series| series.app.as_deref() == Some("read")),
        Some(&SeriesInfo {
            server: SERVER,
            app: Some("read".into()),
            pm_id: Some(0),
            metric: "cpu".into(),
            unit: "%".into()
        })
    );
    assert_eq!(
        store
            .series(BUCKET, Some(SERVER), BEGIN + 86_400_000)
            .await
            .unwrap(),
        []
    );
}

async fn each_time_counts_once(store: &dyn Telemetry) {
    let samples: Vec<Sample> = [5, 1, 3, 1, 5, 2, 4, 1]
        .iter()
        .map(|second| sample("once", "cpu", BEGIN + second * 1000, 1.0))
        .collect();
    for _ in 0..2 {
        store.append(batch(samples.clone())).await.unwrap();
    }
    let found = store
        .range(ask("once", "cpu", BEGIN, BEGIN + 60_000, 1))
        .await
        .unwrap();
    assert_eq!((found[0].points[0].count, found[0].points[0].sum), (5, 5.0));
}

async fn streams_only_go_forward(store: &dyn Telemetry) {
    let part = |seq: u64| Batch {
        source: Some(("boot-1".into(), seq)),
        ..batch(vec![sample(
            "stream",
            "cpu",
            BEGIN + seq as i64 * 1000,
            seq as f64,
        )])
    };
    assert_eq!(
        store.stored_up_to(BUCKET, SERVER, "boot-1".into()).await.unwrap(),
        None
    );
    assert_eq!(store.append(part(5)).await.unwrap(), Appended::New);
    assert_eq!(store.append(part(5)).await.unwrap(), Appended::Known);
    assert_eq!(store.append(part(3)).await.unwrap(), Appended::Known);
    assert_eq!(store.append(part(6)).await.unwrap(), Appended::New);
    assert_eq!(
        store.stored_up_to(BUCKET, SERVER, "boot-1".into()).await.unwrap(),
        Some(6)
    );
    assert_eq!(
        store.stored_up_to(BUCKET, SERVER, "boot-2".into()).await.unwrap(),
        None
    );
    let found = sums(store, ask("stream", "cpu", BEGIN, BEGIN + 10_000, 100)).await;
    assert_eq!(found, [(5000, 5.0), (6000, 6.0)]);
}

async fn bad_samples_are_left_out(store: &dyn Telemetry, clock: &Clock) {
    let refused = store.stats().samples_refused;
    let good = sample("bad", "cpu", BEGIN, 1.0);
    let bad = [
        Sample {
            value: f64::NAN,
            ..good.clone()
        },
        Sample {
            value: f64::NEG_INFINITY,
            ..good.clone()
        },
        Sample {
            metric: "".into(),
            ..good.clone()
        },
        Sample {
            metric: "x".repeat(1000).into(),
            ..good.clone()
        },
        Sample {
            at_ms: clock.now_ms() + 86_400_000,
            ..good.clone()
        },
        Sample {
            at_ms: i64::MIN,
            ..good.clone()
        },
    ];
    let count = bad.len() as u64;
    store
        .append(batch(bad.into_iter().chain([good]).collect()))
        .await
        .unwrap();
    assert_eq!(
        sums(store, ask("bad", "cpu", BEGIN, BEGIN + 10_000, 100)).await,
        [(0, 1.0)]
    );
    assert_eq!(store.stats().samples_refused, refused + count);
}

async fn servers_and_buckets_are_apart(store: &dyn Telemetry) {
    let elsewhere = ServerId::from_bytes([3; 12]);
    let other = BucketId::from_bytes([9; 12]);
    let one = batch(vec![sample("apart", "cpu", BEGIN, 1.0)]);
    let two = Batch {
        server: elsewhere,
        ..batch(vec![sample("apart", "cpu", BEGIN, 2.0)])
    };
    let three = Batch {
        bucket: other,
        ..batch(vec![sample("apart", "cpu", BEGIN, 4.0)])
    };
    for batch in [one, two, three] {
        store.append(batch).await.unwrap();
    }
    let all = RangeQuery {
        server: None,
        ..ask("apart", "cpu", BEGIN, BEGIN + 1000, 10)
    };
    let found = store.range(all).await.unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|range| (range.series.server, range.points[0].sum))
        .collect();
    assert_eq!(seen, [(SERVER, 1.0), (elsewhere, 2.0)]);

    // Instances of an app are series of their own, and so is the server.
    let second = Sample {
        pm_id: Some(1),
        ..sample("apart", "cpu", BEGIN, 8.0)
    };
    let host = Sample {
        app: None,
        pm_id: None,
        ..sample("", "load", BEGIN, 16.0)
    };
    store.append(batch(vec![second, host])).await.unwrap();
    assert_eq!(
        store
            .range(ask("apart", "cpu", BEGIN, BEGIN + 1000, 10))
            .await
            .unwrap()
            .len(),
        2
    );
    let host = RangeQuery {
        app: None,
        ..ask("", "load", BEGIN, BEGIN + 1000, 10)
    };
    assert_eq!(store.range(host).await.unwrap()[0].series.app, None);
}

async fn downsampling(store: &dyn Telemetry) {
    let samples = (0..120).map(|second| {
        sample(
            "down",
            "cpu",
            BEGIN + second * 1000,
            f64::from(second as i32 % 10),
        )
    });
    store.append(batch(samples.collect())).await.unwrap();
    let found = store
        .range(ask("down", "cpu", BEGIN, BEGIN + 120_000, 13))
        .await
        .unwrap();
    assert_eq!(
        found[0].step_ms % 10_000,
        0,
        "as wide as the steps that history will have"
    );
    let points = &found[0].points;
    assert!(points.len() <= 13 && points.len() >= 6, "{}", points.len());
    assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 120);
    assert!(
        points
            .iter()
            .all(|point| point.min == 0.0 && point.max == 9.0 && point.avg() == 4.5),
        "{points:?}"
    );
    assert!(
        points
            .windows(2)
            .all(|pair| (pair[1].at_ms - pair[0].at_ms) % found[0].step_ms == 0)
    );
}

async fn events(store: &dyn Telemetry) {
    let event = |at_ms: i64, kind: &str, name: &str| Event {
        at_ms: BEGIN + at_ms,
        app: Some("api".into()),
        pm_id: Some(3),
        kind: kind.into(),
        name: name.into(),
        data: br#"{"a":1}"#.to_vec(),
    };
    let all = [
        event(1, "process:event", "online"),
        event(3, "process:exception", "boom"),
        event(2, "process:event", "exit"),
    ];
    let taken = Batch {
        events: all.to_vec(),
        source: Some(("events".into(), 1)),
        ..batch(vec![])
    };
    for _ in 0..2 {
        store.append(taken.clone()).await.unwrap();
    }
    let query = EventQuery {
        bucket: BUCKET,
        server: None,
        app: None,
        kind: None,
        name: None,
        from_ms: BEGIN,
        to_ms: BEGIN + 1000,
        limit: 100,
    };
    let names = async |query: EventQuery| {
        let found = store.events(query).await.unwrap();
        found
            .into_iter()
            .map(|stored| stored.event.name)
            .collect::<Vec<_>>()
    };
    for round in ["in memory", "stored"] {
        assert_eq!(names(query.clone()).await, ["boom", "exit", "online"], "{round}");
        assert_eq!(
            names(EventQuery {
                limit: 1,
                ..query.clone()
            })
            .await,
            ["boom"],
            "{round}"
        );
        assert_eq!(
            names(EventQuery {
                kind: Some("process:event".into()),
                ..query.clone()
            })
            .await,
            ["exit", "online"]
        );
        assert_eq!(
            names(EventQuery {
                name: Some("exit".into()),
                server: Some(SERVER),
                ..query.clone()
            })
            .await,
            ["exit"]
        );
        assert_eq!(
            names(EventQuery {
                app: Some("web".into()),
                ..query.clone()
            })
            .await,
            Vec::<String>::new()
        );
        assert_eq!(
            names(EventQuery {
                to_ms: BEGIN + 2,
                ..query.clone()
            })
            .await,
            ["online"]
        );
        let found = store
            .events(EventQuery {
                limit: 1,
                ..query.clone()
            })
            .await
            .unwrap();
        assert_eq!((&found[0].event, found[0].server), (&all[1], SERVER));
        store.maintain(BEGIN + 3_600_000).await.unwrap();
    }
}

async fn purging(store: &dyn Telemetry) {
    let gone = ServerId::from_bytes([4; 12]);
    let of = |at: i64| Batch {
        server: gone,
        source: Some(("s".into(), at as u64)),
        events: vec![Event {
            at_ms: BEGIN,
            app: None,
            pm_id: None,
            kind: "k".into(),
            name: "purged".into(),
            data: vec![],
        }],
        ..batch(vec![sample("purge", "cpu", BEGIN + at, at as f64)])
    };
    let query = RangeQuery {
        server: Some(gone),
        ..ask("purge", "cpu", BEGIN, BEGIN + 1000, 10)
    };
    store.append(of(1)).await.unwrap();
    store.maintain(BEGIN + 3_600_000).await.unwrap();
    store.append(of(2)).await.unwrap();
    store.purge_server(BUCKET, gone).await.unwrap();
    assert_eq!(store.range(query.clone()).await.unwrap(), []);
    assert_eq!(store.series(BUCKET, Some(gone), 0).await.unwrap(), []);
    assert_eq!(store.stored_up_to(BUCKET, gone, "s".into()).await.unwrap(), None);
    // It may come back as if it were new.
    assert_eq!(store.append(of(1)).await.unwrap(), Appended::New);
    assert_eq!(sums(store, query.clone()).await, [(0, 1.0)]);
    store.purge_bucket(BUCKET).await.unwrap();
    assert_eq!(store.range(query).await.unwrap(), []);
    assert_eq!(store.series(BUCKET, None, 0).await.unwrap(), []);
}

/// Two days of samples, sealed, folded and expired as time goes on: every question has the same answer before and
/// after, as far as what is kept can tell.
async fn history_survives_its_folding(store: &dyn Telemetry, clock: &Clock) {
    const STEP: i64 = 5_000;
    let days = 2 * 86_400_000;
    let mut truth: BTreeMap<i64, f64> = BTreeMap::new();
    let mut at = 0;
    while at < days {
        let samples: Vec<Sample> = (0..720)
            .map(|n| {
                let at = at + n * STEP;
                let value = ((at / STEP) % 100) as f64 / 10.0;
                truth.insert(at, value);
                sample("fold", "cpu", BEGIN + at, value)
            })
            .collect();
        at += 3_600_000;
        clock.set(BEGIN + at);
        // An hour late, half of it twice, the last first.
        for part in [&samples[360..], &samples[..360], &samples[180..540]] {
            store.append(batch(part.to_vec())).await.unwrap();
        }
        for _ in 0..3 {
            clock.set(clock.now_ms() + 31_000);
            store.maintain(clock.now_ms()).await.unwrap();
        }
    }
    for (from, to, points) in [
        (0, days, 100),
        (0, days, 49),
        (days - 3_600_000, days, 800),
        (3_600_000, 7_200_000, 361),
        (0, days, 2000),
    ] {
        let found = store
            .range(ask("fold", "cpu", BEGIN + from, BEGIN + to, points))
            .await
            .unwrap();
        let range = &found[0];
        let mut expected: BTreeMap<i64, (f64, u64)> = BTreeMap::new();
        for (at, value) in truth.range(from - from.rem_euclid(range.step_ms)..to) {
            let step = expected
                .entry((BEGIN + at) - (BEGIN + at).rem_euclid(range.step_ms))
                .or_default();
            *step = (step.0 + value, step.1 + 1);
        }
        assert_eq!(range.points.len(), expected.len(), "{from}..{to} by {points}");
        for (point, (at_ms, (sum, count))) in range.points.iter().zip(expected) {
            assert_eq!(
                (point.at_ms, point.count),
                (at_ms, count),
                "{from}..{to} by {points}"
            );
            assert!(
                (point.sum - sum).abs() < 1e-6,
                "{from}..{to} by {points}: {} {sum}",
                point.sum
            );
        }
    }
}

use std::time::Duration;

use super::*;
use crate::store::contract::telemetry::{BEGIN, BUCKET, SERVER, ask, batch, check, sample};
use crate::store::telemetry::Event;

fn open(folder: &Path, clock: &Clock) -> SqliteTelemetry {
    SqliteTelemetry::open(folder, Retention::default(), clock.clone()).unwrap()
}

async fn count(store: &SqliteTelemetry, app: &str, from_ms: i64, to_ms: i64) -> u64 {
    let found = store.range(ask(app, "cpu", from_ms, to_ms, 1)).await.unwrap();
    found
        .iter()
        .flat_map(|range| &range.points)
        .map(|point| point.count)
        .sum()
}

fn journals(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("journal-"))
        .count()
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    check(Arc::new(open(folder.path(), &clock)), clock).await;
}

#[test]
fn schema_is_as_released() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), &Clock::held(BEGIN)));
    let connection = rusqlite::Connection::open(folder.path().join("telemetry.db")).unwrap();
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let sql: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    insta::assert_snapshot!(sql.join(";\n"));
}

/// What was acknowledged is there after a death, wherever in its life it was; and counts once.
#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    let event = |n: i64| Event {
        at_ms: BEGIN + n,
        app: None,
        pm_id: None,
        kind: "k".into(),
        name: n.to_string(),
        data: b"{}".to_vec(),
    };
    for life in 0..6 {
        let store = open(folder.path(), &clock);
        let from = life * 100;
        for second in from..from + 100 {
            let taken = Batch {
                source: Some(("boot".into(), second as u64 + 1)),
                events: vec![event(second)],
                ..batch(vec![sample("api", "cpu", BEGIN + second * 1000, 1.0)])
            };
            clock.set(BEGIN + second * 1000);
            assert_eq!(store.append(taken.clone()).await.unwrap(), Appended::New);
            assert_eq!(store.append(taken).await.unwrap(), Appended::Known);
            if life % 2 == 1 && second % 7 == 0 {
                store.maintain(clock.now_ms()).await.unwrap();
            }
        }
        let seconds = from + 100;
        assert_eq!(
            count(&store, "api", BEGIN, BEGIN + 3_600_000).await,
            seconds as u64,
            "life {life}"
        );
        let query = EventQuery {
            bucket: BUCKET,
            server: None,
            app: None,
            kind: None,
            name: None,
            from_ms: 0,
            to_ms: i64::MAX,
            limit: 10_000,
        };
        assert_eq!(
            store.events(query).await.unwrap().len() as i64,
            seconds,
            "life {life}"
        );
        assert_eq!(
            store.stored_up_to(BUCKET, SERVER, "boot".into()).await.unwrap(),
            Some(seconds as u64)
        );
        // Without a close: as in a crash, all that is left is what is on disk.
    }
}

#[tokio::test]
async fn the_journal_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    let store = open(folder.path(), &clock);
    for second in 0..1200 {
        clock.set(BEGIN + second * 1000);
        store
            .append(batch(vec![sample("api", "cpu", clock.now_ms(), 1.0)]))
            .await
            .unwrap();
        store.maintain(clock.now_ms()).await.unwrap();
    }
    assert!(
        journals(folder.path()) <= 8,
        "{} segments",
        journals(folder.path())
    );
    store.close().await.unwrap();
    assert!(matches!(
        store.append(batch(vec![sample("api", "cpu", BEGIN, 1.0)])).await,
        Err(StoreError::Closed)
    ));
    let store = open(folder.path(), &clock);
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 3_600_000).await, 1200);
}

/// Ten days go by; then a server sends what it kept while it was cut off, long after the raw pages of that time are
/// gone. It fills its gap and changes nothing else.
#[tokio::test]
async fn a_gap_is_filled_long_after() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    let store = open(folder.path(), &clock);
    let hour = |from_ms: i64| -> Vec<Sample> {
        (0..360)
            .map(|n| sample("api", "cpu", from_ms + n * 10_000, 2.0))
            .collect()
    };
    for n in (0..30).filter(|n| *n != 5) {
        clock.set(BEGIN + (n + 1) * HOUR);
        store.append(batch(hour(BEGIN + n * HOUR))).await.unwrap();
        clock.set(clock.now_ms() + 31_000);
        store.maintain(clock.now_ms()).await.unwrap();
    }
    let pass = async |ms: i64| {
        clock.set(clock.now_ms() + ms);
        for _ in 0..20 {
            clock.set(clock.now_ms() + 61_000);
            store.maintain(clock.now_ms()).await.unwrap();
        }
    };
    pass(10 * 24 * HOUR).await;
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 30 * HOUR).await, 29 * 360);
    let fine = ask("api", "cpu", BEGIN, BEGIN + HOUR, 3600);
    assert_eq!(
        store.range(fine).await.unwrap()[0].points.len(),
        60,
        "only minutes are left of it"
    );

    for n in 4..7 {
        store.append(batch(hour(BEGIN + n * HOUR))).await.unwrap();
    }
    pass(0).await;
    let found = store
        .range(ask("api", "cpu", BEGIN, BEGIN + 30 * HOUR, 31))
        .await
        .unwrap();
    assert!(
        found[0]
            .points
            .iter()
            .all(|point| point.count == 360 && point.sum == 720.0),
        "{found:?}"
    );
    assert_eq!(found[0].points.len(), 30);
}

/// How many pages there are of a tier.
fn pages(folder: &Path, tier: i64) -> i64 {
    let db = rusqlite::Connection::open(folder.join("telemetry.db")).unwrap();
    db.query_row("SELECT count(*) FROM pages WHERE tier = ?1", [tier], |row| {
        row.get(0)
    })
    .unwrap()
}

/// One sample each ten seconds.
fn hour_of_samples(from_ms: i64) -> Vec<Sample> {
    (0..360)
        .map(|n| sample("api", "cpu", from_ms + n * 10_000, n as f64))
        .collect()
}

const HOUR: i64 = tiers::HOUR;

#[tokio::test]
async fn minutes_are_packed_by_the_hour_and_what_comes_late_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    let store = open(folder.path(), &clock);
    let pass = async |to_ms: i64| {
        clock.set(to_ms);
        for _ in 0..3 {
            clock.set(clock.now_ms() + 31_000);
            store.maintain(clock.now_ms()).await.unwrap();
        }
    };
    for hour in 0..3 {
        // Of the second hour a part is missing at first.
        let samples = hour_of_samples(BEGIN + hour * HOUR);
        store
            .append(batch(if hour == 1 {
                samples[30..].to_vec()
            } else {
                samples
            }))
            .await
            .unwrap();
        pass(BEGIN + (hour + 1) * HOUR).await;
    }
    assert_eq!(
        (pages(folder.path(), RAW), pages(folder.path(), tiers::PACKED)),
        (0, 3),
        "all hours are over"
    );
    assert_eq!(
        pages(folder.path(), tiers::TENS as i64),
        0,
        "made when the samples go"
    );
    assert_eq!(pages(folder.path(), tiers::MINUTES as i64), 1);
    let all = async || count(&store, "api", BEGIN, BEGIN + 3 * HOUR).await;
    assert_eq!(all().await, 3 * 360 - 30);

    let late = hour_of_samples(BEGIN + HOUR);
    store.append(batch(late[..60].to_vec())).await.unwrap();
    assert_eq!(all().await, 3 * 360, "seen in memory beside what is packed");
    pass(BEGIN + 3 * HOUR + 200_000).await;
    assert_eq!(
        (pages(folder.path(), RAW), pages(folder.path(), tiers::PACKED)),
        (0, 3),
        "packed anew"
    );
    for points in [1, 3, 180, 10_000] {
        let found = store
            .range(ask("api", "cpu", BEGIN, BEGIN + 3 * HOUR, points))
            .await
            .unwrap();
        let (sum, counted) = found[0]
            .points
            .iter()
            .fold((0.0, 0), |all, point| (all.0 + point.sum, all.1 + point.count));
        assert_eq!((sum, counted), (3.0 * (359.0 * 180.0), 3 * 360), "{points}");
    }

    // A day and an hour later the samples are gone, and steps of ten seconds are there.
    for hour in 4..30 {
        pass(BEGIN + hour * HOUR).await;
    }
    assert_eq!(
        (
            pages(folder.path(), tiers::PACKED),
            pages(folder.path(), tiers::TENS as i64)
        ),
        (0, 3)
    );
    assert_eq!(all().await, 3 * 360);
}

const RAW: i64 = tiers::RAW as i64;

/// As the first version left it: minutes, steps of ten seconds made of them, and a window of steps of a minute to be made.
#[tokio::test]
async fn a_database_of_the_first_version_is_read_and_packed() {
    use crate::store::page::{Page, Series, encode};
    use crate::store::sqlite::migrate::Migrations;
    let folder = tempfile::tempdir().unwrap();
    {
        static FIRST: Migrations = Migrations {
            page_bytes: 32_768,
            steps: &[(1, schema::FIRST)],
        };
        let db = Database::open(&folder.path().join("telemetry.db"), &FIRST).unwrap();
        db.write("fill", |db| {
            let source = insert_source(db, BUCKET, SERVER)?;
            let series = ("api".to_owned(), 0, "cpu".to_owned(), "%".to_owned());
            let id = insert_series(db, source, &[series])?[0];
            db.execute("UPDATE series SET last_ms = ?1", [BEGIN + 2 * HOUR])?;
            for minute in 0..120 {
                let page = Page {
                    width: 1,
                    series: vec![Series {
                        id,
                        ticks: (0..6).map(|n| n * 10_000).collect(),
                        columns: vec![(0..6).map(f64::from).collect()],
                    }],
                };
                db.execute(
                    "INSERT INTO pages(source, tier, start_ms, body) VALUES (?1, 0, ?2, ?3)",
                    rusqlite::params![source.0, BEGIN + minute * 60_000, encode(&page)],
                )?;
            }
            db.execute("INSERT INTO stale VALUES (?1, 2, ?2)", [source.0, BEGIN])?;
            Ok(())
        })
        .await
        .unwrap();
        db.close();
    }
    let clock = Clock::held(BEGIN + 7 * HOUR);
    let store = open(folder.path(), &clock);
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 2 * HOUR).await, 720);
    for _ in 0..3 {
        clock.set(clock.now_ms() + 1000);
        store.maintain(clock.now_ms()).await.unwrap();
    }
    assert_eq!(
        (pages(folder.path(), RAW), pages(folder.path(), tiers::PACKED)),
        (0, 2)
    );
    let minutes = store
        .range(ask("api", "cpu", BEGIN, BEGIN + 2 * HOUR, 121))
        .await
        .unwrap();
    assert_eq!(minutes[0].points.len(), 120);
    assert!(
        minutes[0]
            .points
            .iter()
            .all(|point| point.sum == 15.0 && point.count == 6)
    );
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 2 * HOUR).await, 720);
}

#[tokio::test]
async fn history_stays_within_its_disk_budget() {
    const MINUTES: i64 = 300;
    let mut sizes = Vec::new();
    for disk_bytes in [u64::MAX, 2_500_000] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::held(BEGIN);
        let retention = Retention {
            disk_bytes,
            ..Retention::default()
        };
        let store = SqliteTelemetry::open(folder.path(), retention, clock.clone()).unwrap();
        for minute in 0..MINUTES {
            let mut samples = Vec::new();
            for second in 0..60 {
                let at_ms = BEGIN + minute * 60_000 + second * 1000;
                samples.extend((0..16u64).map(|n| {
                    // Values that no code makes small.
                    let noise = (at_ms as u64 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
                    sample(
                        "api",
                        &format!("cpu{n}"),
                        at_ms,
                        f64::from_bits(0x3ff0_0000_0000_0000 | noise),
                    )
                }));
            }
            clock.set(BEGIN + (minute + 1) * 60_000);
            store.append(batch(samples)).await.unwrap();
            clock.set(clock.now_ms() + 6_000);
            store.maintain(clock.now_ms()).await.unwrap();
        }
        for _ in 0..10 {
            clock.set(clock.now_ms() + 61_000);
            store.maintain(clock.now_ms()).await.unwrap();
        }
        sizes.push(store.stats().disk_bytes);
        let end = BEGIN + MINUTES * 60_000;
        let newest = store
            .range(ask("api", "cpu3", end - 3_600_000, end, 1))
            .await
            .unwrap();
        assert_eq!(newest[0].points[0].count, 3600, "the newest stays");
        let whole = store.range(ask("api", "cpu3", BEGIN, end, 1)).await.unwrap();
        assert_eq!(
            whole[0].points[0].count,
            60 * MINUTES as u64,
            "of the oldest something coarser stays"
        );
    }
    assert!(sizes[0] > 2_700_000, "{sizes:?}");
    assert!(sizes[1] < 2_600_000, "{sizes:?}");
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(BEGIN);
    let store = open(folder.path(), &clock);
    store
        .append(batch(vec![sample("api", "cpu", BEGIN, 1.0)]))
        .await
        .unwrap();
    clock.set(BEGIN + 120_000);
    store.maintain(clock.now_ms()).await.unwrap();
    let other = rusqlite::Connection::open(folder.path().join("telemetry.db")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(other.execute("UPDATE pages SET body = x'01ff'", []).unwrap(), 1);
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 60_000).await, 0);
    store
        .append(batch(vec![sample("api", "cpu", BEGIN + 1000, 1.0)]))
        .await
        .unwrap();
    clock.set(BEGIN + 240_000);
    store.maintain(clock.now_ms()).await.unwrap();
    assert_eq!(count(&store, "api", BEGIN, BEGIN + 60_000).await, 1);
    let aside: i64 = other
        .query_row("SELECT count(*) FROM pages WHERE tier < 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(aside, 1);
}

#[tokio::test]
async fn series_beyond_the_limit_are_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &Clock::held(BEGIN));
    let many = (0..names::MAX_SERIES + 10)
        .map(|n| sample("api", &format!("m{n}"), BEGIN, 1.0))
        .collect();
    store.append(batch(many)).await.unwrap();
    assert_eq!(store.stats().samples_refused, 10);
    assert_eq!(
        store.series(BUCKET, None, 0).await.unwrap().len(),
        names::MAX_SERIES
    );
}

#[tokio::test]
async fn many_senders_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path(), &Clock::held(BEGIN)));
    let senders: Vec<_> = (0..50u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for second in 0..20i64 {
                    let taken = Batch {
                        server: ServerId::from_bytes([n; 12]),
                        ..batch(vec![sample("api", "cpu", BEGIN + second * 1000, 1.0)])
                    };
                    store.append(taken).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let all = RangeQuery {
        server: None,
        ..ask("api", "cpu", BEGIN, BEGIN + 60_000, 1)
    };
    let found = store.range(all).await.unwrap();
    assert_eq!(
        found
            .iter()
            .map(|range| range.points[0].count)
            .collect::<Vec<_>>(),
        [20; 50]
    );
}

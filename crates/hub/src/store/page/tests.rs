use proptest::prelude::*;

use super::*;

/// Pages like those of servers: shared ticks, some series with only a part of them.
fn pages() -> impl Strategy<Value = Page> {
    let shape = (
        1u8..5,
        prop::collection::btree_set(0i64..60_000, 0..60),
        prop::collection::btree_set(any::<u64>(), 0..20),
    );
    shape.prop_flat_map(|(width, ticks, ids)| {
        let ticks: Vec<i64> = ticks.into_iter().collect();
        let count = ticks.len();
        let one = (
            prop::collection::vec(any::<bool>(), count),
            any::<bool>(),
            prop::collection::vec(-1e6..1e6f64, count * 4),
        );
        prop::collection::vec(one, ids.len()).prop_map(move |parts| {
            let series = ids.iter().zip(parts).map(|(id, (has, all, values))| {
                let ticks: Vec<i64> = ticks
                    .iter()
                    .zip(&has)
                    .filter(|(_, has)| all || **has)
                    .map(|(t, _)| *t)
                    .collect();
                let columns = (0..usize::from(width))
                    .map(|column| {
                        values
                            .iter()
                            .skip(column * ticks.len())
                            .take(ticks.len())
                            .map(|v| (v * 10.0).round() / 10.0)
                            .collect()
                    })
                    .collect();
                Series {
                    id: *id,
                    ticks,
                    columns,
                }
            });
            Page {
                width,
                series: series.collect(),
            }
        })
    })
}

proptest! {
    #[test]
    fn pages_come_back(page in pages()) {
        prop_assert_eq!(&decode(&encode(&page), |_| true).unwrap(), &page);
        // Any one series can be had alone.
        for series in &page.series {
            let alone = decode(&encode(&page), |id| id == series.id).unwrap();
            prop_assert_eq!(&alone.series, std::slice::from_ref(series));
        }
    }

    #[test]
    fn damaged_pages_are_errors_or_other_pages_but_never_panics(page in pages(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = encode(&page);
        let place = at.index(bytes.len());
        bytes[place] = byte;
        reads_as_it_writes(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        reads_as_it_writes(&bytes);
    }

    // Damage to what compression would hide behind its own checks.
    #[test]
    fn damaged_bodies_are_errors_or_other_pages_but_never_panics(
        page in pages(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let packed = encode(&page);
        let mut body = match packed[1] {
            PLAIN => packed[2..].to_vec(),
            _ => zstd::bulk::decompress(&packed[2..], LIMITS.bytes).unwrap(),
        };
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        body.splice(0..0, [VERSION, PLAIN]);
        reads_as_it_writes(&body);
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>, packed: bool) {
        reads_as_it_writes(&bytes);
        bytes.splice(0..0, [VERSION, u8::from(packed)]);
        reads_as_it_writes(&bytes);
    }
}

/// What is read of foreign bytes is whole, and can be packed again.
fn reads_as_it_writes(bytes: &[u8]) {
    let Ok(page) = decode(bytes, |_| true) else {
        return;
    };
    for series in &page.series {
        assert_eq!(series.columns.len(), usize::from(page.width));
        assert!(
            series
                .columns
                .iter()
                .all(|column| column.len() == series.ticks.len())
        );
    }
    assert!(decode(&encode(&page), |_| true).is_ok());
}

#[test]
fn ticks_that_nobody_could_reckon_with_are_refused() {
    let page = |ticks: Vec<i64>| Page {
        width: 1,
        series: vec![Series {
            id: 1,
            columns: vec![vec![0.0; ticks.len()]],
            ticks,
        }],
    };
    let read = |ticks| decode(&encode(&page(ticks)), |_| true);
    let last = LIMITS.last_tick;
    assert_eq!(read(vec![0, last]), Ok(page(vec![0, last])));
    assert_eq!(read(vec![0, last + 1]), Err(PageError::TooLarge));
    assert_eq!(read(vec![-1, 0]), Err(PageError::TooLarge));
}

#[test]
fn refuses_what_would_fill_the_memory() {
    // A million ticks that are all the same take three bytes.
    let mut body = vec![VERSION, PLAIN, 1];
    write_varint(&mut body, 1_000_000);
    assert_eq!(decode(&body, |_| true), Err(PageError::TooLarge));
    assert_eq!(decode(&[9, 0], |_| true), Err(PageError::Version(9)));
    assert_eq!(decode(&[], |_| true), Err(PageError::Short));
}

#[test]
fn a_page_that_was_written_by_the_first_release_is_read_for_ever() {
    let page = Page {
        width: 1,
        series: vec![
            Series {
                id: 3,
                ticks: vec![0, 1000, 2001],
                columns: vec![vec![1.5, 1.5, 2.5]],
            },
            Series {
                id: 9,
                ticks: vec![1000],
                columns: vec![vec![4096.0]],
            },
        ],
    };
    let bytes = encode(&page);
    assert_eq!(
        hex::encode(&bytes),
        "010001030300010a419ff40203060002010105030b1e0a0006018040"
    );
    assert_eq!(decode(&bytes, |_| true), Ok(page));
}

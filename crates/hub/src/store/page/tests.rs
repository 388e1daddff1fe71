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
        let _ = decode(&bytes, |_| true);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(&bytes, |_| true);
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>, packed: bool) {
        let _ = decode(&bytes, |_| true);
        bytes.splice(0..0, [VERSION, u8::from(packed)]);
        let _ = decode(&bytes, |_| true);
    }
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

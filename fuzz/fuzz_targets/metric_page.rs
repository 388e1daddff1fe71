//! A page of metric values as it lies in a database that somebody else may have written.
#![no_main]

use hub::store::page::{PageError, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(page) = decode(bytes, |_| true) else {
        return;
    };
    // Any part of it can be had alone.
    let odd = decode(bytes, |id| id % 2 == 1).expect("a page is read in part as it is as a whole");
    assert!(odd.series.iter().all(|series| series.id % 2 == 1));
    for series in &page.series {
        assert_eq!(series.columns.len(), usize::from(page.width));
        assert!(series.columns.iter().all(|column| column.len() == series.ticks.len()));
        assert!(series.ticks.is_sorted());
    }
    // Such a page is folded into others and packed again; only its size may stand against that.
    let again = decode(&encode(&page), |_| true);
    assert!(matches!(again, Ok(_) | Err(PageError::TooLarge)), "{again:?}");
});

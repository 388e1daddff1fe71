//! A record of the telemetry journal, of which a crash may have left anything.
#![no_main]

use hub::store::sqlite::read_journal_record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(once) = read_journal_record(bytes) {
        // Numbers may come in more bytes than they need; written anew they are the same for ever.
        assert_eq!(read_journal_record(&once).as_ref(), Some(&once));
    }
});

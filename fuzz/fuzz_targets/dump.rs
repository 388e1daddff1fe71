//! A saved process list that may come from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = pm2::dump::read(text);
});

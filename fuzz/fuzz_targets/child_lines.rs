//! What a child writes to its IPC channel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::frame::LineReader;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = LineReader::new(1 << 16);
    for part in bytes.chunks(37) {
        reader.push(part);
        while let Ok(Some(line)) = reader.next_line() {
            assert!(!line.contains(&b'\n'));
        }
    }
});

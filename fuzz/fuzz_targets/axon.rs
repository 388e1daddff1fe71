//! Frames of PM2's RPC, cut into two reads anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pm2::axon::Decoder;

fuzz_target!(|input: (Vec<u8>, usize)| {
    let (bytes, cut) = input;
    let cut = cut.min(bytes.len());
    let mut decoder = Decoder::new(1 << 20);
    for part in [&bytes[..cut], &bytes[cut..]] {
        decoder.push(part);
        while let Ok(Some(args)) = decoder.next_frame() {
            for arg in &args {
                let _ = arg.to_value();
            }
        }
    }
});

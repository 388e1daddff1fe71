//! What an agent of PM2 sends to the hub.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pm2::agent_wire::{Incoming, Message, StatusDoc};

fuzz_target!(|text: &str| {
    let mut document = StatusDoc::new();
    for line in text.split('\n') {
        if let Ok(frame) = Incoming::parse(line) {
            match frame.channel.as_str() {
                "status" => drop(document.full(frame.payload.clone())),
                "status:patch" => drop(document.patch(frame.payload.clone())),
                _ => {}
            }
            let _ = Message::read(frame);
        }
    }
});

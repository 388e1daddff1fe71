//! Frames between our agent and the hub, from either side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{AgentMessage, HubMessage};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = AgentMessage::from_frame(bytes) {
        let again = message.to_frame().expect("what was read can be written");
        assert!(AgentMessage::from_frame(&again).is_ok());
    }
    let _ = HubMessage::from_frame(bytes);
});

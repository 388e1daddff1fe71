//! What cluster workers say to the primary, in any order, and whether it can carry on from what it keeps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::cluster::{ConnId, Effect, Primary, Snapshot, WorkerId, WorkerSpec};
use node::message::{ChildMessage, classify};

fuzz_target!(|bytes: &[u8]| {
    let mut primary = Primary::new(1);
    for id in 0..2 {
        let spec = WorkerSpec {
            group: "app".into(),
            policy: Default::default(),
        };
        primary.add(WorkerId(id), spec);
    }
    for (now, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let now = now as u64;
        if let Ok(ChildMessage::Internal(message)) = classify(line) {
            primary.on_message(now, WorkerId(now % 2), message);
        }
        for listener in primary.listeners().collect::<Vec<_>>() {
            if primary.wants_connection(now, listener) {
                primary.connection(now, listener, ConnId(now));
            }
        }
        while let Some(effect) = primary.poll_effect() {
            match effect {
                Effect::Bind { listener, .. } => primary.bound(listener, Ok(None)),
                Effect::Send { line, .. } | Effect::SendHandle { line, .. } => {
                    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                }
                _ => {}
            }
        }
        primary.handle_timeout(now);
    }
    let kept = primary.snapshot().write();
    Primary::restore(1, Snapshot::read(&kept).expect("what was written is read"));
});

//! Whatever bytes come, the answer is an error: no panic, no memory without bound.

use crate::round_trip::{agent_message, hub_message};
use minicbor::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::frame::{FROM_AGENT, FROM_HUB};
use wire::live::{ApplyError, View};
use wire::message::LogBatch;
use wire::telemetry::LogLine;
use wire::{AgentMessage, DecodeError, EncodeError, HubMessage, MAX_METRICS, MAX_PROCESSES};

/// A plain frame around CBOR made by hand.
fn frame(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = vec![0x10];
    build(&mut Encoder::new(&mut out));
    out
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x11];
    out.extend(zstd::bulk::compress(body, 3).unwrap());
    out
}

proptest! {
    #[test]
    fn garbage_never_panics(mut bytes in vec(any::<u8>(), 0..400), header in proptest::sample::select(vec![0x10u8, 0x11, 0x12, 0xff])) {
        let _ = AgentMessage::from_frame(&bytes);
        bytes.insert(0, header);
        let _ = AgentMessage::from_frame(&bytes);
        let _ = HubMessage::from_frame(&bytes);
    }

    #[test]
    fn a_shortened_frame_is_an_error(message in agent_message(), cut in 0.0..1.0f64) {
        let frame = message.to_frame().unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short frame")]
        let at = (frame.len() as f64 * cut) as usize;
        prop_assert!(AgentMessage::from_frame(&frame[..at]).is_err());
    }

    #[test]
    fn flipped_bytes_never_panic(message in agent_message(), flips in vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut frame = message.to_frame().unwrap();
        for (at, with) in flips {
            let at = usize::from(at) % frame.len();
            frame[at] ^= with;
        }
        if let Ok(AgentMessage::Delta(delta)) = AgentMessage::from_frame(&frame) {
            let _ = View { rev: delta.base, ..View::default() }.apply(delta);
        }
    }

    #[test]
    fn an_appended_byte_is_an_error(message in hub_message(), byte in any::<u8>()) {
        let mut frame = message.to_frame().unwrap();
        frame.push(byte);
        prop_assert!(HubMessage::from_frame(&frame).is_err());
    }
}

#[test]
fn an_empty_frame_and_a_foreign_header_are_told_apart() {
    assert!(matches!(AgentMessage::from_frame(&[]), Err(DecodeError::Empty)));
    assert!(matches!(
        AgentMessage::from_frame(b"{\"payload\":{}}"),
        Err(DecodeError::Header(b'{'))
    ));
}

#[test]
fn a_frame_over_the_limit_is_not_even_looked_at() {
    let big = vec![0x11; FROM_HUB.frame + 1];
    assert!(matches!(
        HubMessage::from_frame(&big),
        Err(DecodeError::FrameTooLarge { .. })
    ));
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let bomb = packed(&vec![0u8; 1 << 30]);
    assert!(bomb.len() < 200_000, "the bomb is small: {}", bomb.len());
    let max = FROM_AGENT.message;
    assert!(
        matches!(AgentMessage::from_frame(&bomb), Err(DecodeError::MessageTooLarge { max: m }) if m == max)
    );
}

#[test]
fn a_list_of_more_elements_than_allowed_is_refused() {
    // Each element is one byte on the wire and hundreds in memory.
    let n = MAX_PROCESSES as u64 + 1;
    for declared in [true, false] {
        let bomb = frame(|e| {
            e.array(2)
                .unwrap()
                .u32(3)
                .unwrap()
                .map(1)
                .unwrap()
                .u32(4)
                .unwrap();
            if declared {
                e.array(n).unwrap()
            } else {
                e.begin_array().unwrap()
            };
            for _ in 0..n {
                e.map(0).unwrap();
            }
            if !declared {
                e.end().unwrap();
            }
        });
        let message = AgentMessage::from_frame(&bomb).unwrap_err();
        assert!(matches!(message, DecodeError::Message(_)), "{message}");
    }
}

#[test]
fn lists_within_lists_do_not_multiply() {
    // Each process has as many actions as it may, and there are as many processes as there may be: four million things.
    let bomb = frame(|e| {
        let e = e.array(2).unwrap().u32(2).unwrap();
        let e = e.map(3).unwrap().u32(0).unwrap().u64(1).unwrap();
        let e = e.u32(1).unwrap().u64(1).unwrap();
        e.u32(3).unwrap().array(MAX_PROCESSES as u64).unwrap();
        for pm_id in 0..MAX_PROCESSES as u32 {
            let e = e.map(2).unwrap().u32(0).unwrap().u32(pm_id).unwrap();
            let e = e.u32(1).unwrap().map(1).unwrap();
            e.u32(19).unwrap().array(512).unwrap();
            for _ in 0..512 {
                e.map(1).unwrap().u32(0).unwrap().str("").unwrap();
            }
        }
    });
    assert!(bomb.len() <= FROM_AGENT.message, "{}", bomb.len());
    let bomb = packed(&bomb[1..]);
    assert!(bomb.len() < 100_000, "the bomb is small: {}", bomb.len());
    let refused = AgentMessage::from_frame(&bomb).unwrap_err();
    assert!(matches!(refused, DecodeError::Message(_)), "{refused}");
    // The next message is another one.
    assert!(
        AgentMessage::from_frame(
            &AgentMessage::Bye(wire::message::Bye {
                reason: wire::message::ByeReason::Stopped
            })
            .to_frame()
            .unwrap()
        )
        .is_ok()
    );
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let lie = frame(|e| {
        e.array(2)
            .unwrap()
            .u32(5)
            .unwrap()
            .map(1)
            .unwrap()
            .u32(0)
            .unwrap()
            .array(16_000)
            .unwrap();
    });
    assert!(AgentMessage::from_frame(&lie).is_err());
}

#[test]
fn deltas_cannot_grow_a_view_without_end() {
    let mut view = View::default();
    let mut refused = false;
    for round in 0..40u32 {
        let mut next = View {
            rev: u64::from(round) + 1,
            ..View::default()
        };
        next.processes = (0..1000)
            .map(|i| (round * 1000 + i, Default::default()))
            .collect();
        let mut delta = View::default().diff(&next);
        delta.base = view.rev;
        refused |= view.apply(delta) == Err(ApplyError::TooMany);
    }
    assert!(refused);
    assert!(view.processes.len() <= 2 * MAX_PROCESSES);
    const { assert!(MAX_METRICS < MAX_PROCESSES) };
}

#[test]
fn a_message_the_peer_would_refuse_is_refused_by_the_sender() {
    let line = LogLine {
        data: "x".repeat(FROM_AGENT.message),
        ..LogLine::default()
    };
    let message = AgentMessage::from(LogBatch {
        lines: vec![line],
        dropped: 0,
    });
    assert!(matches!(message.to_frame(), Err(EncodeError::TooLarge { .. })));
}

#[test]
fn deep_nesting_in_an_unknown_field_does_not_exhaust_the_stack() {
    let deep = frame(|e| {
        e.array(2)
            .unwrap()
            .u32(8)
            .unwrap()
            .map(1)
            .unwrap()
            .u32(77)
            .unwrap();
        for _ in 0..200_000 {
            e.array(1).unwrap();
        }
        e.u32(0).unwrap();
    });
    assert!(matches!(
        AgentMessage::from_frame(&deep),
        Ok(AgentMessage::Ping(_)) | Err(_)
    ));
}

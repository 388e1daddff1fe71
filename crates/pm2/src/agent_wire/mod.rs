//! What PM2's monitoring agent says to a server, and what it obeys: the hub's door for unmodified agents.
//!
//! One HTTP request ([`VerifyRequest`]), then text frames `{payload, channel}` on a WebSocket ([`Incoming`], [`Message`]), whose
//! `status` is a document kept current by patches ([`StatusDoc`], [`Status`]); and the few commands an agent takes ([`command`]).
//! Channel names prove nothing: an app can send any of them. So everything is read leniently, bounded, and field by field.

pub mod command;
mod message;
mod patch;
mod status;
mod verify;

pub use message::{
    ActionReply, Exception, LogChunk, Message, Pm2Result, ProcessEvent, ProcessRef, Profile, ScopedOutput,
    ScopedStep, Span,
};
pub use patch::{PatchError, PatchLimits, apply as apply_patch};
pub use status::{ActionInfo, Metric, NeedResend, ProcessStatus, Refused, ServerStatus, Status, StatusDoc};
pub use verify::{VerifyError, VerifyRequest, verify_accepted, verify_pending, verify_refused};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// One frame of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Its channel; any text.
    pub channel: String,
    /// Its payload; any value.
    pub payload: Value,
}

/// A frame that is not an envelope.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("reading an agent's frame: {reason}")]
pub struct BadFrame {
    /// What is wrong; never quotes the frame.
    pub reason: String,
}

impl Incoming {
    /// Reads an envelope. The caller bounds the text's length.
    pub fn parse(text: &str) -> Result<Incoming, BadFrame> {
        #[derive(Deserialize)]
        struct Envelope {
            channel: String,
            #[serde(default)]
            payload: Value,
        }
        if text.len() > LARGE && pieces(text) > MAX_PIECES {
            return Err(BadFrame {
                reason: format!("more than {MAX_PIECES} values in one frame"),
            });
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(|e| BadFrame {
            reason: format!("no {{payload, channel}}: {e}"),
        })?;
        if envelope.channel.is_empty() || envelope.channel.len() > 256 {
            return Err(BadFrame {
                reason: "the channel's name is empty or longer than 256 bytes".into(),
            });
        }
        Ok(Incoming {
            channel: envelope.channel,
            payload: envelope.payload,
        })
    }
}

/// Frames up to this size take no more memory than is good, whatever is in them.
const LARGE: usize = 1 << 20;
/// Most values in one frame. A profile is one long text; a number of two bytes takes many times that in memory.
const MAX_PIECES: usize = 1_000_000;

/// About how many values a JSON text holds.
fn pieces(text: &str) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Longest name, path or other short text that is taken over.
const SHORT: usize = 1024;

/// A text field, cut to `max` bytes.
fn text_of(value: Option<&Value>, max: usize) -> Option<String> {
    match value? {
        Value::String(text) => Some(cut(text, max).to_owned()),
        _ => None,
    }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes() {
        let frame = Incoming::parse(r#"{"payload":{"a":1},"channel":"x"}"#).unwrap();
        assert_eq!(
            (frame.channel.as_str(), &frame.payload["a"]),
            ("x", &Value::from(1))
        );
        assert_eq!(
            Incoming::parse(r#"{"channel":"x"}"#).unwrap().payload,
            Value::Null
        );
        let deep = format!("{{\"channel\":\"x\",\"payload\":{}}}", "[".repeat(5000));
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"channel":5}"#,
            r#"{"channel":""}"#,
            deep.as_str(),
        ] {
            assert!(Incoming::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_large_frame_may_be_one_long_text_but_not_millions_of_values() {
        let profile = r#"{\"a\":[0,0,0]},"#.repeat(200_000);
        let frame = format!(r#"{{"channel":"profilings","payload":{{"data":"{profile}"}}}}"#);
        assert!(frame.len() > LARGE);
        assert!(Incoming::parse(&frame).is_ok());
        let frame = format!(r#"{{"channel":"x","payload":[{}0]}}"#, "0,".repeat(2_000_000));
        let refused = Incoming::parse(&frame).unwrap_err();
        assert!(refused.reason.contains("values"), "{refused}");
    }
}

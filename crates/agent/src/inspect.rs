//! What really left this host: the frames themselves, read back where they are handed to the socket.
//!
//! Nothing is kept unless somebody looks: a look keeps the recording on for a few seconds, and the ring is small.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use wire::AgentMessage;

/// A look keeps the recording on for so long.
const LOOKING: Duration = Duration::from_secs(5);
/// Messages kept for who looks too rarely, and bytes of them and their texts.
const MAX_KEPT: usize = 256;
const MAX_SIZE: usize = 4 << 20;
/// Longest text of one message.
const MAX_MESSAGE: usize = 256 << 10;

/// One message that left this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Ascending; what is missing between two was dropped.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Which message.
    pub kind: &'static str,
    /// Bytes on the wire.
    pub bytes: usize,
    /// All of it, in words.
    pub text: String,
    /// The bytes themselves.
    pub frame: Vec<u8>,
}

impl Sent {
    /// The bytes themselves, as base64.
    pub fn frame_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.frame)
    }

    fn size(&self) -> usize {
        self.text.len() + self.frame.len()
    }
}

/// The recording.
#[derive(Debug, Default)]
pub(crate) struct Inspector(Mutex<Recording>);

#[derive(Debug, Default)]
struct Recording {
    until: Option<Instant>,
    next: u64,
    kept: VecDeque<Sent>,
    size: usize,
}

impl Recording {
    fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.size = 0;
    }
}

impl Inspector {
    fn lock(&self) -> std::sync::MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame goes out.
    pub(crate) fn sent(&self, frame: &[u8]) {
        let now = Instant::now();
        if !self.lock().is_on(now) {
            return;
        }
        // Read outside of the lock: it is the socket's task that waits, not who looks.
        let (kind, mut text) = match AgentMessage::from_frame(frame) {
            Ok(message) => (message.kind(), format!("{message:#?}")),
            Err(error) => ("unreadable", error.to_string()),
        };
        if text.len() > MAX_MESSAGE {
            let end = crate::redact::clip(&text, MAX_MESSAGE).len();
            text.truncate(end);
            text.push_str("\n… cut here");
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut recording = self.lock();
        recording.next += 1;
        let sent = Sent {
            seq: recording.next,
            at_ms: u64::try_from(at_ms.as_millis()).unwrap_or(u64::MAX),
            kind,
            bytes: frame.len(),
            text,
            frame: frame.to_vec(),
        };
        recording.size += sent.size();
        recording.kept.push_back(sent);
        while recording.kept.len() > MAX_KEPT || recording.size > MAX_SIZE {
            let Some(oldest) = recording.kept.pop_front() else {
                break;
            };
            recording.size -= oldest.size();
        }
    }

    /// What left after number `after`; keeps the recording on.
    pub(crate) fn look(&self, after: u64) -> Vec<Sent> {
        let now = Instant::now();
        let mut recording = self.lock();
        if !recording.is_on(now) {
            recording.forget();
        }
        recording.until = Some(now + LOOKING);
        // A number of the future is one of an agent that ran before this one.
        let after = if after > recording.next { 0 } else { after };
        recording
            .kept
            .iter()
            .filter(|sent| sent.seq > after)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::Ping;

    fn frame(token: u64) -> Vec<u8> {
        AgentMessage::from(Ping { token }).to_frame().unwrap()
    }

    #[test]
    fn nothing_is_kept_until_somebody_looks() {
        let inspector = Inspector::default();
        inspector.sent(&frame(1));
        assert!(inspector.look(0).is_empty());
        inspector.sent(&frame(2));
        let seen = inspector.look(0);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].kind, seen[0].bytes), ("Ping", frame(2).len()));
        assert_eq!(seen[0].frame, frame(2));
        assert!(seen[0].text.contains("token: 2"), "{}", seen[0].text);
        assert!(inspector.look(seen[0].seq).is_empty(), "each is told once");
        assert_eq!(
            inspector.look(77),
            seen,
            "who looked at another run before misses nothing"
        );
    }

    #[test]
    fn what_nobody_fetches_is_bounded() {
        let inspector = Inspector::default();
        inspector.look(0);
        for token in 0..1000 {
            inspector.sent(&frame(token));
        }
        inspector.sent(b"garbage");
        let seen = inspector.look(0);
        assert_eq!(seen.len(), MAX_KEPT);
        assert_eq!(
            seen.last().map(|sent| (sent.seq, sent.kind)),
            Some((1001, "unreadable"))
        );
    }
}

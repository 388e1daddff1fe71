//! JSON lines: one value and a newline, nothing else.

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

/// Longest line that is taken from a child unless told otherwise: a heap snapshot of a small app fits.
pub const DEFAULT_LIMIT: usize = 64 * 1024 * 1024;
/// Longest line that is sent to a child: what it does not read in time has to be kept for it.
pub const MAX_OUTGOING: usize = 32 * 1024 * 1024;

/// A line that was dropped. The lines after it are not harmed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// Longer than the reader's limit.
    #[error("reading a message of a child: a line is longer than {limit} bytes and was dropped")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A message that must not be sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// Node would take it for one of its own messages.
    #[error("writing a message to a child: `cmd` begins with NODE_, which node keeps for itself")]
    Reserved,
    /// Too long.
    #[error("writing a message to a child: {len} bytes, at most {MAX_OUTGOING} are sent")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The value has no JSON form.
    #[error("writing a message to a child: the value has no JSON form: {0}")]
    Encode(String),
}

/// Cuts bytes into lines, however they were split. Work and memory are linear in what comes in.
#[derive(Debug)]
pub struct LineReader {
    buf: Vec<u8>,
    start: usize,
    /// Bytes from `start` on that hold no newline.
    scanned: usize,
    limit: usize,
    /// In the middle of a line that is being dropped.
    dropping: bool,
    dropped: u64,
}

impl Default for LineReader {
    fn default() -> Self {
        LineReader::new(DEFAULT_LIMIT)
    }
}

impl LineReader {
    /// A reader that drops lines of more than `limit` bytes.
    pub fn new(limit: usize) -> LineReader {
        LineReader {
            buf: Vec::new(),
            start: 0,
            scanned: 0,
            limit,
            dropping: false,
            dropped: 0,
        }
    }

    /// Adds bytes as they came from the channel. Take the lines with [`LineReader::next_line`] after each call.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if self.start == self.buf.len() {
            self.buf.clear();
            self.start = 0;
            if self.buf.capacity() > 1 << 20 {
                self.buf.shrink_to(1 << 16);
            }
        } else if self.start > 1 << 16 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        if self.dropping && self.pending() == 0 {
            // Nothing of the rest of a line that is dropped is worth keeping.
            match bytes.iter().position(|b| *b == b'\n') {
                Some(at) => {
                    self.dropping = false;
                    bytes = &bytes[at + 1..];
                }
                None => return,
            }
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next line without its newline; blank lines are passed over.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        loop {
            let data = &self.buf[self.start..];
            let Some(at) = data[self.scanned..].iter().position(|b| *b == b'\n') else {
                self.scanned = data.len();
                if !self.dropping && data.len() > self.limit {
                    return Err(self.drop_line(data.len()));
                }
                if self.dropping {
                    self.start = self.buf.len();
                    self.scanned = 0;
                }
                return Ok(None);
            };
            let end = self.scanned + at;
            let from = self.start;
            let blank = data[..end].iter().all(u8::is_ascii_whitespace);
            self.scanned = 0;
            if self.dropping {
                self.dropping = false;
            } else if end > self.limit {
                self.start = from + end + 1;
                self.dropped += 1;
                return Err(ReadError::TooLong { limit: self.limit });
            } else if !blank {
                self.start = from + end + 1;
                return Ok(Some(&self.buf[from..from + end]));
            }
            self.start = from + end + 1;
        }
    }

    /// Bytes of an unfinished line.
    pub fn pending(&self) -> usize {
        self.buf.len() - self.start
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_line(&mut self, len: usize) -> ReadError {
        self.start += len;
        self.scanned = 0;
        self.dropping = true;
        self.dropped += 1;
        ReadError::TooLong { limit: self.limit }
    }
}

/// Whether Node would take the value for one of its own messages: an object whose `cmd` is text of more than five
/// characters that begins with `NODE_`.
pub fn is_internal(value: &Value) -> bool {
    value
        .get("cmd")
        .and_then(Value::as_str)
        .is_some_and(|cmd| cmd.len() > 5 && cmd.starts_with("NODE_"))
}

/// A user message as a line. Whatever JSON value it is, Node can read the line; what would be taken for an internal
/// message is refused, because a malformed one of these ends the child.
pub fn encode_message(value: &Value) -> Result<Vec<u8>, WriteError> {
    if is_internal(value) {
        return Err(WriteError::Reserved);
    }
    encode_line(value)
}

/// An internal message, `{"cmd":"NODE_…",…}`, as a line. Only for messages that the caller made itself.
pub fn encode_internal<T: Serialize>(message: &T) -> Result<Vec<u8>, WriteError> {
    encode_line(message)
}

fn encode_line<T: Serialize>(value: &T) -> Result<Vec<u8>, WriteError> {
    // serde_json escapes control characters, so the newline at the end is the only one.
    let mut line = serde_json::to_vec(value).map_err(|e| WriteError::Encode(e.to_string()))?;
    if line.len() >= MAX_OUTGOING {
        return Err(WriteError::TooLong { len: line.len() });
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn lines(reader: &mut LineReader) -> Vec<Result<String, ReadError>> {
        let mut out = Vec::new();
        loop {
            match reader.next_line() {
                Ok(Some(line)) => out.push(Ok(String::from_utf8_lossy(line).into_owned())),
                Ok(None) => return out,
                Err(error) => out.push(Err(error)),
            }
        }
    }

    #[test]
    fn internal_is_what_node_says() {
        assert!(is_internal(&json!({ "cmd": "NODE_CLUSTER" })));
        for user in [
            json!({ "cmd": "NODE_" }),
            json!({ "cmd": 5 }),
            json!("NODE_X"),
            json!({ "cmd": "node_x" }),
            json!(null),
        ] {
            assert!(!is_internal(&user), "{user}");
            assert!(encode_message(&user).is_ok());
        }
        assert_eq!(
            encode_message(&json!({ "cmd": "NODE_HANDLE" })),
            Err(WriteError::Reserved)
        );
    }

    #[test]
    fn a_line_too_long_takes_no_other_with_it() {
        for chunk in [1, 3, 7, 100] {
            let mut reader = LineReader::new(8);
            let mut got = Vec::new();
            for bytes in b"12345678\n123456789\nok\n\n  \r\n12345678901234567890\nend\n".chunks(chunk) {
                reader.push(bytes);
                got.extend(lines(&mut reader));
            }
            let long = Err(ReadError::TooLong { limit: 8 });
            assert_eq!(
                got,
                [
                    Ok("12345678".into()),
                    long.clone(),
                    Ok("ok".into()),
                    long,
                    Ok("end".into())
                ],
                "{chunk}"
            );
            assert_eq!((reader.dropped(), reader.pending()), (2, 0));
        }
    }

    #[test]
    fn a_dropped_line_is_not_kept() {
        let mut reader = LineReader::new(1000);
        for _ in 0..10_000 {
            reader.push(&[b'x'; 1000]);
            let _ = reader.next_line();
            assert!(reader.pending() <= 2000);
        }
        reader.push(b"\n1\n");
        assert_eq!(lines(&mut reader), [Ok("1".into())]);
    }

    #[test]
    fn a_message_too_long_is_not_sent() {
        let huge = Value::String("x".repeat(MAX_OUTGOING));
        assert!(matches!(encode_message(&huge), Err(WriteError::TooLong { .. })));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_and_read_back(values in proptest::collection::vec(value(), 1..4), at in any::<usize>()) {
            let mut bytes = Vec::new();
            for value in &values {
                let line = encode_message(value).unwrap();
                prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
                bytes.extend(line);
            }
            let at = at % (bytes.len() + 1);
            let mut reader = LineReader::default();
            reader.push(&bytes[..at]);
            let mut got = lines(&mut reader);
            reader.push(&bytes[at..]);
            got.extend(lines(&mut reader));
            let got: Vec<Value> = got.into_iter().map(|l| serde_json::from_str(&l.unwrap()).unwrap()).collect();
            prop_assert_eq!(got, values);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), 0..10)) {
            let mut reader = LineReader::new(16);
            for chunk in &chunks {
                reader.push(chunk);
                lines(&mut reader);
                prop_assert!(reader.pending() <= 16 + 40);
            }
        }
    }
}

//! AMP version 1 frames, as axon puts them on `rpc.sock` and `pub.sock`.
//!
//! A frame is one byte `0x10 | argc`, then per argument a big-endian `u32` length and that many bytes. Arguments that begin
//! with `j:` are JSON, those with `s:` are text, everything else is a blob.

use serde::Serialize;
use thiserror::Error;

const VERSION: u8 = 1;
/// What fits in the four bits of the first byte.
pub const MAX_ARGS: usize = 15;
/// A frame limit that takes the process list of thousands of apps, but not the memory of a host.
pub const DEFAULT_LIMIT: usize = 64 * 1024 * 1024;

/// One argument of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The text behind `j:`; not yet parsed, so possibly not JSON at all.
    Json(Vec<u8>),
    /// The text behind `s:`; bytes that are not UTF-8 were replaced as node does.
    Text(String),
    /// Bytes without a known prefix.
    Blob(Vec<u8>),
}

/// A frame that can't be read or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AxonError {
    /// The peer speaks something else; the connection is of no more use.
    #[error("reading a frame: version {0}, but only version 1 is known; is the peer a pm2 client?")]
    Version(u8),
    /// The frame would be larger than the reader allows.
    #[error("reading a frame: {len} bytes announced, at most {limit} are taken")]
    TooLarge {
        /// Bytes of the frame as far as its lengths tell.
        len: usize,
        /// The reader's limit in bytes.
        limit: usize,
    },
    /// More arguments than the format has room for.
    #[error("writing a frame: {0} arguments, at most 15 fit")]
    TooManyArgs(usize),
    /// An argument longer than a `u32` can tell.
    #[error("writing a frame: an argument of {0} bytes is too long")]
    ArgTooLong(usize),
    /// The value has no JSON form.
    #[error("writing a frame: value has no JSON form: {0}")]
    Encode(String),
}

impl Arg {
    /// A JSON argument from any value.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Arg, AxonError> {
        serde_json::to_vec(value)
            .map(Arg::Json)
            .map_err(|e| AxonError::Encode(e.to_string()))
    }

    /// Its bytes, without the prefix.
    pub fn len(&self) -> usize {
        match self {
            Arg::Json(bytes) | Arg::Blob(bytes) => bytes.len(),
            Arg::Text(text) => text.len(),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The JSON value of the argument; text and blobs have none.
    pub fn to_value(&self) -> Option<serde_json::Value> {
        match self {
            Arg::Json(bytes) => serde_json::from_slice(bytes).ok(),
            Arg::Text(_) | Arg::Blob(_) => None,
        }
    }

    fn parse(bytes: &[u8]) -> Arg {
        match bytes {
            [b'j', b':', rest @ ..] => Arg::Json(rest.to_vec()),
            [b's', b':', rest @ ..] => Arg::Text(String::from_utf8_lossy(rest).into_owned()),
            _ => Arg::Blob(bytes.to_vec()),
        }
    }

    fn parts(&self) -> (&'static [u8], &[u8]) {
        match self {
            Arg::Json(bytes) => (b"j:", bytes),
            Arg::Text(text) => (b"s:", text.as_bytes()),
            Arg::Blob(bytes) => (b"", bytes),
        }
    }
}

/// Puts one frame at the end of `out`. On an error `out` is as it was.
///
/// An empty blob is written as `s:`: the original parser loses its way in a zero-length argument.
pub fn encode_into(args: &[Arg], out: &mut Vec<u8>) -> Result<(), AxonError> {
    if args.len() > MAX_ARGS {
        return Err(AxonError::TooManyArgs(args.len()));
    }
    let before = out.len();
    out.reserve(1 + args.iter().map(|a| 6 + a.parts().1.len()).sum::<usize>());
    out.push(VERSION << 4 | args.len() as u8);
    for arg in args {
        let (mut prefix, body) = arg.parts();
        if prefix.is_empty() && body.is_empty() {
            prefix = b"s:";
        }
        let len = prefix.len() + body.len();
        let Ok(len) = u32::try_from(len) else {
            out.truncate(before);
            return Err(AxonError::ArgTooLong(len));
        };
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(prefix);
        out.extend_from_slice(body);
    }
    Ok(())
}

/// One frame as bytes.
pub fn encode(args: &[Arg]) -> Result<Vec<u8>, AxonError> {
    let mut out = Vec::new();
    encode_into(args, &mut out)?;
    Ok(out)
}

/// Takes bytes as they come from a socket and gives frames.
///
/// After an error the stream has no known boundary any more; every later call gives the same error.
#[derive(Debug)]
pub struct Decoder {
    buf: Vec<u8>,
    start: usize,
    /// Bytes behind `start` without which looking again is of no use.
    need: usize,
    limit: usize,
    failed: Option<AxonError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(DEFAULT_LIMIT)
    }
}

impl Decoder {
    /// A decoder that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            buf: Vec::new(),
            start: 0,
            need: 1,
            limit,
            failed: None,
        }
    }

    /// Adds bytes read from the peer. Take the frames with [`Decoder::next_frame`] after each call: what waits here at most is
    /// one unfinished frame plus what was pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.start == self.buf.len() {
            self.buf.clear();
            self.start = 0;
            if self.buf.capacity() > 1 << 20 {
                // A rare huge frame must not cost its size for the rest of the connection.
                self.buf.shrink_to(1 << 16);
            }
        } else if self.start > 1 << 16 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The next whole frame, or `None` if more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Vec<Arg>>, AxonError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let data = &self.buf[self.start..];
        if data.len() < self.need {
            return Ok(None);
        }
        let version = data[0] >> 4;
        if version != VERSION {
            return Err(self.fail(AxonError::Version(version)));
        }
        let argc = usize::from(data[0] & 0x0f);
        let mut at = 1;
        let mut ranges = [(0, 0); MAX_ARGS];
        for range in ranges.iter_mut().take(argc) {
            let Some(head) = data.get(at..at + 4) else {
                self.need = at + 4;
                return Ok(None);
            };
            let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let end = (at + 4).saturating_add(len);
            if end > self.limit {
                let limit = self.limit;
                return Err(self.fail(AxonError::TooLarge { len: end, limit }));
            }
            *range = (at + 4, end);
            at = end;
            if data.len() < end {
                self.need = end;
                return Ok(None);
            }
        }
        let args = ranges[..argc]
            .iter()
            .map(|&(from, to)| Arg::parse(&data[from..to]))
            .collect();
        self.start += at;
        self.need = 1;
        Ok(Some(args))
    }

    fn fail(&mut self, error: AxonError) -> AxonError {
        self.buf = Vec::new();
        self.start = 0;
        self.failed = Some(error.clone());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Vec<Vec<Arg>> {
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    #[test]
    fn bytes_are_axons() {
        let bytes = encode(&[Arg::Json(b"{}".to_vec()), Arg::Text("7:0".into())]).unwrap();
        assert_eq!(bytes, b"\x12\0\0\0\x04j:{}\0\0\0\x05s:7:0");
    }

    #[test]
    fn an_empty_blob_is_never_written() {
        assert_eq!(encode(&[Arg::Blob(Vec::new())]).unwrap(), b"\x11\0\0\0\x02s:");
    }

    #[test]
    fn too_many_arguments_leave_the_output_alone() {
        let mut out = vec![7];
        let error = encode_into(&vec![Arg::Text(String::new()); 16], &mut out).unwrap_err();
        assert_eq!((error, out), (AxonError::TooManyArgs(16), vec![7]));
    }

    #[test]
    fn a_foreign_protocol_is_refused_for_good() {
        let mut d = Decoder::default();
        d.push(b"GET / HTTP/1.1\r\n");
        assert_eq!(d.next_frame(), Err(AxonError::Version(4)));
        d.push(&encode(&[]).unwrap());
        assert_eq!(d.next_frame(), Err(AxonError::Version(4)));
    }

    #[test]
    fn a_huge_length_is_refused_before_its_bytes_come() {
        let mut d = Decoder::new(1000);
        d.push(&[0x11, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(
            d.next_frame(),
            Err(AxonError::TooLarge { limit: 1000, .. })
        ));
        assert_eq!(d.pending(), 0);
    }

    #[test]
    fn a_zero_length_argument_is_an_empty_blob() {
        let mut d = Decoder::default();
        d.push(&[0x11, 0, 0, 0, 0]);
        assert_eq!(all(&mut d), vec![vec![Arg::Blob(vec![])]]);
    }

    fn arg() -> impl Strategy<Value = Arg> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Arg::Json),
            ".{0,20}".prop_map(Arg::Text),
            proptest::collection::vec(any::<u8>(), 1..40)
                .prop_filter("not a prefix", |b| {
                    !b.starts_with(b"j:") && !b.starts_with(b"s:")
                })
                .prop_map(Arg::Blob),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_every_split(frames in proptest::collection::vec(proptest::collection::vec(arg(), 0..6), 1..4)) {
            let mut bytes = Vec::new();
            for frame in &frames {
                encode_into(frame, &mut bytes).unwrap();
            }
            for at in 0..=bytes.len() {
                let mut d = Decoder::default();
                d.push(&bytes[..at]);
                let mut got = all(&mut d);
                d.push(&bytes[at..]);
                got.extend(all(&mut d));
                prop_assert_eq!(&got, &frames);
                prop_assert_eq!(d.pending(), 0);
            }
            let mut d = Decoder::default();
            let mut got = Vec::new();
            for byte in &bytes {
                d.push(&[*byte]);
                got.extend(all(&mut d));
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut d = Decoder::new(512);
            for chunk in &chunks {
                d.push(chunk);
                while let Ok(Some(_)) = d.next_frame() {}
            }
        }
    }
}

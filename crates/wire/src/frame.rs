//! Frames: one WebSocket message = one header byte and one CBOR value, compressed when that pays.
//!
//! Header byte: the upper four bits are the version of the framing (1), the lowest bit says that the rest is a zstd
//! frame; the other bits are reserved and must be zero.

use crate::{AgentMessage, HubMessage};
use minicbor::{Decode, Encode};
use std::cell::RefCell;
use thiserror::Error;

const VERSION: u8 = 1;
const ZSTD: u8 = 0b0001;
/// Below this many bytes compression does not pay.
const COMPRESS_FROM: usize = 512;
/// Fast on purpose: frames are small and there is one per second and server.
const LEVEL: i32 = 1;

/// A frame that says that it unpacks to so many bytes at most gets them at once.
const ORDINARY: u64 = 1 << 20;

/// What is accepted from the peer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one frame as it arrives.
    pub frame: usize,
    /// Of the message in it after decompression.
    pub message: usize,
}

/// What an agent may send to the hub.
pub const FROM_AGENT: Limits = Limits {
    frame: 4 << 20,
    message: 16 << 20,
};
/// What the hub may send to an agent.
pub const FROM_HUB: Limits = Limits {
    frame: 1 << 20,
    message: 4 << 20,
};

/// Why a frame was not understood.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("frame is empty")]
    Empty,
    /// The frame is larger than accepted from this peer.
    #[error("frame of {len} bytes is larger than the {max} that are accepted")]
    FrameTooLarge {
        /// Bytes that came.
        len: usize,
        /// Bytes that are accepted.
        max: usize,
    },
    /// The message is, unpacked, larger than accepted from this peer.
    #[error("message unpacks to more than the {max} bytes that are accepted")]
    MessageTooLarge {
        /// Bytes that are accepted.
        max: usize,
    },
    /// The header byte is of another framing.
    #[error("frame header 0x{0:02x} is not understood")]
    Header(u8),
    /// The compressed part is damaged.
    #[error("unpacking a compressed frame")]
    Unpack(#[source] std::io::Error),
    /// The message is damaged or not of this protocol.
    #[error("reading the message")]
    Message(#[from] minicbor::decode::Error),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// Why a message cannot be sent.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The peer would refuse it.
    #[error("message of {len} bytes is larger than the {max} that the peer accepts")]
    TooLarge {
        /// Bytes it would take.
        len: usize,
        /// Bytes the peer accepts.
        max: usize,
    },
}

impl AgentMessage {
    /// Packs the message; fails if the hub would refuse it for its size.
    pub fn to_frame(&self) -> Result<Vec<u8>, EncodeError> {
        pack(self, FROM_AGENT)
    }

    /// Unpacks what an agent sent.
    pub fn from_frame(frame: &[u8]) -> Result<Self, DecodeError> {
        unpack(frame, FROM_AGENT)
    }
}

impl HubMessage {
    /// Packs the message; fails if the agent would refuse it for its size.
    pub fn to_frame(&self) -> Result<Vec<u8>, EncodeError> {
        pack(self, FROM_HUB)
    }

    /// Unpacks what the hub sent.
    pub fn from_frame(frame: &[u8]) -> Result<Self, DecodeError> {
        unpack(frame, FROM_HUB)
    }
}

/// Packs any encodable value under `limits`.
pub fn pack<T: Encode<()>>(value: &T, limits: Limits) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![VERSION << 4];
    if let Err(e) = minicbor::encode(value, &mut out) {
        // Writing to a Vec cannot fail and no encoder of ours raises an error of its own.
        unreachable!("encoding into memory failed: {e}");
    }
    let len = out.len() - 1;
    if len > limits.message {
        return Err(EncodeError::TooLarge {
            len,
            max: limits.message,
        });
    }
    if len >= COMPRESS_FROM
        && let Ok(packed) = zstd::bulk::compress(&out[1..], LEVEL)
        && packed.len() < len
    {
        out.clear();
        out.push(VERSION << 4 | ZSTD);
        out.extend_from_slice(&packed);
    }
    if out.len() > limits.frame {
        return Err(EncodeError::TooLarge {
            len: out.len(),
            max: limits.frame,
        });
    }
    Ok(out)
}

/// Unpacks a value packed by [`pack`], under `limits`.
pub fn unpack<T: for<'b> Decode<'b, ()>>(frame: &[u8], limits: Limits) -> Result<T, DecodeError> {
    if frame.len() > limits.frame {
        return Err(DecodeError::FrameTooLarge {
            len: frame.len(),
            max: limits.frame,
        });
    }
    let (&header, body) = frame.split_first().ok_or(DecodeError::Empty)?;
    match header {
        h if h == VERSION << 4 => {
            if body.len() > limits.message {
                return Err(DecodeError::MessageTooLarge { max: limits.message });
            }
            decode(body)
        }
        h if h == (VERSION << 4 | ZSTD) => decode(&decompress(body, limits.message)?),
        h => Err(DecodeError::Header(h)),
    }
}

fn decode<T: for<'b> Decode<'b, ()>>(body: &[u8]) -> Result<T, DecodeError> {
    let mut decoder = minicbor::Decoder::new(body);
    let value = crate::codec::within(crate::codec::MAX_ELEMENTS, || decoder.decode())?;
    match body.len() - decoder.position() {
        0 => Ok(value),
        n => Err(DecodeError::Trailing(n)),
    }
}

thread_local! {
    /// Making one costs more than unpacking an ordinary frame.
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Never allocates more than `max` plus a little, whatever the frame claims about itself.
fn decompress(body: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    match zstd::zstd_safe::get_frame_content_size(body) {
        Ok(Some(len)) if len <= ORDINARY.min(max as u64) => decompress_ordinary(body, len as usize),
        _ => decompress_any(body, max),
    }
}

/// A frame that says how little it unpacks to, as every agent's does.
fn decompress_ordinary(body: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    let damaged = |why: &str| DecodeError::Unpack(std::io::Error::other(why.to_owned()));
    let whole = zstd::zstd_safe::find_frame_compressed_size(body)
        .map_err(|code| damaged(zstd::zstd_safe::get_error_name(code)))?;
    let out = UNPACKER.with_borrow_mut(|unpacker| {
        if unpacker.is_none() {
            *unpacker = Some(zstd::bulk::Decompressor::new().map_err(DecodeError::Unpack)?);
        }
        let unpacker = unpacker.as_mut().ok_or_else(|| damaged("no memory"))?;
        unpacker
            .decompress(&body[..whole], len)
            .map_err(DecodeError::Unpack)
    })?;
    match body.len() - whole {
        0 => Ok(out),
        n => Err(DecodeError::Trailing(n)),
    }
}

fn decompress_any(body: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    use std::io::Read as _;
    let mut reader = zstd::stream::read::Decoder::with_buffer(body)
        .map_err(DecodeError::Unpack)?
        .single_frame();
    // A frame asks for its window before any byte is out; 8 MiB is what every zstd level up to 19 stays within.
    reader.window_log_max(23).map_err(DecodeError::Unpack)?;
    let mut out = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .by_ref()
        .take(limit)
        .read_to_end(&mut out)
        .map_err(DecodeError::Unpack)?;
    if out.len() > max {
        return Err(DecodeError::MessageTooLarge { max });
    }
    match reader.finish().len() {
        0 => Ok(out),
        n => Err(DecodeError::Trailing(n)),
    }
}

//! Several frames in one body, for ways that let no WebSocket through: each frame with its length before it.

use thiserror::Error;

/// Where they are posted, below the hub's root.
pub const PATH: &str = "/interaction/wire/push";
/// Header that names the session; the answer to the first request has it.
pub const SESSION_HEADER: &str = "x-pilothouse-push";
/// Most frames in one body.
pub const MAX_FRAMES: usize = 256;
/// Largest body.
pub const MAX_BODY: usize = 8 << 20;

/// A body that is not a row of frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PushError {
    /// It ends inside a frame.
    #[error("reading pushed frames: the body ends inside a frame")]
    Cut,
    /// There are too many.
    #[error("reading pushed frames: more than {MAX_FRAMES} in one body")]
    TooMany,
}

/// Adds a frame to a body.
pub fn append(body: &mut Vec<u8>, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(frame);
}

/// The frames of a body.
pub fn frames(mut body: &[u8]) -> Result<Vec<&[u8]>, PushError> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (frame, rest) = rest.split_at_checked(length).ok_or(PushError::Cut)?;
        if frames.len() == MAX_FRAMES {
            return Err(PushError::TooMany);
        }
        frames.push(frame);
        body = rest;
    }
    if body.is_empty() {
        Ok(frames)
    } else {
        Err(PushError::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_that_are_none() {
        assert_eq!(frames(b""), Ok(vec![]));
        assert_eq!(frames(&[0, 0, 0]), Err(PushError::Cut));
        assert_eq!(frames(&[0, 0, 0, 2, 9]), Err(PushError::Cut));
        assert_eq!(frames(&[0xff; 9]), Err(PushError::Cut));
        assert_eq!(frames(&[0; 4 * (MAX_FRAMES + 1)]), Err(PushError::TooMany));
    }

    proptest! {
        #[test]
        fn frames_come_back(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut body = Vec::new();
            for frame in &list {
                append(&mut body, frame);
            }
            let back: Vec<Vec<u8>> = frames(&body).unwrap().into_iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = frames(&body);
        }
    }
}

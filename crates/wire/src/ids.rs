//! Identities that travel: random 128-bit numbers, shown in hexadecimal.

use minicbor::{Decode, Encode};
use thiserror::Error;

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("an identity is 32 hexadecimal digits")]
pub struct BadId;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Default)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                let s = s.as_bytes();
                if s.len() != 32 {
                    return Err(BadId);
                }
                let mut out = [0u8; 16];
                for (byte, pair) in out.iter_mut().zip(s.chunks_exact(2)) {
                    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(BadId);
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Ok(Self(out))
            }
        }
    };
}

id!(
    /// One `$PM2_HOME` on one machine, for ever: the identity of a server. A name is only a label beside it.
    MachineId
);
id!(
    /// One run of one agent. Two live sessions with one machine id are two machines made from one image.
    SessionId
);
id!(
    /// One numbered sequence of reports: changes when the agent's spool was lost and its numbers start anew.
    StreamId
);

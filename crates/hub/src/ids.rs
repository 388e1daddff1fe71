//! Identifiers and random keys.

use std::fmt;

/// Fills a buffer from the operating system's random source.
///
/// # Panics
/// When the operating system cannot give random bytes: nothing safe could be done without them.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A key of `length` characters out of `a-z0-9`, each equally likely.
pub(crate) fn random_key(length: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut key = String::with_capacity(length);
    while key.len() < length {
        // 252 is the largest multiple of 36 below 256: refusing the rest keeps every character equally likely.
        key.extend(
            random::<32>()
                .iter()
                .filter(|b| **b < 252)
                .map(|b| char::from(ALPHABET[usize::from(b % 36)])),
        );
    }
    key.truncate(length);
    key
}

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 hexadecimal digits")]
pub struct IdError;

/// Twelve bytes, shown as 24 hex digits, in order of creation: PM2's client recognises bucket routes by this form.
fn fresh(now_ms: i64) -> [u8; 12] {
    let seconds = u32::try_from(now_ms / 1000).unwrap_or_default();
    let mut id = [0; 12];
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    id[4..].copy_from_slice(&random::<8>());
    id
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 12]);

        impl $name {
            /// A new one, unlike any other.
            pub fn fresh(now_ms: i64) -> Self {
                Self(fresh(now_ms))
            }

            /// The id made of these bytes.
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 12];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError)?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names an account.
    UserId
}
id! {
    /// Names a bucket.
    BucketId
}
id! {
    /// Names a server of a bucket.
    ServerId
}
id! {
    /// Names a token; not the token itself.
    TokenId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_refuse_everything_else() {
        let id = BucketId::fresh(1_700_000_000_000);
        assert_eq!(id.to_string().len(), 24);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "zz",
            "6553f100aabbccddeeff001",
            "6553f100aabbccddeeff00112",
            "g553f100aabbccddeeff0011",
        ] {
            assert_eq!(bad.parse::<BucketId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn keys_have_the_asked_length_and_alphabet() {
        let key = random_key(15);
        assert_eq!(key.len(), 15);
        assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(key, random_key(15));
    }
}

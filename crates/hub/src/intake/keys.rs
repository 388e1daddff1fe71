//! Knows a bucket by its keys, in whichever order they were given.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::state::AppState;
use crate::store::StoreError;
use crate::store::catalog::Bucket;

/// What an agent is told whose keys were replaced while it was linked.
pub(super) const REPLACED: &str =
    "the keys of this bucket were replaced; copy the new link command from its dashboard";
/// Longest key that is looked at; ours have 15 characters.
const MAX_KEY: usize = 128;

/// In which order two keys were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Public and secret key where they belong.
    Canonical,
    /// The other way round.
    Swapped,
}

/// The bucket that these keys open. Both orders are tried: people mix them up, and the documents do too.
pub(super) async fn find(
    state: &AppState,
    public: &str,
    secret: &str,
) -> Result<Option<(Bucket, Order)>, StoreError> {
    for (public, secret, order) in [
        (public, secret, Order::Canonical),
        (secret, public, Order::Swapped),
    ] {
        if public.is_empty() || public.len() > MAX_KEY || secret.len() > MAX_KEY {
            continue;
        }
        if let Some(bucket) = state.catalog.bucket_by_public(public.to_owned()).await?
            && same(&bucket.secret_id, secret)
        {
            return Ok(Some((bucket, order)));
        }
    }
    Ok(None)
}

/// The bucket that somebody meant who has one of its keys wrong: it is told there, so that its people can help.
pub(super) async fn aimed_at(state: &AppState, one: &str, other: &str) -> Option<Bucket> {
    for public in [one, other] {
        if public.is_empty() || public.len() > MAX_KEY {
            continue;
        }
        // What cannot be looked up is not told; the refusal itself is.
        if let Ok(Some(bucket)) = state.catalog.bucket_by_public(public.to_owned()).await {
            return Some(bucket);
        }
    }
    None
}

/// Compares without telling by its duration where two keys differ, nor how long the right one is.
fn same(known: &str, given: &str) -> bool {
    let (known, given) = (Sha256::digest(known), Sha256::digest(given));
    known.as_slice().ct_eq(given.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_is_the_same() {
        assert!(same("abc", "abc"));
        for other in ["", "ab", "abcd", "abC"] {
            assert!(!same("abc", other), "{other}");
        }
    }
}

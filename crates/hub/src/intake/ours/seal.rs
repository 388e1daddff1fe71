//! What a host says that it sends: whether it is the host that says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use wire::MachineId;
use wire::manifest::{self, Seal};

use crate::live::model::{Manifest, Millis};

/// The signature is by another key than the one that came with it, or for another machine or list.
#[derive(Debug, thiserror::Error)]
#[error("the signature of the list of fields is not by the key of this host")]
pub(super) struct Forged;

/// Checks a seal.
pub(super) fn open(machine: &MachineId, seal: &Seal, now: Millis) -> Result<Manifest, Forged> {
    UnparsedPublicKey::new(&ED25519, seal.key)
        .verify(&manifest::sealed(machine, &seal.digest), &seal.signature)
        .map_err(|_| Forged)?;
    Ok(Manifest {
        digest: STANDARD_NO_PAD.encode(seal.digest),
        key: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(seal.key))),
        known: seal.digest.as_slice() == Sha256::digest(manifest::TEXT.as_bytes()).as_slice(),
        since: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn only_the_key_that_came_with_it_can_have_sealed_it() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let machine = MachineId([1; 16]);
        let digest: [u8; 32] = Sha256::digest(manifest::TEXT.as_bytes()).into();
        let seal = Seal {
            digest,
            key: pair.public_key().as_ref().try_into().unwrap(),
            signature: pair
                .sign(&manifest::sealed(&machine, &digest))
                .as_ref()
                .try_into()
                .unwrap(),
        };
        let opened = open(&machine, &seal, 5).unwrap();
        assert!(opened.known && opened.key.starts_with("SHA256:") && opened.since == 5);
        assert!(open(&MachineId([2; 16]), &seal, 5).is_err());
        let other = [0; 32];
        assert!(
            open(
                &machine,
                &Seal {
                    digest: other,
                    ..seal
                },
                5
            )
            .is_err()
        );
        assert!(open(&machine, &Seal { key: [9; 32], ..seal }, 5).is_err());
    }
}

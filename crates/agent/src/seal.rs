//! What this host says that it sends: the list of fields, signed by a key that the host made when it was first linked.
//!
//! The key stands for the host towards a hub: a hub that has seen it once tells when somebody else speaks under the same identity, or when the
//! list has changed. It opens nothing, and leaves the host never.

use crate::identity::{FileError, read_small, write_private};
use base64::Engine as _;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::path::Path;
use thiserror::Error;
use wire::MachineId;
use wire::manifest::{self, Seal};

/// Name of the file in `$PM2_HOME`: two lines, the secret half in base64 and whose it is.
pub const FILE: &str = "agent.key";
const MAX_BYTES: u64 = 4096;
const SEED: usize = 32;

/// The key cannot be kept.
#[derive(Debug, Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("drawing a key: {0}")]
    Random(getrandom::Error),
}

/// Seals the list for a machine, with the key of its home or a new one.
pub(crate) fn seal(home: &Path, machine: MachineId) -> Result<Seal, SealError> {
    let seed = match read(home)?.filter(|(_, of)| *of == machine) {
        Some((seed, _)) => seed,
        None => make(home, machine)?,
    };
    let digest = digest_of_list();
    let pair = pair(&seed);
    let mut seal = Seal {
        digest,
        key: [0; 32],
        signature: [0; 64],
    };
    seal.key.copy_from_slice(pair.public_key().as_ref());
    seal.signature
        .copy_from_slice(pair.sign(&manifest::sealed(&machine, &digest)).as_ref());
    Ok(seal)
}

/// The list with its digest, and the fingerprint of the home's key if there is one: for people and programs on this host.
pub fn shown(home: &Path) -> Value {
    let key = read(home).ok().flatten();
    let sections: Vec<Value> = manifest::sections()
        .into_iter()
        .map(|section| {
            let fields: Vec<Value> = section
                .fields
                .iter()
                .map(|field| json!({ "name": field.name, "what": field.what, "example": field.example }))
                .collect();
            json!({ "name": section.name, "packets": section.packets, "why": section.why, "fields": fields })
        })
        .collect();
    json!({
        "digest": base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest_of_list()),
        "host_key": key.map(|(seed, _)| fingerprint(pair(&seed).public_key().as_ref())),
        "preamble": manifest::preamble(),
        "sections": sections,
    })
}

/// A public key as people compare it: `SHA256:` and its digest in base64, as `ssh-keygen -l` prints those of other keys.
fn fingerprint(key: &[u8]) -> String {
    let digest = digest(&SHA256, key);
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest.as_ref());
    format!("SHA256:{text}")
}

fn digest_of_list() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, manifest::TEXT.as_bytes()).as_ref());
    bytes
}

fn pair(seed: &[u8; SEED]) -> Ed25519KeyPair {
    #[expect(clippy::expect_used, reason = "a seed of this length is never refused")]
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed")
}

fn make(home: &Path, machine: MachineId) -> Result<[u8; SEED], SealError> {
    let mut seed = [0; SEED];
    getrandom::fill(&mut seed).map_err(SealError::Random)?;
    let text = base64::engine::general_purpose::STANDARD.encode(seed);
    write_private(&home.join(FILE), format!("{text}\n{machine}\n").as_bytes())?;
    Ok(seed)
}

/// What is no key is as none: another one takes its place.
fn read(home: &Path) -> Result<Option<([u8; SEED], MachineId)>, FileError> {
    let text = read_small(&home.join(FILE), MAX_BYTES)?;
    Ok(text.as_deref().and_then(|text| {
        let mut lines = text.lines();
        let seed = base64::engine::general_purpose::STANDARD
            .decode(lines.next()?)
            .ok()?;
        Some((seed.try_into().ok()?, lines.next()?.parse().ok()?))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn the_key_of_a_home_stays_is_private_and_signs_the_list_for_its_machine_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let (here, there) = (MachineId([1; 16]), MachineId([2; 16]));
        assert_eq!(shown(home.path())["host_key"], Value::Null);
        let first = seal(home.path(), here).unwrap();
        assert_eq!(seal(home.path(), here).unwrap(), first);
        let path = home.path().join(FILE);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let verify = |machine| {
            UnparsedPublicKey::new(&ED25519, first.key)
                .verify(&manifest::sealed(&machine, &first.digest), &first.signature)
        };
        assert!(verify(here).is_ok() && verify(there).is_err());
        assert_eq!(shown(home.path())["host_key"], json!(fingerprint(&first.key)));
        // A home that was copied, and a file that is no key, get a key of their own.
        let copied = seal(home.path(), there).unwrap();
        assert_ne!(copied.key, first.key);
        std::fs::write(&path, "no key").unwrap();
        assert_ne!(seal(home.path(), there).unwrap().key, copied.key);
    }
}

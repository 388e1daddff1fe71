//! Passwords: argon2id, off the threads that serve requests.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::AuthError;

/// Longest password taken: more is work for us and no safety for them.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Shortest password taken for a new account.
pub const MIN_PASSWORD_CHARS: usize = 8;

/// Hashes and checks passwords, a few at a time: each takes 19 MiB and a core for some tens of milliseconds.
#[derive(Debug, Clone)]
pub struct Passwords {
    slots: Arc<Semaphore>,
    /// Checked against when there is no such account, so that the answer takes as long.
    decoy: Arc<str>,
}

impl Passwords {
    /// With room for so many at once.
    pub fn new(at_once: usize) -> Self {
        // A hash of no known password, with the parameters of `hasher`.
        let decoy = hash_now(&hex::encode(crate::ids::random::<16>())).unwrap_or_default();
        Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            decoy: decoy.into(),
        }
    }

    /// The hash to store for a password.
    pub async fn hash(&self, password: String) -> Result<String, AuthError> {
        if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
            return Err(AuthError::WeakPassword);
        }
        self.work(move || hash_now(&password)).await?
    }

    /// Waits for a turn to check a password. What limits guessing is to be looked at once it has come, and what was wrong noted
    /// before it goes: so of many guesses at once not one more is tried than of as many in a row.
    pub async fn turn(&self) -> Result<Turn<'_>, AuthError> {
        let slot = self.slots.acquire().await.map_err(|_| AuthError::Hashing)?;
        Ok(Turn {
            decoy: &self.decoy,
            _slot: slot,
        })
    }

    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuthError> {
        let _slot = self.slots.acquire().await.map_err(|_| AuthError::Hashing)?;
        off_the_threads(job).await
    }
}

/// One of the few that may check a password now.
#[derive(Debug)]
pub struct Turn<'a> {
    decoy: &'a str,
    _slot: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Whether the password fits the stored hash; without a hash it takes as long and never fits.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, AuthError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.decoy.to_owned());
        let fits = off_the_threads(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|parsed| hasher().verify_password(password.as_bytes(), &parsed).is_ok())
        })
        .await?;
        Ok(fits && known)
    }
}

async fn off_the_threads<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AuthError> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(|_| AuthError::Hashing)
}

/// OWASP's smallest recommended set for argon2id: 19 MiB, two passes, one lane.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn hash_now(password: &str) -> Result<String, AuthError> {
    hasher()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| AuthError::Hashing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fits_only_its_own_password() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let turn = passwords.turn().await.unwrap();
        assert!(
            turn.verify("correct horse".into(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!turn.verify("battery staple".into(), Some(hash)).await.unwrap());
        assert!(!turn.verify("correct horse".into(), None).await.unwrap());
        assert!(
            !turn
                .verify("correct horse".into(), Some("garbage".into()))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn refuses_short_and_endless_passwords() {
        let passwords = Passwords::new(1);
        for bad in ["short".to_owned(), "x".repeat(MAX_PASSWORD_BYTES + 1)] {
            assert!(matches!(passwords.hash(bad).await, Err(AuthError::WeakPassword)));
        }
    }
}

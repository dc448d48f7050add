//! People's passwords under Argon2id, on blocking threads and few at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use dormouse_core::ports::{PasswordHasher, PortError};
use dormouse_core::secret::Secret;
use tokio::sync::Semaphore;

/// Hashes computed at once: each takes [`MEMORY_KIB`] and a core.
const AT_ONCE: usize = 2;
/// Requests that wait for their turn; more are refused.
const WAITING: usize = 64;
/// Memory of one hash, KiB: what small boards can spare.
const MEMORY_KIB: u32 = 19 * 1_024;
/// Passes over that memory.
const PASSES: u32 = 2;

/// Argon2id with bounded concurrency.
#[derive(Debug)]
pub struct Argon2Hasher {
    params: Params,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Verified against where there is no such person, so that the answer
    /// takes as long.
    nobody: Arc<OnceLock<String>>,
}

impl Argon2Hasher {
    /// With the parameters for production.
    ///
    /// # Errors
    /// When the parameters are out of Argon2's range.
    pub fn new() -> Result<Self, PortError> {
        Self::with_cost(MEMORY_KIB, PASSES)
    }

    /// With parameters of one's own, for tests.
    ///
    /// # Errors
    /// When the parameters are out of Argon2's range.
    pub fn with_cost(memory_kib: u32, passes: u32) -> Result<Self, PortError> {
        let params = Params::new(memory_kib, passes, 1, None)
            .map_err(|error| PortError::unavailable(error.to_string()))?;
        Ok(Self {
            params,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            nobody: Arc::default(),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let _place = Place::take(&self.waiting)?;
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(PortError::unavailable)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(PortError::unavailable)?
    }
}

#[async_trait]
impl PasswordHasher for Argon2Hasher {
    async fn hash(&self, password: Secret) -> Result<String, PortError> {
        let params = self.params.clone();
        self.run(move || hash(&params, &password)).await
    }

    async fn verify(&self, hash: Option<String>, password: Secret) -> Result<bool, PortError> {
        let known = hash.is_some();
        let (params, nobody) = (self.params.clone(), Arc::clone(&self.nobody));
        let right = self.run(move || match (&hash, nobody.get()) {
            (Some(hash), _) => verify(hash, &password),
            (None, Some(nobody)) => verify(nobody, &password),
            (None, None) => {
                // The first time, making the hash takes as long as verifying it.
                nobody.set(self::hash(&params, &Secret::random(""))?).ok();
                Ok(false)
            }
        });
        Ok(right.await? && known)
    }
}

fn hash(params: &Params, password: &Secret) -> Result<String, PortError> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())
        .map_err(|error| PortError::unavailable(error.to_string()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password(password.expose().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| PortError::unavailable(error.to_string()))
}

fn verify(hash: &str, password: &Secret) -> Result<bool, PortError> {
    // The hash names its own parameters, so that they may change over time.
    let hash = PasswordHash::new(hash).map_err(|error| PortError::Corrupt(error.to_string()))?;
    let outcome = Argon2::default().verify_password(password.expose().as_bytes(), &hash);
    match outcome {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(PortError::Corrupt(error.to_string())),
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, PortError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING + AT_ONCE {
            return Err(PortError::unavailable("too many sign-ins at once"));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Argon2Hasher {
        Argon2Hasher::with_cost(64, 1).unwrap()
    }

    #[tokio::test]
    async fn a_hash_takes_its_password_and_no_other() {
        let hasher = quick();
        let hash = hasher.hash(Secret::new("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let verify = |hash: Option<&str>, password: &str| {
            hasher.verify(hash.map(str::to_owned), Secret::new(password))
        };
        assert!(verify(Some(&hash), "correct horse").await.unwrap());
        assert!(!verify(Some(&hash), "wrong horse").await.unwrap());
        assert!(!verify(None, "correct horse").await.unwrap());
        assert!(verify(Some("rubbish"), "correct horse").await.is_err());
    }

    #[tokio::test]
    async fn a_crowd_is_refused_rather_than_queued_for_ever() {
        let hasher = quick();
        let crowd = (0..WAITING + AT_ONCE + 10).map(|_| hasher.hash(Secret::new("x")));
        let outcomes = futures_util::future::join_all(crowd).await;
        let refused = outcomes.iter().filter(|it| it.is_err()).count();
        assert_eq!(refused, 10);
        hasher.hash(Secret::new("x")).await.unwrap();
    }
}

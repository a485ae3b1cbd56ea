//! New private keys, made beside everything else.
//!
//! An RSA key takes a tenth of a second of CPU and more: too long for a thread that serves others, and with many tenants
//! at once each of them would wait for all. So as many are made at a time as there are cores, in the order in which they
//! were asked for.

use std::{
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use kamaji_pki::{KeyAlgorithm, PrivateKey};
use tokio::sync::Semaphore;

use super::error::Error;

/// The algorithm of the spare key: every new tenant needs one of it.
const SPARE_ALGORITHM: KeyAlgorithm = kamaji_plan::issuance::authorities::SERVICE_ACCOUNT_ALGORITHM;

/// Makes keys; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    cores: Arc<Semaphore>,
    spare: Arc<Mutex<Spare>>,
}

/// A key that nobody has asked for yet.
enum Spare {
    None,
    Coming,
    Ready(PrivateKey),
}

impl Default for Keys {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self { cores: Arc::new(Semaphore::new(cores)), spare: Arc::new(Mutex::new(Spare::None)) }
    }
}

impl Keys {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Mint`] for `what` when it cannot be made, [`Error::Cut`] when the process ends.
    pub async fn make(&self, algorithm: KeyAlgorithm, what: &str) -> Result<PrivateKey, Error> {
        if !is_slow(algorithm) {
            return PrivateKey::generate(algorithm).map_err(|source| Error::Mint { what: what.to_owned(), source });
        }
        let spare = (algorithm == SPARE_ALGORITHM).then_some(&self.spare);
        let key = match spare.and_then(|spare| take(spare)) {
            Some(key) => key,
            None => self.slowly(move || PrivateKey::generate(algorithm), what).await?,
        };
        if spare.is_some() {
            self.replenish();
        }
        Ok(key)
    }

    /// Does work with slow keys when a core is free for it.
    ///
    /// # Errors
    /// As [`Keys::make`].
    pub async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, kamaji_pki::Error> + Send + 'static,
        what: &str,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| Error::Cut)?;
        let work = move || {
            let done = work();
            drop(core);
            done
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| Error::Cut)?;
        done.map_err(|source| Error::Mint { what: what.to_owned(), source })
    }

    /// Has a spare key made behind all that are asked for now, so that the next tenant need not wait for one.
    fn replenish(&self) {
        {
            let mut spare = lock(&self.spare);
            if !matches!(*spare, Spare::None) {
                return;
            }
            *spare = Spare::Coming;
        }
        let keys = self.clone();
        tokio::spawn(async move {
            let made = keys.slowly(|| PrivateKey::generate(SPARE_ALGORITHM), "a spare key").await;
            *lock(&keys.spare) = made.map_or(Spare::None, Spare::Ready);
        });
    }
}

/// Whether a key of this algorithm takes long to make.
pub fn is_slow(algorithm: KeyAlgorithm) -> bool {
    match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => true,
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => false,
    }
}

fn take(spare: &Mutex<Spare>) -> Option<PrivateKey> {
    let mut spare = lock(spare);
    match std::mem::replace(&mut *spare, Spare::None) {
        Spare::Ready(key) => Some(key),
        other => {
            *spare = other;
            None
        }
    }
}

fn lock(spare: &Mutex<Spare>) -> MutexGuard<'_, Spare> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn works_at_as_many_keys_at_a_time_as_there_are_cores() {
        let keys = Keys::default();
        let cores = available_parallelism().unwrap().get();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let done = join_all((0..4 * cores).map(|_| keys.slowly(work(), "a key"))).await;
        assert!(done.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), cores);
    }

    #[tokio::test]
    async fn no_two_tenants_get_the_same_key() {
        let keys = Keys::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let key = keys.make(SPARE_ALGORITHM, "a key").await.unwrap();
            assert!(seen.insert(key.public_key_pem()));
            while !matches!(*lock(&keys.spare), Spare::Ready(_)) {
                tokio::task::yield_now().await;
            }
        }
        assert!(seen.insert(take(&keys.spare).unwrap().public_key_pem()));
    }
}

//! Where secrets are kept between runs, or why they are not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ErrorView, SecretsKeptIn};

use crate::Secret;
use crate::keychain::Keychain;

/// A place for secrets. Clones are the same place.
#[derive(Clone, Debug)]
pub enum SecretStore {
    /// The operating system's keychain: Secret Service, macOS keychain or Windows Credential Manager.
    Keychain(Keychain),
    /// This process only.
    Memory(Memory),
}

/// A store that did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// What the keychain holds is not what was put there.
    #[error("the keychain's item `{key}` is damaged: {cause}")]
    Damaged {
        /// Which secret.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The value is larger than any of the keychains takes.
    #[error("the secret `{key}` has {length} bytes, more than {limit}")]
    TooLarge {
        /// Which secret.
        key: String,
        /// Its size.
        length: usize,
        /// The largest size.
        limit: usize,
    },
    /// The keychain did not answer in time; it may be waiting for somebody to unlock it.
    #[error("the keychain did not answer within {seconds} s for `{key}`")]
    TimedOut {
        /// Which secret.
        key: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The keychain refused, or is gone.
    #[error("the keychain refused `{key}`: {cause}")]
    Unavailable {
        /// Which secret.
        key: String,
        /// The keychain's words.
        cause: String,
    },
}

impl StoreError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        let (code, hint) = match self {
            Self::Damaged { .. } => ("keychain-damaged", "Sign out and sign in again: that writes the item anew"),
            Self::TooLarge { .. } => {
                ("secret-too-large", "Ask the administrator of the identity provider for smaller tokens")
            }
            Self::TimedOut { .. } => ("keychain-silent", "Unlock the keychain, then try again"),
            Self::Unavailable { .. } => (
                "keychain-unavailable",
                "Unlock or start the keychain, or set DAYPASS_SECRETS=memory to sign in at each start",
            ),
        };
        ErrorView::new(code, self.to_string(), hint)
    }
}

impl SecretStore {
    /// Opens the keychain under the name `service`, after proving with a throw-away item that it keeps and returns what it
    /// is given. A keychain that fails or takes longer than 3 seconds is replaced by memory, and the reason comes with it.
    pub async fn open(service: &str) -> (Self, SecretsKeptIn) {
        match Keychain::open(service).await {
            Ok(keychain) => (Self::Keychain(keychain), SecretsKeptIn::Keychain),
            Err(cause) => {
                let why = cause.to_string();
                tracing::warn!(why, "no keychain: secrets stay in memory");
                (Self::memory(), SecretsKeptIn::Memory { why })
            }
        }
    }

    /// A store that is gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// The secret saved under `key`; none if there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the keychain refuses, is silent, or holds something else.
    pub async fn load(&self, key: &str) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        match self {
            Self::Keychain(keychain) => keychain.load(key).await,
            Self::Memory(memory) => Ok(memory.values().get(key).cloned()),
        }
    }

    /// Keeps `value` under `key` in place of what was there. Up to 64 kB.
    ///
    /// # Errors
    /// [`StoreError`] when the value is too large or the keychain refuses or is silent; the old value is still there then.
    pub async fn save(&self, key: &str, value: Secret<Vec<u8>>) -> Result<(), StoreError> {
        match self {
            Self::Keychain(keychain) => keychain.save(key, value).await,
            Self::Memory(memory) => {
                memory.values().insert(key.to_owned(), value);
                Ok(())
            }
        }
    }

    /// Removes what is kept under `key`; nothing there is fine.
    ///
    /// # Errors
    /// [`StoreError`] when the keychain refuses or is silent.
    pub async fn forget(&self, key: &str) -> Result<(), StoreError> {
        match self {
            Self::Keychain(keychain) => keychain.forget(key).await,
            Self::Memory(memory) => {
                memory.values().remove(key);
                Ok(())
            }
        }
    }
}

/// The values of a store in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Secret<Vec<u8>>>>>);

impl Memory {
    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Secret<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_keeps_replaces_and_forgets() {
        let store = SecretStore::memory();
        assert_eq!(store.load("refresh-token").await, Ok(None));
        for value in ["one", "two"] {
            store.save("refresh-token", Secret::new(value.into())).await.expect("memory always saves");
            assert_eq!(store.load("refresh-token").await, Ok(Some(Secret::new(value.into()))));
        }
        assert_eq!(store.load("other").await, Ok(None));
        store.forget("refresh-token").await.expect("memory always forgets");
        assert_eq!(store.clone().load("refresh-token").await, Ok(None));
    }
}

//! The operating system's keychain, asked by one thread of its own.
//!
//! The keychain libraries block, and the Windows one may reorder what several threads ask of one item. A thread that belongs
//! to no runtime also cannot hold up the end of the process while a keychain waits for a password.

use std::time::Duration;

use keyring::Entry;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::parts::{self, Items};
use crate::{Secret, StoreError};

/// How long a keychain may take to prove itself when it is opened.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How long one request may take later: a person may have to unlock the keychain first.
const LIMIT: Duration = Duration::from_secs(60);
const PROBE: &str = "probe";

/// The keychain under one service name.
#[derive(Clone, Debug)]
pub struct Keychain {
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
enum Ask {
    Forget { key: String, answer: oneshot::Sender<Result<(), StoreError>> },
    Load { key: String, answer: oneshot::Sender<Result<Option<Secret<Vec<u8>>>, StoreError>> },
    Save { key: String, value: Secret<Vec<u8>>, answer: oneshot::Sender<Result<(), StoreError>> },
}

impl Keychain {
    pub(crate) async fn open(service: &str) -> Result<Self, StoreError> {
        let (asks, inbox) = mpsc::unbounded_channel();
        let service = service.to_owned();
        let thread = std::thread::Builder::new().name("keychain".into());
        thread.spawn(move || answer_all(&service, inbox)).map_err(|e| unavailable(PROBE, &e))?;
        let keychain = Self { asks };
        keychain.prove().await?;
        Ok(keychain)
    }

    async fn prove(&self) -> Result<(), StoreError> {
        let written = Secret::new(b"daypass can read what it writes".to_vec());
        let value = written.clone();
        self.ask(PROBE, PROBE_LIMIT, |key, answer| Ask::Save { key, value, answer }).await?;
        let read = self.ask(PROBE, PROBE_LIMIT, |key, answer| Ask::Load { key, answer }).await?;
        if read != Some(written) {
            return Err(StoreError::Damaged { key: PROBE.into(), cause: "it does not return what was written".into() });
        }
        self.ask(PROBE, PROBE_LIMIT, |key, answer| Ask::Forget { key, answer }).await
    }

    pub(crate) async fn load(&self, key: &str) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        self.ask(key, LIMIT, |key, answer| Ask::Load { key, answer }).await
    }

    pub(crate) async fn save(&self, key: &str, value: Secret<Vec<u8>>) -> Result<(), StoreError> {
        self.ask(key, LIMIT, |key, answer| Ask::Save { key, value, answer }).await
    }

    pub(crate) async fn forget(&self, key: &str) -> Result<(), StoreError> {
        self.ask(key, LIMIT, |key, answer| Ask::Forget { key, answer }).await
    }

    async fn ask<T>(
        &self,
        key: &str,
        limit: Duration,
        ask: impl FnOnce(String, oneshot::Sender<Result<T, StoreError>>) -> Ask,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(key.to_owned(), answer)).map_err(|_| unavailable(key, &"its thread ended"))?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unavailable(key, &"its thread ended")),
            Err(_) => Err(StoreError::TimedOut { key: key.to_owned(), seconds: limit.as_secs() }),
        }
    }
}

fn answer_all(service: &str, mut inbox: mpsc::UnboundedReceiver<Ask>) {
    let items = ServiceItems { service };
    while let Some(ask) = inbox.blocking_recv() {
        // A receiver that is gone stopped waiting; what was asked is done all the same.
        match ask {
            Ask::Forget { key, answer } => drop(answer.send(parts::forget(&items, &key))),
            Ask::Load { key, answer } => drop(answer.send(parts::load(&items, &key))),
            Ask::Save { key, value, answer } => drop(answer.send(parts::save(&items, &key, &value))),
        }
    }
}

struct ServiceItems<'a> {
    service: &'a str,
}

impl ServiceItems<'_> {
    fn entry(&self, name: &str) -> Result<Entry, StoreError> {
        if let Err(cause) = Entry::store_status() {
            return Err(unavailable(name, cause));
        }
        Entry::new(self.service, name).map_err(|e| unavailable(name, &e))
    }
}

impl Items for ServiceItems<'_> {
    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match self.entry(name)?.get_secret() {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(e) => Err(unavailable(name, &e)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.entry(name)?.set_secret(bytes).map_err(|e| unavailable(name, &e))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.entry(name)?.delete_credential() {
            Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
            Err(e) => Err(unavailable(name, &e)),
        }
    }
}

fn unavailable(key: &str, cause: &impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { key: key.to_owned(), cause: cause.to_string() }
}

//! The passwords that clients log in with at this computer's own ports: one a Target, made once and kept in the keychain, so
//! that a client is set up once. They open nothing without an open Gateway.

use model::{ErrorView, TargetId};
use rand::distr::{Alphanumeric, SampleString as _};
use secrets::{Secret, SecretStore};
use tokio::sync::{Mutex, watch};

/// About 190 bits, in letters and digits, which need no escaping anywhere.
const LENGTH: usize = 32;

/// All of them.
#[derive(Debug)]
pub(crate) struct LocalPasswords {
    store: SecretStore,
    /// Two Gateways that open at once must not make two for one Target.
    making: Mutex<()>,
    renewals: watch::Sender<u64>,
}

impl LocalPasswords {
    pub(crate) fn new(store: SecretStore) -> Self {
        Self { store, making: Mutex::new(()), renewals: watch::Sender::new(0) }
    }

    /// The password of a Target; made now if it has none.
    ///
    /// # Errors
    /// The keychain's.
    pub(crate) async fn of(&self, target: &TargetId) -> Result<Secret<String>, ErrorView> {
        let _making = self.making.lock().await;
        let kept = self.store.load(&item(target)).await.map_err(|error| error.view())?;
        let kept = kept.and_then(|kept| String::from_utf8(kept.expose().clone()).ok());
        match kept {
            Some(kept) => Ok(Secret::new(kept)),
            None => self.make(target).await,
        }
    }

    /// Makes a new one; the one before is good no more.
    ///
    /// # Errors
    /// The keychain's; the one before stays then.
    pub(crate) async fn renew(&self, target: &TargetId) -> Result<Secret<String>, ErrorView> {
        let _making = self.making.lock().await;
        let made = self.make(target).await?;
        self.renewals.send_modify(|count| *count += 1);
        Ok(made)
    }

    /// Changes whenever one was renewed.
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    async fn make(&self, target: &TargetId) -> Result<Secret<String>, ErrorView> {
        let made = Secret::new(Alphanumeric.sample_string(&mut rand::rng(), LENGTH));
        let bytes = Secret::new(made.expose().clone().into_bytes());
        self.store.save(&item(target), bytes).await.map_err(|error| error.view())?;
        Ok(made)
    }
}

fn item(target: &TargetId) -> String {
    format!("local-password/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> TargetId {
        TargetId::new(name).expect("a valid name")
    }

    #[tokio::test]
    async fn a_target_keeps_its_password_until_it_is_renewed() {
        let passwords = LocalPasswords::new(SecretStore::memory());
        let orders = passwords.of(&target("orders")).await.expect("memory keeps everything");
        assert_eq!(passwords.of(&target("orders")).await.expect("as before"), orders);
        assert_ne!(passwords.of(&target("ledger")).await.expect("as before"), orders);

        let mut renewals = passwords.renewals();
        let renewed = passwords.renew(&target("orders")).await.expect("as before");
        assert_ne!(renewed, orders);
        assert_eq!(renewed.expose().len(), LENGTH);
        assert!(renewals.has_changed().expect("the sender lives"), "open gateways must hear of it");
        renewals.mark_unchanged();
        assert_eq!(passwords.of(&target("orders")).await.expect("as before"), renewed);
        assert!(!renewals.has_changed().expect("the sender lives"), "asking renews nothing");
    }
}

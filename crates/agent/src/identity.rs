//! The signed-in Identity: what is kept in the keychain for it, and Credentials that are fresh whenever they are used.

use std::time::Duration;

use access::Event;
use aws::{Credentials, Sts};
use model::{ErrorView, IdentityProviderId, SecretsKeptIn, WallTime};
use secrets::{Secret, SecretStore};
use serde::{Deserialize, Serialize};
use sign_in::SignedIn;
use tokio::sync::Mutex;

use crate::{catalog::OidcEntry, effects::Shared};

/// How long before their end Credentials count as used up: a StartSession and a login must still fit.
const MARGIN: Duration = Duration::from_secs(300);
/// How long a sign-in lasts when it can be refreshed: one working day, then a person signs in again.
const LONGEST: Duration = Duration::from_secs(12 * 3_600);
/// What is asked of STS; the role may allow less time, never less than this.
const CREDENTIALS_FOR: Duration = Duration::from_secs(3_600);
/// How long signing out waits for the identity provider.
const REVOCATION: Duration = Duration::from_secs(3);
/// The keychain's one item.
const ITEM: &str = "identity";

/// The one Identity, if anybody is signed in. Its lock is held over a refresh, so many waiters cause one.
#[derive(Debug)]
pub(crate) struct IdentityHolder {
    store: SecretStore,
    kept_in: SecretsKeptIn,
    held: Mutex<Option<Held>>,
}

/// What is kept for a signed-in person.
#[derive(Debug)]
struct Held {
    provider: OidcEntry,
    subject: String,
    refresh_token: Option<Secret<String>>,
    signed_in_until: WallTime,
    credentials: Credentials,
}

/// Credentials that can be used now.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    pub(crate) credentials: Credentials,
    pub(crate) subject: String,
}

/// How [`Held`] looks in the keychain.
#[derive(Deserialize, Serialize)]
struct Item {
    identity_provider: IdentityProviderId,
    subject: String,
    refresh_token: Option<String>,
    signed_in_until: WallTime,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expires_at: WallTime,
}

impl IdentityHolder {
    pub(crate) fn new(store: SecretStore, kept_in: SecretsKeptIn) -> Self {
        Self { store, kept_in, held: Mutex::new(None) }
    }

    pub(crate) fn kept_in(&self) -> &SecretsKeptIn {
        &self.kept_in
    }

    /// Turns a fresh sign-in into Credentials and keeps both.
    ///
    /// # Errors
    /// STS's refusal, or the keychain's.
    pub(crate) async fn adopt(
        &self,
        shared: &Shared,
        provider: &OidcEntry,
        signed_in: SignedIn,
    ) -> Result<Event, ErrorView> {
        let now = shared.skew.now();
        let credentials = assume(shared, provider, &signed_in).await?;
        let until = match &signed_in.refresh_token {
            Some(_) => now + LONGEST,
            None => credentials.expires_at,
        };
        let SignedIn { subject, refresh_token, .. } = signed_in;
        let held = Held { provider: provider.clone(), subject, refresh_token, signed_in_until: until, credentials };
        let event = held.event();
        let mut place = self.held.lock().await;
        self.keep(&held).await?;
        *place = Some(held);
        Ok(event)
    }

    /// Who was signed in when the last agent ended, if it still holds.
    pub(crate) async fn restore(&self, shared: &Shared) -> Option<Event> {
        let item = match self.store.load(ITEM).await {
            Ok(item) => item?,
            Err(error) => return Some(Event::SignInFailed { cause: error.view() }),
        };
        let held = Held::read(&item, shared)?;
        if held.signed_in_until <= shared.skew.now() {
            return None;
        }
        let event = held.event();
        *self.held.lock().await = Some(held);
        Some(event)
    }

    /// Credentials that hold for a while yet; refreshed first when they do not.
    ///
    /// # Errors
    /// `not-signed-in`, or why the refresh failed.
    pub(crate) async fn usable(&self, shared: &Shared) -> Result<Usable, ErrorView> {
        let mut place = self.held.lock().await;
        let held = place.as_mut().ok_or_else(not_signed_in)?;
        if held.credentials.expires_at <= shared.skew.now() + MARGIN {
            self.refresh(shared, held).await?;
        }
        Ok(Usable { credentials: held.credentials.clone(), subject: held.subject.clone() })
    }

    async fn refresh(&self, shared: &Shared, held: &mut Held) -> Result<(), ErrorView> {
        let refresh_token = held.refresh_token.as_ref().ok_or_else(not_signed_in)?;
        let oidc = shared.oidc(&held.provider)?;
        let renewed = match oidc.refresh(&held.subject, refresh_token).await {
            Ok(renewed) => renewed,
            Err(error) => {
                if !error.is_transient() {
                    shared.tell_sign_in_lost(error.view());
                }
                return Err(error.view());
            }
        };
        if renewed.refresh_token.is_some() {
            // The old one is spent: losing the new one to a crash would sign the person out.
            held.refresh_token.clone_from(&renewed.refresh_token);
            self.keep(held).await?;
        }
        held.credentials = assume(shared, &held.provider, &renewed).await?;
        self.keep(held).await
    }

    /// Forgets everything, also at the identity provider where it can.
    pub(crate) async fn forget(&self, shared: &Shared) {
        let held = self.held.lock().await.take();
        if let Err(error) = self.store.forget(ITEM).await {
            tracing::error!(%error, "the keychain kept the sign-in");
        }
        if let Some(Held { provider, refresh_token: Some(refresh_token), .. }) = held {
            revoke(shared, &provider, &refresh_token).await;
        }
    }

    async fn keep(&self, held: &Held) -> Result<(), ErrorView> {
        self.store.save(ITEM, held.written()).await.map_err(|error| error.view())
    }
}

impl Held {
    fn event(&self) -> Event {
        Event::SignedIn {
            identity_provider: self.provider.id.clone(),
            subject: self.subject.clone(),
            expires_at: self.signed_in_until,
        }
    }

    fn written(&self) -> Secret<Vec<u8>> {
        let item = Item {
            identity_provider: self.provider.id.clone(),
            subject: self.subject.clone(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().clone()),
            signed_in_until: self.signed_in_until,
            access_key_id: self.credentials.access_key_id.expose().clone(),
            secret_access_key: self.credentials.secret_access_key.expose().clone(),
            session_token: self.credentials.session_token.as_ref().map(|token| token.expose().clone()),
            expires_at: self.credentials.expires_at,
        };
        Secret::new(serde_json::to_vec(&item).unwrap_or_default())
    }

    /// None when the item is not ours or its identity provider is no longer in the Catalog: the person signs in anew.
    fn read(item: &Secret<Vec<u8>>, shared: &Shared) -> Option<Self> {
        let item: Item = serde_json::from_slice(item.expose()).ok()?;
        let provider = shared.catalog().ok()?.identity_provider(&item.identity_provider)?.clone();
        let credentials = Credentials {
            access_key_id: Secret::new(item.access_key_id),
            secret_access_key: Secret::new(item.secret_access_key),
            session_token: item.session_token.map(Secret::new),
            expires_at: item.expires_at,
        };
        Some(Self {
            provider,
            subject: item.subject,
            refresh_token: item.refresh_token.map(Secret::new),
            signed_in_until: item.signed_in_until,
            credentials,
        })
    }
}

/// Best effort: a provider that cannot be asked forgets the token by itself some day.
async fn revoke(shared: &Shared, provider: &OidcEntry, refresh_token: &Secret<String>) {
    let Ok(oidc) = shared.oidc(provider) else { return };
    match tokio::time::timeout(REVOCATION, oidc.revoke(refresh_token)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the identity provider kept the sign-in"),
        Err(_) => tracing::warn!("the identity provider did not answer in time and kept the sign-in"),
    }
}

async fn assume(shared: &Shared, provider: &OidcEntry, signed_in: &SignedIn) -> Result<Credentials, ErrorView> {
    let sts = Sts::new(&shared.aws(&provider.region)?);
    let session_name = sign_in::session_name(&signed_in.subject);
    let assumed = sts
        .assume_role_with_web_identity(&provider.role, &session_name, &signed_in.id_token, CREDENTIALS_FOR)
        .await
        .map_err(|error| error.view())?;
    Ok(assumed.credentials)
}

pub(crate) fn not_signed_in() -> ErrorView {
    ErrorView::new("not-signed-in", "nobody is signed in", "run `daypass sign-in`, or choose Sign in in the tray")
}

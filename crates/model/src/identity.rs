//! Who the person is, as far as Daypass knows.

use serde::{Deserialize, Serialize};

use crate::{ErrorView, IdentityProviderId, WallTime};

/// Who signed in, at which identity provider, until when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Identity {
    /// Nobody.
    SignedOut {
        /// Why the last sign-in failed, until the next one.
        cause: Option<ErrorView>,
    },
    /// A browser is, or should be, open at the identity provider.
    SigningIn {
        /// Where.
        identity_provider: IdentityProviderId,
        /// The page to open; none until it is known.
        authorize_url: Option<String>,
    },
    /// A person whose name the identity provider vouched for.
    SignedIn {
        /// Where.
        identity_provider: IdentityProviderId,
        /// The verified name: `ana@acme.dev`.
        subject: String,
        /// When the sign-in ends and only a person can renew it.
        expires_at: WallTime,
    },
}

/// A place to sign in, as the catalog names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct IdentityProvider {
    /// Its name in commands.
    pub id: IdentityProviderId,
    /// Its name for people.
    pub name: String,
}

/// Where refresh tokens and credentials are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SecretsKeptIn {
    /// The operating system's keychain.
    Keychain,
    /// This process only: they are gone when it ends.
    Memory {
        /// Why no keychain is used.
        why: String,
    },
}

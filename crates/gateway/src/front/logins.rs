//! What a Front asks of whoever knows the Identity.

use futures_util::future::BoxFuture;
use secrets::Secret;
use tokio::time::Instant;

/// Logs in to the Target on behalf of clients. The Front knows no AWS; this is all it asks.
pub trait Logins: Send + Sync + 'static {
    /// Whom to log in as, and with what, made or read for this one login. It may wait, for a person to sign in again for
    /// example; the Front gives up by itself.
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>>;

    /// The database did not take `credential`: the next one has to be newly made or newly read.
    fn refused(&self, credential: &Credential);

    /// Until when a refused login may only mean that IAM has not heard of the grant yet; `None` for an old grant.
    fn fresh_until(&self) -> Option<Instant>;

    /// Who uses the database, and why.
    fn origin(&self) -> Origin;
}

/// What logs in to the Target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// From Secrets Manager.
    Secret {
        /// The database user. It changes with each rotation where two users alternate.
        user: String,
        /// Its password.
        password: Secret<String>,
    },
    /// From IAM.
    Token {
        /// The database user it was signed for.
        user: String,
        /// The DbAuthToken.
        token: Secret<String>,
    },
}

impl Credential {
    /// The database user.
    pub fn user(&self) -> &str {
        match self {
            Self::Secret { user, .. } | Self::Token { user, .. } => user,
        }
    }

    /// The password or token.
    pub fn secret(&self) -> &Secret<String> {
        match self {
            Self::Secret { password: secret, .. } | Self::Token { token: secret, .. } => secret,
        }
    }
}

/// Why there is nothing to log in with. It is told to the client in its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {hint}")]
pub struct NoCredential {
    /// What happened, and why.
    pub cause: String,
    /// What the person can do about it.
    pub hint: String,
}

/// Written into the database's own records of a connection, unless the client says something of its own there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who: an e-mail address, most often.
    pub person: String,
    /// Why: the id of the AccessRequest, if there was one.
    pub request: Option<String>,
}

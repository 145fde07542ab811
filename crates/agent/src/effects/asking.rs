//! Asking AWS with Credentials that hold.

use aws::{AwsError, CallerIdentity, Credentials, Sts};
use brokers::BrokerError;
use model::{ErrorView, Region};

use super::Shared;

/// An answer after which the same question is worth asking again with renewed Credentials.
pub(super) trait Outdated {
    /// Whether AWS says that the Credentials have expired.
    fn is_outdated(&self) -> bool;

    /// The error as a person reads it.
    fn told(&self) -> ErrorView;
}

impl Outdated for AwsError {
    fn is_outdated(&self) -> bool {
        matches!(self, Self::CredentialsExpired { .. })
    }

    fn told(&self) -> ErrorView {
        self.view()
    }
}

impl Outdated for BrokerError {
    fn is_outdated(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_outdated())
    }

    fn told(&self) -> ErrorView {
        self.view()
    }
}

/// Asks, and once more when the Credentials turn out to have expired: AWS's clock is further on than was known until its
/// answer, and by that clock they are renewed now.
///
/// # Errors
/// `not-signed-in`, why they could not be renewed, or what AWS said.
pub(super) async fn with_credentials<T, E: Outdated, A: Future<Output = Result<T, E>>>(
    shared: &Shared,
    ask: impl Fn(Credentials) -> A,
) -> Result<T, ErrorView> {
    let mut asked_before = false;
    loop {
        let usable = shared.identity.usable(shared).await?;
        match ask(usable.credentials).await {
            Err(error) if error.is_outdated() && !asked_before => asked_before = true,
            outcome => return outcome.map_err(|error| error.told()),
        }
    }
}

/// Who AWS takes this person for.
///
/// # Errors
/// As [`with_credentials`].
pub(super) async fn caller(shared: &Shared, region: &Region) -> Result<CallerIdentity, ErrorView> {
    let sts = Sts::new(&shared.aws(region)?);
    let ask = |credentials: Credentials| {
        let sts = sts.clone();
        async move { sts.caller_identity(&credentials).await }
    };
    with_credentials(shared, ask).await
}

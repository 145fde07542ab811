//! What every call has in common: expired Credentials are told before anything is sent, a skewed call is sent once more.

use std::error::Error;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use model::WallTime;

use crate::error::classify;
use crate::{AwsConfig, AwsError, Credentials};

/// One client's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    config: AwsConfig,
    service: &'static str,
    expires_at: Option<WallTime>,
}

impl Caller {
    pub(crate) fn new(config: &AwsConfig, service: &'static str, credentials: Option<&Credentials>) -> Self {
        Self { config: config.clone(), service, expires_at: credentials.map(|c| c.expires_at) }
    }

    /// Sends what `attempt` makes, and once more if AWS refused only for the clock and the clock is now known better.
    pub(crate) async fn call<T, E, R, F>(&self, operation: &'static str, attempt: impl Fn() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, R>>>,
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        refuse_expired(&self.config, self.expires_at, operation)?;
        let signed_by = self.config.skew().seconds();
        match self.once(operation, attempt()).await {
            Err(AwsError::ClockSkewed { .. }) if self.config.skew().seconds() != signed_by => {
                self.once(operation, attempt()).await
            }
            result => result,
        }
    }

    async fn once<T, E, R>(
        &self,
        operation: &'static str,
        attempt: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        attempt.await.map_err(|error| {
            let endpoint = self.config.endpoint_of(self.service);
            classify(operation, &endpoint, self.config.skew().seconds(), &error)
        })
    }
}

/// Tells expired Credentials before anything is sent.
pub(crate) fn refuse_expired(
    config: &AwsConfig,
    expires_at: Option<WallTime>,
    operation: &'static str,
) -> Result<(), AwsError> {
    match expires_at {
        Some(end) if end <= config.skew().now() => {
            Err(AwsError::CredentialsExpired { operation, message: format!("the credentials ended at {end}") })
        }
        Some(_) | None => Ok(()),
    }
}

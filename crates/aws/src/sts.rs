//! Who we are: STS.

use std::time::Duration;

use aws_sdk_sts::Client;
use model::{AccountId, WallTime};
use secrets::Secret;

use crate::call::Caller;
use crate::error::wrong_answer;
use crate::skew::SkewMeter;
use crate::{AwsConfig, AwsError, Credentials};

/// STS in one Region.
#[derive(Clone, Debug)]
pub struct Sts {
    config: AwsConfig,
}

/// What an IdToken was exchanged for.
#[derive(Clone, Debug)]
pub struct AssumedRole {
    /// The Credentials of the role.
    pub credentials: Credentials,
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`
    pub arn: String,
    /// The role's account.
    pub account: AccountId,
}

/// Who AWS takes the caller for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallerIdentity {
    /// The account the caller is in.
    pub account: AccountId,
    /// The caller.
    pub arn: String,
}

impl Sts {
    /// STS as `config` reaches it.
    #[must_use]
    pub fn new(config: &AwsConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Exchanges an IdToken for the Credentials of a role. The call is not signed. `duration` is 15 minutes to the role's
    /// maximum (at most 12 hours).
    ///
    /// # Errors
    /// [`AwsError::NotAuthorized`] when the role's trust policy refuses, [`AwsError::CredentialsExpired`] for an IdToken past its
    /// end, [`AwsError::Rejected`] with `InvalidIdentityToken`, `IDPRejectedClaim` or `IDPCommunicationError`.
    pub async fn assume_role_with_web_identity(
        &self,
        role_arn: &str,
        session_name: &str,
        id_token: &Secret<String>,
        duration: Duration,
    ) -> Result<AssumedRole, AwsError> {
        const OPERATION: &str = "AssumeRoleWithWebIdentity";
        let client = self.client(None);
        let seconds = i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let caller = Caller::new(&self.config, "sts", None);
        let answer = caller.call(OPERATION, || {
            let call = client.assume_role_with_web_identity().role_arn(role_arn).role_session_name(session_name);
            call.web_identity_token(id_token.expose()).duration_seconds(seconds).send()
        });
        let answer = answer.await?;
        let missing = |what: &str| wrong_answer(OPERATION, format!("it has no {what}"));
        let triple = answer.credentials().ok_or_else(|| missing("Credentials"))?;
        let arn = answer.assumed_role_user().ok_or_else(|| missing("AssumedRoleUser"))?.arn().to_owned();
        Ok(AssumedRole {
            credentials: Credentials {
                access_key_id: triple.access_key_id().into(),
                secret_access_key: triple.secret_access_key().into(),
                session_token: Some(triple.session_token().into()),
                expires_at: WallTime::from_unix_seconds(triple.expiration().secs()),
            },
            account: account_of(&arn).ok_or_else(|| missing("account in its Arn"))?,
            arn,
        })
    }

    /// Asks AWS who the holder of `credentials` is. Everybody may ask.
    ///
    /// # Errors
    /// [`AwsError`] when the Credentials are of no use or AWS cannot be reached.
    pub async fn caller_identity(&self, credentials: &Credentials) -> Result<CallerIdentity, AwsError> {
        const OPERATION: &str = "GetCallerIdentity";
        let client = self.client(Some(credentials));
        let caller = Caller::new(&self.config, "sts", Some(credentials));
        let answer = caller.call(OPERATION, || client.get_caller_identity().send()).await?;
        let account = answer.account().and_then(|account| AccountId::new(account).ok());
        match (account, answer.arn()) {
            (Some(account), Some(arn)) => Ok(CallerIdentity { account, arn: arn.to_owned() }),
            _ => Err(wrong_answer(OPERATION, "it has no Account or no Arn".into())),
        }
    }

    fn client(&self, credentials: Option<&Credentials>) -> Client {
        let sdk = self.config.sdk(credentials);
        let meter = SkewMeter(self.config.skew().clone());
        Client::from_conf(aws_sdk_sts::config::Builder::from(&sdk).interceptor(meter).build())
    }
}

fn account_of(arn: &str) -> Option<AccountId> {
    AccountId::new(arn.split(':').nth(4)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_from_the_arn() {
        let account = account_of("arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
        assert_eq!(account, Some(AccountId::new("111122223333").expect("12 digits")));
        assert_eq!(account_of("arn:aws:sts"), None);
    }
}

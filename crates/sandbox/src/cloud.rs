//! Everything the services share.

use std::sync::Arc;

use crate::account::Account;
use crate::automation::Automation;
use crate::clock::Clock;
use crate::ecs::Tasks;
use crate::faults::Faults;
use crate::iam::{Ask, Iam};
use crate::journal::Journal;
use crate::oidc::Issuer;
use crate::secrets_manager::Secrets;
use crate::seed::{Seed, Use};
use crate::sigv4::Caller;
use crate::ssm::Sessions;
use crate::sts::Handed;
use crate::wire::{ApiError, Protocol};

/// The account and what has become of it.
pub(crate) struct Cloud {
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Clock,
    pub(crate) seeds: Seeds,
    pub(crate) faults: Arc<Faults>,
    pub(crate) journal: Journal,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) iam: Iam,
    pub(crate) handed: Handed,
    pub(crate) secrets: Secrets,
    pub(crate) sessions: Sessions,
    pub(crate) tasks: Tasks,
    pub(crate) automation: Automation,
}

/// One sequence for each use.
pub(crate) struct Seeds {
    pub(crate) executions: Seed,
    pub(crate) keys: Seed,
    pub(crate) requests: Seed,
    pub(crate) secrets: Seed,
    pub(crate) sessions: Seed,
}

impl Seeds {
    pub(crate) fn new(seed: u64) -> Self {
        let of = |use_| Seed::new(seed, use_);
        Self {
            executions: of(Use::Executions),
            keys: of(Use::Keys),
            requests: of(Use::Requests),
            secrets: of(Use::Secrets),
            sessions: of(Use::Sessions),
        }
    }
}

impl Cloud {
    /// Whether `caller` may do `ask`; the refusal is worded for `protocol`.
    pub(crate) fn authorize(&self, protocol: Protocol, caller: &Caller, ask: &Ask) -> Result<(), ApiError> {
        self.iam.authorize(caller, ask).map_err(|sentence| ApiError::access_denied(protocol, sentence))
    }

    /// A secret's ARN without the six characters at its end.
    pub(crate) fn secret_arn(&self, name: &str) -> String {
        self.account.secret_arn(name)
    }

    /// `arn:aws:ssm:REGION:ACCOUNT:{resource}`.
    pub(crate) fn ssm_arn(&self, resource: &str) -> String {
        format!("arn:aws:ssm:{}:{}:{resource}", self.account.region, self.account.id)
    }
}

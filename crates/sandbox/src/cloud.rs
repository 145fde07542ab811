//! Everything the services share.

use std::sync::Arc;

use crate::account::Account;
use crate::automation::Automation;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::iam::{Ask, Iam};
use crate::journal::Journal;
use crate::oidc::Issuer;
use crate::seed::Seed;
use crate::sigv4::Caller;
use crate::ssm::Sessions;
use crate::sts::Handed;
use crate::wire::{ApiError, Protocol};

/// The account and what has become of it.
pub(crate) struct Cloud {
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Clock,
    pub(crate) seed: Arc<Seed>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) journal: Journal,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) iam: Iam,
    pub(crate) handed: Handed,
    pub(crate) sessions: Sessions,
    pub(crate) automation: Automation,
}

impl Cloud {
    /// Whether `caller` may do `ask`; the refusal is worded for `protocol`.
    pub(crate) fn authorize(&self, protocol: Protocol, caller: &Caller, ask: &Ask) -> Result<(), ApiError> {
        self.iam.authorize(caller, ask).map_err(|sentence| ApiError::access_denied(protocol, sentence))
    }

    /// `arn:aws:ssm:REGION:ACCOUNT:{resource}`.
    pub(crate) fn ssm_arn(&self, resource: &str) -> String {
        format!("arn:aws:ssm:{}:{}:{resource}", self.account.region, self.account.id)
    }
}

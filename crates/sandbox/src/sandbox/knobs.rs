//! What tests and the demo look at and turn.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Sandbox;
use crate::account::Person;
use crate::colleague::{self, Answer, AnswerFlaw};
use crate::data_channel::DataChannels;
use crate::faults::Service;
use crate::journal::Call;
use crate::rds_front::{IamDbAuthError, RdsFront};
use crate::secrets_manager::{self, Content, RotationFlaw, RotationStep, SecretFault, StoredSecret};
use crate::ssm_agent::Vpc;
use crate::sts;

/// Credentials as STS hands them out.
#[derive(Clone, Eq, PartialEq)]
pub struct TemporaryCredentials {
    /// `ASIA…`.
    pub access_key_id: String,
    /// To sign with.
    pub secret_access_key: String,
    /// To be sent with every call.
    pub session_token: String,
    /// On the sandbox's clock.
    pub expires_at: Timestamp,
}

impl fmt::Debug for TemporaryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemporaryCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Every call of an AWS service so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.cloud.journal.calls()
    }

    /// The `iam-db-auth-error` logs of all databases: why tokens were not taken, oldest first.
    #[must_use]
    pub fn iam_db_auth_errors(&self) -> Vec<IamDbAuthError> {
        let mut errors: Vec<IamDbAuthError> = self.fronts.iter().flat_map(RdsFront::iam_db_auth_errors).collect();
        errors.sort_by_key(|error| error.at);
        errors
    }

    /// Where a database (`orders-prod`) really listens, without the Tunnel; none when there is no PostgreSQL.
    #[must_use]
    pub fn database_address(&self, identifier: &str) -> Option<SocketAddr> {
        let at = self.cloud.account.databases.iter().position(|database| database.identifier == identifier)?;
        Some(self.fronts.get(at)?.address())
    }

    /// Every database by its identifier, and where it really listens; empty when there are no servers.
    pub fn databases(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.cloud.account.databases.iter().zip(&self.fronts).map(|(known, front)| (known.identifier, front.address()))
    }

    /// The data channels, to cut, pause and close them.
    #[must_use]
    pub fn data_channels(&self) -> &DataChannels {
        &self.cloud.sessions.channels
    }

    /// What the SSM agent can dial.
    #[must_use]
    pub fn vpc(&self) -> &Vpc {
        &self.vpc
    }

    /// The sessions that are not over, newest first.
    #[must_use]
    pub fn open_sessions(&self) -> Vec<String> {
        self.cloud.sessions.note_ends(self.clock().now());
        let records = self.cloud.sessions.records();
        records.into_iter().filter(|record| record.ended.is_none()).map(|record| record.id).collect()
    }

    /// The inline policies of every role, as JSON: role, policy name, document.
    #[must_use]
    pub fn inline_policies(&self) -> serde_json::Value {
        self.cloud.iam.inline_policies()
    }

    /// An execution as GetAutomationExecution shows it; none when there is no such execution.
    #[must_use]
    pub fn execution(&self, id: &str) -> Option<serde_json::Value> {
        Some(self.cloud.automation.execution(id)?.described())
    }

    /// Every call of `service` answers 503 from now on.
    pub fn stop_service(&self, service: Service) {
        self.cloud.faults.stop(service);
    }

    /// It works again.
    pub fn restart_service(&self, service: Service) {
        self.cloud.faults.restart(service);
    }

    /// The next `times` calls of `operation` (`StartSession`) are throttled.
    pub fn throttle(&self, operation: &str, times: u32) {
        self.cloud.faults.throttle(operation, times);
    }

    /// From now on a policy that the runbook writes holds only after this time, as IAM is eventually consistent.
    pub fn delay_policies(&self, by: Duration) {
        self.cloud.iam.set_propagation(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
    }

    /// Takes one step of rotating the secret `name` (`daypass/orders-prod/report`) in its real database.
    ///
    /// # Errors
    /// [`RotationFlaw`] when there is no such secret, or a step is left out.
    pub async fn rotate(&self, name: &str, step: RotationStep) -> Result<(), RotationFlaw> {
        secrets_manager::rotate(&self.cloud, name, step).await
    }

    /// The text of a secret at a staging label (`AWSCURRENT`); none when there is none.
    #[must_use]
    pub fn secret(&self, name: &str, stage: &str) -> Option<String> {
        match &self.cloud.secrets.find(name)?.at(stage)?.content {
            Content::Binary(_) => None,
            Content::Text(text) => Some(text.clone()),
        }
    }

    /// Makes a secret that no database knows, or puts another value into one.
    pub fn put_secret(&self, name: &str, value: &str) {
        secrets_manager::put(&self.cloud, name, Content::Text(value.to_owned()));
    }

    /// Makes a secret of bytes.
    pub fn put_binary_secret(&self, name: &str, value: &[u8]) {
        secrets_manager::put(&self.cloud, name, Content::Binary(value.to_owned()));
    }

    /// Makes a secret unreadable, or readable again.
    pub fn set_secret_fault(&self, name: &str, fault: Option<SecretFault>) {
        if let Some(secret) = self.cloud.secrets.find(name) {
            self.cloud.secrets.keep(StoredSecret { fault, ..secret });
        }
    }

    /// `who` (`ben`, `eva`) approves the request that has waited longest; answers its execution id.
    ///
    /// # Errors
    /// [`AnswerFlaw`] when nothing waits or `who` may not.
    pub fn approve(&self, who: &str) -> Result<String, AnswerFlaw> {
        let answer = Answer { who, approved: true, comment: None, execution: None };
        colleague::answer(&self.cloud, answer)
    }

    /// `who` rejects the request that has waited longest; answers its execution id.
    ///
    /// # Errors
    /// [`AnswerFlaw`] when nothing waits or `who` may not.
    pub fn deny(&self, who: &str, comment: &str) -> Result<String, AnswerFlaw> {
        let answer = Answer { who, approved: false, comment: Some(comment.to_owned()), execution: None };
        colleague::answer(&self.cloud, answer)
    }

    /// Returns the id of the request that has waited longest, as soon as there is one.
    pub async fn request_waits(&self) -> String {
        let mut changes = self.cloud.automation.changes();
        loop {
            if let Some(execution) = colleague::waiting(&self.cloud).first() {
                return execution.id.clone();
            }
            // The sender lives as long as the account, which `self` holds.
            let _ = changes.changed().await;
        }
    }

    /// Returns as soon as an execution has this status (`Waiting`, `Success`); at once when it has it already.
    pub async fn execution_is(&self, id: &str, status: &str) {
        let mut changes = self.cloud.automation.changes();
        loop {
            let shown = self.execution(id).unwrap_or_default();
            if shown["AutomationExecutionStatus"] == status {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    /// Returns as soon as the policy of an execution has been written.
    pub async fn policy_is_granted(&self, id: &str) {
        self.step_is_over(id, "grant").await;
    }

    async fn step_is_over(&self, id: &str, name: &str) {
        let mut changes = self.cloud.automation.changes();
        loop {
            let shown = self.execution(id).unwrap_or_default();
            let mut steps = shown["StepExecutions"].as_array().into_iter().flatten();
            if steps.any(|step| step["StepName"] == name && step["StepStatus"] == "Success") {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    /// An IdToken for `who` (`ana`), without the walk through the browser; none when nobody is called so.
    #[must_use]
    pub fn id_token(&self, who: &str) -> Option<String> {
        Some(self.cloud.issuer.id_token_for(self.person(who)?))
    }

    /// An hour's credentials for `who` in `role` (`JitRds`); none when there is no such person or role.
    #[must_use]
    pub fn credentials(&self, who: &str, role: &str) -> Option<TemporaryCredentials> {
        let (person, known) = (self.person(who)?, self.cloud.iam.role(role)?);
        let key = sts::hand_out(&self.cloud, role, &known, person.email, SignedDuration::from_hours(1));
        Some(TemporaryCredentials {
            access_key_id: key.id,
            secret_access_key: key.secret,
            session_token: key.session_token,
            expires_at: key.expires_at,
        })
    }

    fn person(&self, who: &str) -> Option<&Person> {
        self.cloud.account.person(who)
    }
}

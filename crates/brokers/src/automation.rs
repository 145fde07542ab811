//! The SSM runbook as Broker.
//!
//! The runbook's contract: parameters Database, Access, Duration (ISO 8601), Justification and Ticket (may be empty); steps
//! check, approve, plan (output ExpiresAt), grant, window and revoke. It learns the requester from its own ExecutedBy, never
//! from a parameter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws::{AwsConfig, AwsError, Credentials, Execution, ExecutionStatus, Listed};
use model::{Decision, PendingReview, Progress, WallTime};

use crate::decisions::{self, person};
use crate::progress::{APPROVE, lapses_at, progress};
use crate::{Ask, Broker, BrokerError, Placed};

/// Runbooks as the holder of some Credentials uses them.
#[derive(Clone, Debug)]
pub struct Automation {
    runbooks: aws::Automation,
    config: AwsConfig,
    session_name: String,
    document_prefix: String,
    /// What does not change while a request waits, so that each is fetched once.
    known: Arc<Mutex<BTreeMap<String, PendingReview>>>,
}

impl Automation {
    /// Runbooks in the Region of `config`. `session_name` is the RoleSessionName of `credentials`: it tells own requests from
    /// others'. Reviews are looked for among runbooks whose names begin with `document_prefix`.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials, session_name: &str, document_prefix: &str) -> Self {
        Self {
            runbooks: aws::Automation::new(config, credentials),
            config: config.clone(),
            session_name: session_name.to_owned(),
            document_prefix: document_prefix.to_owned(),
            known: Arc::default(),
        }
    }

    /// The same with fresh Credentials.
    #[must_use]
    pub fn renewed(&self, credentials: &Credentials) -> Self {
        Self { runbooks: aws::Automation::new(&self.config, credentials), ..self.clone() }
    }

    /// The execution a former, unfinished placing of this request left behind. AWS may answer a repeated ClientToken with an
    /// error instead of the execution it stands for.
    async fn placed_before(
        &self,
        runbook: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Option<Execution>, BrokerError> {
        for listed in self.runbooks.list(runbook, &RUNNING).await? {
            if listed.document != runbook || !self.is_own(listed.executed_by.as_deref()) {
                continue;
            }
            let execution = self.runbooks.execution(&listed.id).await?;
            let same = parameters.iter().all(|(name, value)| parameter(&execution, name) == *value);
            if same {
                return Ok(Some(execution));
            }
        }
        Ok(None)
    }

    async fn pending(&self, listed: &Listed) -> Result<Option<PendingReview>, BrokerError> {
        if let Some(known) = self.known().get(&listed.id) {
            return Ok(Some(known.clone()));
        }
        let execution = self.runbooks.execution(&listed.id).await?;
        if progress(&execution)?.is_some() {
            return Ok(None);
        }
        let review = self.as_review(&execution);
        self.known().insert(listed.id.clone(), review.clone());
        Ok(Some(review))
    }

    fn as_review(&self, execution: &Execution) -> PendingReview {
        let requester = execution.executed_by.as_deref();
        PendingReview {
            broker_ref: execution.id.clone(),
            requester: requester.map_or_else(|| "somebody".to_owned(), |arn| person(arn).to_owned()),
            target: parameter(execution, "Database").to_owned(),
            role: parameter(execution, "Access").to_owned(),
            duration: parameter(execution, "Duration").to_owned(),
            justification: parameter(execution, "Justification").to_owned(),
            requested_at: execution.started_at.unwrap_or(WallTime::from_unix_seconds(0)),
            own: self.is_own(requester),
        }
    }

    fn is_own(&self, executed_by: Option<&str>) -> bool {
        executed_by.is_some_and(|arn| person(arn) == self.session_name)
    }

    async fn outcome(&self, broker_ref: &str) -> String {
        let Ok(execution) = self.runbooks.execution(broker_ref).await else { return "somebody answered it".into() };
        let answer = execution.steps.iter().find(|step| step.name == APPROVE).and_then(decisions::answer);
        match answer {
            Some(answer) => {
                let word = match answer.decision {
                    Decision::Approve => "approved",
                    Decision::Deny => "declined",
                };
                format!("{word} by {}", answer.by.as_deref().unwrap_or("somebody"))
            }
            None => "it was taken back or lapsed".into(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, PendingReview>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RUNNING: [ExecutionStatus; 3] = [ExecutionStatus::Waiting, ExecutionStatus::InProgress, ExecutionStatus::Pending];

impl Broker for Automation {
    async fn ask(&self, ask: &Ask<'_>) -> Result<Placed, BrokerError> {
        let parameters = parameters(ask);
        let started = self.runbooks.start(ask.runbook, &parameters, ask.request.id.as_str()).await;
        let id = match started {
            Ok(id) => id,
            Err(AwsError::Rejected { code, .. }) if code.starts_with("IdempotentParameterMismatch") => {
                let before = self.placed_before(ask.runbook, &parameters).await?;
                before.ok_or_else(|| answered(ask.request.id.as_str(), "it was placed before and is over"))?.id
            }
            Err(error) => return Err(error.into()),
        };
        // Only for the countdown; the request is placed either way.
        let lapses_at = self.runbooks.execution(&id).await.ok().as_ref().and_then(lapses_at);
        Ok(Placed { broker_ref: id, lapses_at })
    }

    async fn look(&self, broker_ref: &str) -> Result<Option<Progress>, BrokerError> {
        progress(&self.runbooks.execution(broker_ref).await?)
    }

    async fn waiting(&self) -> Result<Vec<PendingReview>, BrokerError> {
        let mut listed = self.runbooks.list(&self.document_prefix, &RUNNING).await?;
        listed.retain(|execution| execution.current_step.as_deref().is_none_or(|step| step == APPROVE));
        self.known().retain(|id, _| listed.iter().any(|execution| execution.id == *id));
        let mut reviews = Vec::new();
        for execution in &listed {
            reviews.extend(self.pending(execution).await?);
        }
        Ok(reviews)
    }

    async fn review(&self, broker_ref: &str, decision: Decision, comment: Option<&str>) -> Result<(), BrokerError> {
        match self.runbooks.signal(broker_ref, decision, comment).await {
            Err(AwsError::Rejected { code, .. }) if is_too_late(&code) => {
                Err(answered(broker_ref, &self.outcome(broker_ref).await))
            }
            result => Ok(result?),
        }
    }

    async fn end(&self, broker_ref: &str) -> Result<(), BrokerError> {
        Ok(self.runbooks.stop(broker_ref).await?)
    }
}

fn is_too_late(code: &str) -> bool {
    code.starts_with("InvalidAutomationSignal") || code.starts_with("AutomationStepNotFound")
}

fn parameters(ask: &Ask<'_>) -> BTreeMap<String, String> {
    let request = ask.request;
    let pairs = [
        ("Database", ask.rds_identifier.to_owned()),
        ("Access", request.role.to_string()),
        ("Duration", request.duration.to_iso8601()),
        ("Justification", request.justification.clone()),
        ("Ticket", request.ticket.clone().unwrap_or_default()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn parameter<'a>(execution: &'a Execution, name: &str) -> &'a str {
    execution.parameters.get(name).and_then(|values| values.first()).map_or("", String::as_str)
}

fn answered(broker_ref: &str, outcome: &str) -> BrokerError {
    BrokerError::AnsweredAlready { broker_ref: broker_ref.to_owned(), outcome: outcome.to_owned() }
}

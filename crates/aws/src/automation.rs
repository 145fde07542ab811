//! SSM Automation: executions of runbooks.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{
    AutomationExecution, AutomationExecutionFilter, AutomationExecutionFilterKey, AutomationExecutionMetadata,
    AutomationExecutionStatus, SignalType, StepExecution, StopType,
};
use aws_smithy_types::DateTime;
use model::{Decision, WallTime};

use crate::call::Caller;
use crate::error::wrong_answer;
use crate::ssm::ssm_client;
use crate::{AwsConfig, AwsError, Credentials};

/// How many pages of executions are read at most: 50 executions each.
const PAGES: usize = 4;

/// Runbooks for the holder of some Credentials.
#[derive(Clone, Debug)]
pub struct Automation {
    client: Client,
    caller: Caller,
}

/// One run of a runbook. Instants are on AWS's clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Execution {
    /// AWS's id of it.
    pub id: String,
    /// The runbook.
    pub document: String,
    /// What it does, or how it ended.
    pub status: ExecutionStatus,
    /// Its steps in the order they ran, as far as it got.
    pub steps: Vec<Step>,
    /// What it was started with.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// What it gives out, by `step.Name`.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// The ARN of who started it; the only trustworthy name of the requester.
    pub executed_by: Option<String>,
    /// When it was started.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// One step of an [`Execution`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Its name in the runbook.
    pub name: String,
    /// What it does, or how it ended.
    pub status: ExecutionStatus,
    /// What it gives out.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// When it began.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// How long it may take, in seconds.
    pub timeout_seconds: Option<i64>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A line of a list of executions; AWS leaves the parameters out there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// AWS's id of it.
    pub id: String,
    /// The runbook.
    pub document: String,
    /// What it does, or how it ended.
    pub status: ExecutionStatus,
    /// The step it is at.
    pub current_step: Option<String>,
    /// The ARN of who started it.
    pub executed_by: Option<String>,
    /// When it was started.
    pub started_at: Option<WallTime>,
}

/// AutomationExecutionStatus, as far as a plain runbook has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExecutionStatus {
    /// Stopped by somebody.
    Cancelled,
    /// Being stopped; onCancel steps may still run.
    Cancelling,
    /// A step failed.
    Failed,
    /// Running.
    InProgress,
    /// Not begun.
    Pending,
    /// An approver declined.
    Rejected,
    /// Done.
    Success,
    /// A step took too long.
    TimedOut,
    /// Waits for an approver or a time.
    Waiting,
    /// Any other word of AWS's.
    Other(String),
}

impl ExecutionStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Cancelled | Self::Failed | Self::Rejected | Self::Success | Self::TimedOut => true,
            Self::Cancelling | Self::InProgress | Self::Pending | Self::Waiting => false,
            Self::Other(word) => matches!(word.as_str(), "CompletedWithSuccess" | "CompletedWithFailure" | "Exited"),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::Cancelling => "Cancelling",
            Self::Failed => "Failed",
            Self::InProgress => "InProgress",
            Self::Pending => "Pending",
            Self::Rejected => "Rejected",
            Self::Success => "Success",
            Self::TimedOut => "TimedOut",
            Self::Waiting => "Waiting",
            Self::Other(word) => word,
        }
    }

    fn parse(word: &str) -> Self {
        let known = [
            Self::Cancelled,
            Self::Cancelling,
            Self::Failed,
            Self::InProgress,
            Self::Pending,
            Self::Rejected,
            Self::Success,
            Self::TimedOut,
            Self::Waiting,
        ];
        known.into_iter().find(|status| status.as_str() == word).unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

impl Automation {
    /// Automation as `config` reaches it.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        Self { client: ssm_client(config, credentials), caller: Caller::new(config, "ssm", Some(credentials)) }
    }

    /// Starts a runbook and returns the execution's id. `client_token` (a UUID) makes a repetition the same start.
    ///
    /// # Errors
    /// [`AwsError::NotFound`] for an unknown runbook, [`AwsError::NotAuthorized`], [`AwsError::Rejected`] for parameters the runbook
    /// does not take.
    pub async fn start(
        &self,
        document: &str,
        parameters: &BTreeMap<String, String>,
        client_token: &str,
    ) -> Result<String, AwsError> {
        const OPERATION: &str = "StartAutomationExecution";
        let parameters: std::collections::HashMap<_, _> =
            parameters.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect();
        let answer = self.caller.call(OPERATION, || {
            let call = self.client.start_automation_execution().document_name(document).client_token(client_token);
            call.set_parameters(Some(parameters.clone())).send()
        });
        let answer = answer
            .await
            .map_err(|error| unknown(error, "AutomationDefinitionNotFound", || format!("runbook {document}")))?;
        answer.automation_execution_id.ok_or_else(|| wrong_answer(OPERATION, "it has no AutomationExecutionId".into()))
    }

    /// Everything about one execution. AWS keeps it for 30 days.
    ///
    /// # Errors
    /// [`AwsError::NotFound`] for an unknown id.
    pub async fn execution(&self, id: &str) -> Result<Execution, AwsError> {
        const OPERATION: &str = "GetAutomationExecution";
        let call = || self.client.get_automation_execution().automation_execution_id(id).send();
        let answer = self.caller.call(OPERATION, call).await.map_err(|error| unknown_execution(error, id))?;
        let execution =
            answer.automation_execution.ok_or_else(|| wrong_answer(OPERATION, "it has no execution".into()))?;
        Ok(view(id, execution))
    }

    /// The executions of runbooks whose names begin with `document_prefix`, in one of `statuses`, newest first; 200 at most.
    ///
    /// # Errors
    /// [`AwsError`] when AWS refuses or cannot be reached.
    pub async fn list(&self, document_prefix: &str, statuses: &[ExecutionStatus]) -> Result<Vec<Listed>, AwsError> {
        const OPERATION: &str = "DescribeAutomationExecutions";
        let by_name = filter(AutomationExecutionFilterKey::DocumentNamePrefix, vec![document_prefix.to_owned()])?;
        let words = statuses.iter().map(|status| status.as_str().to_owned()).collect();
        let by_status = filter(AutomationExecutionFilterKey::ExecutionStatus, words)?;
        let mut found = Vec::new();
        let mut page = None;
        for _ in 0..PAGES {
            let answer = self.caller.call(OPERATION, || {
                let call =
                    self.client.describe_automation_executions().filters(by_name.clone()).filters(by_status.clone());
                call.max_results(50).set_next_token(page.clone()).send()
            });
            let answer = answer.await?;
            found.extend(answer.automation_execution_metadata_list.unwrap_or_default().into_iter().filter_map(listed));
            page = answer.next_token;
            if page.is_none() {
                break;
            }
        }
        found.sort_by_key(|execution: &Listed| std::cmp::Reverse(execution.started_at));
        Ok(found)
    }

    /// Approves or declines what an `aws:approve` step waits for.
    ///
    /// # Errors
    /// [`AwsError::NotAuthorized`] for somebody who may not, [`AwsError::Rejected`] with `InvalidAutomationSignalException` when the
    /// step waits no longer, [`AwsError::NotFound`] for an unknown id.
    pub async fn signal(&self, id: &str, decision: Decision, comment: Option<&str>) -> Result<(), AwsError> {
        let signal = match decision {
            Decision::Approve => SignalType::Approve,
            Decision::Deny => SignalType::Reject,
        };
        let answer = self.caller.call("SendAutomationSignal", || {
            let call = self.client.send_automation_signal().automation_execution_id(id).signal_type(signal.clone());
            match comment {
                Some(comment) => call.payload("Comment", vec![comment.to_owned()]).send(),
                None => call.send(),
            }
        });
        answer.await.map(drop).map_err(|error| unknown_execution(error, id))
    }

    /// Cancels an execution; its onCancel steps still run. One that has ended is fine.
    ///
    /// # Errors
    /// [`AwsError::NotAuthorized`], [`AwsError::NotFound`] for an unknown id.
    pub async fn stop(&self, id: &str) -> Result<(), AwsError> {
        let answer = self.caller.call("StopAutomationExecution", || {
            self.client.stop_automation_execution().automation_execution_id(id).r#type(StopType::Cancel).send()
        });
        match answer.await {
            Ok(_) => Ok(()),
            // It is what AWS says about an execution that has ended.
            Err(error) if error.is_rejected_with("InvalidAutomationStatusUpdate") => Ok(()),
            Err(error) => Err(unknown_execution(error, id)),
        }
    }
}

fn filter(key: AutomationExecutionFilterKey, values: Vec<String>) -> Result<AutomationExecutionFilter, AwsError> {
    let filter = AutomationExecutionFilter::builder().key(key).set_values(Some(values)).build();
    filter.map_err(|e| wrong_answer("DescribeAutomationExecutions", e.to_string()))
}

fn unknown_execution(error: AwsError, id: &str) -> AwsError {
    unknown(error, "AutomationExecutionNotFound", || format!("execution {id}"))
}

fn unknown(error: AwsError, absent: &str, what: impl FnOnce() -> String) -> AwsError {
    if error.is_rejected_with(absent) { AwsError::NotFound { what: what() } } else { error }
}

fn view(id: &str, execution: AutomationExecution) -> Execution {
    Execution {
        id: execution.automation_execution_id.unwrap_or_else(|| id.to_owned()),
        document: execution.document_name.unwrap_or_default(),
        status: status(execution.automation_execution_status),
        steps: execution.step_executions.unwrap_or_default().into_iter().map(step).collect(),
        parameters: execution.parameters.unwrap_or_default().into_iter().collect(),
        outputs: execution.outputs.unwrap_or_default().into_iter().collect(),
        executed_by: execution.executed_by,
        started_at: wall(execution.execution_start_time),
        ended_at: wall(execution.execution_end_time),
        failure: execution.failure_message,
    }
}

fn step(step: StepExecution) -> Step {
    Step {
        name: step.step_name.unwrap_or_default(),
        status: status(step.step_status),
        outputs: step.outputs.unwrap_or_default().into_iter().collect(),
        started_at: wall(step.execution_start_time),
        ended_at: wall(step.execution_end_time),
        timeout_seconds: step.timeout_seconds,
        failure: step.failure_message,
    }
}

fn listed(execution: AutomationExecutionMetadata) -> Option<Listed> {
    Some(Listed {
        id: execution.automation_execution_id?,
        document: execution.document_name.unwrap_or_default(),
        status: status(execution.automation_execution_status),
        current_step: execution.current_step_name,
        executed_by: execution.executed_by,
        started_at: wall(execution.execution_start_time),
    })
}

fn status(status: Option<AutomationExecutionStatus>) -> ExecutionStatus {
    status.map_or(ExecutionStatus::Pending, |status| ExecutionStatus::parse(status.as_str()))
}

fn wall(at: Option<DateTime>) -> Option<WallTime> {
    at.map(|at| WallTime::from_unix_seconds(at.secs()))
}

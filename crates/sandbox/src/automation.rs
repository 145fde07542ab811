//! Systems Manager Automation: executions of the one runbook there is, `Daypass-TemporaryAccess`.
//!
//! This file speaks the API; `execution` keeps what is true of one execution; `temporary_access` is the runbook itself,
//! the one part that an interpreter of runbook documents would replace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::account::RUNBOOK;
use crate::cloud::Cloud;
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::wire::{Answer, ApiError, Protocol};

mod execution;
mod listing;
mod temporary_access;

pub(crate) use execution::{Decision, Execution};

/// Every execution since the start.
pub(crate) struct Automation {
    executions: Mutex<BTreeMap<String, Arc<Execution>>>,
    /// ClientTokens, lower case, with what they were used for.
    tokens: Mutex<BTreeMap<String, (Parameters, String)>>,
    /// Counts changes of any execution, so that somebody can wait for the next one.
    changes: watch::Sender<u64>,
    /// Ends what runs when the account does.
    stop: CancellationToken,
    _stop: DropGuard,
}

/// Names to lists, as everywhere in Automation.
pub(crate) type Parameters = BTreeMap<String, Vec<String>>;

impl Default for Automation {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            executions: Mutex::default(),
            tokens: Mutex::default(),
            changes: watch::Sender::new(0),
            _stop: stop.clone().drop_guard(),
            stop,
        }
    }
}

impl Automation {
    /// Newest first.
    pub(crate) fn executions(&self) -> Vec<Arc<Execution>> {
        let held = self.executions.lock().expect("nothing panics while it holds the executions");
        let mut all: Vec<Arc<Execution>> = held.values().cloned().collect();
        all.sort_by_key(|execution| std::cmp::Reverse(execution.number));
        all
    }

    pub(crate) fn execution(&self, id: &str) -> Option<Arc<Execution>> {
        self.executions.lock().expect("nothing panics while it holds the executions").get(id).cloned()
    }

    /// Wakes on every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub(crate) fn answer(cloud: &Arc<Cloud>, operation: &str, input: &Value, caller: &Caller) -> Result<Answer, ApiError> {
    let answer = match operation {
        "StartAutomationExecution" => start(cloud, &parsed(input)?, caller)?,
        "GetAutomationExecution" => get(cloud, &parsed(input)?, caller)?,
        "DescribeAutomationExecutions" => {
            authorize(cloud, caller, operation, "*".into())?;
            listing::describe(&cloud.automation, &parsed(input)?)?
        }
        "SendAutomationSignal" => signal(cloud, &parsed(input)?, caller)?,
        "StopAutomationExecution" => stop(cloud, &parsed(input)?, caller)?,
        _ => return Err(ApiError::new("UnknownOperationException", format!("{operation} is not served here"))),
    };
    Ok(Answer::Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    document_name: String,
    #[serde(default)]
    parameters: Parameters,
    client_token: Option<String>,
}

fn start(cloud: &Arc<Cloud>, input: &Start, caller: &Caller) -> Result<Value, ApiError> {
    let name = input.document_name.rsplit('/').next().unwrap_or_default();
    authorize(cloud, caller, "StartAutomationExecution", cloud.ssm_arn(&format!("document/{name}")))?;
    authorize(cloud, caller, "StartAutomationExecution", cloud.ssm_arn("automation-execution/*"))?;
    if name != RUNBOOK {
        let text = format!("The automation document {name} does not exist.");
        return Err(ApiError::new("AutomationDefinitionNotFoundException", text));
    }
    let parameters = temporary_access::accepted(&input.parameters)
        .map_err(|text| ApiError::new("InvalidAutomationExecutionParametersException", text))?;
    let automation = &cloud.automation;
    let mut tokens = automation.tokens.lock().expect("nothing panics while it holds the tokens");
    let token = input.client_token.as_deref().map(client_token).transpose()?;
    if let Some((before, id)) = token.as_ref().and_then(|token| tokens.get(token)) {
        if *before == parameters {
            return Ok(json!({ "AutomationExecutionId": id }));
        }
        let text = "The client token was used before with other parameters.";
        return Err(ApiError::new("IdempotentParameterMismatch", text));
    }
    let execution = automation.begin(cloud, caller, parameters.clone());
    if let Some(token) = token {
        tokens.insert(token, (parameters, execution.id.clone()));
    }
    let running = temporary_access::run(Arc::downgrade(cloud), Arc::clone(&execution));
    tokio::spawn(automation.stop.clone().run_until_cancelled_owned(running));
    Ok(json!({ "AutomationExecutionId": execution.id }))
}

impl Automation {
    fn begin(&self, cloud: &Cloud, caller: &Caller, parameters: Parameters) -> Arc<Execution> {
        let mut executions = self.executions.lock().expect("nothing panics while it holds the executions");
        let steps = temporary_access::steps(cloud);
        let execution =
            Execution::new(cloud, executions.len(), caller.clone(), parameters, steps, self.changes.clone());
        let execution = Arc::new(execution);
        executions.insert(execution.id.clone(), Arc::clone(&execution));
        execution
    }
}

fn client_token(token: &str) -> Result<String, ApiError> {
    let token = token.to_lowercase();
    if uuid::Uuid::try_parse(&token).is_ok() && token.len() == 36 {
        return Ok(token);
    }
    let text = format!(
        "1 validation error detected: Value '{token}' at 'clientToken' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-fA-F0-9]{{8}}-[a-fA-F0-9]{{4}}-[a-fA-F0-9]{{4}}-[a-fA-F0-9]{{4}}-[a-fA-F0-9]{{12}}"
    );
    Err(ApiError::validation(Protocol::Json, text))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ById {
    automation_execution_id: String,
}

fn get(cloud: &Cloud, input: &ById, caller: &Caller) -> Result<Value, ApiError> {
    let execution = found(cloud, caller, "GetAutomationExecution", &input.automation_execution_id)?;
    Ok(json!({ "AutomationExecution": execution.described() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signal {
    automation_execution_id: String,
    signal_type: String,
    #[serde(default)]
    payload: Parameters,
}

fn signal(cloud: &Cloud, input: &Signal, caller: &Caller) -> Result<Value, ApiError> {
    let execution = found(cloud, caller, "SendAutomationSignal", &input.automation_execution_id)?;
    let approved = match input.signal_type.as_str() {
        "Approve" => true,
        "Reject" => false,
        other => {
            let text = format!("The signal {other} is not valid for the current Automation execution.");
            return Err(ApiError::new("InvalidAutomationSignalException", text));
        }
    };
    let comment = input.payload.get("Comment").and_then(|comment| comment.first()).cloned();
    decide(cloud, &execution, caller, approved, comment)?;
    Ok(json!({}))
}

/// Puts somebody's answer to a waiting execution, as the signal does.
pub(crate) fn decide(
    cloud: &Cloud,
    execution: &Execution,
    caller: &Caller,
    approved: bool,
    comment: Option<String>,
) -> Result<(), ApiError> {
    if !temporary_access::is_approver(&caller.role) {
        let text = format!("{} is not one of the approvers of this step.", caller.arn);
        return Err(ApiError::access_denied(Protocol::Json, text));
    }
    let decision = Decision { approved, by: caller.clone(), comment, at: cloud.clock.now() };
    if execution.decide(decision) {
        return Ok(());
    }
    let text = "The signal is not valid for the current Automation execution: no step waits for an approval.";
    Err(ApiError::new("InvalidAutomationSignalException", text))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stop {
    automation_execution_id: String,
    r#type: Option<String>,
}

fn stop(cloud: &Cloud, input: &Stop, caller: &Caller) -> Result<Value, ApiError> {
    let execution = found(cloud, caller, "StopAutomationExecution", &input.automation_execution_id)?;
    match input.r#type.as_deref() {
        None | Some("Cancel") if execution.cancel() => Ok(json!({})),
        None | Some("Cancel") => {
            let text = "The execution has ended already.";
            Err(ApiError::new("InvalidAutomationStatusUpdateException", text))
        }
        Some(other) => {
            let text = format!("Stopping with type {other} is not served here.");
            Err(ApiError::new("InvalidAutomationStatusUpdateException", text))
        }
    }
}

fn found(cloud: &Cloud, caller: &Caller, operation: &str, id: &str) -> Result<Arc<Execution>, ApiError> {
    authorize(cloud, caller, operation, cloud.ssm_arn(&format!("automation-execution/{id}")))?;
    cloud.automation.execution(id).ok_or_else(|| {
        let text = format!("Automation execution with id {id} does not exist.");
        ApiError::new("AutomationExecutionNotFoundException", text)
    })
}

fn authorize(cloud: &Cloud, caller: &Caller, operation: &str, resource: String) -> Result<(), ApiError> {
    cloud.authorize(Protocol::Json, caller, &Ask::new(format!("ssm:{operation}"), resource))
}

fn parsed<'a, T: Deserialize<'a>>(input: &'a Value) -> Result<T, ApiError> {
    T::deserialize(input).map_err(|error| ApiError::new("SerializationException", error.to_string()))
}

/// Seconds since 1970 with milliseconds, as JSON 1.1 writes instants.
pub(crate) fn epoch_seconds(at: Timestamp) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53 for 285,000 years")]
    let seconds = at.as_millisecond() as f64 / 1000.0;
    json!(seconds)
}

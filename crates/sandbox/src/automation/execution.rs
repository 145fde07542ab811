//! What is true of one execution, and how the API shows it.

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Parameters, epoch_seconds};
use crate::account::RUNBOOK;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::sigv4::Caller;

/// What an output is before its step has produced it.
const NOT_YET: &str = "No output available yet because the step is not successfully executed";

/// One execution.
pub(crate) struct Execution {
    pub(crate) id: String,
    /// Counts up; the order they were started in.
    pub(super) number: usize,
    pub(crate) requester: Caller,
    pub(crate) parameters: Parameters,
    started: Timestamp,
    clock: Clock,
    record: Mutex<Record>,
    changed: watch::Sender<u64>,
    all_changes: watch::Sender<u64>,
}

struct Record {
    status: Status,
    steps: Vec<Step>,
    outputs: Vec<&'static str>,
    failure: Option<String>,
    ended: Option<Timestamp>,
    decision: Option<Decision>,
    cancelled: bool,
}

/// Somebody's answer.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) approved: bool,
    pub(crate) by: Caller,
    pub(crate) comment: Option<String>,
    pub(crate) at: Timestamp,
}

/// How an execution or a step stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Pending,
    InProgress,
    Waiting,
    Cancelling,
    Cancelled,
    Failed,
    Success,
    TimedOut,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Waiting => "Waiting",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Failed => "Failed",
            Self::Success => "Success",
            Self::TimedOut => "TimedOut",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed | Self::Success | Self::TimedOut)
    }
}

/// One step of the runbook.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) action: &'static str,
    pub(super) id: String,
    pub(super) timeout_seconds: Option<i64>,
    pub(super) on_failure: &'static str,
    pub(super) is_end: bool,
    pub(super) next: Option<&'static str>,
    pub(super) inputs: Vec<(&'static str, String)>,
    pub(super) outputs: Parameters,
    pub(super) status: Status,
    pub(super) failure: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

impl Execution {
    pub(super) fn new(
        cloud: &Cloud,
        number: usize,
        requester: Caller,
        parameters: Parameters,
        steps: Vec<Step>,
        all_changes: watch::Sender<u64>,
    ) -> Self {
        let record = Record {
            status: Status::Pending,
            steps,
            outputs: vec!["plan.ExpiresAt"],
            failure: None,
            ended: None,
            decision: None,
            cancelled: false,
        };
        Self {
            id: cloud.seeds.executions.uuid(),
            number,
            requester,
            parameters,
            started: cloud.clock.now(),
            clock: cloud.clock.clone(),
            record: Mutex::new(record),
            changed: watch::Sender::new(0),
            all_changes,
        }
    }

    /// The one value of a parameter; empty when it was not given.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    pub(crate) fn status(&self) -> Status {
        self.look(|record| record.status)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.status() == Status::Waiting
    }

    /// Takes the first answer while an approval is waited for; says whether it was taken.
    pub(super) fn decide(&self, decision: Decision) -> bool {
        self.change(|record| {
            let takes = record.status == Status::Waiting && record.decision.is_none() && !record.cancelled;
            if takes {
                record.decision = Some(decision);
            }
            takes
        })
    }

    /// Asks the runbook to stop; says whether there was anything to stop.
    pub(super) fn cancel(&self) -> bool {
        self.change(|record| {
            let stops = !record.status.is_over();
            if stops {
                record.cancelled = true;
                record.status = Status::Cancelling;
            }
            stops
        })
    }

    /// Returns when somebody has answered.
    pub(super) async fn decided(&self) -> Decision {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(decision) = self.look(|record| record.decision.clone()) {
                return decision;
            }
            let _ = changed.changed().await;
        }
    }

    /// Returns when somebody has asked it to stop.
    pub(super) async fn cancelled(&self) {
        let mut changed = self.changed.subscribe();
        while !self.look(|record| record.cancelled) {
            let _ = changed.changed().await;
        }
    }

    /// A step begins; the execution shows the step's status unless it is being cancelled.
    pub(super) fn begin(&self, step: &str, status: Status, inputs: Vec<(&'static str, String)>) {
        let now = self.clock.now();
        self.change(|record| {
            if record.status != Status::Cancelling {
                record.status = status;
            }
            if let Some(step) = record.step(step) {
                step.status = status;
                step.inputs = inputs;
                step.started = Some(now);
            }
        });
    }

    /// A running step shows what it has so far.
    pub(super) fn report(&self, step: &str, outputs: Parameters) {
        self.change(|record| {
            if let Some(step) = record.step(step) {
                step.outputs = outputs;
            }
        });
    }

    /// A step is over.
    pub(super) fn end(&self, step: &str, status: Status, failure: Option<String>) {
        let now = self.clock.now();
        self.change(|record| {
            if let Some(step) = record.step(step) {
                step.status = status;
                step.ended = Some(now);
                step.failure = failure;
            }
        });
    }

    /// The execution is over.
    pub(super) fn finish(&self, status: Status, failure: Option<String>) {
        let now = self.clock.now();
        self.change(|record| {
            record.status = status;
            record.failure = failure;
            record.ended = Some(now);
        });
    }

    /// As GetAutomationExecution shows it.
    pub(crate) fn described(&self) -> Value {
        self.look(|record| {
            let mut shown = self.summary(record);
            shown["Parameters"] = json!(self.parameters);
            shown["StepExecutions"] = record.steps.iter().map(Step::described).collect();
            shown["StepExecutionsTruncated"] = false.into();
            shown
        })
    }

    /// As DescribeAutomationExecutions lists it: without parameters and steps.
    pub(super) fn listed(&self) -> Value {
        self.look(|record| {
            let mut shown = self.summary(record);
            shown["AutomationType"] = "Local".into();
            shown["LogFile"] = "".into();
            shown
        })
    }

    fn summary(&self, record: &Record) -> Value {
        let mut shown = json!({
            "AutomationExecutionId": self.id,
            "DocumentName": RUNBOOK,
            "DocumentVersion": "1",
            "AutomationExecutionStatus": record.status.as_str(),
            "ExecutionStartTime": epoch_seconds(self.started),
            "ExecutedBy": self.requester.arn,
            "Mode": "Auto",
            "Targets": [],
            "ResolvedTargets": { "ParameterValues": [], "Truncated": false },
            "Outputs": record.outputs(),
        });
        if let Some(step) = record.steps.iter().find(|step| step.started.is_some() && step.ended.is_none()) {
            shown["CurrentStepName"] = step.name.into();
            shown["CurrentAction"] = step.action.into();
        }
        if let Some(ended) = record.ended {
            shown["ExecutionEndTime"] = epoch_seconds(ended);
        }
        if let Some(failure) = &record.failure {
            shown["FailureMessage"] = failure.as_str().into();
        }
        shown
    }

    fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().expect("nothing panics while it holds the record"))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let changed = change(&mut self.record.lock().expect("nothing panics while it holds the record"));
        self.changed.send_modify(|count| *count += 1);
        self.all_changes.send_modify(|count| *count += 1);
        changed
    }
}

impl Record {
    fn step(&mut self, name: &str) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.name == name)
    }

    /// The runbook's outputs are named `step.Output`.
    fn outputs(&self) -> Value {
        let value = |name: &str| {
            let (step, output) = name.split_once('.')?;
            let step = self.steps.iter().find(|known| known.name == step)?;
            step.outputs.get(output).cloned().filter(|_| step.status == Status::Success)
        };
        let outputs = self
            .outputs
            .iter()
            .map(|name| ((*name).to_owned(), json!(value(name).unwrap_or_else(|| vec![NOT_YET.to_owned()]))));
        outputs.collect::<serde_json::Map<_, _>>().into()
    }
}

impl Step {
    fn described(&self) -> Value {
        let inputs: serde_json::Map<String, Value> =
            self.inputs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut shown = json!({
            "StepName": self.name,
            "Action": self.action,
            "StepExecutionId": self.id,
            "StepStatus": self.status.as_str(),
            "OnFailure": self.on_failure,
            "MaxAttempts": 1,
            "IsEnd": self.is_end,
            "IsCritical": true,
            "Inputs": inputs,
            "Outputs": self.outputs,
            "OverriddenParameters": {},
            "ValidNextSteps": self.next.into_iter().collect::<Vec<_>>(),
        });
        let optional = [
            ("TimeoutSeconds", self.timeout_seconds.map(Value::from)),
            ("NextStep", self.next.map(Value::from)),
            ("ExecutionStartTime", self.started.map(epoch_seconds)),
            ("ExecutionEndTime", self.ended.map(epoch_seconds)),
            ("ResponseCode", self.ended.map(|_| if self.failure.is_some() { "1" } else { "0" }.into())),
            ("FailureMessage", self.failure.clone().map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        if let Some(failure) = &self.failure {
            shown["FailureDetails"] = json!({
                "FailureStage": "Invocation", "FailureType": "Action", "Details": { "Cause": [failure] },
            });
        }
        shown
    }
}

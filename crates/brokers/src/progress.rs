//! What an execution of the runbook means for a request.

use aws::{Execution, ExecutionStatus, Step};
use model::{Decision, EndReason, ErrorView, Progress, WallTime};

use crate::BrokerError;
use crate::decisions::{self, Answer};

/// The steps of the runbook, in order: check, approve, plan, grant, window, revoke.
pub(crate) const APPROVE: &str = "approve";
const PLAN: &str = "plan";
const GRANT: &str = "grant";
const WINDOW: &str = "window";

/// What became of the request behind `execution`; none while it waits for a Review.
pub(crate) fn progress(execution: &Execution) -> Result<Option<Progress>, BrokerError> {
    let answer = step(execution, APPROVE).and_then(decisions::answer);
    if succeeded(execution, GRANT) {
        return after_grant(execution, answer).map(Some);
    }
    Ok(match answer {
        Some(Answer { decision: Decision::Deny, by, comment }) => Some(Progress::Denied { by, comment }),
        answer => before_grant(execution, answer),
    })
}

/// When a request that still waits lapses: as its approve step says.
pub(crate) fn lapses_at(execution: &Execution) -> Option<WallTime> {
    let approve = step(execution, APPROVE)?;
    let since = approve.started_at.or(execution.started_at)?;
    let seconds = approve.timeout_seconds?;
    Some(since.shifted(jiff::SignedDuration::from_secs(seconds)))
}

fn after_grant(execution: &Execution, answer: Option<Answer>) -> Result<Progress, BrokerError> {
    if succeeded(execution, WINDOW) {
        return Ok(Progress::Ended { reason: EndReason::Expired });
    }
    if execution.status.is_final() || execution.status == ExecutionStatus::Cancelling {
        return Ok(Progress::Ended { reason: EndReason::Revoked });
    }
    Ok(Progress::Granted { by: answer.and_then(|a| a.by), expires_at: expires_at(execution)? })
}

fn before_grant(execution: &Execution, answer: Option<Answer>) -> Option<Progress> {
    let lapsed = || answer.is_none() || timed_out(execution, APPROVE);
    match &execution.status {
        ExecutionStatus::Cancelled | ExecutionStatus::Cancelling => Some(Progress::Cancelled),
        ExecutionStatus::Rejected => Some(Progress::Denied { by: None, comment: None }),
        ExecutionStatus::TimedOut if lapsed() => Some(Progress::Lapsed),
        ExecutionStatus::Failed if timed_out(execution, APPROVE) => Some(Progress::Lapsed),
        status if status.is_final() => Some(Progress::Failed { cause: failure(execution) }),
        ExecutionStatus::Failed
        | ExecutionStatus::InProgress
        | ExecutionStatus::Other(_)
        | ExecutionStatus::Pending
        | ExecutionStatus::Success
        | ExecutionStatus::TimedOut
        | ExecutionStatus::Waiting => answer.map(|answer| Progress::Approved { by: answer.by }),
    }
}

fn expires_at(execution: &Execution) -> Result<WallTime, BrokerError> {
    let of_execution = execution.outputs.get("plan.ExpiresAt");
    let of_step = || step(execution, PLAN).and_then(|plan| plan.outputs.get("ExpiresAt"));
    let strange = |what: String| BrokerError::StrangeRunbook { broker_ref: execution.id.clone(), what };
    let text = of_execution.or_else(of_step).and_then(|values| values.first());
    let text =
        text.ok_or_else(|| strange("granted access, but its step `plan` does not say until when (ExpiresAt)".into()))?;
    text.parse().map(WallTime).map_err(|e| strange(format!("says it ends at `{text}`, which is no instant: {e}")))
}

fn failure(execution: &Execution) -> ErrorView {
    let failed =
        execution.steps.iter().find(|s| matches!(s.status, ExecutionStatus::Failed | ExecutionStatus::TimedOut));
    let at = failed.map_or_else(String::new, |step| format!(" at its step `{}`", step.name));
    let why = failed
        .and_then(|step| step.failure.as_deref())
        .or(execution.failure.as_deref())
        .unwrap_or("it does not say why");
    let why = why.trim().trim_end_matches('.');
    ErrorView::new(
        "runbook-failed",
        format!("the runbook {} failed{at}: {why}", execution.document),
        format!("Pass this on to its administrator together with the execution id {}", execution.id),
    )
}

fn step<'a>(execution: &'a Execution, name: &str) -> Option<&'a Step> {
    execution.steps.iter().find(|step| step.name == name)
}

fn succeeded(execution: &Execution, name: &str) -> bool {
    step(execution, name).is_some_and(|step| step.status == ExecutionStatus::Success)
}

fn timed_out(execution: &Execution, name: &str) -> bool {
    step(execution, name).is_some_and(|step| step.status == ExecutionStatus::TimedOut)
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;

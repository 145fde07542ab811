//! The runbook `Daypass-TemporaryAccess`: check, approve, plan, grant, window, revoke.
//!
//! What it grants ends by the date in the policy itself; the removal at the end only tidies up.

use std::sync::{Arc, Weak};

use jiff::{SignedDuration, Timestamp, Unit};
use model::RoleName;
use serde_json::{Value, json};

use super::execution::{Decision, Execution, Status, Step};
use super::{Caller, Parameters};
use crate::account::{APPROVERS, AUTOMATION, DEVELOPERS};
use crate::cloud::Cloud;
use crate::sts;

const APPROVAL_SECONDS: i64 = 3600;
const DURATIONS: [(&str, i64); 5] = [("PT2M", 120), ("PT15M", 900), ("PT1H", 3600), ("PT4H", 14_400), ("PT8H", 28_800)];
/// Name and whether it must be given.
const PARAMETERS: [(&str, bool); 5] =
    [("Database", true), ("Access", true), ("Duration", true), ("Justification", true), ("Ticket", false)];

/// The parameters with their defaults, or the sentence that refuses them.
pub(super) fn accepted(given: &Parameters) -> Result<Parameters, String> {
    if let Some(unknown) = given.keys().find(|name| PARAMETERS.iter().all(|(known, _)| known != name)) {
        return Err(format!("Parameters [{unknown}] are not defined in the document."));
    }
    let mut accepted = Parameters::new();
    for (name, required) in PARAMETERS {
        let value = match given.get(name).map(Vec::as_slice) {
            Some([value]) if !required || !value.is_empty() => value.clone(),
            None if !required => String::new(),
            None => return Err(format!("Missing required parameter: {name}.")),
            Some(_) => return Err(format!("Parameter {name} takes exactly one value that is not empty.")),
        };
        accepted.insert(name.to_owned(), vec![value]);
    }
    let allowed = |name: &str, values: &[&str]| {
        let value = &accepted[name][0];
        if values.contains(&value.as_str()) {
            return Ok(());
        }
        Err(format!("Value [{value}] of parameter {name} is not one of the allowed values {values:?}."))
    };
    allowed("Access", &[RoleName::ReadOnly.as_str(), RoleName::ReadWrite.as_str()])?;
    allowed("Duration", &DURATIONS.map(|(text, _)| text))?;
    Ok(accepted)
}

/// Whether sessions of `role` may answer.
pub(super) fn is_approver(role: &str) -> bool {
    role == APPROVERS
}

/// The steps before anything has happened.
pub(super) fn steps(cloud: &Cloud) -> Vec<Step> {
    const PLAN: [(&str, &str, &str, Option<&str>); 6] = [
        ("check", "aws:executeScript", "Abort", Some("approve")),
        ("approve", "aws:approve", "Abort", Some("plan")),
        ("plan", "aws:executeScript", "Abort", Some("grant")),
        ("grant", "aws:executeAwsApi", "step:revoke", Some("window")),
        ("window", "aws:sleep", "step:revoke", Some("revoke")),
        ("revoke", "aws:executeAwsApi", "Abort", None),
    ];
    let step =
        |(name, action, on_failure, next): (&'static str, &'static str, &'static str, Option<&'static str>)| Step {
            name,
            action,
            id: cloud.seeds.executions.uuid(),
            timeout_seconds: (name == "approve").then_some(APPROVAL_SECONDS),
            on_failure,
            is_end: next.is_none(),
            next,
            inputs: Vec::new(),
            outputs: Parameters::new(),
            status: Status::Pending,
            failure: None,
            started: None,
            ended: None,
        };
    PLAN.map(step).into()
}

/// Carries an execution out. It ends with the sandbox: without the account there is nothing to grant or to remove.
pub(super) async fn run(cloud: Weak<Cloud>, execution: Arc<Execution>) {
    let (status, failure) = match flow(&cloud, &execution).await {
        Ok(()) => (Status::Success, None),
        Err(Ending::Cancelled) => (Status::Cancelled, None),
        Err(Ending::Failed(text)) => (Status::Failed, Some(text)),
        Err(Ending::TimedOut) => (Status::TimedOut, Some("Step approve timed out.".into())),
    };
    execution.finish(status, failure);
}

/// Any end but the good one.
enum Ending {
    Cancelled,
    Failed(String),
    TimedOut,
}

async fn flow(cloud: &Weak<Cloud>, execution: &Execution) -> Result<(), Ending> {
    let gone = || Ending::Cancelled;
    let access = step(execution, "check", |execution| check(&*cloud.upgrade().ok_or_else(cancelled)?, execution))?;
    let decision = approve(cloud, execution).await?;
    let end = step(execution, "plan", |execution| plan(execution, &decision))?;
    let granted =
        step(execution, "grant", |execution| grant(&*cloud.upgrade().ok_or_else(cancelled)?, execution, &access, end));
    let passed = match granted {
        Ok(()) => window(cloud, execution, end).await,
        Err(failed) => Err(failed),
    };
    let cloud = cloud.upgrade().ok_or_else(gone)?;
    let revoked = step(execution, "revoke", |execution| revoke(&cloud, execution));
    passed.and(revoked)
}

fn cancelled() -> String {
    "The account is gone.".into()
}

/// Runs a step that is over at once.
fn step<T>(
    execution: &Execution,
    name: &'static str,
    work: impl FnOnce(&Execution) -> Result<T, String>,
) -> Result<T, Ending> {
    execution.begin(name, Status::InProgress, Vec::new());
    match work(execution) {
        Ok(done) => {
            execution.end(name, Status::Success, None);
            Ok(done)
        }
        Err(why) => {
            execution.end(name, Status::Failed, Some(why.clone()));
            Err(Ending::Failed(format!("Step fails when it is running {name}. {why}")))
        }
    }
}

/// The database user that was asked for.
struct Access {
    resource_id: String,
    user: String,
}

fn check(cloud: &Cloud, execution: &Execution) -> Result<Access, String> {
    let (database, access) = (execution.parameter("Database"), execution.parameter("Access"));
    if execution.requester.role != DEVELOPERS {
        return Err(format!(
            "{} is not a session of {DEVELOPERS}, so there is no role to grant to.",
            execution.requester.arn
        ));
    }
    let known = cloud.account.database(database).ok_or_else(|| format!("DBInstance {database} not found."))?;
    let offer = known.entitlements.iter().find(|offer| offer.role.as_str() == access && offer.on_request.is_some());
    let offer = offer.ok_or_else(|| format!("{access} on {database} cannot be asked for."))?;
    let outputs = [("ResourceId", known.resource_id), ("User", offer.user)];
    execution.report("check", one_each(&outputs));
    Ok(Access { resource_id: known.resource_id.into(), user: offer.user.into() })
}

/// Waits for the first answer.
async fn approve(cloud: &Weak<Cloud>, execution: &Execution) -> Result<Decision, Ending> {
    let (clock, approvers) = {
        let cloud = cloud.upgrade().ok_or(Ending::Cancelled)?;
        (cloud.clock.clone(), cloud.account.role_arn(APPROVERS))
    };
    let message = format!(
        "{} asks for {} on {} for {}: {}",
        execution.requester.session_name,
        execution.parameter("Access"),
        execution.parameter("Database"),
        execution.parameter("Duration"),
        execution.parameter("Justification"),
    );
    let inputs =
        vec![("Approvers", json!([approvers]).to_string()), ("MinRequiredApprovals", "1".into()), ("Message", message)];
    execution.report("approve", one_each(&[("ApprovalStatus", "Waiting"), ("ApproverDecisions", "[]")]));
    execution.begin("approve", Status::Waiting, inputs);
    let lapse = clock.now() + SignedDuration::from_secs(APPROVAL_SECONDS);
    let decision = tokio::select! {
        biased;
        decision = execution.decided() => decision,
        () = execution.cancelled() => {
            execution.end("approve", Status::Cancelled, None);
            return Err(Ending::Cancelled);
        }
        () = clock.wait_until(lapse) => {
            execution.end("approve", Status::TimedOut, Some("Step timed out while it waited for an approval.".into()));
            return Err(Ending::TimedOut);
        }
    };
    let status = if decision.approved { "Approved" } else { "Rejected" };
    execution.report("approve", one_each(&[("ApprovalStatus", status), ("ApproverDecisions", &decision.shown())]));
    if decision.approved {
        execution.end("approve", Status::Success, None);
        return Ok(decision);
    }
    let why = format!("Approval step was rejected by {}.", decision.by.arn);
    execution.end("approve", Status::Failed, Some(why.clone()));
    Err(Ending::Failed(format!("Step fails when it is Approving. {why}")))
}

impl Decision {
    fn shown(&self) -> String {
        let mut entry = json!({
            "Approver": self.by.arn,
            "ApprovalStatus": if self.approved { "Approve" } else { "Reject" },
            "ApprovalDecisionTime": self.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        if let Some(comment) = &self.comment {
            entry["Comment"] = comment.as_str().into();
        }
        json!([entry]).to_string()
    }
}

/// The end counts from the approval, and nobody approves their own request.
fn plan(execution: &Execution, decision: &Decision) -> Result<Timestamp, String> {
    if decision.by.session_name == execution.requester.session_name {
        return Err(format!("{} cannot approve their own request.", decision.by.session_name));
    }
    let asked = execution.parameter("Duration");
    let seconds = DURATIONS.iter().find(|(text, _)| *text == asked).map_or(0, |(_, seconds)| *seconds);
    let end = decision.at + SignedDuration::from_secs(seconds);
    let end = end.round(Unit::Second).map_err(|error| error.to_string())?;
    execution.report("plan", one_each(&[("ExpiresAt", &end.to_string()), ("PolicyName", &policy_name(execution))]));
    Ok(end)
}

fn grant(cloud: &Cloud, execution: &Execution, access: &Access, end: Timestamp) -> Result<(), String> {
    let document: Value = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Action": "rds-db:connect",
        "Resource": cloud.account.db_user_arn(&access.resource_id, &access.user),
        "Condition": {
            "DateLessThan": { "aws:CurrentTime": end.to_string() },
            "StringLike": { "aws:userid": format!("*:{}", execution.requester.session_name) },
        },
    }] });
    cloud.iam.put_role_policy(
        &automation(cloud, execution)?,
        &execution.requester.role,
        &policy_name(execution),
        &document,
    )
}

async fn window(cloud: &Weak<Cloud>, execution: &Execution, end: Timestamp) -> Result<(), Ending> {
    let clock = cloud.upgrade().ok_or(Ending::Cancelled)?.clock.clone();
    execution.begin("window", Status::InProgress, vec![("Timestamp", end.to_string())]);
    tokio::select! {
        biased;
        () = execution.cancelled() => {
            execution.end("window", Status::Cancelled, None);
            Err(Ending::Cancelled)
        }
        () = clock.wait_until(end) => {
            execution.end("window", Status::Success, None);
            Ok(())
        }
    }
}

fn revoke(cloud: &Cloud, execution: &Execution) -> Result<(), String> {
    cloud.iam.delete_role_policy(&automation(cloud, execution)?, &execution.requester.role, &policy_name(execution))
}

fn policy_name(execution: &Execution) -> String {
    format!("jit-rds-{}", execution.id)
}

/// Whom the runbook works as.
fn automation(cloud: &Cloud, execution: &Execution) -> Result<Caller, String> {
    let role = cloud.iam.role(AUTOMATION).ok_or_else(|| format!("The role {AUTOMATION} cannot be found."))?;
    Ok(sts::session(cloud, AUTOMATION, &role, &format!("Automation-{}", execution.id)))
}

fn one_each(outputs: &[(&str, &str)]) -> Parameters {
    outputs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
}

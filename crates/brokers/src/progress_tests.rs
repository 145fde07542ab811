use std::collections::BTreeMap;

use ExecutionStatus::{Cancelled, Cancelling, Failed, InProgress, Pending, Rejected, Success, TimedOut, Waiting};

use super::*;

const END: &str = "2026-11-22T10:15:00Z";

fn execution(status: ExecutionStatus, steps: Vec<Step>) -> Execution {
    Execution {
        id: "e-1".into(),
        document: "Daypass-TemporaryAccess".into(),
        status,
        steps,
        parameters: BTreeMap::new(),
        outputs: BTreeMap::new(),
        executed_by: None,
        started_at: Some(WallTime::from_unix_seconds(1_000)),
        ended_at: None,
        failure: None,
    }
}

fn at(name: &str, status: ExecutionStatus) -> Step {
    let (outputs, started_at, ended_at) = (BTreeMap::new(), None, None);
    Step { name: name.into(), status, outputs, started_at, ended_at, timeout_seconds: None, failure: None }
}

fn giving(mut step: Step, name: &str, value: &str) -> Step {
    step.outputs.insert(name.into(), vec![value.into()]);
    step
}

fn approved() -> Step {
    let decisions = r#"[{"Approver":"ben","ApprovalStatus":"Approve"}]"#;
    giving(giving(at(APPROVE, Success), "ApprovalStatus", "Approved"), "ApproverDecisions", decisions)
}

fn granted() -> Vec<Step> {
    vec![approved(), giving(at(PLAN, Success), "ExpiresAt", END), at(GRANT, Success)]
}

fn and(mut steps: Vec<Step>, step: Step) -> Vec<Step> {
    steps.push(step);
    steps
}

fn read(status: ExecutionStatus, steps: Vec<Step>) -> Option<Progress> {
    progress(&execution(status, steps)).expect("the runbook keeps to the contract")
}

fn by_ben() -> Option<String> {
    Some("ben".into())
}

#[test]
fn nothing_is_reported_before_an_answer() {
    assert_eq!(read(Pending, vec![]), None);
    assert_eq!(read(InProgress, vec![at("check", InProgress)]), None);
    assert_eq!(
        read(Waiting, vec![at("check", Success), giving(at(APPROVE, Waiting), "ApprovalStatus", "Waiting")]),
        None
    );
}

#[test]
fn an_approval_is_reported_until_the_grant_is_in_force() {
    let approval = Some(Progress::Approved { by: by_ben() });
    assert_eq!(read(InProgress, vec![approved()]), approval);
    assert_eq!(read(InProgress, vec![approved(), at(PLAN, Success), at(GRANT, InProgress)]), approval);
}

#[test]
fn a_grant_in_force_names_its_end() {
    let expires_at = WallTime(END.parse().expect("an instant"));
    let grant = Some(Progress::Granted { by: by_ben(), expires_at });
    assert_eq!(read(InProgress, granted()), grant);
    assert_eq!(read(Waiting, and(granted(), at(WINDOW, Waiting))), grant);
    let mut outputs = execution(InProgress, vec![approved(), at(GRANT, Success)]);
    outputs.outputs.insert("plan.ExpiresAt".into(), vec![END.into()]);
    assert_eq!(progress(&outputs), Ok(grant));
}

#[test]
fn a_grant_without_a_readable_end_is_an_error_and_no_access() {
    for steps in
        [vec![approved(), at(GRANT, Success)], vec![giving(at(PLAN, Success), "ExpiresAt", "soon"), at(GRANT, Success)]]
    {
        let error = progress(&execution(InProgress, steps)).expect_err("fail closed");
        assert!(matches!(error, BrokerError::StrangeRunbook { .. }), "{error}");
    }
}

#[test]
fn a_grant_that_ran_its_time_expired_and_any_other_end_is_a_revocation() {
    let expired = Some(Progress::Ended { reason: EndReason::Expired });
    let revoked = Some(Progress::Ended { reason: EndReason::Revoked });
    assert_eq!(read(InProgress, and(granted(), at(WINDOW, Success))), expired);
    assert_eq!(read(Success, and(and(granted(), at(WINDOW, Success)), at("revoke", Success))), expired);
    assert_eq!(read(Failed, and(and(granted(), at(WINDOW, Success)), at("revoke", Failed))), expired);
    assert_eq!(read(Cancelling, and(granted(), at(WINDOW, Cancelled))), revoked);
    assert_eq!(read(Cancelled, and(granted(), at(WINDOW, Cancelled))), revoked);
    assert_eq!(read(Failed, and(granted(), at(WINDOW, Failed))), revoked);
}

#[test]
fn a_denial_is_read_whatever_the_execution_calls_itself() {
    let decisions = r#"{"Approver":"eva","ApprovalStatus":"Reject","Comment":"use staging"}"#;
    for status in [InProgress, Failed, Rejected] {
        let step = giving(at(APPROVE, Failed), "ApprovalStatus", "Rejected");
        let denied = Progress::Denied { by: Some("eva".into()), comment: Some("use staging".into()) };
        assert_eq!(read(status, vec![giving(step, "ApproverDecisions", decisions)]), Some(denied));
    }
    assert_eq!(read(Rejected, vec![at(APPROVE, Rejected)]), Some(Progress::Denied { by: None, comment: None }));
}

#[test]
fn silence_lapses_and_a_withdrawal_cancels() {
    assert_eq!(read(TimedOut, vec![at(APPROVE, TimedOut)]), Some(Progress::Lapsed));
    assert_eq!(read(Failed, vec![at(APPROVE, TimedOut)]), Some(Progress::Lapsed));
    assert_eq!(read(Cancelled, vec![at(APPROVE, Cancelled)]), Some(Progress::Cancelled));
    assert_eq!(read(Cancelling, vec![at(APPROVE, Waiting)]), Some(Progress::Cancelled));
}

#[test]
fn a_failure_names_runbook_step_cause_and_execution() {
    let mut plan = at(PLAN, Failed);
    plan.failure = Some("nobody may approve their own request.".into());
    for (status, steps) in [(Failed, vec![approved(), plan.clone()]), (TimedOut, vec![approved(), plan])] {
        let Some(Progress::Failed { cause }) = read(status, steps) else { panic!("it failed") };
        let message =
            "the runbook Daypass-TemporaryAccess failed at its step `plan`: nobody may approve their own request";
        assert_eq!(cause.message, message);
        assert!(cause.hint.contains("e-1"), "{}", cause.hint);
    }
    assert!(
        matches!(read(Success, vec![approved()]), Some(Progress::Failed { .. })),
        "success without a grant is none"
    );
}

#[test]
fn a_request_lapses_when_its_approve_step_times_out() {
    let mut step = at(APPROVE, Waiting);
    step.timeout_seconds = Some(3_600);
    assert_eq!(lapses_at(&execution(Waiting, vec![step.clone()])), Some(WallTime::from_unix_seconds(4_600)));
    step.started_at = Some(WallTime::from_unix_seconds(1_010));
    assert_eq!(lapses_at(&execution(Waiting, vec![step])), Some(WallTime::from_unix_seconds(4_610)));
    assert_eq!(lapses_at(&execution(Pending, vec![])), None);
}

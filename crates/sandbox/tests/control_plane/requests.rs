//! Asking, answering, and the end of access.

use std::time::Duration;

use jiff::SignedDuration;
use sandbox::{AnswerFlaw, Sandbox, SandboxConfig};
use serde_json::{Value, json};

use super::client::{Client, account, account_with};

const TOKEN: &str = "0e3f9c2a-5b1d-4c8e-9f60-2a7b8c9d0e1f";

fn asked(changes: &[(&str, &str)]) -> Value {
    let mut parameters = json!({
        "Database": ["orders-prod"], "Access": ["read-only"], "Duration": ["PT2M"],
        "Justification": ["order 1042 is stuck"], "Ticket": [""],
    });
    for (name, value) in changes {
        parameters[*name] = json!([value]);
    }
    json!({ "DocumentName": "Daypass-TemporaryAccess", "Parameters": parameters, "ClientToken": TOKEN })
}

async fn started(client: &Client) -> String {
    let answer = client.ssm("StartAutomationExecution", asked(&[])).await;
    answer.json()["AutomationExecutionId"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).into()
}

async fn shown(client: &Client, id: &str) -> Value {
    client.ssm("GetAutomationExecution", json!({ "AutomationExecutionId": id })).await.json()["AutomationExecution"]
        .take()
}

async fn signalled(client: &Client, id: &str, signal: &str) -> (u16, String) {
    let input = json!({ "AutomationExecutionId": id, "SignalType": signal, "Payload": { "Comment": ["fine"] } });
    let answer = client.ssm("SendAutomationSignal", input).await;
    let code = if answer.status == 200 { String::new() } else { answer.error().0 };
    (answer.status, code)
}

fn step<'a>(execution: &'a Value, name: &str) -> &'a Value {
    let steps = execution["StepExecutions"].as_array().expect("steps");
    steps.iter().find(|step| step["StepName"] == name).unwrap_or_else(|| panic!("no step {name}"))
}

fn granted_policy(sandbox: &Sandbox, id: &str) -> Value {
    sandbox.inline_policies()["JitRds"][format!("jit-rds-{id}")].clone()
}

#[tokio::test]
async fn a_request_is_approved_granted_and_ends_by_itself() {
    let sandbox = account().await;
    let (ana, ben) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "ben", "JitRdsApprover"));
    let id = started(&ana).await;
    assert_eq!(sandbox.request_waits().await, id);
    let waiting = shown(&ben, &id).await;
    assert_eq!(waiting["AutomationExecutionStatus"], "Waiting");
    assert_eq!(waiting["ExecutedBy"], "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
    assert_eq!(waiting["CurrentStepName"], "approve");
    assert_eq!(waiting["Parameters"]["Justification"], json!(["order 1042 is stuck"]));
    assert!(granted_policy(&sandbox, &id).is_null(), "nothing is granted before somebody agreed");

    assert_eq!(signalled(&ben, &id, "Approve").await, (200, String::new()));
    sandbox.execution_is(&id, "InProgress").await;
    let open = sandbox.execution(&id).expect("it is there");
    let decisions: Value =
        serde_json::from_str(step(&open, "approve")["Outputs"]["ApproverDecisions"][0].as_str().expect("a text"))
            .expect("JSON in a text");
    assert_eq!(decisions[0]["ApprovalStatus"], "Approve");
    assert!(decisions[0]["Approver"].as_str().expect("an ARN").ends_with("/ben@acme.dev"));

    sandbox.clock().advance(Duration::from_secs(121));
    sandbox.execution_is(&id, "Success").await;
    assert!(granted_policy(&sandbox, &id).is_null(), "the policy is taken away again");
}

#[tokio::test]
async fn the_policy_carries_its_own_end_and_its_person() {
    let sandbox = account().await;
    let id = started(&Client::new(&sandbox, "ana", "JitRds")).await;
    sandbox.request_waits().await;
    sandbox.approve("ben").expect("ben may");
    sandbox.policy_is_granted(&id).await;
    let policy = granted_policy(&sandbox, &id);
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Action"], "rds-db:connect");
    let resource = statement["Resource"].as_str().expect("an ARN");
    assert!(resource.starts_with("arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-") && resource.ends_with("/app_ro"));
    assert_eq!(statement["Condition"]["StringLike"]["aws:userid"], "*:ana@acme.dev");
    let execution = sandbox.execution(&id).expect("it is there");
    assert_eq!(execution["Outputs"]["plan.ExpiresAt"][0], statement["Condition"]["DateLessThan"]["aws:CurrentTime"]);
    let end: jiff::Timestamp =
        execution["Outputs"]["plan.ExpiresAt"][0].as_str().expect("a text").parse().expect("RFC 3339");
    let left = end.duration_since(sandbox.clock().now());
    assert!(left > SignedDuration::from_secs(90) && left <= SignedDuration::from_secs(121), "{left:?} of two minutes");
}

#[tokio::test]
async fn a_rejection_grants_nothing_and_names_who_and_why() {
    let sandbox = account().await;
    let id = started(&Client::new(&sandbox, "ana", "JitRds")).await;
    sandbox.request_waits().await;
    sandbox.deny("ben", "not on a Friday").expect("ben may");
    sandbox.execution_is(&id, "Failed").await;
    let execution = sandbox.execution(&id).expect("it is there");
    let approve = step(&execution, "approve");
    assert_eq!(approve["Outputs"]["ApprovalStatus"], json!(["Rejected"]));
    assert!(approve["Outputs"]["ApproverDecisions"][0].as_str().expect("a text").contains("not on a Friday"));
    assert_eq!(step(&execution, "grant")["StepStatus"], "Pending");
    assert_eq!(
        execution["Outputs"]["plan.ExpiresAt"][0],
        "No output available yet because the step is not successfully executed"
    );
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    let sandbox = account().await;
    let id = started(&Client::new(&sandbox, "eva", "JitRds")).await;
    sandbox.request_waits().await;
    let eva = Client::new(&sandbox, "eva", "JitRdsApprover");
    assert_eq!(signalled(&eva, &id, "Approve").await.0, 200, "the signal is taken, the plan is not");
    sandbox.execution_is(&id, "Failed").await;
    let execution = sandbox.execution(&id).expect("it is there");
    assert!(step(&execution, "plan")["FailureMessage"].as_str().expect("a text").contains("cannot approve their own"));
    assert!(granted_policy(&sandbox, &id).is_null());
}

#[tokio::test]
async fn only_approvers_answer_and_only_once() {
    let sandbox = account().await;
    let (ana, ben) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "ben", "JitRdsApprover"));
    let id = started(&ana).await;
    sandbox.request_waits().await;
    assert_eq!(signalled(&ana, &id, "Approve").await, (400, "AccessDeniedException".into()));
    assert_eq!(signalled(&ben, &id, "Maybe").await, (400, "InvalidAutomationSignalException".into()));
    assert_eq!(signalled(&ben, &id, "Approve").await.0, 200);
    assert_eq!(signalled(&ben, &id, "Reject").await, (400, "InvalidAutomationSignalException".into()));
    let nothing = "00000000-0000-4000-8000-000000000000";
    assert_eq!(signalled(&ben, nothing, "Approve").await, (400, "AutomationExecutionNotFoundException".into()));
}

#[tokio::test]
async fn an_unanswered_request_lapses_after_an_hour() {
    let sandbox = account().await;
    let id = started(&Client::new(&sandbox, "ana", "JitRds")).await;
    sandbox.request_waits().await;
    sandbox.clock().advance(Duration::from_secs(3601));
    sandbox.execution_is(&id, "TimedOut").await;
    assert!(matches!(sandbox.approve("ben"), Err(AnswerFlaw::NothingWaits)), "too late");
}

#[tokio::test]
async fn withdrawing_and_giving_back_both_end_as_cancelled_and_leave_no_policy() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let stop = |id: &str| json!({ "AutomationExecutionId": id, "Type": "Cancel" });
    let withdrawn = started(&ana).await;
    sandbox.request_waits().await;
    assert_eq!(ana.ssm("StopAutomationExecution", stop(&withdrawn)).await.status, 200);
    sandbox.execution_is(&withdrawn, "Cancelled").await;

    let mut again = asked(&[]);
    again["ClientToken"] = "1e3f9c2a-5b1d-4c8e-9f60-2a7b8c9d0e1f".into();
    let id = ana.ssm("StartAutomationExecution", again).await.json()["AutomationExecutionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    sandbox.request_waits().await;
    sandbox.approve("ben").expect("ben may");
    sandbox.policy_is_granted(&id).await;
    assert_eq!(ana.ssm("StopAutomationExecution", stop(&id)).await.status, 200);
    sandbox.execution_is(&id, "Cancelled").await;
    let execution = sandbox.execution(&id).expect("it is there");
    assert_eq!(step(&execution, "window")["StepStatus"], "Cancelled");
    assert_eq!(step(&execution, "revoke")["StepStatus"], "Success");
    assert!(granted_policy(&sandbox, &id).is_null());
    let over = ana.ssm("StopAutomationExecution", stop(&id)).await.error();
    assert_eq!(over.0, "InvalidAutomationStatusUpdateException");
}

#[tokio::test]
async fn a_retried_click_is_one_request() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    assert_eq!(started(&ana).await, started(&ana).await, "one ClientToken, one execution");
    let other = ana.ssm("StartAutomationExecution", asked(&[("Access", "read-write")])).await;
    assert_eq!(other.error().0, "IdempotentParameterMismatch");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    for change in [("Duration", "PT3M"), ("Access", "admin"), ("Justification", ""), ("Nonsense", "x")] {
        let refused = ana.ssm("StartAutomationExecution", asked(&[change])).await.error();
        assert_eq!(refused.0, "InvalidAutomationExecutionParametersException", "{change:?}: {}", refused.1);
    }
    let id =
        ana.ssm("StartAutomationExecution", asked(&[("Database", "nowhere")])).await.json()["AutomationExecutionId"]
            .as_str()
            .expect("the runbook itself looks the database up")
            .to_owned();
    sandbox.execution_is(&id, "Failed").await;
    let failure = sandbox.execution(&id).expect("it is there")["FailureMessage"].clone();
    assert!(failure.as_str().expect("a text").contains("nowhere not found"), "{failure}");
    let ben = Client::new(&sandbox, "ben", "JitRdsApprover");
    let (code, text) = ben.ssm("StartAutomationExecution", asked(&[])).await.error();
    assert_eq!(code, "AccessDeniedException");
    assert_eq!(
        text,
        "User: arn:aws:sts::111122223333:assumed-role/JitRdsApprover/ben@acme.dev is not authorized to perform: \
         ssm:StartAutomationExecution on resource: \
         arn:aws:ssm:eu-west-1:111122223333:document/Daypass-TemporaryAccess because no identity-based policy allows the \
         ssm:StartAutomationExecution action"
    );
}

#[tokio::test]
async fn executions_are_listed_by_status_and_in_pages() {
    let sandbox = account().await;
    let (ana, ben) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "ben", "JitRdsApprover"));
    let mut ids = Vec::new();
    for n in 0..3 {
        let mut ask = asked(&[]);
        ask["ClientToken"] = format!("{n}e3f9c2a-5b1d-4c8e-9f60-2a7b8c9d0e1f").into();
        let answer = ana.ssm("StartAutomationExecution", ask).await.json();
        let id = answer["AutomationExecutionId"].as_str().expect("an id").to_owned();
        sandbox.execution_is(&id, "Waiting").await;
        ids.push(id);
    }
    let filters = json!([
        { "Key": "DocumentNamePrefix", "Values": ["Daypass-"] },
        { "Key": "ExecutionStatus", "Values": ["Waiting"] },
    ]);
    let list = |more: Value| {
        let mut input = json!({ "Filters": filters.clone(), "MaxResults": 2 });
        if more.is_string() {
            input["NextToken"] = more;
        }
        ben.ssm("DescribeAutomationExecutions", input)
    };
    let first = list(Value::Null).await.json();
    let second = list(first["NextToken"].clone()).await.json();
    let listed: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["AutomationExecutionMetadataList"].as_array().expect("a list"))
        .map(|entry| entry["AutomationExecutionId"].as_str().expect("an id"))
        .collect();
    let newest_first: Vec<&str> = ids.iter().rev().map(String::as_str).collect();
    assert_eq!(listed, newest_first);
    assert!(second["NextToken"].is_null());
    let unknown = json!({ "Filters": [{ "Key": "ExecutedBy", "Values": ["x"] }] });
    assert_eq!(ben.ssm("DescribeAutomationExecutions", unknown).await.error().0, "InvalidFilterKey");
}

#[tokio::test]
async fn the_colleague_approves_after_the_time_that_was_set() {
    let after = Some(Duration::from_secs(30));
    let sandbox = account_with(SandboxConfig { colleague: after, ..SandboxConfig::default() }).await;
    let id = started(&Client::new(&sandbox, "ana", "JitRds")).await;
    assert_eq!(sandbox.request_waits().await, id, "not at once");
    sandbox.clock().advance(Duration::from_secs(31));
    sandbox.policy_is_granted(&id).await;
    let execution = sandbox.execution(&id).expect("it is there");
    assert!(
        step(&execution, "approve")["Outputs"]["ApproverDecisions"][0]
            .as_str()
            .expect("a text")
            .contains("ben@acme.dev")
    );
}

#[tokio::test]
async fn throttling_is_answered_as_often_as_it_was_set() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    sandbox.throttle("StartAutomationExecution", 1);
    let (code, text) = ana.ssm("StartAutomationExecution", asked(&[])).await.error();
    assert_eq!((code.as_str(), text.as_str()), ("ThrottlingException", "Rate exceeded"));
    started(&ana).await;
    let outcomes: Vec<Option<String>> = sandbox.calls().into_iter().map(|call| call.error).collect();
    assert_eq!(outcomes, [Some("ThrottlingException".to_owned()), None], "both are in the journal");
}

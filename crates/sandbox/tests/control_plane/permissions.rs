//! Policies, evaluated by themselves.

use sandbox::{Ask, Decision, PolicyDocument, PolicyFlaw, evaluate};
use serde_json::{Value, json};

fn policy(statements: Value) -> PolicyDocument {
    PolicyDocument::from_json(&json!({ "Version": "2012-10-17", "Statement": statements })).expect("a policy")
}

const TABLE: &str = "arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-A/app_ro";

fn granted() -> PolicyDocument {
    policy(json!([{
        "Effect": "Allow",
        "Action": "rds-db:connect",
        "Resource": TABLE,
        "Condition": {
            "DateLessThan": { "aws:CurrentTime": "2026-11-22T10:00:00Z" },
            "StringLike": { "aws:userid": "*:ana@acme.dev" },
        },
    }]))
}

fn login(at: &str, user_id: &str) -> Ask {
    Ask::new("rds-db:connect", TABLE).with("aws:CurrentTime", at).with("aws:userid", user_id)
}

#[test]
fn a_grant_holds_for_its_person_until_its_date() {
    let cases = [
        ("2026-11-22T09:59:59Z", "AROA1:ana@acme.dev", Decision::Allowed),
        ("2026-11-22T10:00:00Z", "AROA1:ana@acme.dev", Decision::NotAllowed),
        ("2026-11-22T09:59:59Z", "AROA1:ben@acme.dev", Decision::NotAllowed),
        ("2026-11-22T09:59:59Z", "AROA1:xana@acme.dev", Decision::NotAllowed),
    ];
    for (at, user_id, expected) in cases {
        assert_eq!(evaluate(&[granted()], &login(at, user_id)), expected, "{user_id} at {at}");
    }
}

#[test]
fn a_grant_without_its_keys_does_not_hold() {
    let nobody = Ask::new("rds-db:connect", TABLE);
    assert_eq!(evaluate(&[granted()], &nobody), Decision::NotAllowed, "missing keys fail closed");
    let no_time = nobody.with("aws:userid", "AROA1:ana@acme.dev");
    assert_eq!(evaluate(&[granted()], &no_time), Decision::NotAllowed);
}

#[test]
fn a_deny_beats_every_allow() {
    let deny = policy(json!([{ "Effect": "Deny", "Action": "rds-db:*", "Resource": "*" }]));
    let ask = login("2026-11-22T09:00:00Z", "AROA1:ana@acme.dev");
    for policies in [[granted(), deny.clone()], [deny, granted()]] {
        assert_eq!(evaluate(&policies, &ask), Decision::ExplicitlyDenied, "in whichever order");
    }
}

#[test]
fn actions_ignore_case_and_resources_do_not() {
    let lower = policy(json!([{ "Effect": "Allow", "Action": "RDS-DB:Connect", "Resource": TABLE }]));
    assert_eq!(evaluate(std::slice::from_ref(&lower), &Ask::new("rds-db:connect", TABLE)), Decision::Allowed);
    let other = Ask::new("rds-db:connect", TABLE.replace("app_ro", "APP_RO"));
    assert_eq!(evaluate(&[lower], &other), Decision::NotAllowed, "database users are case-sensitive");
}

#[test]
fn a_variable_in_a_policy_stands_for_the_caller() {
    let own = policy(json!([{
        "Effect": "Allow", "Action": "ssm:TerminateSession", "Resource": "*",
        "Condition": { "StringLike": { "ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}" } },
    }]));
    let ask = |tag: &str| {
        Ask::new("ssm:TerminateSession", "*")
            .with("aws:userid", "AROA1:ana")
            .with("ssm:resourceTag/aws:ssmmessages:session-id", tag)
    };
    assert_eq!(evaluate(std::slice::from_ref(&own), &ask("AROA1:ana")), Decision::Allowed);
    assert_eq!(evaluate(std::slice::from_ref(&own), &ask("AROA1:ben")), Decision::NotAllowed);
    let nameless = Ask::new("ssm:TerminateSession", "*").with("ssm:resourceTag/aws:ssmmessages:session-id", "");
    assert_eq!(evaluate(&[own], &nameless), Decision::NotAllowed, "a variable without a value matches nothing");
}

#[test]
fn the_document_check_is_asked_only_where_it_is_known() {
    let tunnel = policy(json!([{
        "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*",
        "Condition": { "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" } },
    }]));
    let ask = Ask::new("ssm:StartSession", "arn:aws:ec2:eu-west-1:1:instance/i-1");
    assert_eq!(evaluate(std::slice::from_ref(&tunnel), &ask), Decision::Allowed);
    let unchecked = ask.with("ssm:SessionDocumentAccessCheck", "false");
    assert_eq!(evaluate(&[tunnel], &unchecked), Decision::NotAllowed);
}

#[test]
fn what_cannot_be_understood_is_no_policy() {
    let unknown = PolicyDocument::from_json(&json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "StringMostlyLike": { "aws:userid": "x" } },
    }] }));
    let flaw = unknown.expect_err("an operator nobody knows must not be passed over");
    assert_eq!(flaw, PolicyFlaw::UnknownOperator { operator: "StringMostlyLike".into() });
    let negated =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "NotAction": "*", "Resource": "*" }] });
    let flaw = PolicyDocument::from_json(&negated).expect_err("NotAction is not evaluated, so it must not be accepted");
    assert!(flaw.to_string().contains("NotAction"), "{flaw}");
}

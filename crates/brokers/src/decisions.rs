//! What an `aws:approve` step says about who answered.
//!
//! AWS documents the field names `Approver`, `ApprovalStatus` and `ApprovalDecisionTime`, but not their exact form over the
//! API: one JSON object a list element or one JSON list of them, an ARN or a name. All are read.

use aws::Step;
use model::Decision;
use serde_json::Value;

/// One approver's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Who, by their own name.
    pub(crate) by: Option<String>,
    /// Yes or no.
    pub(crate) decision: Decision,
    /// What they said.
    pub(crate) comment: Option<String>,
}

/// The answer that decided; none while the step waits.
pub(crate) fn answer(approve: &Step) -> Option<Answer> {
    let answers: Vec<Answer> = outputs(approve, "ApproverDecisions").filter_map(|text| read(text)).flatten().collect();
    let status = outputs(approve, "ApprovalStatus").next().and_then(|word| decision(word));
    let decided = status.or_else(|| answers.iter().map(|a| a.decision).find(|d| *d == Decision::Deny))?;
    let named = answers.into_iter().rev().find(|answer| answer.decision == decided);
    Some(named.unwrap_or(Answer { by: None, decision: decided, comment: None }))
}

/// The name of a person in an ARN: the session of an assumed role, the name of a user; anything else is taken as it is.
pub(crate) fn person(arn: &str) -> &str {
    if arn.starts_with("arn:") { arn.rsplit('/').next().unwrap_or(arn) } else { arn }
}

fn outputs<'a>(step: &'a Step, name: &str) -> impl Iterator<Item = &'a String> {
    step.outputs.get(name).into_iter().flatten()
}

fn read(text: &str) -> Option<Vec<Answer>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let entries = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
    Some(entries.iter().filter_map(read_one).collect())
}

fn read_one(entry: &Value) -> Option<Answer> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(Answer {
        by: text("Approver").map(|approver| person(approver).to_owned()),
        decision: decision(text("ApprovalStatus")?)?,
        comment: text("Comment").map(str::to_owned),
    })
}

fn decision(word: &str) -> Option<Decision> {
    match word {
        "Approve" | "Approved" => Some(Decision::Approve),
        "Reject" | "Rejected" => Some(Decision::Deny),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws::ExecutionStatus;

    use super::*;

    fn approve(status: &str, decisions: &[&str]) -> Step {
        let outputs = [
            ("ApprovalStatus".to_owned(), vec![status.to_owned()]),
            ("ApproverDecisions".to_owned(), decisions.iter().map(|&d| d.to_owned()).collect()),
        ];
        Step {
            name: "approve".into(),
            status: ExecutionStatus::Success,
            outputs: BTreeMap::from(outputs),
            started_at: None,
            ended_at: None,
            timeout_seconds: None,
            failure: None,
        }
    }

    const BEN: &str = r#"{"Approver":"arn:aws:sts::111122223333:assumed-role/JitRdsApprover/ben@acme.dev","ApprovalStatus":"Approve"}"#;

    #[test]
    fn every_form_of_the_decisions_names_the_approver() {
        for (decisions, by) in [
            (vec![BEN.to_owned()], Some("ben@acme.dev")),
            (vec![format!("[{BEN}]")], Some("ben@acme.dev")),
            (vec![r#"{"Approver":"ben","ApprovalStatus":"Approved"}"#.to_owned()], Some("ben")),
            (vec!["not JSON".to_owned()], None),
            (vec![], None),
        ] {
            let decisions: Vec<&str> = decisions.iter().map(String::as_str).collect();
            let answer = answer(&approve("Approved", &decisions)).expect("the status says so");
            assert_eq!((answer.by.as_deref(), answer.decision), (by, Decision::Approve), "{decisions:?}");
        }
    }

    #[test]
    fn a_denial_comes_with_its_words() {
        let eva = r#"{"Approver":"eva@acme.dev","ApprovalStatus":"Reject","Comment":"not today"}"#;
        let answer = answer(&approve("Rejected", &[BEN, eva])).expect("somebody answered");
        assert_eq!(
            answer,
            Answer { by: Some("eva@acme.dev".into()), decision: Decision::Deny, comment: Some("not today".into()) }
        );
    }

    #[test]
    fn a_step_that_waits_has_no_answer_even_after_one_of_two_approvals() {
        assert_eq!(answer(&approve("Waiting", &[BEN])), None);
        assert_eq!(answer(&approve("", &[])), None);
    }

    #[test]
    fn a_person_is_the_last_part_of_an_arn() {
        assert_eq!(person("arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev"), "ana@acme.dev");
        assert_eq!(person("arn:aws:iam::111122223333:user/team/ben"), "ben");
        assert_eq!(person("a/b"), "a/b");
    }
}

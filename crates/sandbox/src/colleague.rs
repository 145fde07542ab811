//! Somebody who answers requests.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::SignedDuration;

use crate::account::APPROVERS;
use crate::automation::{self, Execution};
use crate::cloud::Cloud;
use crate::sts;

/// An answer that could not be given.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnswerFlaw {
    /// Nothing waits.
    #[error("no request waits for an answer; start one first")]
    NothingWaits,
    /// As the service words it.
    #[error("{who} cannot answer: {why}")]
    Refused {
        /// The colleague.
        who: String,
        /// The service's text.
        why: String,
    },
    /// Not one of the people.
    #[error("nobody is called `{who}`: take ana, ben or eva")]
    UnknownPerson {
        /// As given.
        who: String,
    },
}

/// What is answered.
pub(crate) struct Answer<'a> {
    pub(crate) who: &'a str,
    pub(crate) approved: bool,
    pub(crate) comment: Option<String>,
    /// None: the one that has waited longest.
    pub(crate) execution: Option<&'a str>,
}

/// Answers one request through the same door as SendAutomationSignal and says which.
pub(crate) fn answer(cloud: &Cloud, answer: Answer<'_>) -> Result<String, AnswerFlaw> {
    let unknown = || AnswerFlaw::UnknownPerson { who: answer.who.to_owned() };
    let person = cloud.account.person(answer.who).ok_or_else(unknown)?;
    let role = cloud.iam.role(APPROVERS).ok_or_else(unknown)?;
    let execution = waiting(cloud)
        .into_iter()
        .find(|waiting| answer.execution.is_none_or(|id| waiting.id == id))
        .ok_or(AnswerFlaw::NothingWaits)?;
    let caller = sts::session(cloud, APPROVERS, &role, person.email);
    automation::decide(cloud, &execution, &caller, answer.approved, answer.comment)
        .map_err(|error| AnswerFlaw::Refused { who: answer.who.to_owned(), why: error.message })?;
    Ok(execution.id.clone())
}

/// Executions that wait for an answer, oldest first.
pub(crate) fn waiting(cloud: &Cloud) -> Vec<Arc<Execution>> {
    let mut waiting = cloud.automation.executions();
    waiting.retain(|execution| execution.is_waiting());
    waiting.reverse();
    waiting
}

/// Approves every request as ben, each `after` it began.
pub(crate) async fn approve_each(cloud: Weak<Cloud>, after: Duration) {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let Some(mut changes) = cloud.upgrade().map(|cloud| cloud.automation.changes()) else { return };
    let mut seen = BTreeSet::new();
    loop {
        let Some(here) = cloud.upgrade() else { return };
        for execution in waiting(&here) {
            if seen.insert(execution.id.clone()) {
                tokio::spawn(approve_later(Weak::clone(&cloud), execution, after));
            }
        }
        drop(here);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn approve_later(cloud: Weak<Cloud>, execution: Arc<Execution>, after: SignedDuration) {
    let Some(clock) = cloud.upgrade().map(|cloud| cloud.clock.clone()) else { return };
    let at = execution.started().saturating_add(after).unwrap_or_else(|_| execution.started());
    clock.wait_until(at).await;
    let Some(cloud) = cloud.upgrade() else { return };
    let approval = Answer { who: "ben", approved: true, comment: None, execution: Some(&execution.id) };
    if let Err(flaw) = answer(&cloud, approval) {
        tracing::info!(execution = execution.id, %flaw, "the colleague came too late");
    }
}

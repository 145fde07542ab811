//! What is remembered of sessions: DescribeSessions, active and history.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sessions;
use crate::automation::epoch_seconds;
use crate::sigv4::Caller;
use crate::wire::{ApiError, Protocol};

/// One session that was started.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) document: String,
    pub(crate) reason: Option<String>,
    pub(crate) owner: Caller,
    pub(crate) started: Timestamp,
    /// When its end was noticed.
    pub(crate) ended: Option<Timestamp>,
}

impl Sessions {
    pub(super) fn keep(&self, record: SessionRecord) {
        self.records.lock().expect("nothing panics while it holds the records").insert(record.id.clone(), record);
    }

    pub(super) fn record(&self, id: &str) -> Option<SessionRecord> {
        self.records.lock().expect("nothing panics while it holds the records").get(id).cloned()
    }

    /// Newest first.
    pub(crate) fn records(&self) -> Vec<SessionRecord> {
        let records = self.records.lock().expect("nothing panics while it holds the records");
        let mut all: Vec<SessionRecord> = records.values().cloned().collect();
        all.sort_by_key(|record| std::cmp::Reverse(record.started));
        all
    }

    /// Sessions end in the data channel; the record learns of it when somebody looks.
    pub(crate) fn note_ends(&self, now: Timestamp) {
        let mut records = self.records.lock().expect("nothing panics while it holds the records");
        for record in records.values_mut().filter(|record| record.ended.is_none()) {
            if !self.channels.is_open(&record.id) {
                record.ended = Some(now);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    state: String,
    #[serde(default)]
    filters: Vec<Filter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    key: String,
    value: String,
}

pub(super) fn describe(sessions: &Sessions, input: &Describe, now: Timestamp) -> Result<Value, ApiError> {
    sessions.note_ends(now);
    let active = match input.state.as_str() {
        "Active" => true,
        "History" => false,
        other => {
            let text = format!(
                "1 validation error detected: Value '{other}' at 'state' failed to satisfy constraint: Member must satisfy \
                 enum value set: [Active, History]"
            );
            return Err(ApiError::validation(Protocol::Json, text));
        }
    };
    let mut listed = Vec::new();
    for record in sessions.records().into_iter().filter(|record| record.ended.is_none() == active) {
        let mut passes = true;
        for filter in &input.filters {
            passes &= filter.passes(&record)?;
        }
        if passes {
            listed.push(record);
        }
    }
    let skipped = match input.next_token.as_deref() {
        None => 0,
        Some(token) => listed
            .iter()
            .position(|record| record.id == token)
            .ok_or_else(|| ApiError::new("InvalidNextToken", "The specified token is not valid."))?,
    };
    let most = input.max_results.unwrap_or(200).clamp(1, 200);
    let page: Vec<Value> = listed.iter().skip(skipped).take(most).map(SessionRecord::shown).collect();
    let mut answer = json!({ "Sessions": page });
    if let Some(next) = listed.get(skipped + most) {
        answer["NextToken"] = next.id.as_str().into();
    }
    Ok(answer)
}

impl Filter {
    fn passes(&self, record: &SessionRecord) -> Result<bool, ApiError> {
        let value = self.value.as_str();
        let edge = || {
            let text = format!("The filter value {value} is no instant.");
            value.parse::<Timestamp>().map_err(|_| ApiError::new("InvalidFilterKey", text))
        };
        match self.key.as_str() {
            "InvokedAfter" => Ok(record.started > edge()?),
            "InvokedBefore" => Ok(record.started < edge()?),
            "Owner" => Ok(record.owner.arn == value),
            "SessionId" => Ok(record.id == value),
            "Status" => Ok(record.status() == value),
            "Target" => Ok(record.target == value),
            other => Err(ApiError::new("InvalidFilterKey", format!("The filter key {other} is not valid."))),
        }
    }
}

impl SessionRecord {
    pub(crate) fn status(&self) -> &'static str {
        if self.ended.is_some() { "Terminated" } else { "Connected" }
    }

    pub(crate) fn shown(&self) -> Value {
        let mut shown = json!({
            "SessionId": self.id,
            "Target": self.target,
            "Status": self.status(),
            "StartDate": epoch_seconds(self.started),
            "DocumentName": self.document,
            "Owner": self.owner.arn,
            "AccessType": "Standard",
        });
        if let Some(reason) = &self.reason {
            shown["Reason"] = reason.as_str().into();
        }
        if let Some(ended) = self.ended {
            shown["EndDate"] = epoch_seconds(ended);
        }
        shown
    }
}

//! DescribeAutomationExecutions: newest first, by filters, in pages.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Automation, Execution};
use crate::account::RUNBOOK;
use crate::wire::{ApiError, Protocol};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    #[serde(default)]
    filters: Vec<Filter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

pub(super) fn describe(automation: &Automation, input: &Describe) -> Result<Value, ApiError> {
    let most = input.max_results.unwrap_or(50);
    if !(1..=50).contains(&most) {
        let text = format!(
            "1 validation error detected: Value '{most}' at 'maxResults' failed to satisfy constraint: Member must have \
             value less than or equal to 50"
        );
        return Err(ApiError::validation(Protocol::Json, text));
    }
    let mut listed = Vec::new();
    for execution in automation.executions() {
        let mut passes = true;
        for filter in &input.filters {
            passes &= filter.passes(&execution)?;
        }
        if passes {
            listed.push(execution);
        }
    }
    let skipped = match input.next_token.as_deref() {
        None => 0,
        Some(token) => listed
            .iter()
            .position(|execution| execution.id == token)
            .ok_or_else(|| ApiError::new("InvalidNextToken", "The specified token is not valid."))?,
    };
    let page: Vec<Value> = listed.iter().skip(skipped).take(most).map(|execution| execution.listed()).collect();
    let mut answer = json!({ "AutomationExecutionMetadataList": page });
    if let Some(next) = listed.get(skipped + most) {
        answer["NextToken"] = next.id.as_str().into();
    }
    Ok(answer)
}

impl Filter {
    fn passes(&self, execution: &Execution) -> Result<bool, ApiError> {
        let passes = match self.key.as_str() {
            "DocumentNamePrefix" => self.values.iter().any(|prefix| RUNBOOK.starts_with(prefix.as_str())),
            "ExecutionId" => self.values.contains(&execution.id),
            "ExecutionStatus" => self.values.iter().any(|status| status == execution.status().as_str()),
            "StartTimeAfter" => self.instants().any(|edge| execution.started() > edge),
            "StartTimeBefore" => self.instants().any(|edge| execution.started() < edge),
            other => {
                let text = format!("The filter key {other} is not valid.");
                return Err(ApiError::new("InvalidFilterKey", text));
            }
        };
        Ok(passes)
    }

    fn instants(&self) -> impl Iterator<Item = jiff::Timestamp> {
        self.values.iter().filter_map(|value| value.parse().ok())
    }
}

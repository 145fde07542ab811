//! Who called what, for assertions and for people who want to see.

use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// One call to an AWS service of the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// On the sandbox's clock.
    pub at: Timestamp,
    /// `sts`, `ssm`, `rds`, or empty when nobody could tell.
    pub service: String,
    /// `StartSession`.
    pub operation: String,
    /// The caller's ARN; none for unsigned calls and for signatures that are not believed.
    pub caller: Option<String>,
    /// The fields that were sent, without IdTokens.
    pub input: Value,
    /// The error code; none when it was carried out.
    pub error: Option<String>,
    /// The error's text.
    pub message: Option<String>,
}

/// Every call since the start.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Vec<Call>>);

impl Journal {
    pub(crate) fn write(&self, call: Call) {
        tracing::debug!(service = call.service, operation = call.operation, error = call.error, "called");
        self.0.lock().expect("nothing panics while it holds the journal").push(call);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().expect("nothing panics while it holds the journal").clone()
    }
}

//! An error as a person reads it.

use serde::{Deserialize, Serialize};

/// What went wrong, why, and what to do. It holds nothing secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct ErrorView {
    /// Stable, for programs: `not-signed-in`, `port-in-use`.
    pub code: String,
    /// The input and the cause in one sentence, without a full stop.
    pub message: String,
    /// The next step in one sentence, without a full stop.
    pub hint: String,
}

impl ErrorView {
    /// Puts the three together.
    pub fn new(code: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for ErrorView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorView {}

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
    /// The next step: a sentence that begins with a capital, without a full stop.
    pub hint: String,
}

impl ErrorView {
    /// Puts the three together; the hint's first letter is made a capital.
    pub fn new(code: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint: String = hint.into();
        let mut letters = hint.chars();
        let hint = letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
        Self { code: code.into(), message: message.into(), hint }
    }
}

impl std::fmt::Display for ErrorView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorView {}

//! Data goes to stdout, words go to stderr, and both can be JSON.

use std::io::{self, Write as _};

use model::ErrorView;
use serde::Serialize;

/// Where a command's output goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Whether data is printed as JSON.
    pub(crate) json: bool,
}

impl Terminal {
    /// Prints data: `text` for people, or `value` as JSON.
    pub(crate) fn data(self, text: &str, value: &impl Serialize) {
        if self.json {
            self.line(&serde_json::to_string_pretty(value).unwrap_or_default());
        } else if !text.is_empty() {
            self.line(text);
        }
    }

    /// Prints one line of data as it is.
    pub(crate) fn line(self, text: &str) {
        // A reader that closed the pipe has read enough.
        let _closed = writeln!(io::stdout().lock(), "{text}");
    }

    /// Says something to the person.
    pub(crate) fn say(self, words: &str) {
        let _closed = writeln!(io::stderr().lock(), "{words}");
    }

    /// Tells an error with its cause and next step.
    pub(crate) fn fail(self, error: &ErrorView) {
        if self.json {
            self.say(&serde_json::json!({ "error": error }).to_string());
        } else {
            self.say(&format!("error: {}\n  hint: {}\n  code: {}", error.message, error.hint, error.code));
        }
    }
}

//! How a command ends when it does not end well.

use ipc::IpcError;
use model::ErrorView;

/// What is told, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) view: ErrorView,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { view: ErrorView::new(code, message, hint) }
    }

    /// As documented in `daypass --help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.view.code.as_str() {
            "not-signed-in" | "sign-in-failed" | "sign-in-cancelled" | "sign-in-timed-out" => 3,
            "already-pending" | "denied" | "lapsed" | "not-authorized" | "not-granted" | "own-request" => 4,
            "aws-unreachable" | "bastion-offline" | "no-agent" | "timed-out" => 5,
            _ => 1,
        }
    }
}

impl From<IpcError> for Failure {
    fn from(error: IpcError) -> Self {
        Self { view: error.view() }
    }
}

impl From<ErrorView> for Failure {
    fn from(view: ErrorView) -> Self {
        Self { view }
    }
}

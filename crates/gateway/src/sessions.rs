//! The questions a Tunnel asks AWS Systems Manager.

use secrets::Secret;

/// Sessions of one Target through one Bastion, with credentials as fresh as the Identity allows.
pub trait Sessions: Send + Sync + 'static {
    /// `ssm:StartSession`.
    fn start(&self) -> impl Future<Output = Result<StartedSession, SessionError>> + Send;

    /// `ssm:ResumeSession`; `None` when the session is gone.
    fn resume(&self, session_id: &str) -> impl Future<Output = Result<Option<ResumedSession>, SessionError>> + Send;

    /// `ssm:TerminateSession`. That it has already ended is success.
    fn terminate(&self, session_id: &str) -> impl Future<Output = Result<(), SessionError>> + Send;
}

impl<S: Sessions> Sessions for std::sync::Arc<S> {
    fn start(&self) -> impl Future<Output = Result<StartedSession, SessionError>> + Send {
        S::start(self)
    }

    fn resume(&self, session_id: &str) -> impl Future<Output = Result<Option<ResumedSession>, SessionError>> + Send {
        S::resume(self, session_id)
    }

    fn terminate(&self, session_id: &str) -> impl Future<Output = Result<(), SessionError>> + Send {
        S::terminate(self, session_id)
    }
}

/// Answer of StartSession.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// As AWS names it.
    pub session_id: String,
    /// `wss:`, used as it is, with its query.
    pub stream_url: String,
    /// Opens the first websocket; short-lived.
    pub token: Secret<String>,
}

/// Answer of ResumeSession.
#[derive(Clone, Debug)]
pub struct ResumedSession {
    /// Replaces the one known so far, if present.
    pub stream_url: Option<String>,
    /// Opens the next websocket; short-lived.
    pub token: Secret<String>,
}

/// Why AWS gave no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The session has ended: a new one is needed.
    #[error("the session has ended")]
    Gone,
    /// AWS said no. Asking again helps only once permissions, credentials or the Bastion have changed.
    #[error("AWS refused the session: {message} ({code})")]
    Refused {
        /// As `AccessDeniedException` or `TargetNotConnected`.
        code: String,
        /// In AWS's words.
        message: String,
    },
    /// AWS did not answer.
    #[error("AWS Systems Manager did not answer: {message}")]
    Unreachable {
        /// In the words of whoever tried.
        message: String,
    },
}

//! What can go wrong between two processes.

use std::{io, path::PathBuf};

use model::ErrorView;

/// Why the other process could not be reached or understood.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// Another process serves this socket.
    #[error("another Daypass already serves {path}; quit it first (`daypass quit`)")]
    AnotherAgent {
        /// The socket.
        path: PathBuf,
    },
    /// The other end hung up.
    #[error("the agent ended the connection; see whether it still runs with `daypass status`")]
    Closed,
    /// The operating system said no.
    #[error("could not {doing} {path}: {source}")]
    Io {
        /// A verb phrase.
        doing: &'static str,
        /// The socket or its folder.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the agent broke ({0}); try again")]
    Broken(#[source] io::Error),
    /// A line that is no message.
    #[error("a message could not be understood ({0}); both programs must be of the same version")]
    Malformed(#[source] serde_json::Error),
    /// Nobody listens.
    #[error("no Daypass agent answers at {path}; start the tray application or `daypass agent`")]
    NoAgent {
        /// The socket.
        path: PathBuf,
    },
    /// The system allows only short socket paths.
    #[error("the socket path {path} is longer than {limit} bytes; set XDG_RUNTIME_DIR to a shorter folder")]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// What the system allows.
        limit: usize,
    },
    /// The agent understood the question and said no.
    #[error("{0}")]
    Refused(ErrorView),
    /// A message that nobody should send.
    #[error("a message is longer than {limit} bytes; the connection is given up")]
    TooLong {
        /// The most that is read or sent.
        limit: usize,
    },
    /// An answer to another question.
    #[error("the agent sent an answer of the wrong kind; both programs must be of the same version")]
    UnexpectedAnswer,
    /// Somebody else could put a socket of their own there.
    #[error("{path} cannot hold the agent's socket: {why}; remove it, or set XDG_RUNTIME_DIR to a folder of your own")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The two programs speak different versions.
    #[error("the agent speaks version {theirs} and this program version {ours}; quit the older one and start it again")]
    VersionMismatch {
        /// This program's.
        ours: u32,
        /// The other's.
        theirs: u32,
    },
    /// The process at the other end runs as another user.
    #[error("the process behind {path} runs as another user; remove the socket if it is not yours")]
    WrongUser {
        /// The socket.
        path: PathBuf,
    },
}

impl IpcError {
    /// The error as every Shell shows it; what the agent refused is passed on as it is.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        if let Self::Refused(view) = self {
            return view.clone();
        }
        let text = self.to_string();
        let (message, hint) = text.rsplit_once("; ").unwrap_or((&text, "try again"));
        ErrorView::new(self.code(), message, hint)
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AnotherAgent { .. } => "another-agent",
            Self::Broken(_) | Self::Closed => "agent-gone",
            Self::Io { .. } | Self::PathTooLong { .. } | Self::UnsafeFolder { .. } => "no-socket",
            Self::Malformed(_) | Self::TooLong { .. } | Self::UnexpectedAnswer | Self::VersionMismatch { .. } => {
                "version-mismatch"
            }
            Self::NoAgent { .. } => "no-agent",
            Self::Refused(_) => "refused",
            Self::WrongUser { .. } => "wrong-user",
        }
    }
}

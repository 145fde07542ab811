//! What a Front tells.

/// What happens at a Front, in order for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEvent {
    /// A client connected. Nothing has been opened for it.
    Accepted {
        /// Counts the Front's connections.
        connection: u64,
        /// Where it came in.
        door: Door,
    },
    /// A program of this machine gave a wrong password.
    WrongPassword {
        /// Counts the Front's connections.
        connection: u64,
        /// Wrong ones in a row, over all connections.
        failures: u32,
    },
    /// The client is logged in to the Target.
    LoggedIn {
        /// Counts the Front's connections.
        connection: u64,
        /// The database user.
        user: String,
        /// The database.
        database: String,
        /// What the client calls itself; empty where it says nothing.
        application: String,
    },
    /// The client was not logged in. It has been told the same, as far as it listened.
    TurnedAway {
        /// Counts the Front's connections.
        connection: u64,
        /// Why.
        why: TurnedAway,
    },
    /// A connection that was logged in has ended.
    Closed {
        /// Counts the Front's connections.
        connection: u64,
        /// Bytes from the client to the Target, as they were before encryption.
        up: u64,
        /// Bytes from the Target to the client.
        down: u64,
        /// What went wrong, if anything.
        error: Option<String>,
    },
}

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The Unix socket.
    Socket,
    /// The port.
    Tcp,
}

/// Why a client was not logged in, in the words the client gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{} ({sqlstate})", .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct TurnedAway {
    /// For whoever branches.
    pub reason: Reason,
    /// Five characters, as both database protocols carry them.
    pub sqlstate: String,
    /// What happened; the database's own words where it has spoken.
    pub message: String,
    /// The particulars.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl TurnedAway {
    /// Without particulars.
    pub(crate) fn new(
        reason: Reason,
        sqlstate: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self { reason, sqlstate: sqlstate.to_owned(), message: message.into(), detail: None, hint: hint.into() }
    }
}

/// At what a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client itself: it broke the protocol, stalled or left.
    Client,
    /// The local password was wrong.
    LocalPassword,
    /// The local user was not the one this Front serves.
    LocalUser,
    /// There was nothing to log in with.
    Credential,
    /// The Target could not be reached.
    Route,
    /// The Target's certificate names another server.
    TlsName,
    /// The Target's certificate cannot be trusted.
    TlsChain,
    /// TLS failed otherwise, or is not offered.
    Tls,
    /// The database refused the credential.
    Authentication,
    /// The database refused something else, or does not speak its protocol.
    Database,
    /// It took too long.
    Late,
    /// The grant has ended.
    Ended,
}

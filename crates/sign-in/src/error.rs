//! What a caller can branch on when nobody is signed in at the end.

use model::ErrorView;

/// A sign-in that did not happen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignInError {
    /// What is found at the issuer's address is no such provider.
    #[error("{issuer} is not the identity provider it should be: {cause}")]
    BadProvider {
        /// The issuer as the catalog has it.
        issuer: String,
        /// What is wrong.
        cause: String,
    },
    /// The person declined in the browser. It is no failure.
    #[error("the sign-in at {issuer} was cancelled in the browser")]
    Cancelled {
        /// The issuer.
        issuer: String,
    },
    /// The identity provider ended the sign-in: only a person can renew it.
    #[error("{issuer} ended the sign-in: {cause}")]
    Ended {
        /// The issuer.
        issuer: String,
        /// Its words.
        cause: String,
    },
    /// The browser brought the answer of another identity provider.
    #[error("the answer came from {actual} instead of {issuer}")]
    MixedUp {
        /// The issuer that was asked.
        issuer: String,
        /// The one that answered.
        actual: String,
    },
    /// No port on this computer to bring the answer to.
    #[error("no port on 127.0.0.1 for the browser's answer: {cause}")]
    NoPort {
        /// The system's words.
        cause: String,
    },
    /// An address that would carry tokens in the clear.
    #[error("{url} is neither https nor on this computer")]
    PlainAddress {
        /// The address.
        url: String,
    },
    /// The identity provider answered with an error.
    #[error("{issuer} refused the sign-in with {code}: {cause}")]
    Refused {
        /// The issuer.
        issuer: String,
        /// The OAuth error code.
        code: String,
        /// Its words.
        cause: String,
    },
    /// Nobody signed in in time.
    #[error("nobody signed in at {issuer} within {minutes} minutes{}", strays_in_words(*.strays))]
    TimedOut {
        /// The issuer.
        issuer: String,
        /// The time there was.
        minutes: u64,
        /// How many answers were refused since they belonged to no or to another sign-in.
        strays: u32,
    },
    /// No answer.
    #[error("{issuer} does not answer: {cause}")]
    Unreachable {
        /// The issuer.
        issuer: String,
        /// What the network said.
        cause: String,
    },
    /// The IdToken does not prove who signed in.
    #[error("the IdToken of {issuer} cannot be trusted: {cause}")]
    Untrusted {
        /// The issuer.
        issuer: String,
        /// Which check failed.
        cause: String,
    },
    /// A renewal brought back somebody else.
    #[error("{issuer} renewed the sign-in of {actual}, not of {subject}")]
    WrongPerson {
        /// The issuer.
        issuer: String,
        /// Who was signed in.
        subject: String,
        /// Who came back.
        actual: String,
    },
}

impl SignInError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        ErrorView::new(self.code(), self.to_string(), self.hint())
    }

    /// Whether the same may succeed later with nothing done about it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "server_error" | "temporarily_unavailable"),
            Self::BadProvider { .. }
            | Self::Cancelled { .. }
            | Self::Ended { .. }
            | Self::MixedUp { .. }
            | Self::NoPort { .. }
            | Self::PlainAddress { .. }
            | Self::TimedOut { .. }
            | Self::Untrusted { .. }
            | Self::WrongPerson { .. } => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadProvider { .. } => "bad-identity-provider",
            Self::Cancelled { .. } => "sign-in-cancelled",
            Self::Ended { .. } => "sign-in-ended",
            Self::MixedUp { .. } => "sign-in-mixed-up",
            Self::NoPort { .. } => "no-port",
            Self::PlainAddress { .. } => "plain-address",
            Self::Refused { .. } => "sign-in-refused",
            Self::TimedOut { .. } => "sign-in-timed-out",
            Self::Unreachable { .. } => "identity-provider-unreachable",
            Self::Untrusted { .. } => "untrusted-id-token",
            Self::WrongPerson { .. } => "wrong-person",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::BadProvider { .. } => {
                "Compare the catalog's issuer with the identity provider's, including a slash at the end"
            }
            Self::Cancelled { .. } => "Sign in again when you are ready: `daypass sign-in`",
            Self::Ended { .. } | Self::WrongPerson { .. } => "Sign in again: `daypass sign-in`",
            Self::MixedUp { .. } => "Sign in again; if it stays, tell your administrator: somebody may be tampering",
            Self::NoPort { .. } => "Look for a firewall or a limit on open files, then sign in again",
            Self::PlainAddress { .. } => "Write https:// for the issuer in the catalog, or ask its administrator to",
            Self::Refused { code, .. } => refusal_hint(code),
            Self::TimedOut { .. } => "Sign in again and finish in the browser tab that opens",
            Self::Unreachable { .. } => "Check the network, VPN and HTTPS_PROXY, then sign in again",
            Self::Untrusted { cause, .. } if cause.starts_with("Expired") => {
                "Set this computer's clock by the network, then sign in again"
            }
            Self::Untrusted { .. } => {
                "Ask the administrator to compare issuer and client-id in the catalog with the provider's"
            }
        }
    }
}

fn refusal_hint(code: &str) -> &'static str {
    match code {
        "invalid_client" | "unauthorized_client" => {
            "Ask the administrator to register the catalog's client-id at the provider as a public client with PKCE"
        }
        "invalid_request" => "Ask the administrator to register http://127.0.0.1/callback (any port) as redirect URI",
        "invalid_scope" => "Ask the administrator to allow the scopes openid, email and profile",
        "server_error" | "temporarily_unavailable" => "Try again in a minute",
        _ => "Sign in again; if it stays, pass this on to the administrator of the identity provider",
    }
}

fn strays_in_words(strays: u32) -> String {
    match strays {
        0 => String::new(),
        1 => " (one answer of another sign-in was refused)".into(),
        strays => format!(" ({strays} answers of other sign-ins were refused)"),
    }
}

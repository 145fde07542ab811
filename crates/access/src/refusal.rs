//! Why a command is not carried out.

use model::{AccessDuration, ErrorView, IdentityProviderId, RequestId, RoleName, SessionId, TargetId, WallTime};

/// A command that is not carried out. [`std::fmt::Display`] names the input and the cause, [`Refusal::hint`] the next step.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A person is signed in; only one can be.
    #[error("{subject} is signed in")]
    AlreadySignedIn {
        /// Who.
        subject: String,
    },
    /// The duration is none of those the Entitlement allows.
    #[error("{target} cannot be had for {duration} as {role}; allowed: {}", listed(.allowed))]
    DurationNotAllowed {
        /// Of which Target.
        target: TargetId,
        /// As which Role.
        role: RoleName,
        /// What was asked for.
        duration: AccessDuration,
        /// What may be asked for.
        allowed: Vec<AccessDuration>,
    },
    /// The Gateway is open as another Role.
    #[error("{target} is open as {open}, not as {asked}")]
    GatewayOpenAs {
        /// Whose.
        target: TargetId,
        /// The Role it serves.
        open: RoleName,
        /// The Role that was asked for.
        asked: RoleName,
    },
    /// Access of that Role is in force already.
    #[error("{target} is granted as {role} until {expires_at}")]
    GrantActive {
        /// Which Target.
        target: TargetId,
        /// Which Role.
        role: RoleName,
        /// Until when, on this computer's clock.
        expires_at: WallTime,
    },
    /// The Grant is being given back.
    #[error("{role} access to {target} is being given back")]
    GrantBeingReleased {
        /// Which Target.
        target: TargetId,
        /// Which Role.
        role: RoleName,
    },
    /// Approved, but not yet in force.
    #[error("{role} access to {target} is approved but not in force yet")]
    GrantProvisioning {
        /// Which Target.
        target: TargetId,
        /// Which Role.
        role: RoleName,
    },
    /// The Catalog has several identity providers and none was named.
    #[error("no identity provider was named, and the catalog has {}", listed(.offered))]
    IdentityProviderNotNamed {
        /// What the Catalog has.
        offered: Vec<IdentityProviderId>,
    },
    /// A request without a reason.
    #[error("the request for {target} has no justification")]
    JustificationMissing {
        /// Which Target.
        target: TargetId,
    },
    /// There is nothing to give back.
    #[error("no grant for {target} is in force")]
    NoGrant {
        /// Which Target.
        target: TargetId,
    },
    /// The Catalog has no identity provider at all.
    #[error("the catalog names no identity provider")]
    NoIdentityProvider,
    /// Standing access needs no request.
    #[error("{role} access to {target} is standing: it needs no request")]
    NoRequestNeeded {
        /// Which Target.
        target: TargetId,
        /// Which Role.
        role: RoleName,
    },
    /// No Grant allows it.
    #[error("{role} access to {target} is not granted")]
    NotGranted {
        /// Which Target.
        target: TargetId,
        /// Which Role.
        role: RoleName,
    },
    /// It needs a person who is signed in.
    #[error("nobody is signed in, so {asked} cannot be done")]
    NotSignedIn {
        /// What was asked for.
        asked: String,
    },
    /// People do not answer their own requests.
    #[error("the request {broker_ref} is your own")]
    OwnReview {
        /// The broker's id of it.
        broker_ref: String,
    },
    /// The agent ends.
    #[error("Daypass is quitting")]
    Quitting,
    /// The request was answered before it was taken back.
    #[error("the request {request} for {target} was answered already")]
    RequestAnswered {
        /// Which.
        request: RequestId,
        /// For which Target.
        target: TargetId,
    },
    /// An earlier request for the Target waits for an answer.
    #[error("the request {request} for {target} still waits for an answer")]
    RequestPending {
        /// Which waits.
        request: RequestId,
        /// For which Target.
        target: TargetId,
    },
    /// The Target has no such Role.
    #[error("{target} cannot be had as {role}; offered: {}", listed(.offered))]
    RoleNotOffered {
        /// Which Target.
        target: TargetId,
        /// What was asked for.
        role: RoleName,
        /// What there is.
        offered: Vec<RoleName>,
    },
    /// A Gateway uses the session.
    #[error("the session {session} belongs to a database that is connected here")]
    SessionInUse {
        /// Which.
        session: SessionId,
    },
    /// The Catalog has no such identity provider.
    #[error("the catalog has no identity provider `{identity_provider}`; it has {}", listed(.offered))]
    UnknownIdentityProvider {
        /// What was given.
        identity_provider: IdentityProviderId,
        /// What the Catalog has.
        offered: Vec<IdentityProviderId>,
    },
    /// There is no such request of this person.
    #[error("no request {request} is known")]
    UnknownRequest {
        /// What was given.
        request: RequestId,
    },
    /// No such request waits for this person.
    #[error("no request {broker_ref} waits for your review")]
    UnknownReview {
        /// What was given.
        broker_ref: String,
    },
    /// No such SSM session of this person is known.
    #[error("no session {session} of yours is open")]
    UnknownSession {
        /// What was given.
        session: SessionId,
    },
    /// The Catalog has no such Target.
    #[error("the catalog has no database `{target}`")]
    UnknownTarget {
        /// What was given.
        target: TargetId,
        /// The likeliest one that was meant.
        nearest: Option<TargetId>,
    },
}

impl Refusal {
    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadySignedIn { .. } => "already-signed-in",
            Self::DurationNotAllowed { .. } => "duration-not-allowed",
            Self::GatewayOpenAs { .. } => "gateway-open-as-another-role",
            Self::GrantActive { .. } => "grant-active",
            Self::GrantBeingReleased { .. } => "grant-being-released",
            Self::GrantProvisioning { .. } => "grant-not-in-force-yet",
            Self::IdentityProviderNotNamed { .. } => "identity-provider-not-named",
            Self::JustificationMissing { .. } => "justification-missing",
            Self::NoGrant { .. } => "no-grant",
            Self::NoIdentityProvider => "no-identity-provider",
            Self::NoRequestNeeded { .. } => "no-request-needed",
            Self::NotGranted { .. } => "not-granted",
            Self::NotSignedIn { .. } => "not-signed-in",
            Self::OwnReview { .. } => "own-review",
            Self::Quitting => "quitting",
            Self::RequestAnswered { .. } => "request-answered",
            Self::RequestPending { .. } => "request-pending",
            Self::RoleNotOffered { .. } => "role-not-offered",
            Self::SessionInUse { .. } => "session-in-use",
            Self::UnknownIdentityProvider { .. } => "unknown-identity-provider",
            Self::UnknownRequest { .. } => "unknown-request",
            Self::UnknownReview { .. } => "unknown-review",
            Self::UnknownSession { .. } => "unknown-session",
            Self::UnknownTarget { .. } => "unknown-target",
        }
    }

    /// The next step, in one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadySignedIn { .. } => "Sign out first to sign in as somebody else".to_owned(),
            Self::DurationNotAllowed { allowed, .. } => format!("Ask for one of {}", listed(allowed)),
            Self::GatewayOpenAs { target, asked, .. } => format!("Disconnect {target} first, then open it as {asked}"),
            Self::GrantActive { target, .. } => format!("Connect to {target}; no new request is needed before it ends"),
            Self::GrantBeingReleased { target, .. } => {
                format!("Request access to {target} again once it is given back")
            }
            Self::GrantProvisioning { .. } => "Wait a moment: it takes effect by itself".to_owned(),
            Self::IdentityProviderNotNamed { offered } => format!("Name one of {}", listed(offered)),
            Self::JustificationMissing { .. } => "Say in a few words what the access is for".to_owned(),
            Self::NoGrant { .. } => "Nothing needs to be given back".to_owned(),
            Self::NoIdentityProvider => {
                "Add an identity provider to the catalog, or ask your administrator for one".to_owned()
            }
            Self::NoRequestNeeded { target, .. } => format!("Connect to {target} right away"),
            Self::NotGranted { target, role } => format!("Request {role} access to {target}"),
            Self::NotSignedIn { .. } => "Sign in first".to_owned(),
            Self::OwnReview { .. } => "Ask a colleague to answer it".to_owned(),
            Self::Quitting => "Start Daypass again".to_owned(),
            Self::RequestAnswered { target, .. } => format!("Look at {target}: give access back if it was granted"),
            Self::RequestPending { .. } => "Wait for the answer, or cancel that request first".to_owned(),
            Self::RoleNotOffered { offered, .. } => format!("Ask for {}", listed(offered)),
            Self::SessionInUse { .. } => "Disconnect that database instead".to_owned(),
            Self::UnknownIdentityProvider { offered, .. } => format!("Name one of {}", listed(offered)),
            Self::UnknownRequest { .. } => "List the databases to see the requests that wait".to_owned(),
            Self::UnknownReview { .. } => "Look at the list of reviews: it may have been answered meanwhile".to_owned(),
            Self::UnknownSession { .. } => "List the sessions: it may have ended meanwhile".to_owned(),
            Self::UnknownTarget { nearest: Some(nearest), .. } => format!("Did you mean `{nearest}`?"),
            Self::UnknownTarget { nearest: None, .. } => "List the databases to see their names".to_owned(),
        }
    }

    /// The refusal as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        ErrorView::new(self.code(), self.to_string(), self.hint())
    }
}

fn listed<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

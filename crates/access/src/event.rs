//! What the world answered.

use model::{
    ConnectionStrings, Entitlement, ErrorView, IdentityProvider, OpeningStep, PendingReview, Progress, Region,
    RequestId, SessionId, StepTime, Target, TargetId, WallTime,
};

/// Reported by the world. Every variant that answers an Effect comes with that effect's id, given beside it to
/// [`crate::Access::event`]. Instants that AWS named are on AWS's clock; `Access` converts them by the measured skew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The Catalog was read, at start or again.
    CatalogLoaded {
        /// Where one can sign in.
        identity_providers: Vec<IdentityProvider>,
        /// The Targets and how they may be had.
        entries: Vec<CatalogEntry>,
    },
    /// The Catalog could not be read; the old one stays in force.
    CatalogUnreadable {
        /// Why, with file, line and column.
        cause: ErrorView,
    },
    /// AWS's clock is this many seconds ahead of ours (negative: behind).
    ClockSkewMeasured {
        /// Seconds to add to our clock to get AWS's.
        seconds: i32,
    },
    /// The number of client connections of a Gateway changed.
    ConnectionsChanged {
        /// Whose.
        target: TargetId,
        /// How many there are.
        connections: u32,
    },
    /// A Gateway's tunnel broke; its port stays bound.
    GatewayBroke {
        /// Whose.
        target: TargetId,
        /// Why.
        cause: ErrorView,
    },
    /// A Gateway is closed and its SSM session terminated.
    GatewayClosed {
        /// Whose.
        target: TargetId,
    },
    /// A Gateway did not open, or is gone for good.
    GatewayFailed {
        /// Whose.
        target: TargetId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// A broken Gateway carries bytes again.
    GatewayHealed {
        /// Whose.
        target: TargetId,
    },
    /// Connections of an open Gateway ended or failed; it stays open.
    GatewayInterrupted {
        /// Which.
        target: TargetId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// A Gateway is open and proven.
    GatewayOpened {
        /// Whose.
        target: TargetId,
        /// How clients connect.
        connection: ConnectionStrings,
    },
    /// One step of opening a Gateway began; the one before it, if any, is done.
    GatewayStepped {
        /// Whose.
        target: TargetId,
        /// What is under way.
        step: OpeningStep,
        /// The step that was finished by it.
        done: Option<StepTime>,
    },
    /// The broker confirmed the end of a Grant.
    GrantReleased {
        /// Of which request.
        request: RequestId,
    },
    /// A Grant or a request could not be taken back at the broker; it still ends by itself.
    ReleaseFailed {
        /// Of which request.
        request: RequestId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// The broker has a request.
    RequestPlaced {
        /// Which.
        request: RequestId,
        /// The broker's id of it.
        broker_ref: String,
        /// When it lapses unanswered, on AWS's clock.
        lapses_at: Option<WallTime>,
    },
    /// The broker reported something about a request.
    RequestProgressed {
        /// Which.
        request: RequestId,
        /// What.
        progress: Progress,
    },
    /// The broker did not take a request.
    RequestRefused {
        /// Which.
        request: RequestId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// A Review was not taken.
    ReviewRefused {
        /// Of which request.
        broker_ref: String,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// A Review was taken.
    ReviewSubmitted {
        /// Of which request.
        broker_ref: String,
    },
    /// All requests that wait for this person.
    ReviewsListed {
        /// The requests.
        reviews: Vec<PendingReview>,
    },
    /// Where secrets are kept.
    SecretsKept {
        /// Where.
        kept_in: model::SecretsKeptIn,
    },
    /// An SSM session is over: a Gateway's own, or one that was to be ended.
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// A Gateway is done with its SSM session, which AWS could not be made to end.
    SessionLeft {
        /// Which.
        session: SessionId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// An SSM session that was to be ended was not.
    SessionNotEnded {
        /// Which.
        session: SessionId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// The SSM sessions of this person that have not ended.
    SessionsListed {
        /// Where AWS was asked.
        regions: Vec<Region>,
        /// The sessions there.
        found: Vec<FoundSession>,
        /// Why AWS could not be asked in the other Regions.
        unseen: Option<ErrorView>,
    },
    /// A Gateway has an SSM session.
    SessionStarted {
        /// Which.
        session: SessionId,
        /// Whose Gateway.
        target: TargetId,
    },
    /// A person is signed in: after a sign-in, or restored from the keychain at start.
    SignedIn {
        /// Where.
        identity_provider: model::IdentityProviderId,
        /// The verified name.
        subject: String,
        /// When only a person can renew it.
        expires_at: WallTime,
    },
    /// Signing in did not work, or a restored sign-in turned out to be of no more use.
    SignInFailed {
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// The page to open is known.
    SignInStarted {
        /// The page.
        authorize_url: String,
    },
}

/// An SSM session as AWS lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundSession {
    /// As AWS names it.
    pub id: SessionId,
    /// Where it is.
    pub region: Region,
    /// Which Target it leads to, by the reason it was started with.
    pub target: Option<TargetId>,
    /// Since when, on AWS's clock.
    pub since: Option<WallTime>,
    /// Whether Daypass started it, by the reason it was started with.
    pub ours: bool,
}

/// One Target and how it may be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatalogEntry {
    /// The database.
    pub target: Target,
    /// The Roles to be had; never empty.
    pub entitlements: Vec<Entitlement>,
}

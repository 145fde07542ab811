//! What the agent must do.

use model::{AccessRequest, Decision, IdentityProviderId, Region, RequestId, RoleName, SessionId, TargetId, WallTime};

/// Joins an [`Effect`] to the [`crate::Event`]s that answer it. An answer to an effect that was abandoned is ignored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EffectId(pub u64);

/// Something to be done in the world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Stop the sign-in that is under way; nothing is answered.
    AbandonSignIn,
    /// Start signing in. Answered by `SignInStarted`, then `SignedIn` or `SignInFailed`.
    BeginSignIn {
        /// Where.
        identity_provider: IdentityProviderId,
    },
    /// Close a Gateway: connections end, the SSM session is terminated, the handoff files are removed. Answered by `GatewayClosed`.
    CloseGateway {
        /// Whose.
        target: TargetId,
        /// Why, for the clients that are told.
        reason: CloseReason,
    },
    /// End a Grant at its broker. Answered by `GrantReleased` or `ReleaseFailed`.
    EndGrant {
        /// Which request led to it.
        request: RequestId,
        /// The broker's id of it.
        broker_ref: String,
        /// Which Target it is for.
        target: TargetId,
    },
    /// End an SSM session that no Gateway uses. Answered by `SessionEnded` or `SessionNotEnded`.
    EndSession {
        /// Which.
        session: SessionId,
        /// Where it is.
        region: Region,
    },
    /// Forget every secret of the Identity, in memory and in the keychain; nothing is answered. It comes when every Gateway of
    /// that Identity is closed, or 10 seconds after its sign-in ended.
    ForgetSecrets,
    /// Keep a port for a Target's Gateway, before the one in the Catalog; nothing is answered.
    KeepPort {
        /// Whose.
        target: TargetId,
        /// On 127.0.0.1 and ::1.
        port: u16,
    },
    /// Open a Gateway. Answered by `GatewayStepped`…, then `GatewayOpened` or `GatewayFailed`; while open by `ConnectionsChanged`,
    /// `GatewayBroke`, `GatewayHealed` and `GatewayInterrupted`.
    OpenGateway {
        /// Whose.
        target: TargetId,
        /// As which Role.
        role: RoleName,
        /// Whether access was granted moments ago, so that a refused login may only mean that IAM has not caught up.
        fresh_grant: bool,
    },
    /// Hand a request to its broker; its id makes a repetition harmless. Answered by `RequestPlaced` or `RequestRefused`.
    PlaceRequest {
        /// The request.
        request: AccessRequest,
    },
    /// End the process; nothing is answered. It comes when every Gateway is closed, or 10 seconds after it was asked for.
    Quit,
    /// Write what must survive the process, before any later effect is carried out; nothing is answered.
    Save {
        /// Everything to be read back by [`crate::Access::new`].
        saved: crate::Saved,
    },
    /// Answer a colleague's request. Answered by `ReviewSubmitted` or `ReviewRefused`.
    SubmitReview {
        /// The broker's id of it.
        broker_ref: String,
        /// Yes or no.
        decision: Decision,
        /// Words for the asker.
        comment: Option<String>,
    },
    /// Follow a placed request until its Grant is over. Answered by `RequestProgressed`…
    WatchRequest {
        /// Which.
        request: RequestId,
        /// The broker's id of it.
        broker_ref: String,
        /// Which Target it is for.
        target: TargetId,
    },
    /// Look for colleagues' requests for as long as the person is signed in; a later one replaces it. Answered by
    /// `ReviewsListed`…
    WatchReviews {
        /// When the sign-in, and so the watch, ends, on this computer's clock.
        until: WallTime,
    },
    /// Look for this person's SSM sessions, now and then, for as long as the person is signed in; a later one replaces it.
    /// Answered by `SessionsListed`…
    WatchSessions {
        /// When the sign-in, and so the watch, ends, on this computer's clock.
        until: WallTime,
    },
    /// Take back a request that nobody answered. Answered by `RequestProgressed` (cancelled) or `ReleaseFailed`.
    WithdrawRequest {
        /// Which.
        request: RequestId,
        /// The broker's id of it.
        broker_ref: String,
        /// Which Target it was for.
        target: TargetId,
    },
}

/// Why a Gateway closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// A person disconnected.
    Disconnected,
    /// The Grant is over.
    GrantEnded,
    /// The agent ends.
    Quitting,
    /// The sign-in ended or the person signed out.
    SignedOut,
}

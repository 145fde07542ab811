//! What a person should be told.

use serde::{Deserialize, Serialize};

use crate::{EndReason, ErrorView, PendingReview, RequestId, RoleName, TargetId, WallTime};

/// One thing to tell, told once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "notice", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Notice {
    /// Access to a Target is over.
    AccessEnded {
        /// Which.
        target: TargetId,
        /// Why.
        reason: EndReason,
    },
    /// Access ends soon (told at 10 and at 2 minutes).
    EndsSoon {
        /// Which Target.
        target: TargetId,
        /// When.
        expires_at: WallTime,
    },
    /// A Gateway did not open.
    GatewayFailed {
        /// Whose.
        target: TargetId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// Connections of a Gateway ended or failed. It stays open, and the next connection may do better.
    GatewayInterrupted {
        /// Whose.
        target: TargetId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// A tunnel broke and was not healed in 20 seconds.
    GatewayBroken {
        /// Whose.
        target: TargetId,
        /// Why.
        cause: ErrorView,
    },
    /// Somebody approved, and access is in force.
    RequestApproved {
        /// Which request.
        request: RequestId,
        /// To which Target.
        target: TargetId,
        /// As which Role.
        role: RoleName,
        /// By whom.
        by: Option<String>,
        /// Until when.
        expires_at: WallTime,
    },
    /// Somebody declined.
    RequestDenied {
        /// Which request.
        request: RequestId,
        /// To which Target.
        target: TargetId,
        /// By whom.
        by: Option<String>,
        /// What they said.
        comment: Option<String>,
    },
    /// A request could not be placed or carried out.
    RequestFailed {
        /// Which request.
        request: RequestId,
        /// To which Target.
        target: TargetId,
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// Nobody answered a request in time.
    RequestLapsed {
        /// Which request.
        request: RequestId,
        /// To which Target.
        target: TargetId,
    },
    /// A colleague asks.
    ReviewWanted {
        /// What for.
        review: PendingReview,
    },
    /// SSM sessions are still open that this computer started and did not come to end; told once for each.
    SessionsLeft {
        /// How many.
        count: u32,
    },
    /// Signing in did not work.
    SignInFailed {
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// The sign-in ended while something needs it.
    SignInNeeded {
        /// Gateways that wait for it.
        targets: Vec<TargetId>,
    },
}

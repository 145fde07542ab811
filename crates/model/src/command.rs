//! What a person asks for.

use serde::{Deserialize, Serialize};

use crate::{AccessDuration, IdentityProviderId, RequestId, RoleName, SessionId, TargetId};

/// Asked by a person, in any Shell.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "command", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Command {
    /// Give up on the sign-in that is under way.
    CancelSignIn,
    /// Take a request back that nobody answered.
    CancelRequest {
        /// Which.
        request: RequestId,
    },
    /// Give a Target's Gateway another port, from the next time it opens on.
    ChoosePort {
        /// Whose.
        target: TargetId,
        /// Kept for this Target, before the one the team agreed on.
        port: u16,
    },
    /// Close a Target's Gateway; its Grant stays.
    CloseGateway {
        /// Whose.
        target: TargetId,
    },
    /// End every SSM session that this computer left. Sessions from elsewhere are ended one by one, by their id.
    EndLeftSessions,
    /// End an SSM session that no Gateway uses.
    EndSession {
        /// Which.
        session: SessionId,
    },
    /// Open a Target's Gateway.
    OpenGateway {
        /// Whose.
        target: TargetId,
        /// Which Role; none: the one that can be used right now, read-only before read-write.
        role: Option<RoleName>,
    },
    /// End the agent: gateways close, sessions end.
    Quit,
    /// Give a Grant back before its time.
    ReleaseGrant {
        /// Of which Target.
        target: TargetId,
    },
    /// Ask for access.
    RequestAccess {
        /// To which Target.
        target: TargetId,
        /// As which Role.
        role: RoleName,
        /// One of the durations the Entitlement allows.
        duration: AccessDuration,
        /// Why; not empty.
        justification: String,
        /// Where the work is tracked.
        ticket: Option<String>,
        /// Whether the Gateway opens by itself once access is granted.
        connect_when_approved: bool,
    },
    /// Answer a colleague's request.
    ReviewRequest {
        /// The broker's id of it.
        broker_ref: String,
        /// Yes or no.
        decision: Decision,
        /// Words for the asker.
        comment: Option<String>,
    },
    /// Start signing in. A browser opens only because of this.
    SignIn {
        /// Where; none: the only one the catalog has.
        identity_provider: Option<IdentityProviderId>,
    },
    /// Forget every secret of this Identity.
    SignOut,
}

/// The answer of a Review.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

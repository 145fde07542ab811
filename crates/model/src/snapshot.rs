//! Everything that is true, for every Shell alike.

use serde::{Deserialize, Serialize};

use crate::{
    AccessRequest, Entitlement, ErrorView, Gateway, Grant, Identity, IdentityProvider, LeftSessions, PendingReview,
    SecretsKeptIn, Target, WallTime,
};

/// What is true. Complete, without secrets, with absolute instants on this computer's own clock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Who the person is.
    pub identity: Identity,
    /// Where one can sign in.
    pub identity_providers: Vec<IdentityProvider>,
    /// The Catalog, by name.
    pub targets: Vec<TargetView>,
    /// Colleagues' requests that wait.
    pub reviews: Vec<PendingReview>,
    /// SSM sessions of this person that no Gateway uses.
    pub left_sessions: LeftSessions,
    /// Where refresh tokens and credentials are.
    pub secrets_kept_in: SecretsKeptIn,
    /// How far AWS's clock is ahead of this computer's, in seconds; negative when it is behind.
    pub clock_skew_seconds: i32,
    /// What is wrong without being the answer to a command (a broken catalog, a clock that is off).
    pub warnings: Vec<ErrorView>,
}

/// One Target with all that concerns it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// The database.
    pub target: Target,
    /// The Roles to be had.
    pub entitlements: Vec<Entitlement>,
    /// The newest request for it.
    pub request: Option<AccessRequest>,
    /// The newest Grant for it.
    pub grant: Option<Grant>,
    /// Its Gateway.
    pub gateway: Gateway,
    /// What ends first while it can be used; none for standing access before sign-in.
    pub binding_limit: Option<BindingLimit>,
}

/// What ends access first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct BindingLimit {
    /// Which limit.
    pub kind: LimitKind,
    /// When.
    pub expires_at: WallTime,
}

/// The limits there are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// The Grant's own end.
    Grant,
    /// The sign-in's end, which only a person can move.
    SignIn,
}

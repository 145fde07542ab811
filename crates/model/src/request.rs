//! Asking, reviewing, and what is granted.

use serde::{Deserialize, Serialize};

use crate::{AccessDuration, ErrorView, RequestId, RoleName, TargetId, WallTime};

/// A person's ask for one Role on one Target.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct AccessRequest {
    /// Made before the broker hears of it.
    pub id: RequestId,
    /// Which database.
    pub target: TargetId,
    /// Which Role.
    pub role: RoleName,
    /// For how long, from the moment of approval.
    pub duration: AccessDuration,
    /// Why.
    pub justification: String,
    /// Where the work is tracked.
    pub ticket: Option<String>,
    /// When the person asked.
    pub requested_at: WallTime,
    /// What became of it.
    pub state: RequestState,
}

/// What became of an AccessRequest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum RequestState {
    /// Somebody agreed.
    Approved {
        /// The approver as the broker names them; none when the broker does not say.
        by: Option<String>,
    },
    /// The asker took it back.
    Cancelled,
    /// Somebody declined.
    Denied {
        /// Who declined; none when the broker does not say.
        by: Option<String>,
        /// What they said.
        comment: Option<String>,
    },
    /// Nobody answered in time.
    Expired,
    /// The broker could not carry it out.
    Failed {
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// Waiting for a Review; `placed` once the broker has it.
    Pending {
        /// The broker's own id of it, once it has one (an Automation execution id).
        broker_ref: Option<String>,
        /// When it lapses unanswered; none until the broker said so.
        lapses_at: Option<WallTime>,
    },
}

/// Somebody's answer to an AccessRequest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct Review {
    /// Yes or no.
    pub decision: crate::Decision,
    /// Words for the asker.
    pub comment: Option<String>,
}

/// A colleague's request that waits for this person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct PendingReview {
    /// The broker's id of the request.
    pub broker_ref: String,
    /// Who asks, as the broker knows them.
    pub requester: String,
    /// Which database, in the broker's words.
    pub target: String,
    /// Which Role, in the broker's words.
    pub role: String,
    /// For how long, in the broker's words (ISO 8601).
    pub duration: String,
    /// Why.
    pub justification: String,
    /// When they asked.
    pub requested_at: WallTime,
    /// Whether the asker is this very person, who may not approve it.
    pub own: bool,
}

/// Time-boxed permission.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Grant {
    /// In force.
    Active {
        /// What may be used.
        role: RoleName,
        /// When it ends by itself.
        expires_at: WallTime,
    },
    /// Over.
    Ended {
        /// What could be used.
        role: RoleName,
        /// Since when.
        at: WallTime,
        /// Why.
        reason: EndReason,
    },
    /// Approved, and the broker is putting it in force.
    Provisioning {
        /// What will be usable.
        role: RoleName,
    },
}

/// Why a Grant is over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Its time was up.
    Expired,
    /// Its holder gave it back.
    Released,
    /// Somebody else ended it.
    Revoked,
}

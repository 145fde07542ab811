//! What may be had, and how.

use serde::{Deserialize, Serialize};

use crate::AccessDuration;

/// A database user of one Target and how it may be had.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct Entitlement {
    /// What the user may do.
    pub role: RoleName,
    /// The name the database knows the Role by; case matters to RDS.
    pub database_user: String,
    /// The secret in Secrets Manager that holds the user's name and password; none: the user logs in by IAM.
    pub secret: Option<String>,
    /// Whether somebody has to agree first.
    pub gate: Gate,
}

/// What a Role allows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// Reads only.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

impl RoleName {
    /// As it is written in the catalog, on the command line and in the runbook's `Access` parameter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a Role can be had at once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Gate {
    /// Somebody approves, for a time.
    OnRequest {
        /// The SSM Automation document that asks, grants and removes.
        runbook: String,
        /// What may be asked for, shortest first; never empty.
        durations: Vec<AccessDuration>,
        /// Who approves, in words.
        approvers: String,
    },
    /// Nobody has to agree.
    Standing,
}

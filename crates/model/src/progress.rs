//! How a request fares at its Broker.

use crate::{EndReason, ErrorView, WallTime};

/// What a Broker reports about a request, in the order it may happen. Instants are on AWS's clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Somebody agreed; the Broker is putting it in force.
    Approved {
        /// Who.
        by: Option<String>,
    },
    /// In force.
    Granted {
        /// Who agreed.
        by: Option<String>,
        /// Until when.
        expires_at: WallTime,
    },
    /// Somebody declined.
    Denied {
        /// Who.
        by: Option<String>,
        /// What they said.
        comment: Option<String>,
    },
    /// Taken back before an answer.
    Cancelled,
    /// Nobody answered in time.
    Lapsed,
    /// The Broker could not carry it out.
    Failed {
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// The Grant is over.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

impl Progress {
    /// Whether nothing more will be reported.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Approved { .. } | Self::Granted { .. } => false,
            Self::Denied { .. } | Self::Cancelled | Self::Lapsed | Self::Failed { .. } | Self::Ended { .. } => true,
        }
    }
}

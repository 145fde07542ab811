//! SSM sessions of this person that no Gateway of this agent uses.

use serde::{Deserialize, Serialize};

use crate::{ErrorView, Region, SessionId, TargetId, WallTime};

/// What AWS says of them. They are offered for ending and never ended unasked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct LeftSessions {
    /// When AWS was last asked; none before the first time since somebody signed in.
    pub looked_at: Option<WallTime>,
    /// Why AWS could not be asked in some Region; what this computer left there is listed all the same.
    pub unseen: Option<ErrorView>,
    /// The sessions, by id.
    pub sessions: Vec<LeftSession>,
}

impl LeftSessions {
    /// Those that this computer left and nobody is ending: what [`crate::Command::EndLeftSessions`] ends.
    pub fn of_this_computer(&self) -> impl Iterator<Item = &LeftSession> {
        self.sessions.iter().filter(|session| {
            session.origin == SessionOrigin::ThisComputer && session.state != LeftSessionState::Ending
        })
    }
}

/// One SSM session that no Gateway of this agent uses.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct LeftSession {
    /// As AWS names it.
    pub id: SessionId,
    /// Where it is.
    pub region: Region,
    /// Which Target it leads to, if that is known.
    pub target: Option<TargetId>,
    /// Since when, if that is known.
    pub since: Option<WallTime>,
    /// Who started it.
    pub origin: SessionOrigin,
    /// What becomes of it.
    pub state: LeftSessionState,
}

/// Who started a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum SessionOrigin {
    /// A Daypass that is not this one: another computer of the same person may be using it.
    Elsewhere,
    /// This computer, which did not come to end it: the agent was killed, or AWS did not answer.
    ThisComputer,
}

/// What becomes of a session that was left.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum LeftSessionState {
    /// A person asked for its end.
    Ending,
    /// It could not be ended.
    Failed {
        /// Why, and what to do.
        cause: ErrorView,
    },
    /// Nobody asked for its end.
    Open,
}

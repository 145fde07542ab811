//! The messages. Everything in them is a word of `model`.

use model::{Command, ConnectionForm, ErrorView, Notice, Snapshot, TargetId};
use serde::{Deserialize, Serialize};

/// What both ends must agree on; raised with every change that an older end would misread.
pub const PROTOCOL_VERSION: u32 = 1;

/// A guest's question.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClientMessage {
    /// Chosen by the guest and repeated in the reply.
    pub id: u32,
    /// What is asked.
    pub request: Request,
}

/// What a guest can ask.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How to connect to an open Gateway, in the words of one client; answered with [`Answer::Private`].
    ConnectionText {
        /// Whose.
        target: TargetId,
        /// Whose words.
        form: ConnectionForm,
        /// Whether the local password stands in it, where the form has a place for it.
        with_password: bool,
    },
    /// Do this; answered with [`Answer::Done`] as soon as it is accepted, not when it is finished.
    Command(Command),
    /// Climb the ladder of checks for this computer, or for one Target; answered with [`Answer::Doctor`].
    Doctor {
        /// Whose path is checked; none: only what every Target needs.
        target: Option<TargetId>,
    },
    /// The first message of every guest; answered with [`Answer::Hello`].
    Hello {
        /// The guest's [`PROTOCOL_VERSION`].
        version: u32,
    },
    /// The password that clients log in with at a Target's Gateway; answered with [`Answer::Private`].
    LocalPassword {
        /// Whose.
        target: TargetId,
        /// Whether a new one is made first: the one before is good no more.
        renew: bool,
    },
    /// Is anybody there; answered with [`Answer::Done`].
    Ping,
    /// What is true; answered with [`Answer::Snapshot`].
    Snapshot,
    /// From here on send every Snapshot and Notice, the Snapshot in force first; answered with [`Answer::Done`].
    Subscribe,
}

/// What the agent sends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerMessage {
    /// Something to tell the person, to subscribers only.
    Notice(Notice),
    /// The answer to one question.
    Reply {
        /// The question's id.
        id: u32,
        /// How it went.
        outcome: Outcome,
    },
    /// What is true after a change, to subscribers only.
    Snapshot(Box<Snapshot>),
}

/// How a question went.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was refused or it failed.
    Error(ErrorView),
    /// It was answered.
    Ok(Answer),
}

impl From<Result<Answer, ErrorView>> for Outcome {
    fn from(result: Result<Answer, ErrorView>) -> Self {
        match result {
            Ok(answer) => Self::Ok(answer),
            Err(view) => Self::Error(view),
        }
    }
}

/// Words that hold the local password, or may. It never shows itself in a log.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Private(String);

impl Private {
    /// Wraps them.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The words, for whoever shows or copies them because a person asked.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private(…)")
    }
}

/// What a question is answered with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The ladder, from the ground up.
    Doctor(Vec<Rung>),
    /// Accepted.
    Done,
    /// The agent's own [`PROTOCOL_VERSION`].
    Hello {
        /// Raised with every incompatible change.
        version: u32,
    },
    /// What was asked for, for the person alone.
    Private(Private),
    /// What is true.
    Snapshot(Box<Snapshot>),
}

/// One check of the ladder.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rung {
    /// What is checked: `clock`, `identity`, `account`.
    pub name: String,
    /// How it went.
    pub state: RungState,
    /// What was seen, in one sentence without a full stop.
    pub seen: String,
    /// What to do; none when there is nothing to do.
    pub hint: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RungState {
    /// It stands in the way.
    Failed,
    /// As it should be.
    Passed,
    /// Not looked at, because a rung below it failed.
    Skipped,
    /// It works, but not for long or not everywhere.
    Warned,
}

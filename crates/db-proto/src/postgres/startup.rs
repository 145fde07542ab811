//! What a client says first.

use std::fmt;

use bytes::{BufMut, Bytes};

use super::wire::{Fields, LONGEST_STARTUP, Malformed, put_c_string, put_untyped};
use super::{CANCEL_REQUEST, PROTOCOL_MAJOR};

/// Whom to log in, where to, and the settings sent along. Parsed: nothing in it breaks the message apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupParameters {
    user: String,
    database: String,
    others: Vec<(String, String)>,
}

/// A parameter that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The user, the database or a parameter's name is the empty text.
    #[error("`{name}` is empty; PostgreSQL wants a name there")]
    Empty {
        /// Which one.
        name: String,
    },
    /// A NUL inside a name or value would end it early.
    #[error("`{name}` contains a NUL byte; remove it")]
    Nul {
        /// Which one.
        name: String,
    },
    /// The message would be longer than a server reads.
    #[error("the start-up parameters take {length} bytes, and a server reads {LONGEST_STARTUP}; shorten `{name}`")]
    TooLong {
        /// The one that went over.
        name: String,
        /// Bytes of the whole message.
        length: usize,
    },
}

impl StartupParameters {
    /// `user` and `database` as the server spells them (case counts).
    ///
    /// # Errors
    /// [`ParameterError`] for text that the message cannot carry.
    pub fn new(user: impl Into<String>, database: impl Into<String>) -> Result<Self, ParameterError> {
        let parameters = Self { user: user.into(), database: database.into(), others: Vec::new() };
        parameters.check("user", &parameters.user)?;
        parameters.check("database", &parameters.database)?;
        Ok(parameters)
    }

    /// Adds a setting such as `application_name`; the value may be empty.
    ///
    /// # Errors
    /// [`ParameterError`] for text that the message cannot carry.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, ParameterError> {
        let (name, value) = (name.into(), value.into());
        self.check(&name, &name)?;
        self.others.push((name.clone(), value.clone()));
        if value.contains('\0') {
            return Err(ParameterError::Nul { name });
        }
        self.check_length(&name)?;
        Ok(self)
    }

    /// The role that logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Everything else, in order.
    pub fn others(&self) -> &[(String, String)] {
        &self.others
    }

    fn check(&self, name: &str, text: &str) -> Result<(), ParameterError> {
        if text.is_empty() {
            return Err(ParameterError::Empty { name: name.to_owned() });
        }
        if text.contains('\0') {
            return Err(ParameterError::Nul { name: name.escape_default().to_string() });
        }
        self.check_length(name)
    }

    fn check_length(&self, name: &str) -> Result<(), ParameterError> {
        let mut message = Vec::new();
        self.put(&mut message, 0);
        match message.len() {
            fits if fits <= LONGEST_STARTUP => Ok(()),
            length => Err(ParameterError::TooLong { name: name.to_owned(), length }),
        }
    }

    /// Appends the StartupMessage of protocol 3.`minor`.
    pub(super) fn put(&self, out: &mut Vec<u8>, minor: u32) {
        put_untyped(out, |body| {
            body.put_u32(PROTOCOL_MAJOR << 16 | minor);
            let named = [("user", self.user.as_str()), ("database", self.database.as_str())];
            let others = self.others.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            for (name, value) in named.into_iter().chain(others) {
                put_c_string(body, name.as_bytes());
                put_c_string(body, value.as_bytes());
            }
            body.put_u8(0);
        });
    }
}

/// A StartupMessage as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// User, database (the user's name where the client left it out) and settings, without the `_pq_.` options that
    /// were declined.
    pub parameters: StartupParameters,
    /// Minor version the client asked for, before negotiation.
    pub minor: u32,
    /// Protocol options (`_pq_.name`) the client asked for; none is understood.
    pub options: Vec<String>,
}

impl Startup {
    /// Reads the fields behind the protocol version.
    pub(super) fn read(fields: &mut Fields<'_>, minor: u32) -> Result<Self, StartupProblem> {
        let mut pairs = read_pairs(fields).ok_or(StartupProblem::Malformed(Malformed::Body { kind: b'?' }))?;
        let user = take(&mut pairs, "user").filter(|user| !user.is_empty()).ok_or(StartupProblem::NoUser)?;
        let database = take(&mut pairs, "database").filter(|database| !database.is_empty());
        let (options, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
        let parameters = StartupParameters { database: database.unwrap_or_else(|| user.clone()), user, others };
        Ok(Self { parameters, minor, options: options.into_iter().map(|(name, _)| name).collect() })
    }
}

/// Why a StartupMessage is refused.
pub(super) enum StartupProblem {
    Malformed(Malformed),
    NoUser,
}

fn read_pairs(fields: &mut Fields<'_>) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    loop {
        let name = fields.text()?;
        if name.is_empty() {
            return fields.is_empty().then_some(pairs);
        }
        pairs.push((name.to_owned(), fields.text()?.to_owned()));
    }
}

/// The last value under `name`, as the server reads it; every occurrence is removed.
fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let mut found = None;
    pairs.retain_mut(|(candidate, value)| {
        let matches = candidate == name;
        if matches {
            found = Some(std::mem::take(value));
        }
        !matches
    });
    found
}

/// What lets a second connection cancel the query of a first. The secret part is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// Of the server's process; a number to tell connections apart.
    pub process_id: u32,
    secret: Bytes,
}

impl CancelKey {
    /// Four bytes in protocol 3.0, up to 256 in 3.2.
    const LONGEST_SECRET: usize = 256;

    /// A key of our own making; `None` when `secret` is shorter than 4 or longer than 256 bytes.
    pub fn new(process_id: u32, secret: impl Into<Bytes>) -> Option<Self> {
        let secret = secret.into();
        (4..=Self::LONGEST_SECRET).contains(&secret.len()).then_some(Self { process_id, secret })
    }

    /// The whole CancelRequest: the only message of its connection.
    pub fn cancel_request(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_untyped(&mut out, |body| {
            body.put_u32(CANCEL_REQUEST);
            self.put_body(body);
        });
        out
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let process_id = fields.u32()?;
        Self::new(process_id, fields.rest().to_vec())
    }

    pub(super) fn put_body(&self, out: &mut Vec<u8>) {
        out.put_u32(self.process_id);
        out.put_slice(&self.secret);
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

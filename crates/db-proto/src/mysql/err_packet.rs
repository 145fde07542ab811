//! ERR packets.

use std::fmt;

use bytes::BufMut;

use super::packet::{Fields, Malformed};

pub(super) const ERR: u8 = 0xFF;
/// MariaDB: not an error but how far a statement is.
pub(super) const PROGRESS: u16 = 0xFFFF;
const SQLSTATE_MARK: u8 = b'#';
/// Of an error that came without one.
const GENERAL_SQLSTATE: &str = "HY000";

/// What a server says went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrPacket {
    /// As 1045.
    pub code: u16,
    /// Five characters.
    pub sqlstate: String,
    /// In words.
    pub message: String,
}

impl ErrPacket {
    /// `sqlstate` is five characters; clients choke on anything else, so it is cut or filled up.
    pub fn new(code: u16, sqlstate: &str, message: impl Into<String>) -> Self {
        let sqlstate = sqlstate.chars().filter(char::is_ascii_alphanumeric).chain("00000".chars()).take(5).collect();
        Self { code, sqlstate, message: message.into() }
    }

    /// Reads the payload. Text that is not UTF-8 is kept as far as it can be read.
    ///
    /// # Errors
    /// [`Malformed::Body`].
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let broken = Malformed::Body { packet: "ERR" };
        let mut fields = Fields::of(payload);
        fields.u8().filter(|first| *first == ERR).ok_or(broken)?;
        let code = fields.u16().ok_or(broken)?;
        let rest = fields.rest();
        // Before it knows what the client understands a server leaves the SQLSTATE out.
        let (sqlstate, text) = match rest.split_first_chunk::<6>() {
            Some(([SQLSTATE_MARK, state @ ..], text)) => (String::from_utf8_lossy(state).into_owned(), text),
            _ => (GENERAL_SQLSTATE.to_owned(), rest),
        };
        Ok(Self { code, sqlstate, message: String::from_utf8_lossy(text).into_owned() })
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = vec![ERR];
        out.put_u16_le(self.code);
        out.put_u8(SQLSTATE_MARK);
        out.put_slice(self.sqlstate.as_bytes());
        out.put_slice(self.message.as_bytes());
        out
    }
}

impl fmt::Display for ErrPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.message, self.code, self.sqlstate)
    }
}

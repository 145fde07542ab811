//! `ErrorResponse` and `NoticeResponse`.

use std::fmt;

use super::wire::{Fields, Malformed, put_c_string, put_typed};
use bytes::BufMut;

const SEVERITY: u8 = b'S';
const SEVERITY_UNTRANSLATED: u8 = b'V';
const SQLSTATE: u8 = b'C';
const MESSAGE: u8 = b'M';
const DETAIL: u8 = b'D';
const HINT: u8 = b'H';

/// What a server says went wrong (or, as a notice, what it wants known), field by field and in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    fields: Vec<(u8, String)>,
}

impl ErrorResponse {
    /// A `FATAL` error: the connection ends with it. `sqlstate` is five characters, see appendix A of the manual.
    pub fn fatal(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::of("FATAL", sqlstate, message.into())
    }

    /// A `WARNING`, to be sent as a notice. `sqlstate` is five characters, see appendix A of the manual.
    pub fn warning(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::of("WARNING", sqlstate, message.into())
    }

    fn of(severity: &str, sqlstate: &str, message: String) -> Self {
        Self {
            fields: vec![
                (SEVERITY, severity.to_owned()),
                (SEVERITY_UNTRANSLATED, severity.to_owned()),
                (SQLSTATE, sqlstate.to_owned()),
                (MESSAGE, message),
            ],
        }
    }

    /// Adds the secondary message with the particulars.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.fields.push((DETAIL, detail.into()));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.fields.push((HINT, hint.into()));
        self
    }

    /// `FATAL`, `ERROR`, ... in English where the server says so (9.6 and later), else in its own language.
    pub fn severity(&self) -> &str {
        self.field(SEVERITY_UNTRANSLATED).or_else(|| self.field(SEVERITY)).unwrap_or_default()
    }

    /// Five characters; empty when the server left it out.
    pub fn sqlstate(&self) -> &str {
        self.field(SQLSTATE).unwrap_or_default()
    }

    /// The primary message; empty when the server left it out.
    pub fn message(&self) -> &str {
        self.field(MESSAGE).unwrap_or_default()
    }

    /// The particulars.
    pub fn detail(&self) -> Option<&str> {
        self.field(DETAIL)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.field(HINT)
    }

    /// The text of the first field with this code, see "Error and Notice Message Fields" in the manual.
    pub fn field(&self, code: u8) -> Option<&str> {
        self.fields.iter().find(|(kind, _)| *kind == code).map(|(_, text)| text.as_str())
    }

    /// Reads the body of an `E` or `N` message. Text that is not UTF-8 (a server in another encoding) is kept as far as
    /// it can be read.
    ///
    /// # Errors
    /// [`Malformed::Body`] when the fields do not end where the body does.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let broken = Malformed::Body { kind: b'E' };
        let mut unread = Fields::of(body);
        let mut fields = Vec::new();
        loop {
            match unread.u8().ok_or(broken)? {
                0 => return Ok(Self { fields }),
                code => {
                    let text = unread.c_string().ok_or(broken)?;
                    fields.push((code, String::from_utf8_lossy(text).into_owned()));
                }
            }
        }
    }

    /// The whole `ErrorResponse` message.
    pub fn to_error(&self) -> Vec<u8> {
        self.message_of(b'E')
    }

    /// The whole `NoticeResponse` message.
    pub fn to_notice(&self) -> Vec<u8> {
        self.message_of(b'N')
    }

    fn message_of(&self, kind: u8) -> Vec<u8> {
        let mut out = Vec::new();
        put_typed(&mut out, kind, |body| {
            for (code, text) in &self.fields {
                body.put_u8(*code);
                put_c_string(body, text.as_bytes());
            }
            body.put_u8(0);
        });
        out
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity(), self.message(), self.sqlstate())
    }
}

//! Cutting a byte stream into messages and messages into fields, with a bound on each.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest start-up message, its length field included (`MAX_STARTUP_PACKET_LENGTH`).
pub(super) const LONGEST_STARTUP: usize = 10_000;
/// Longest body of any later message of a login. The server allows 65,535 for a password; notices are shorter.
pub(super) const LONGEST_BODY: usize = 65_535;

const LENGTH_FIELD: usize = 4;
const HEADER: usize = 1 + LENGTH_FIELD;

/// Bytes that are no message of this protocol at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length outside what the message may have.
    #[error("a message of {length} bytes, where {longest} is the most")]
    Length {
        /// As declared on the wire.
        length: u32,
        /// The bound, in the same count.
        longest: usize,
    },
    /// A field is missing, cut off or not UTF-8.
    #[error("a `{}` message with a broken body", char::from(*kind))]
    Body {
        /// Type byte; `?` for a start-up message, which has none.
        kind: u8,
    },
    /// A message that has no place in this phase.
    #[error("a `{}` message out of turn", char::from(*kind).escape_default())]
    OutOfTurn {
        /// Type byte.
        kind: u8,
    },
}

/// What has arrived and is not yet understood.
#[derive(Default)]
pub(super) struct Inbox(BytesMut);

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn first(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take_byte(&mut self) -> Option<u8> {
        self.0.has_remaining().then(|| self.0.get_u8())
    }

    pub(super) fn take_rest(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    /// The body of a message without a type byte: what follows its length.
    pub(super) fn take_startup(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(total) = declared_length(&self.0, 0, LONGEST_STARTUP)? else { return Ok(None) };
        Ok(self.take_message(total, LENGTH_FIELD))
    }

    /// Type byte and body of a message.
    pub(super) fn take_typed(&mut self) -> Result<Option<(u8, Bytes)>, Malformed> {
        let Some(kind) = self.first() else { return Ok(None) };
        let Some(length) = declared_length(&self.0, 1, LENGTH_FIELD + LONGEST_BODY)? else { return Ok(None) };
        Ok(self.take_message(1 + length, HEADER).map(|body| (kind, body)))
    }

    fn take_message(&mut self, total: usize, header: usize) -> Option<Bytes> {
        (self.0.len() >= total).then(|| {
            let mut message = self.0.split_to(total);
            message.advance(header);
            message.freeze()
        })
    }
}

/// The length at `offset`, which counts itself; `None` until it has arrived.
fn declared_length(bytes: &[u8], offset: usize, longest: usize) -> Result<Option<usize>, Malformed> {
    let Some(field) = bytes.get(offset..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let length = u32::from_be_bytes(*field);
    match usize::try_from(length) {
        Ok(fits) if (LENGTH_FIELD..=longest).contains(&fits) => Ok(Some(fits)),
        Ok(_) | Err(_) => Err(Malformed::Length { length, longest }),
    }
}

/// Reads the fields of one body in order; `None` once the body has not what is asked for.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*field))
    }

    /// Bytes up to the next NUL, which is consumed too.
    pub(super) fn c_string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        Some(text)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.c_string()?).ok()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends one typed message whose body `write` fills.
pub(super) fn put_typed(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(kind);
    put_untyped(out, write);
}

/// Appends one message without a type byte.
pub(super) fn put_untyped(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    write(out);
    let length = u32::try_from(out.len() - start).expect("a login message of ours is far below 4 GiB");
    if let Some(field) = out.get_mut(start..start + LENGTH_FIELD) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends `text` and its NUL. A NUL inside would shift every field behind it, so it ends the text.
pub(super) fn put_c_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().take_while(|byte| **byte != 0));
    out.put_u8(0);
}

//! Cutting a byte stream into packets and packets into fields, with a bound on each.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length and sequence number.
pub(super) const HEADER: usize = 4;
/// A packet of this length is continued by the next one.
pub(super) const FULL: usize = 0xFF_FFFF;
/// Longest packet of a login. Names and plug-in data are short, a token has about 2,000 bytes and the attributes 65,535.
const LONGEST_IN_LOGIN: usize = 256 * 1024;

/// Bytes that are no packet of this protocol at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length outside what the packet may have.
    #[error("a packet of {length} bytes, where {longest} is the most")]
    Length {
        /// As declared on the wire.
        length: usize,
        /// The bound.
        longest: usize,
    },
    /// Packets are numbered, and one is missing or too many.
    #[error("packet number {found}, where {expected} is next")]
    Sequence {
        /// The next number.
        expected: u8,
        /// As sent.
        found: u8,
    },
    /// A field is missing, cut off or not text.
    #[error("a broken {packet} packet")]
    Body {
        /// Its name in the protocol's documentation.
        packet: &'static str,
    },
    /// A packet that has no place in this phase.
    #[error("a packet that begins with byte {first:#04x}, out of turn")]
    OutOfTurn {
        /// First byte of its payload; 0 when it is empty.
        first: u8,
    },
}

/// How the numbers of incoming packets are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Each follows the one before.
    Strict,
    /// Inside compressed packets servers renumber at each flush, so that only the last number counts.
    Loose,
}

/// What has arrived and is not yet understood, for exchanges of short packets.
#[derive(Debug)]
pub struct PacketReader {
    buffer: BytesMut,
    next: u8,
    numbering: Numbering,
}

impl PacketReader {
    /// Expects packets from number `next` on. With `compressed` their numbers are not checked.
    pub fn new(next: u8, compressed: bool) -> Self {
        let numbering = if compressed { Numbering::Loose } else { Numbering::Strict };
        Self { buffer: BytesMut::new(), next, numbering }
    }

    /// Takes bytes in any pieces.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload of the next whole packet.
    ///
    /// # Errors
    /// [`Malformed::Length`] above 256 KiB, [`Malformed::Sequence`].
    pub fn take(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some((length, number)) = header(&self.buffer) else { return Ok(None) };
        if length > LONGEST_IN_LOGIN {
            return Err(Malformed::Length { length, longest: LONGEST_IN_LOGIN });
        }
        if self.numbering == Numbering::Strict && number != self.next {
            return Err(Malformed::Sequence { expected: self.next, found: number });
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.next = number.wrapping_add(1);
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Appends one packet to `out` with the number that follows the last one, in either direction.
    pub(super) fn reply(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        put_packet(out, self.next, payload);
        self.next = self.next.wrapping_add(1);
    }

    /// What has not been taken.
    pub(super) fn take_rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Payload length and number of the packet that begins here, once its header is there.
pub(super) fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [low, middle, high, number] = *bytes.first_chunk()?;
    Some((usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16, number))
}

/// Appends `payload` to `out` as packet `number`, split where it is longer than a packet may be.
pub fn put_packet(out: &mut Vec<u8>, number: u8, payload: &[u8]) {
    let mut number = number;
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(FULL));
        out.put_slice(&three_bytes(now.len()));
        out.put_u8(number);
        out.put_slice(now);
        if now.len() < FULL {
            return;
        }
        rest = later;
        number = number.wrapping_add(1);
    }
}

/// A length as it is written; `length` is at most [`FULL`].
pub(super) fn three_bytes(length: usize) -> [u8; 3] {
    let [low, middle, high, ..] = length.to_le_bytes();
    [low, middle, high]
}

/// Reads the fields of one payload in order; `None` once it has not what is asked for.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// An integer of 1, 3, 4 or 9 bytes ("length-encoded").
    pub(super) fn integer(&mut self) -> Option<u64> {
        match self.u8()? {
            short @ 0..=0xFA => Some(u64::from(short)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.array().map(|[low, middle, high]| u64::from(u32::from_le_bytes([low, middle, high, 0]))),
            0xFE => self.array().map(u64::from_le_bytes),
            0xFB | 0xFF => None,
        }
    }

    /// Bytes behind their length-encoded count.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer()?).ok()?;
        self.bytes(length)
    }

    /// Bytes up to the next NUL, which is consumed too.
    pub(super) fn c_string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// As [`Fields::c_string`], where some programs leave out the last NUL of a packet (MySQL bug 59453).
    pub(super) fn last_c_string(&mut self) -> &'a [u8] {
        self.c_string().unwrap_or_else(|| self.rest())
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Appends a length-encoded integer.
pub(super) fn put_integer(out: &mut Vec<u8>, value: u64) {
    let [a, b, c, ..] = value.to_le_bytes();
    match value {
        0..=0xFA => out.put_u8(a),
        0xFB..=0xFFFF => out.put_slice(&[0xFC, a, b]),
        0x1_0000..=0xFF_FFFF => out.put_slice(&[0xFD, a, b, c]),
        _ => {
            out.put_u8(0xFE);
            out.put_u64_le(value);
        }
    }
}

/// Appends bytes behind their length-encoded count.
pub(super) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_integer(out, u64::try_from(bytes.len()).expect("a length in memory fits 64 bits"));
    out.put_slice(bytes);
}

/// Appends `text` and its NUL. A NUL inside would shift every field behind it, so it ends the text.
pub(super) fn put_c_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().take_while(|byte| **byte != 0));
    out.put_u8(0);
}

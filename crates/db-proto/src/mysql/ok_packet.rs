//! OK and EOF packets, as far as their status goes.

use super::packet::Fields;

pub(super) const OK: u8 = 0x00;
/// First byte of an EOF packet, and of the OK packet that ends rows once EOF packets are given up.
pub(super) const END: u8 = 0xFE;

/// Longest part of an OK packet in front of its warnings: the header, two integers and the status.
pub(super) const STATUS_WITHIN: usize = 1 + 9 + 9 + 2;
/// Longest EOF packet there is (`MAX_EOF_PACKET` in clients is 9); what begins like one and is longer is a row.
pub(super) const LONGEST_EOF: usize = 8;

/// The status of an OK packet, which is the first of these bytes or more of it.
pub(super) fn ok_status(payload: &[u8]) -> Option<u16> {
    let mut fields = Fields::of(payload);
    fields.u8()?;
    fields.integer()?;
    fields.integer()?;
    fields.u16()
}

/// The status of an EOF packet.
pub(super) fn eof_status(payload: &[u8]) -> Option<u16> {
    let mut fields = Fields::of(payload);
    fields.u8()?;
    fields.u16()?;
    fields.u16()
}

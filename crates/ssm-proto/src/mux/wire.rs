//! smux frames on the wire.

use bytes::{Buf, Bytes};

pub(super) const HEADER_LENGTH: usize = 8;
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Syn = 0,
    Fin = 1,
    Psh = 2,
    Nop = 3,
}

pub(super) fn header(command: Command, id: u32, length: usize) -> [u8; HEADER_LENGTH] {
    let length = u16::try_from(length).expect("frames are at most 32 KiB long").to_le_bytes();
    let id = id.to_le_bytes();
    [VERSION, command as u8, length[0], length[1], id[0], id[1], id[2], id[3]]
}

/// What a frame, or a part of one, means for a stream.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(u32, Bytes),
    Fin(u32),
}

/// Reads frames out of bytes cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Parser {
    header: [u8; HEADER_LENGTH],
    header_bytes: usize,
    id: u32,
    /// Bytes of the current frame that are yet to come.
    missing: usize,
}

impl Parser {
    /// The next piece; `None` once `input` is used up.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, &'static str> {
        while !input.is_empty() {
            if self.missing > 0 {
                let part = input.split_to(self.missing.min(input.len()));
                self.missing -= part.len();
                return Ok(Some(Piece::Bytes(self.id, part)));
            }
            let wanted = (HEADER_LENGTH - self.header_bytes).min(input.len());
            input.copy_to_slice(&mut self.header[self.header_bytes..self.header_bytes + wanted]);
            self.header_bytes += wanted;
            if self.header_bytes == HEADER_LENGTH
                && let Some(piece) = self.begin_frame()?
            {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn begin_frame(&mut self) -> Result<Option<Piece>, &'static str> {
        let [version, command, low, high, id @ ..] = self.header;
        self.header_bytes = 0;
        if version != VERSION {
            return Err("a frame is not of smux version 1");
        }
        self.id = u32::from_le_bytes(id);
        // Only PSH carries bytes; xtaci/smux reads none after the others whatever their length says.
        match command {
            0 | 3 => Ok(None),
            1 => Ok(Some(Piece::Fin(self.id))),
            2 => {
                self.missing = usize::from(u16::from_le_bytes([low, high]));
                Ok(None)
            }
            _ => Err("a frame has an unknown smux command"),
        }
    }
}

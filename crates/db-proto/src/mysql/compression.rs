//! Compressed packets: another layer of packets around the ones that everything else is about.
//!
//! A header of 7 bytes (length on the wire, number, length before compression or 0 for "as it is") and the bytes, which may
//! hold several packets or a part of one.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::capabilities::Capabilities;
use super::packet::{FULL, header, three_bytes};

const HEADER: usize = 7;
/// Shorter ones are sent as they are (`MIN_COMPRESS_LENGTH` of MySQL).
const WORTH_COMPRESSING: usize = 50;
const ZSTD_LEVEL: i32 = 3;

/// How packets are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Of every server.
    Zlib,
    /// Of MySQL 8.0.18 and later.
    Zstd,
}

impl Compression {
    /// The flag that asks for it.
    pub(super) fn capability(self) -> Capabilities {
        match self {
            Self::Zlib => Capabilities::COMPRESS,
            Self::Zstd => Capabilities::ZSTD,
        }
    }

    /// What a login that ended with these capabilities goes on with.
    pub(super) fn agreed(capabilities: Capabilities) -> Option<Self> {
        [Self::Zlib, Self::Zstd].into_iter().find(|one| capabilities.contains(one.capability()))
    }
}

/// Compressed bytes that are not what they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// Broken, or of another length than declared.
    #[error("a compressed packet of {wire} bytes does not hold the {declared} bytes that it declares: {cause}")]
    Broken {
        /// Length on the wire.
        wire: usize,
        /// Length that was to come out.
        declared: usize,
        /// In the words of the library.
        cause: String,
    },
}

/// From compressed packets to what is in them.
pub struct Decompressor {
    inbox: BytesMut,
    next: u8,
    method: Unpacking,
}

enum Unpacking {
    Zlib(Decompress),
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Decompressor {
    /// Of one session.
    pub fn new(compression: Compression) -> Self {
        let method = match compression {
            Compression::Zlib => Unpacking::Zlib(Decompress::new(true)),
            Compression::Zstd => Unpacking::Zstd(
                zstd::bulk::Decompressor::new().expect("a context without a dictionary only needs memory"),
            ),
        };
        Self { inbox: BytesMut::new(), next: 0, method }
    }

    /// Takes bytes from the wire, in any pieces.
    pub fn push(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// What the next whole compressed packet holds.
    ///
    /// # Errors
    /// [`CompressionError`]; the stream cannot be read on.
    pub fn take(&mut self) -> Result<Option<Bytes>, CompressionError> {
        let Some((wire, number)) = header(&self.inbox) else { return Ok(None) };
        let declared = self.inbox.get(4..).and_then(header_length);
        let Some(declared) = declared.filter(|_| self.inbox.len() >= HEADER + wire) else { return Ok(None) };
        self.next = number.wrapping_add(1);
        self.inbox.advance(HEADER);
        let packed = self.inbox.split_to(wire).freeze();
        if declared == 0 {
            return Ok(Some(packed));
        }
        let plain = self.method.unpack(&packed, declared);
        plain.map(|plain| Some(plain.into())).map_err(|cause| CompressionError::Broken { wire, declared, cause })
    }

    /// The number that the next compressed packet has, in either direction.
    pub fn next_number(&self) -> u8 {
        self.next
    }
}

fn header_length(bytes: &[u8]) -> Option<usize> {
    let [low, middle, high] = *bytes.first_chunk()?;
    Some(usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16)
}

impl Unpacking {
    fn unpack(&mut self, packed: &[u8], declared: usize) -> Result<Vec<u8>, String> {
        // One byte more than declared shows a packet that holds more.
        let mut plain = Vec::with_capacity(declared + 1);
        match self {
            Self::Zlib(zlib) => {
                zlib.reset(true);
                let status = zlib.decompress_vec(packed, &mut plain, FlushDecompress::Finish);
                match status.map_err(|error| error.to_string())? {
                    Status::StreamEnd => {}
                    Status::Ok | Status::BufError => return Err("it does not end".to_owned()),
                }
            }
            Self::Zstd(zstd) => {
                zstd.decompress_to_buffer(packed, &mut plain).map_err(|error| error.to_string())?;
            }
        }
        if plain.len() == declared { Ok(plain) } else { Err(format!("{} came out", plain.len())) }
    }
}

/// From packets to compressed ones.
pub struct Compressor {
    next: u8,
    method: Packing,
}

enum Packing {
    Zlib(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// Of one session.
    pub fn new(compression: Compression) -> Self {
        let method = match compression {
            Compression::Zlib => Packing::Zlib(Compress::new(flate2::Compression::default(), true)),
            Compression::Zstd => Packing::Zstd(
                zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("a context without a dictionary only needs memory"),
            ),
        };
        Self { next: 0, method }
    }

    /// Numbers start anew with each command.
    pub fn begin_command(&mut self) {
        self.next = 0;
    }

    /// What is sent next answers packets of the server, of which `next` is due ([`Decompressor::next_number`]).
    pub fn continue_from(&mut self, next: u8) {
        self.next = next;
    }

    /// Appends `plain` to `out` in compressed packets.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        for piece in plain.chunks(FULL) {
            let packed = (piece.len() >= WORTH_COMPRESSING).then(|| self.method.pack(piece)).flatten();
            let (declared, bytes) = match &packed {
                Some(packed) if packed.len() < piece.len() => (piece.len(), packed.as_slice()),
                _ => (0, piece),
            };
            out.put_slice(&three_bytes(bytes.len()));
            out.put_u8(self.next);
            out.put_slice(&three_bytes(declared));
            out.put_slice(bytes);
            self.next = self.next.wrapping_add(1);
        }
    }
}

impl Packing {
    /// `None` when it does not become shorter.
    fn pack(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Zlib(zlib) => {
                zlib.reset();
                let mut packed = Vec::with_capacity(plain.len());
                let status = zlib.compress_vec(plain, &mut packed, FlushCompress::Finish).ok()?;
                (status == Status::StreamEnd).then_some(packed)
            }
            Self::Zstd(zstd) => zstd.compress(plain).ok(),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("next", &self.next).finish_non_exhaustive()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("next", &self.next).finish_non_exhaustive()
    }
}

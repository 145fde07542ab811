//! Bytes to and from the Target, compressed where that was agreed on.

use std::io;

use bytes::BytesMut;
use db_proto::mysql::{Compression, Compressor, Decompressor, PacketReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio_rustls::client::TlsStream;

use crate::front::UpstreamStream;

const BUFFER: usize = 32 * 1024;

type Stream = TlsStream<UpstreamStream>;

/// A session's bytes, as they are without compression.
pub(crate) struct ServerLink {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
}

/// From the Target.
pub(crate) struct Incoming {
    stream: ReadHalf<Stream>,
    buffer: Vec<u8>,
    /// Arrived with the answer to the login.
    early: BytesMut,
    decompressor: Option<Decompressor>,
}

/// To the Target.
pub(crate) struct Outgoing {
    stream: WriteHalf<Stream>,
    compressor: Option<Compressor>,
    compressed: Vec<u8>,
}

impl ServerLink {
    /// Behind a login; `early` arrived with its answer.
    pub(crate) fn new(stream: Stream, compression: Option<Compression>, early: &[u8]) -> Self {
        let (read, write) = split(stream);
        let mut decompressor = compression.map(Decompressor::new);
        let mut plain = BytesMut::new();
        match &mut decompressor {
            Some(decompressor) => decompressor.push(early),
            None => plain.extend_from_slice(early),
        }
        Self {
            incoming: Incoming { stream: read, buffer: vec![0; BUFFER], early: plain, decompressor },
            outgoing: Outgoing { stream: write, compressor: compression.map(Compressor::new), compressed: Vec::new() },
        }
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.incoming.decompressor.is_some()
    }

    /// Sends a command of our own and gives the first packet of its answer. No other command may be waiting for one.
    pub(crate) async fn ask(&mut self, command: &[u8]) -> io::Result<bytes::Bytes> {
        let mut packet = Vec::new();
        db_proto::mysql::put_packet(&mut packet, 0, command);
        self.outgoing.send(&packet, true).await?;
        let mut answer = PacketReader::new(1, self.is_compressed());
        loop {
            if let Some(packet) = answer.take().map_err(io::Error::other)? {
                return Ok(packet);
            }
            let bytes = self.incoming.next().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.push(&bytes);
        }
    }

    /// What is sent next answers what has just arrived.
    pub(crate) fn answer_number(&mut self) {
        let next = self.incoming.next_number();
        self.outgoing.continue_from(next);
    }
}

impl Incoming {
    /// Some bytes; none at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<BytesMut> {
        if !self.early.is_empty() {
            return Ok(self.early.split());
        }
        loop {
            if let Some(decompressor) = &mut self.decompressor {
                match decompressor.take().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                    Some(plain) if plain.is_empty() => continue,
                    Some(plain) => return Ok(plain.into()),
                    None => {}
                }
            }
            let length = self.stream.read(&mut self.buffer).await?;
            let bytes = &self.buffer[..length];
            match &mut self.decompressor {
                Some(decompressor) if length > 0 => decompressor.push(bytes),
                Some(_) | None => return Ok(bytes.into()),
            }
        }
    }

    /// The number that the next compressed packet has, in either direction.
    pub(crate) fn next_number(&self) -> u8 {
        self.decompressor.as_ref().map_or(0, Decompressor::next_number)
    }
}

impl Outgoing {
    /// Sends all of `plain`.
    pub(crate) async fn send(&mut self, plain: &[u8], begins_command: bool) -> io::Result<()> {
        let bytes = match &mut self.compressor {
            None => plain,
            Some(compressor) => {
                if begins_command {
                    compressor.begin_command();
                }
                self.compressed.clear();
                compressor.compress(plain, &mut self.compressed);
                &self.compressed
            }
        };
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// What is sent next answers packets of the server, of which `next` is due.
    pub(crate) fn continue_from(&mut self, next: u8) {
        if let Some(compressor) = &mut self.compressor {
            compressor.continue_from(next);
        }
    }

    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

//! smux version 1, client's end: many byte streams over one.
//!
//! A frame is version 1, command, length u16 LE, stream id u32 LE, then its bytes (`xtaci/smux`, `frame.go`). Version 1 has no
//! flow control: what arrives is queued by stream, so that a stream nobody reads never holds up the others.

mod stream;
mod turns;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use stream::Stream;
use turns::Turns;
use wire::{Command, HEADER_LENGTH, Parser, Piece};

const FIRST_ID: u32 = 3;
/// One stream's turn, so that a bulk copy does not delay a small query. The SSM agent's own frames are up to 32 KiB long.
const LONGEST_FRAME: usize = 4 * 1024;
/// As many streams as can wait at the SSM agent to be connected.
const FORGOTTEN_LIMIT: usize = 1024;
/// A buffer that was emptied is kept up to this size.
const KEPT_BUFFER: usize = 16 * 1024;

/// A timer that comes this late has been held up by a machine that slept, and nothing could be heard meanwhile.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// One connection inside a Tunnel. Ids are never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u32);

/// What reading from a stream gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were copied, at least one.
    Bytes(usize),
    /// Nothing yet: [`crate::Event::Readable`] follows.
    Blocked,
    /// The far end closed and everything was read, or the stream is unknown.
    Finished,
    /// Bytes were lost: the reader fell too far behind.
    Reset,
}

/// The stream takes no more bytes: the far end closed it, or it was finished or reset here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the far end has closed this connection")]
pub struct StreamEnded;

/// What the far end or the bounds did to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Overflowed(StreamId),
    Readable(StreamId),
    Refused(StreamId),
    Writable(StreamId),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) linger: Duration,
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

#[derive(Debug)]
pub(crate) struct Mux {
    bounds: Bounds,
    next_id: Option<u32>,
    streams: BTreeMap<StreamId, Stream>,
    turns: Turns,
    /// Headers without bytes: SYN, FIN, NOP.
    control: VecDeque<[u8; HEADER_LENGTH]>,
    /// What is left of the frame being sent.
    current: Bytes,
    parser: Parser,
    unread: usize,
    /// ConnectToPortError came, the FIN that tells which stream it meant has not.
    refusals: usize,
    /// Streams that were reset before the far end said anything: a refusal may be meant for one of them.
    forgotten: BTreeSet<StreamId>,
    changes: VecDeque<Change>,
    over: bool,
}

impl Mux {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next_id: Some(FIRST_ID),
            streams: BTreeMap::new(),
            turns: Turns::default(),
            control: VecDeque::new(),
            current: Bytes::new(),
            parser: Parser::default(),
            unread: 0,
            refusals: 0,
            forgotten: BTreeSet::new(),
            changes: VecDeque::new(),
            over: false,
        }
    }

    pub(crate) fn open(&mut self) -> Option<StreamId> {
        let id = self.next_id.filter(|_| !self.over)?;
        self.next_id = id.checked_add(2);
        self.control.push_back(wire::header(Command::Syn, id, 0));
        self.streams.insert(StreamId(id), Stream::default());
        Some(StreamId(id))
    }

    pub(crate) fn write(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, StreamEnded> {
        let stream = self.streams.get_mut(&id).filter(|stream| stream.takes_bytes()).ok_or(StreamEnded)?;
        let taken = bytes.len().min(self.bounds.send.saturating_sub(stream.unsent.len()));
        stream.wants_room = taken < bytes.len();
        if taken > 0 {
            if stream.unsent.is_empty() {
                self.turns.begin(id);
            }
            stream.unsent.put_slice(&bytes[..taken]);
        }
        Ok(taken)
    }

    pub(crate) fn read(&mut self, id: StreamId, buffer: &mut [u8]) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::Finished };
        if stream.overflowed {
            return Read::Reset;
        }
        let length = stream.unread.len().min(buffer.len());
        if length > 0 {
            stream.unread.copy_to_slice(&mut buffer[..length]);
            self.unread -= length;
            if stream.unread.is_empty() && stream.unread.capacity() > KEPT_BUFFER {
                stream.unread = BytesMut::new();
            }
            return Read::Bytes(length);
        }
        if stream.far_finished { Read::Finished } else { Read::Blocked }
    }

    /// No more bytes from here. The SSM agent knows no half-close, so FIN waits for the far end's or for the linger time.
    pub(crate) fn finish(&mut self, id: StreamId, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.takes_bytes()
        {
            stream.linger_until = Some(now + self.bounds.linger);
        }
    }

    /// Closes both directions and forgets the stream.
    pub(crate) fn reset(&mut self, id: StreamId) {
        self.send_fin(id);
        let Some(stream) = self.streams.remove(&id) else { return };
        self.unread -= stream.unread.len();
        if stream.may_be_refused() {
            self.forgotten.insert(id);
            if self.forgotten.len() > FORGOTTEN_LIMIT {
                self.forgotten.pop_first();
            }
        }
    }

    pub(crate) fn connect_refused(&mut self) {
        self.refusals += 1;
    }

    pub(crate) fn keep_alive(&mut self) {
        // While nothing can be sent one is enough.
        if !self.has_bytes_to_send() {
            self.control.push_back(wire::header(Command::Nop, 0, 0));
        }
    }

    /// Bytes held for both directions.
    pub(crate) fn buffered_bytes(&self) -> usize {
        let unsent: usize = self.streams.values().map(|stream| stream.unsent.len()).sum();
        unsent + self.unread + self.current.len() + self.control.len() * HEADER_LENGTH
    }

    /// The session is gone: what was received can still be read, then every stream is finished.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.turns.clear();
        self.control.clear();
        for (id, stream) in &mut self.streams {
            Self::end_stream(&mut self.changes, *id, stream);
        }
    }

    /// The far end could not be heard meanwhile.
    pub(crate) fn linger_anew(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            stream.linger_until = stream.linger_until.map(|_| now + self.bounds.linger);
        }
    }

    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(|stream| stream.linger_until).min()
    }

    /// Ends the streams that have lingered long enough, unless `repairing`: messages are missing on the way, so that hearing
    /// nothing means nothing.
    pub(crate) fn handle_timeout(&mut self, repairing: bool, now: Instant) {
        let is_due = |stream: &Stream| stream.linger_until.is_some_and(|until| until <= now);
        let due: Vec<StreamId> = self.streams.iter().filter(|(_, stream)| is_due(stream)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let slept = stream.linger_until.is_some_and(|until| until + LATE < now);
            if stream.unsent.is_empty() && !slept && !repairing {
                Self::end_stream(&mut self.changes, id, stream);
                self.control.push_back(wire::header(Command::Fin, id.0, 0));
            } else {
                stream.linger_until = Some(now + self.bounds.linger);
            }
        }
    }

    pub(crate) fn has_bytes_to_send(&self) -> bool {
        !self.current.is_empty() || !self.control.is_empty() || !self.turns.is_empty()
    }

    /// Appends at most `room` bytes of the multiplexed stream to `out`.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, mut room: usize) {
        while room > 0 {
            if !self.current.is_empty() {
                let length = self.current.len().min(room);
                out.put_slice(&self.current[..length]);
                self.current.advance(length);
                room -= length;
            } else if let Some(header) = self.control.pop_front() {
                self.current = Bytes::copy_from_slice(&header);
            } else if !self.next_frame(out, &mut room) {
                return;
            }
        }
    }

    /// Takes the next bytes of the multiplexed stream.
    pub(crate) fn receive(&mut self, mut bytes: Bytes, now: Instant) -> Result<(), &'static str> {
        while let Some(piece) = self.parser.next(&mut bytes)? {
            match piece {
                Piece::Bytes(id, part) => self.receive_bytes(StreamId(id), &part, now),
                Piece::Fin(id) => self.receive_fin(StreamId(id)),
            }
        }
        Ok(())
    }

    fn next_frame(&mut self, out: &mut BytesMut, room: &mut usize) -> bool {
        // A header is not worth splitting: the rest of this message stays empty, and the next one begins with it.
        if *room <= HEADER_LENGTH {
            return false;
        }
        let Some(id) = self.turns.next() else { return false };
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.unsent.is_empty()) else { return true };
        let length = stream.unsent.len().min(LONGEST_FRAME);
        self.current = stream.unsent.split_to(length).freeze();
        if !stream.unsent.is_empty() {
            self.turns.go_on(id);
        }
        if stream.wants_room && stream.unsent.len() <= self.bounds.send / 2 {
            stream.wants_room = false;
            self.changes.push_back(Change::Writable(id));
        }
        out.put_slice(&wire::header(Command::Psh, id.0, length));
        *room -= HEADER_LENGTH;
        true
    }

    fn receive_bytes(&mut self, id: StreamId, part: &[u8], now: Instant) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.far_finished) else { return };
        if stream.overflowed {
            return;
        }
        if stream.linger_until.is_some() {
            stream.linger_until = Some(now + self.bounds.linger);
        }
        if stream.unread.is_empty() {
            self.changes.push_back(Change::Readable(id));
        }
        stream.answered = true;
        stream.unread.put_slice(part);
        self.unread += part.len();
        if self.unread > self.bounds.receive {
            self.overflow();
        }
    }

    /// Neither smux v1 nor the SSM agent can be slowed down for one stream alone, so the one furthest behind is given up.
    fn overflow(&mut self) {
        let Some((id, stream)) = self.streams.iter_mut().max_by_key(|(_, stream)| stream.unread.len()) else { return };
        let id = *id;
        self.unread -= stream.unread.len();
        stream.overflow();
        self.control.push_back(wire::header(Command::Fin, id.0, 0));
        self.changes.extend([Change::Overflowed(id), Change::Readable(id), Change::Writable(id)]);
    }

    fn receive_fin(&mut self, id: StreamId) {
        if self.forgotten.remove(&id) && !self.streams.values().any(Stream::may_be_refused) {
            self.refusals = self.refusals.saturating_sub(1);
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.far_finished) else { return };
        if self.refusals > 0 && !stream.answered {
            self.refusals -= 1;
            self.changes.push_back(Change::Refused(id));
        }
        // Whatever is still unsent would be discarded: the SSM agent closes the whole connection at once.
        if !stream.overflowed {
            self.control.push_back(wire::header(Command::Fin, id.0, 0));
        }
        Self::end_stream(&mut self.changes, id, stream);
    }

    /// Wakes whoever waits to read or to write.
    fn end_stream(changes: &mut VecDeque<Change>, id: StreamId, stream: &mut Stream) {
        stream.end();
        changes.extend([Change::Readable(id), Change::Writable(id)]);
    }

    fn send_fin(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| !stream.far_finished && !stream.overflowed) && !self.over {
            self.control.push_back(wire::header(Command::Fin, id.0, 0));
        }
    }
}

#[cfg(test)]
mod tests;

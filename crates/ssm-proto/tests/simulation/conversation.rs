//! What one database connection wants, and how far it has got.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use ssm_proto::{Channel, Read, StreamId};

use crate::{network::Chance, pattern};

/// What the server is asked for, in the first nine bytes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Say it all back.
    Echo { length: usize },
    /// Say so much after thinking, and hang up; the client has closed its writing side.
    Download { length: usize, thinks: Duration },
    /// Take so much, say one byte, hang up.
    Upload { length: usize },
}

impl Ask {
    fn draw(chance: &mut Chance) -> Self {
        let length = [1, 1017, 5000, 40_000, 150_000][chance.below(5)];
        match chance.below(4) {
            0 => Self::Download { length, thinks: Duration::from_millis([0, 10, 3000][chance.below(3)]) },
            1 => Self::Upload { length },
            _ => Self::Echo { length },
        }
    }

    pub(crate) fn read(bytes: &mut BytesMut) -> Option<Self> {
        if bytes.len() < 9 {
            return None;
        }
        let kind = bytes.get_u8();
        let length = usize::try_from(bytes.get_u32_le()).expect("32 bits fit");
        let thinks = Duration::from_millis(u64::from(bytes.get_u32_le()));
        Some(match kind {
            b'D' => Self::Download { length, thinks },
            b'E' => Self::Echo { length },
            b'U' => Self::Upload { length },
            other => panic!("nobody asks for {other}"),
        })
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let (kind, length, thinks) = match self {
            Self::Download { length, thinks } => (b'D', length, thinks),
            Self::Echo { length } => (b'E', length, Duration::ZERO),
            Self::Upload { length } => (b'U', length, Duration::ZERO),
        };
        let length = u32::try_from(length).expect("small").to_le_bytes();
        let thinks = u32::try_from(thinks.as_millis()).expect("small").to_le_bytes();
        [&[kind][..], &length, &thinks].concat()
    }

    fn written(self) -> usize {
        match self {
            Self::Download { .. } => 0,
            Self::Echo { length } | Self::Upload { length } => length,
        }
    }

    fn read_back(self) -> usize {
        match self {
            Self::Download { length, .. } | Self::Echo { length } => length,
            Self::Upload { .. } => 1,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) stream: StreamId,
    ask: Ask,
    opening: Vec<u8>,
    written: usize,
    read: usize,
    finished: bool,
    /// The SSM agent could not connect it.
    pub(crate) refused: bool,
    /// A slow reader takes some bytes and then waits.
    reads_at: Option<Instant>,
    dawdles: Duration,
    /// The client hangs up at this time, whatever it was doing.
    gives_up_at: Option<Instant>,
    pub(crate) gave_up: bool,
    pub(crate) is_over: bool,
}

impl Conversation {
    pub(crate) fn draw(client: &mut Channel, now: Instant, chance: &mut Chance) -> Self {
        let dawdles = [Duration::ZERO, Duration::ZERO, Duration::from_millis(300)][chance.below(3)];
        let gives_up_at = chance.one_in(8).then(|| now + chance.ms(3000));
        Self { dawdles, gives_up_at, ..Self::open(Ask::draw(chance), client) }
    }

    pub(crate) fn open(ask: Ask, client: &mut Channel) -> Self {
        let stream = client.open_stream().expect("a new session has ids");
        Self {
            stream,
            ask,
            opening: ask.to_bytes(),
            written: 0,
            read: 0,
            finished: false,
            refused: false,
            reads_at: None,
            dawdles: Duration::ZERO,
            gives_up_at: None,
            gave_up: false,
            is_over: false,
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        [self.reads_at, self.gives_up_at].into_iter().flatten().filter(|_| !self.is_over).min()
    }

    pub(crate) fn heard_nothing(&self) -> bool {
        self.read == 0
    }

    pub(crate) fn go_on(&mut self, client: &mut Channel, now: Instant, seed: u64) {
        if self.gives_up_at.is_some_and(|at| at <= now) && !self.is_over {
            self.gave_up = true;
            self.end(client);
        }
        if !self.is_over {
            self.write(client, now);
            self.read(client, now, seed);
        }
    }

    fn write(&mut self, client: &mut Channel, now: Instant) {
        while !self.opening.is_empty() {
            let Ok(taken @ 1..) = client.write(self.stream, &self.opening) else { return };
            self.opening.drain(..taken);
        }
        while self.written < self.ask.written() {
            let bytes: Vec<u8> = (self.written..self.ask.written().min(self.written + 2048)).map(pattern).collect();
            let Ok(taken @ 1..) = client.write(self.stream, &bytes) else { return };
            self.written += taken;
        }
        if !self.finished {
            self.finished = true;
            client.finish(self.stream, now);
        }
    }

    fn read(&mut self, client: &mut Channel, now: Instant, seed: u64) {
        let mut buffer = [0; 4096];
        while self.reads_at.is_none_or(|at| at <= now) {
            match client.read(self.stream, &mut buffer) {
                Read::Bytes(length) => {
                    let right = buffer[..length].iter().enumerate().all(|(at, byte)| *byte == pattern(self.read + at));
                    assert!(right, "seed {seed}: {self:?} reads something else");
                    self.read += length;
                    self.reads_at = (!self.dawdles.is_zero()).then(|| now + self.dawdles);
                    if matches!(self.ask, Ask::Echo { length } if length == self.read) {
                        self.end(client);
                    }
                }
                Read::Blocked => return self.reads_at = None,
                Read::Finished => {
                    let whole = self.read == self.ask.read_back();
                    assert!(whole || self.refused, "seed {seed}: {self:?} ended too early");
                    return self.end(client);
                }
                Read::Reset => panic!("seed {seed}: {self:?} lost bytes"),
            }
            if self.is_over {
                return;
            }
        }
    }

    fn end(&mut self, client: &mut Channel) {
        client.reset(self.stream);
        self.is_over = true;
    }
}

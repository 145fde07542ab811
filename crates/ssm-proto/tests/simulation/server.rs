//! What stands behind the SSM agent: its multiplexer, and a server that does as the first bytes of a connection ask.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{conversation::Ask, network::Chance, pattern};

const SYN: u8 = 0;
const FIN: u8 = 1;
const PSH: u8 = 2;
const NOP: u8 = 3;
const LONGEST_FRAME: usize = 32 * 1024;

pub(crate) struct Server {
    chance: Chance,
    /// Connections may be refused or slow to come about.
    troubled: bool,
    from_client: BytesMut,
    to_client: BytesMut,
    connections: BTreeMap<u32, Connection>,
    /// Streams that wait for their turn to be connected: one at a time.
    backlog: VecDeque<u32>,
    connects_at: Option<Instant>,
    refusals: usize,
    pub(crate) refused: Vec<u32>,
}

#[derive(Default)]
struct Connection {
    connected: bool,
    /// The client's FIN came before there was a connection.
    given_up: bool,
    unread: BytesMut,
    ask: Option<Ask>,
    received: usize,
    answers_at: Option<Instant>,
}

impl Server {
    pub(crate) fn new(chance: Chance, troubled: bool) -> Self {
        Self {
            chance,
            troubled,
            from_client: BytesMut::new(),
            to_client: BytesMut::new(),
            connections: BTreeMap::new(),
            backlog: VecDeque::new(),
            connects_at: None,
            refusals: 0,
            refused: Vec::new(),
        }
    }

    /// Takes bytes of the multiplexed stream; gives the number of connections that were refused.
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Instant) -> usize {
        self.from_client.put_slice(bytes);
        while let Some(header) = self.from_client.first_chunk::<8>().copied() {
            let [version, command, low, high, id @ ..] = header;
            assert_eq!(version, 1, "smux version");
            let length = usize::from(u16::from_le_bytes([low, high]));
            assert!(command == PSH || length == 0, "only PSH has bytes");
            if self.from_client.len() < 8 + length {
                break;
            }
            let data = self.from_client.split_to(8 + length).split_off(8);
            self.handle_frame(command, u32::from_le_bytes(id), &data, now);
        }
        self.take_refusals()
    }

    pub(crate) fn take_refusals(&mut self) -> usize {
        std::mem::take(&mut self.refusals)
    }

    pub(crate) fn received_bytes(&self) -> usize {
        self.connections.values().map(|connection| connection.received).sum()
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.to_client.is_empty()
    }

    pub(crate) fn take_output(&mut self, limit: usize) -> Option<Bytes> {
        let length = self.to_client.len().min(limit);
        (length > 0).then(|| self.to_client.split_to(length).freeze())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let answers = self.connections.values().filter_map(|connection| connection.answers_at).min();
        [self.connects_at, answers].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.connect_next(now);
        let due: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.answers_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.answer(id);
        }
    }

    fn handle_frame(&mut self, command: u8, id: u32, data: &[u8], now: Instant) {
        match command {
            SYN => {
                self.connections.insert(id, Connection::default());
                self.backlog.push_back(id);
                self.dial(now);
                self.connect_next(now);
            }
            FIN => match self.connections.get_mut(&id) {
                Some(connection) if !connection.connected => connection.given_up = true,
                Some(_) => self.hang_up(id),
                None => {}
            },
            PSH => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.unread.put_slice(data);
                    self.serve(id, now);
                }
            }
            NOP => {}
            other => panic!("smux command {other}"),
        }
    }

    fn dial(&mut self, now: Instant) {
        if self.connects_at.is_none() && !self.backlog.is_empty() {
            let slow = if self.troubled { [0, 0, 5, 900][self.chance.below(4)] } else { 0 };
            self.connects_at = Some(now + Duration::from_millis(slow));
        }
    }

    fn connect_next(&mut self, now: Instant) {
        while self.connects_at.is_some_and(|at| at <= now) {
            self.connects_at = None;
            let id = self.backlog.pop_front().expect("somebody is being connected");
            if self.troubled && self.chance.one_in(10) {
                self.refusals += 1;
                self.refused.push(id);
                self.hang_up(id);
            } else if self.connections.get(&id).is_some_and(|connection| connection.given_up) {
                self.hang_up(id);
            } else if let Some(connection) = self.connections.get_mut(&id) {
                connection.connected = true;
                self.serve(id, now);
            }
            self.dial(now);
        }
    }

    fn serve(&mut self, id: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.connected) else { return };
        if connection.ask.is_none() {
            let Some(ask) = Ask::read(&mut connection.unread) else { return };
            connection.ask = Some(ask);
        }
        let (Some(ask), data) = (connection.ask, connection.unread.split()) else { return };
        let right = data.iter().enumerate().all(|(at, byte)| *byte == pattern(connection.received + at));
        assert!(right, "stream {id} differs after byte {} of what it uploads", connection.received);
        connection.received += data.len();
        match ask {
            Ask::Echo { .. } => self.put_bytes(id, &data),
            Ask::Download { thinks, .. } => connection.answers_at = Some(now + thinks),
            Ask::Upload { length } if connection.received == length => connection.answers_at = Some(now),
            Ask::Upload { .. } => {}
        }
    }

    /// Says what was asked for and hangs up.
    fn answer(&mut self, id: u32) {
        match self.connections.get(&id).and_then(|connection| connection.ask) {
            Some(Ask::Download { length, .. }) => self.put_bytes(id, &(0..length).map(pattern).collect::<Vec<_>>()),
            Some(Ask::Upload { .. }) => self.put_bytes(id, &[pattern(0)]),
            Some(Ask::Echo { .. }) | None => {}
        }
        self.hang_up(id);
    }

    fn hang_up(&mut self, id: u32) {
        self.connections.remove(&id);
        self.put_frame(FIN, id, &[]);
    }

    fn put_bytes(&mut self, id: u32, bytes: &[u8]) {
        for part in bytes.chunks(LONGEST_FRAME) {
            self.put_frame(PSH, id, part);
        }
    }

    fn put_frame(&mut self, command: u8, id: u32, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("at most 32 KiB");
        self.to_client.put_slice(&[1, command]);
        self.to_client.put_u16_le(length);
        self.to_client.put_u32_le(id);
        self.to_client.put_slice(bytes);
    }
}

//! Orders, one after another: what the network and the streams do to a channel, and how time goes on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_proto::{
    Channel, Config, Event, Read, StreamId,
    frame::{Frame, MessageType, PayloadType},
};

use super::{REQUEST, feed, ready, start_of_time};

const RECEIVE_LIMIT: usize = 16 * 1024;
const SEND_LIMIT: usize = 2 * 1024;
const STREAMS: usize = 8;
const MEMORY: usize = (2 + 16) * 1024 * 1024 + RECEIVE_LIMIT + STREAMS * (SEND_LIMIT + 64) + 4096;

/// A first byte for the beginning, then orders of one byte each with what they need behind them.
pub fn channel(bytes: &[u8]) {
    let Some((first, orders)) = bytes.split_first() else { return };
    let mut run = Run::new(*first, orders);
    while let Some(order) = run.byte() {
        run.obey(order);
        run.check();
    }
}

struct Run<'a> {
    orders: &'a [u8],
    now: Instant,
    client: Channel,
    streams: Vec<StreamId>,
    /// Data messages by their number.
    sent: Vec<Bytes>,
    /// Those before this number were acknowledged.
    acknowledged: usize,
    /// The next number of the SSM agent.
    next: i64,
    over: bool,
}

impl<'a> Run<'a> {
    fn new(first: u8, orders: &'a [u8]) -> Self {
        let now = start_of_time();
        let payload_size = [9, 64, 1024, 1536][usize::from(first >> 1) % 4];
        let config = Config { payload_size, receive_limit: RECEIVE_LIMIT, send_limit: SEND_LIMIT, ..Config::default() };
        let (client, next) = match first % 2 {
            0 => (ready(config, now), 2),
            _ => (Channel::new(config, [1; 32], now, 1), 0),
        };
        Self { orders, now, client, streams: Vec::new(), sent: Vec::new(), acknowledged: 0, next, over: false }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.orders.split_first()?;
        self.orders = rest;
        Some(*first)
    }

    fn small(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    fn obey(&mut self, order: u8) {
        match order % 16 {
            0 | 1 => self.data(),
            2 => self.multiplexed(),
            3 => self.raw(),
            4 => self.acknowledge(),
            5 => self.wait(),
            6 => self.open(),
            7 | 8 => self.write(),
            9 => self.read(),
            10 => self.finish_or_reset(),
            11 => self.client.reconnected(self.now),
            12 => self.order_publication(),
            13 => self.handshake(),
            14 => self.acknowledge_all(),
            _ => self.end(),
        }
    }

    fn data(&mut self) {
        let (ahead, kind, length) = (self.small(), self.small(), self.small());
        let kinds = [PayloadType::Output, PayloadType::Flag, PayloadType::HandshakeRequest, PayloadType::ExitCode];
        let kind = kinds[usize::from(kind) % kinds.len()];
        let payload = self.take(length.into());
        let sequence = self.next + i64::from(ahead.cast_signed());
        feed(&mut self.client, sequence, kind, payload, self.now);
        self.next += i64::from(ahead == 0);
    }

    /// A frame of the multiplexed stream for a stream that exists, or nearly.
    fn multiplexed(&mut self) {
        let (command, stream, length) = (self.small(), self.small(), self.small());
        let length = if command.is_multiple_of(2) { usize::from(length) * 16 } else { 0 };
        let command = [2, 1, 2, 3][usize::from(command) % 4];
        let id = u32::from(stream % 20);
        let header = [&[1, command][..], &u16::try_from(length).expect("small").to_le_bytes(), &id.to_le_bytes()];
        let payload = [header.concat(), vec![7; length]].concat();
        feed(&mut self.client, self.next, PayloadType::Output, &payload, self.now);
        self.next += 1;
    }

    fn raw(&mut self) {
        let length = self.small();
        let bytes = Bytes::copy_from_slice(self.take(length.into()));
        // Most bytes are no message.
        let _ = self.client.handle_frame(bytes, self.now);
    }

    fn acknowledge(&mut self) {
        let sequence = i64::from(self.small()) + i64::from(self.small().cast_signed()) * 256;
        self.service(MessageType::Acknowledge, format!(r#"{{"AcknowledgedMessageSequenceNumber":{sequence}}}"#));
    }

    fn acknowledge_all(&mut self) {
        let from = std::mem::replace(&mut self.acknowledged, self.sent.len());
        for sequence in from..self.sent.len() {
            self.service(MessageType::Acknowledge, format!(r#"{{"AcknowledgedMessageSequenceNumber":{sequence}}}"#));
        }
    }

    fn wait(&mut self) {
        let (factor, unit) = (self.small(), self.small());
        self.now += Duration::from_millis(u64::from(factor)) * [1, 10, 200, 10_000][usize::from(unit) % 4];
    }

    fn open(&mut self) {
        if self.streams.len() < STREAMS {
            self.streams.extend(self.client.open_stream());
        }
    }

    fn stream(&mut self) -> Option<StreamId> {
        let nth = usize::from(self.small());
        (!self.streams.is_empty()).then(|| self.streams[nth % self.streams.len()])
    }

    fn write(&mut self) {
        let length = usize::from(self.small()) * 16;
        let Some(stream) = self.stream() else { return };
        if let Ok(taken) = self.client.write(stream, &vec![9; length]) {
            assert!(taken <= length.min(SEND_LIMIT));
        }
    }

    fn read(&mut self) {
        let Some(stream) = self.stream() else { return };
        let mut buffer = [0; 5000];
        if let Read::Bytes(length) = self.client.read(stream, &mut buffer) {
            assert!((1..=buffer.len()).contains(&length));
        }
    }

    fn finish_or_reset(&mut self) {
        let kind = self.small();
        let Some(stream) = self.stream() else { return };
        if kind.is_multiple_of(2) {
            self.client.finish(stream, self.now);
        } else {
            self.client.reset(stream);
            assert_eq!(self.client.read(stream, &mut [0]), Read::Finished, "it is forgotten");
        }
    }

    fn order_publication(&mut self) {
        let kinds = [MessageType::PausePublication, MessageType::StartPublication];
        let kind = kinds[usize::from(self.small()) % 2].clone();
        self.service(kind, " ".to_owned());
    }

    fn handshake(&mut self) {
        feed(&mut self.client, self.next, PayloadType::HandshakeRequest, REQUEST, self.now);
        feed(&mut self.client, self.next + 1, PayloadType::HandshakeComplete, b"{}", self.now);
        self.next += 2;
    }

    fn end(&mut self) {
        match self.small() % 3 {
            0 => self.client.terminate(),
            1 => self.client.abandon(),
            _ => self.service(MessageType::ChannelClosed, r#"{"Output":"over"}"#.to_owned()),
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.orders.split_at(length.min(self.orders.len()));
        self.orders = rest;
        taken
    }

    fn service(&mut self, message_type: MessageType, payload: String) {
        let frame = Frame {
            message_type,
            sequence_number: 0,
            flags: 0,
            message_id: [2; 16],
            created_at_ms: 1,
            payload_type: None,
            payload: payload.into(),
        };
        self.client.handle_frame(frame.encode(), self.now).expect("it is whole");
    }

    fn check(&mut self) {
        self.carry();
        if self.client.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.client.handle_timeout(self.now);
            self.carry();
        }
        if let Some((at, reason)) = self.client.poll_timeout() {
            assert!(at > self.now, "{reason} is due for ever");
        }
        for event in std::iter::from_fn(|| self.client.poll_event()) {
            if matches!(event, Event::Closed { .. } | Event::Failed(_)) {
                assert!(!self.over, "a session ends once");
                self.over = true;
            }
        }
        let held = self.client.buffered_bytes();
        assert!(held <= MEMORY, "{held} bytes are held");
    }

    fn carry(&mut self) {
        for _ in 0..100_000 {
            let Some(message) = self.client.poll_transmit(self.now) else { return };
            let frame = Frame::decode(message.clone()).expect("it is ours");
            assert!(!frame.payload.is_empty(), "nobody writes empty messages");
            match frame.message_type {
                MessageType::Acknowledge => {}
                MessageType::InputStreamData => self.keep(frame, message),
                MessageType::AgentSessionState
                | MessageType::ChannelClosed
                | MessageType::Other(_)
                | MessageType::OutputStreamData
                | MessageType::PausePublication
                | MessageType::StartPublication => panic!("clients do not send {}", frame.message_type),
            }
        }
        panic!("it sends for ever");
    }

    /// The first time in order, later the same bytes.
    fn keep(&mut self, frame: Frame, message: Bytes) {
        let at = usize::try_from(frame.sequence_number).expect("they are counted from 0");
        match self.sent.get(at) {
            Some(earlier) => assert_eq!(earlier, &message),
            None => {
                assert_eq!(at, self.sent.len(), "numbers follow each other");
                self.sent.push(message);
            }
        }
    }
}

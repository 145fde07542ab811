//! A model of the SSM agent, small and on its own.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ssm_proto::frame::{
    ACKNOWLEDGE_FLAGS, Acknowledgement, FLAG_SYN, Flag, Frame, HandshakeResponse, MessageType, PayloadType,
};

use crate::{network::Chance, server::Server};

const TICK: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The session-manager-plugin sends at most 1024 bytes, third-party clients 1536.
const LONGEST_PAYLOAD: usize = 1536;
const REQUEST: &str = r#"{"AgentVersion":"3.3.1142.0","RequestedClientActions":[{"ActionType":"SessionType",
    "ActionParameters":{"SessionType":"Port","Properties":{"host":"db","portNumber":"5432","type":"LocalPortForwarding"}}}]}"#;
const COMPLETE: &str = r#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#;

pub(crate) struct Agent {
    expected: i64,
    ahead: BTreeMap<i64, Frame>,
    sent: i64,
    unacked: BTreeMap<i64, (Bytes, Instant)>,
    round_trip: Duration,
    variation: Duration,
    timeout: Duration,
    next_tick: Instant,
    transmit: VecDeque<Bytes>,
    pub(crate) paused: bool,
    /// It notes the end of the handshake some time after it has told the client.
    notes: Duration,
    complete_at: Option<Instant>,
    /// Between HandshakeComplete and this nothing is acknowledged.
    ready_at: Option<Instant>,
    start_up: Duration,
    started: Instant,
    pub(crate) early_bytes: usize,
    /// The destination does not read: what comes meanwhile waits unread, acknowledgements and all.
    held_up_until: Option<Instant>,
    inbox: VecDeque<Bytes>,
    pub(crate) server: Server,
    /// Between two messages with stream bytes.
    pace: Duration,
    next_packet: Instant,
}

impl Agent {
    pub(crate) fn new(now: Instant, server: Server, chance: &mut Chance) -> Self {
        let mut agent = Self {
            expected: 0,
            ahead: BTreeMap::new(),
            sent: 0,
            unacked: BTreeMap::new(),
            round_trip: Duration::from_millis(100),
            variation: Duration::ZERO,
            timeout: Duration::from_millis(200),
            next_tick: now + TICK,
            transmit: VecDeque::new(),
            paused: false,
            notes: Duration::from_micros([0, 50, 4000][chance.below(3)]),
            complete_at: None,
            ready_at: None,
            start_up: Duration::from_millis([0, 40, 700][chance.below(3)]),
            started: now,
            early_bytes: 0,
            held_up_until: None,
            inbox: VecDeque::new(),
            server,
            pace: Duration::from_millis([0, 1][chance.below(2)]),
            next_packet: now,
        };
        agent.send(PayloadType::HandshakeRequest, Bytes::from_static(REQUEST.as_bytes()), now);
        agent
    }

    pub(crate) fn handle_frame(&mut self, message: Bytes, now: Instant) {
        self.inbox.push_back(message);
        self.read_inbox(now);
    }

    pub(crate) fn hold_up(&mut self, until: Instant) {
        self.held_up_until = Some(until);
    }

    pub(crate) fn reconnected(&mut self) {
        self.paused = false;
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tick = (!self.unacked.is_empty()).then_some(self.next_tick);
        let packet = (self.server.has_output() && !self.paused).then_some(self.next_packet);
        [tick, packet, self.held_up_until, self.server.next_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.held_up_until.is_some_and(|until| until <= now) {
            self.held_up_until = None;
        }
        self.read_inbox(now);
        self.server.handle_timeout(now);
        self.pump(now);
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.resend_oldest(now);
        }
    }

    fn read_inbox(&mut self, now: Instant) {
        while self.held_up_until.is_none()
            && let Some(message) = self.inbox.pop_front()
        {
            self.read(message, now);
        }
    }

    fn read(&mut self, message: Bytes, now: Instant) {
        let frame = Frame::decode(message).expect("the client writes right frames");
        assert!(!frame.payload.is_empty() && frame.payload.len() <= LONGEST_PAYLOAD, "{} bytes", frame.payload.len());
        match frame.message_type {
            MessageType::Acknowledge => self.acknowledged(&frame, now),
            MessageType::InputStreamData => self.handle_data(frame, now),
            MessageType::AgentSessionState
            | MessageType::ChannelClosed
            | MessageType::OutputStreamData
            | MessageType::Other(_)
            | MessageType::PausePublication
            | MessageType::StartPublication => panic!("clients do not send {}", frame.message_type),
        }
        self.paused = false;
    }

    fn acknowledged(&mut self, frame: &Frame, now: Instant) {
        let sequence = Acknowledgement::from_json(&frame.payload).expect("JSON").sequence_number;
        let Some((_, sent_at)) = self.unacked.remove(&sequence) else { return };
        let sample = now - sent_at;
        self.variation = self.variation * 3 / 4 + self.round_trip.abs_diff(sample) / 4;
        self.round_trip = self.round_trip * 7 / 8 + sample / 8;
        let timeout = self.round_trip + Duration::from_millis(10).max(self.variation * 4);
        self.timeout = timeout.min(LONGEST_TIMEOUT);
    }

    fn resend_oldest(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        if let Some((message, sent_at)) = self.unacked.values_mut().next()
            && now - *sent_at > self.timeout
        {
            *sent_at = now;
            self.transmit.push_back(message.clone());
        }
    }

    fn handle_data(&mut self, frame: Frame, now: Instant) {
        let thrown_away = self.complete_at.is_none_or(|at| now < at);
        // Until its port is ready the agent leaves the next message alone, yet keeps and acknowledges those after it.
        let port_starts = !thrown_away && self.ready_at.is_some_and(|at| now < at);
        if port_starts && frame.sequence_number == self.expected {
            return;
        }
        self.acknowledge(&frame);
        if frame.sequence_number > self.expected {
            self.ahead.insert(frame.sequence_number, frame);
            return;
        }
        if frame.sequence_number < self.expected {
            return;
        }
        self.process(&frame, now);
        while let Some(next) = self.ahead.remove(&self.expected) {
            self.process(&next, now);
        }
    }

    fn process(&mut self, frame: &Frame, now: Instant) {
        self.expected += 1;
        match (frame.payload_type, self.ready_at) {
            (Some(PayloadType::HandshakeResponse), None) => {
                let response = HandshakeResponse::from_json(&frame.payload).expect("JSON");
                assert!(response.processed_client_actions.iter().all(|action| action.action_status == 1));
                self.complete_at = Some(now + self.notes);
                self.ready_at = Some(now + self.notes + self.start_up);
                self.send(PayloadType::HandshakeComplete, Bytes::from_static(COMPLETE.as_bytes()), now);
            }
            (Some(PayloadType::Output), Some(_)) if self.complete_at.is_some_and(|at| at <= now) => {
                for _ in 0..self.server.receive(&frame.payload, now) {
                    self.send(PayloadType::Flag, Flag::ConnectToPortError.encode(), now);
                }
                self.pump(now);
            }
            (Some(PayloadType::Output), _) => self.early_bytes += frame.payload.len(),
            (other, _) => panic!("the client sent payload type {other:?}"),
        }
    }

    /// Carries what the server says, in messages of 1 KiB.
    fn pump(&mut self, now: Instant) {
        for _ in 0..self.server.take_refusals() {
            self.send(PayloadType::Flag, Flag::ConnectToPortError.encode(), now);
        }
        while !self.paused && self.next_packet <= now {
            let Some(packet) = self.server.take_output(1024) else { return };
            self.send(PayloadType::Output, packet, now);
            self.next_packet = now + self.pace;
        }
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) {
        let flags = if self.sent == 0 { FLAG_SYN } else { 0 };
        let frame = Frame {
            message_type: MessageType::OutputStreamData,
            sequence_number: self.sent,
            flags,
            message_id: [1; 16],
            created_at_ms: 1 + u64::try_from((now - self.started).as_millis()).expect("hours at most"),
            payload_type: Some(payload_type),
            payload,
        };
        let message = frame.encode();
        self.unacked.insert(self.sent, (message.clone(), now));
        if !self.paused {
            self.transmit.push_back(message);
        }
        self.sent += 1;
    }

    fn acknowledge(&mut self, frame: &Frame) {
        let payload = Acknowledgement {
            message_type: "input_stream_data".to_owned(),
            message_id: String::new(),
            sequence_number: frame.sequence_number,
            is_sequential: true,
        };
        let acknowledgement = Frame {
            message_type: MessageType::Acknowledge,
            sequence_number: 0,
            flags: ACKNOWLEDGE_FLAGS,
            message_id: [2; 16],
            created_at_ms: 1,
            payload_type: None,
            payload: payload.to_json().into(),
        };
        self.transmit.push_back(acknowledgement.encode());
    }
}

/// As the service sends them: one blank for a payload, since nobody writes an empty one.
pub(crate) fn service_message(message_type: MessageType) -> Bytes {
    Frame {
        message_type,
        sequence_number: 0,
        flags: 0,
        message_id: [3; 16],
        created_at_ms: 1,
        payload_type: None,
        payload: Bytes::from_static(b" "),
    }
    .encode()
}

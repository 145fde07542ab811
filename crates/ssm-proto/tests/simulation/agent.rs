//! A model of the SSM agent, small and on its own.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ssm_proto::frame::{
    ACKNOWLEDGE_FLAGS, Acknowledgement, FLAG_SYN, Frame, HandshakeResponse, MessageType, PayloadType,
};

use crate::network::Chance;

const RESEND: Duration = Duration::from_millis(200);
const REQUEST: &str = r#"{"AgentVersion":"3.3.1142.0","RequestedClientActions":[{"ActionType":"SessionType",
    "ActionParameters":{"SessionType":"Port","Properties":{"host":"db","portNumber":"5432","type":"LocalPortForwarding"}}}]}"#;
const COMPLETE: &str = r#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#;

pub(crate) struct Agent {
    expected: i64,
    ahead: BTreeMap<i64, Frame>,
    sent: i64,
    unacked: BTreeMap<i64, Bytes>,
    oldest_sent_at: Instant,
    transmit: VecDeque<Bytes>,
    /// Between HandshakeComplete and this nothing is acknowledged.
    ready_at: Option<Instant>,
    start_up: Duration,
    pub(crate) early_bytes: usize,
    stream_bytes: Vec<u8>,
    open: Vec<u32>,
}

impl Agent {
    pub(crate) fn new(now: Instant, chance: &mut Chance) -> Self {
        let mut agent = Self {
            expected: 0,
            ahead: BTreeMap::new(),
            sent: 0,
            unacked: BTreeMap::new(),
            oldest_sent_at: now,
            transmit: VecDeque::new(),
            ready_at: None,
            start_up: Duration::from_millis([0, 40, 700][chance.below(3)]),
            early_bytes: 0,
            stream_bytes: Vec::new(),
            open: Vec::new(),
        };
        agent.send(PayloadType::HandshakeRequest, Bytes::from_static(REQUEST.as_bytes()));
        agent
    }

    pub(crate) fn handle_frame(&mut self, message: Bytes, now: Instant) {
        let frame = Frame::decode(message).expect("the client writes right frames");
        assert!(!frame.payload.is_empty(), "the SSM agent cannot read an empty payload");
        if frame.message_type == MessageType::Acknowledge {
            self.handle_acknowledgement(&frame, now);
        } else {
            assert_eq!(frame.message_type, MessageType::InputStreamData, "clients send nothing else");
            self.handle_data(frame, now);
        }
    }

    fn handle_acknowledgement(&mut self, frame: &Frame, now: Instant) {
        let sequence = Acknowledgement::from_json(&frame.payload).expect("JSON").sequence_number;
        let oldest = self.unacked.keys().next().copied();
        self.unacked.remove(&sequence);
        if oldest == Some(sequence) {
            self.oldest_sent_at = now;
        }
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let message = self.transmit.pop_front()?;
        self.oldest_sent_at = self.oldest_sent_at.max(now);
        Some(message)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.unacked.is_empty()).then(|| self.oldest_sent_at + RESEND)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.oldest_sent_at = now;
            self.transmit.extend(self.unacked.values().next().cloned());
        }
    }

    fn handle_data(&mut self, frame: Frame, now: Instant) {
        // Until its port is ready the agent leaves the next message alone, yet keeps and acknowledges those after it.
        let port_starts = self.ready_at.is_some_and(|at| now < at);
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
        self.process(frame, now);
        while let Some(next) = self.ahead.remove(&self.expected) {
            self.process(next, now);
        }
    }

    fn process(&mut self, frame: Frame, now: Instant) {
        self.expected += 1;
        match (frame.payload_type, self.ready_at) {
            (Some(PayloadType::HandshakeResponse), None) => {
                let response = HandshakeResponse::from_json(&frame.payload).expect("JSON");
                assert!(response.processed_client_actions.iter().all(|action| action.action_status == 1));
                self.ready_at = Some(now + self.start_up);
                self.send(PayloadType::HandshakeComplete, Bytes::from_static(COMPLETE.as_bytes()));
            }
            (Some(PayloadType::Output), Some(_)) => {
                self.stream_bytes.extend_from_slice(&frame.payload);
                self.echo();
            }
            (Some(PayloadType::Output), None) => self.early_bytes += frame.payload.len(),
            (other, _) => panic!("the client sent payload type {other:?}"),
        }
    }

    /// smux by hand: SYN opens, PSH is echoed, FIN closes, as a server does that closes when it was told to.
    fn echo(&mut self) {
        let mut answer = Vec::new();
        while self.stream_bytes.len() >= 8 {
            let length = usize::from(u16::from_le_bytes([self.stream_bytes[2], self.stream_bytes[3]]));
            if self.stream_bytes.len() < 8 + length {
                break;
            }
            let frame: Vec<u8> = self.stream_bytes.drain(..8 + length).collect();
            let id = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
            assert_eq!(frame[0], 1, "smux version");
            match frame[1] {
                0 => self.open.push(id),
                1 => self.open.retain(|open| *open != id),
                2 if self.open.contains(&id) => answer.extend(frame),
                2 => {}
                other => panic!("smux command {other}"),
            }
        }
        for part in answer.chunks(1024) {
            self.send(PayloadType::Output, Bytes::copy_from_slice(part));
        }
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes) {
        let flags = if self.sent == 0 { FLAG_SYN } else { 0 };
        let frame = Frame {
            message_type: MessageType::OutputStreamData,
            sequence_number: self.sent,
            flags,
            message_id: [1; 16],
            created_at_ms: 1,
            payload_type: Some(payload_type),
            payload,
        };
        let message = frame.encode();
        self.unacked.insert(self.sent, message.clone());
        self.transmit.push_back(message);
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

/// As the service sends them: one blank for a payload, since an empty one cannot be read.
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

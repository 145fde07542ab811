//! The client's end of a data channel.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use crate::{
    config::Config,
    frame::{
        self, Acknowledgement, ChannelClosed, Flag, Frame, FrameError, HandshakeComplete, HandshakeRequest,
        MessageType, OpenDataChannel, PREFIX_LENGTH, PayloadType,
    },
    handshake::{self, AgentVersion, Refusal},
    ids::Ids,
    incoming::{Delivery, Incoming, Receipt},
    mux::{Bounds, Change, LATE, Mux, Read, StreamEnded, StreamId},
    outgoing::Outgoing,
};

const KEEPALIVE: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(2);
/// The SSM agent acknowledges and throws away stream bytes that reach it before it has noted the end of the handshake, which
/// it does after it has told us (`PerformHandshake` in `datachannel.go`).
const SETTLE: Duration = Duration::from_millis(5);
/// A message that took so much longer than others was lost and sent again.
const REPAIRED: u64 = 2000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The service ended the session; empty after a normal end, else its words for people. All streams are finished.
    Closed {
        /// `Output` of `channel_closed`.
        reason: String,
    },
    /// The SSM agent could not reach the far port for this stream, which is finished.
    ConnectRefused(StreamId),
    /// The session is of no use. All streams are finished.
    Failed(Refusal),
    /// The stream was reset because its reader fell too far behind; reading it gives [`Read::Reset`].
    Overflowed(StreamId),
    /// The handshake is complete: bytes flow.
    Ready {
        /// Of the SSM agent.
        agent_version: AgentVersion,
        /// To be shown to the person; often empty.
        customer_message: String,
    },
    /// Reading the stream is not blocked any more.
    Readable(StreamId),
    /// The stream takes bytes again after a write was cut short.
    Writable(StreamId),
}

/// A Session Manager data channel with its streams.
///
/// Feed it with [`handle_frame`](Self::handle_frame) and [`handle_timeout`](Self::handle_timeout); after each of these and
/// after each call that changes a stream, carry away [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event)
/// and the next [`poll_timeout`](Self::poll_timeout). It outlives its websocket: see [`reconnected`](Self::reconnected).
#[derive(Debug)]
pub struct Channel {
    config: Config,
    ids: Ids,
    client_id: [u8; 16],
    started: (Instant, u64),
    phase: Phase,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Messages other than stream bytes.
    orders: VecDeque<(PayloadType, Bytes)>,
    mux: Mux,
    paused_since: Option<Instant>,
    /// One message may go out although paused.
    probe_wanted: bool,
    keepalive_at: Option<Instant>,
    /// The first stream bytes wait for this.
    settled_at: Option<Instant>,
    /// Our clock less the SSM agent's, in milliseconds, with the time the quickest message took.
    clocks_apart: Option<i128>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Phase {
    Greeting { deadline: Instant },
    Answered { deadline: Instant, agent_version: AgentVersion },
    Ready,
    Ended,
}

impl Channel {
    /// A channel for one session. `unix_ms` is the wall time at `now`, in milliseconds since the Unix epoch: messages carry it.
    pub fn new(config: Config, seed: [u8; 32], now: Instant, unix_ms: u64) -> Self {
        let config = config.within_range();
        let mut ids = Ids::new(seed);
        let bounds = Bounds { linger: config.linger, receive: config.receive_limit, send: config.send_limit };
        Self {
            client_id: ids.uuid(),
            ids,
            started: (now, unix_ms.max(1)),
            phase: Phase::Greeting { deadline: now + config.handshake_timeout },
            incoming: Incoming::default(),
            outgoing: Outgoing::new(),
            orders: VecDeque::new(),
            mux: Mux::new(bounds),
            paused_since: None,
            probe_wanted: false,
            keepalive_at: None,
            settled_at: None,
            clocks_apart: None,
            events: VecDeque::new(),
            config,
        }
    }

    /// The text message that opens each websocket of this session. It holds the token, so it is a secret.
    pub fn open_frame(&mut self, token: &str) -> String {
        OpenDataChannel {
            message_schema_version: "1.0".to_owned(),
            request_id: frame::format_uuid(self.ids.uuid()),
            token_value: token.to_owned(),
            client_instance_id: None,
            client_id: frame::format_uuid(self.client_id),
            client_version: Some(self.config.client_version.clone()),
        }
        .to_json()
    }

    /// Takes one binary message from the websocket.
    ///
    /// # Errors
    /// [`FrameError`] if it is none; it is passed over, and the peer sends it again.
    pub fn handle_frame(&mut self, message: Bytes, now: Instant) -> Result<(), FrameError> {
        let frame = Frame::decode(message)?;
        match frame.message_type {
            MessageType::Acknowledge => {
                self.paused_since = None;
                self.acknowledged(&frame.payload, now);
            }
            MessageType::ChannelClosed => {
                let reason = ChannelClosed::from_json(&frame.payload).unwrap_or_default().output;
                self.orders.clear();
                self.end(Event::Closed { reason });
            }
            MessageType::OutputStreamData => {
                self.paused_since = None;
                self.notice_repairs(frame.created_at_ms, now);
                self.incoming.accept(frame);
                while let Some(delivery) = self.incoming.poll_delivery() {
                    self.deliver(delivery, now);
                }
            }
            MessageType::PausePublication => self.paused_since = Some(now),
            MessageType::StartPublication => self.paused_since = None,
            MessageType::AgentSessionState | MessageType::InputStreamData | MessageType::Other(_) => {}
        }
        Ok(())
    }

    /// The next binary message to send; `None` until something else happens.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(receipt) = self.incoming.poll_receipt() {
            return Some(self.acknowledgement(receipt, now));
        }
        if self.paused_since.is_some() && !mem::take(&mut self.probe_wanted) {
            return None;
        }
        if let Some(frame) = self.poll_again(now) {
            return Some(frame);
        }
        if let Some((payload_type, payload)) = self.orders.pop_front() {
            let mut message = empty_message(payload.len());
            message.extend_from_slice(&payload);
            return Some(self.send(payload_type, message, now));
        }
        if !self.has_stream_bytes_to_send() || !self.outgoing.has_room() {
            return None;
        }
        if self.settled_at.is_some_and(|at| now < at) {
            return None;
        }
        let mut message = empty_message(self.config.payload_size);
        self.mux.fill(&mut message, self.config.payload_size);
        (message.len() > PREFIX_LENGTH).then(|| self.send(PayloadType::Output, message, now))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let handshake = match self.phase {
            Phase::Greeting { deadline } | Phase::Answered { deadline, .. } => Some(deadline),
            Phase::Ready => None,
            Phase::Ended => return None,
        };
        let resend = if self.paused_since.is_some() { None } else { self.outgoing.next_timeout() };
        let probe = self.paused_since.filter(|_| self.has_something_to_send()).map(|since| since + PROBE);
        [
            (handshake, "handshake"),
            (resend, "resend"),
            (probe, "probe"),
            (self.mux.next_timeout(), "linger"),
            (self.keepalive_at, "keepalive"),
            (self.settled_at.filter(|_| self.has_stream_bytes_to_send()), "settle"),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Greeting { deadline } | Phase::Answered { deadline, .. } = &mut self.phase
            && *deadline <= now
        {
            if *deadline + LATE >= now {
                let seconds = self.config.handshake_timeout.as_secs();
                return self.end(Event::Failed(Refusal::TimedOut { seconds }));
            }
            *deadline = now + self.config.handshake_timeout;
        }
        if self.settled_at.is_some_and(|at| at <= now) {
            self.settled_at = None;
        }
        match self.paused_since {
            None => self.outgoing.handle_timeout(now),
            Some(since) if since + PROBE <= now => {
                // Were the end of the pause lost, sending again and being acknowledged is what ends it.
                self.paused_since = Some(now);
                self.probe_wanted = true;
            }
            Some(_) => {}
        }
        self.mux.handle_timeout(self.incoming.has_gap() || !self.outgoing.is_empty(), now);
        if self.keepalive_at.is_some_and(|at| at <= now) {
            self.keepalive_at = Some(now + KEEPALIVE);
            self.mux.keep_alive();
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        Some(match self.mux.poll_change()? {
            Change::Overflowed(id) => Event::Overflowed(id),
            Change::Readable(id) => Event::Readable(id),
            Change::Refused(id) => Event::ConnectRefused(id),
            Change::Writable(id) => Event::Writable(id),
        })
    }

    /// A new stream, which the SSM agent connects to the far port; `None` if the session has ended. It may be written to at
    /// once, also before [`Event::Ready`].
    pub fn open_stream(&mut self) -> Option<StreamId> {
        self.mux.open()
    }

    /// Takes as many of `bytes` as there is room for; after fewer than all, [`Event::Writable`] follows.
    ///
    /// # Errors
    /// [`StreamEnded`].
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, StreamEnded> {
        self.mux.write(stream, bytes)
    }

    /// Copies what has arrived into `buffer`, which must not be empty.
    pub fn read(&mut self, stream: StreamId, buffer: &mut [u8]) -> Read {
        self.mux.read(stream, buffer)
    }

    /// No more bytes are written; what the far end still has to say arrives.
    pub fn finish(&mut self, stream: StreamId, now: Instant) {
        self.mux.finish(stream, now);
    }

    /// Closes the stream in both directions and forgets it. Every stream must come to this in the end.
    pub fn reset(&mut self, stream: StreamId) {
        self.mux.reset(stream);
    }

    /// A new websocket of the same session is open and [`open_frame`](Self::open_frame) was sent on it: everything that is not
    /// acknowledged goes out again.
    pub fn reconnected(&mut self, now: Instant) {
        self.paused_since = None;
        self.incoming.reconnected();
        self.outgoing.reconnected();
        self.mux.linger_anew(now);
        if let Phase::Greeting { deadline } | Phase::Answered { deadline, .. } = &mut self.phase {
            *deadline = now + self.config.handshake_timeout;
        }
    }

    /// Ends the session; [`is_settled`](Self::is_settled) tells when the SSM agent knows.
    pub fn terminate(&mut self) {
        if matches!(self.phase, Phase::Ready) {
            self.orders.push_back((PayloadType::Flag, Flag::TerminateSession.encode()));
        }
    }

    /// The session is gone without a word: what was received can still be read, then every stream is finished.
    pub fn abandon(&mut self) {
        self.orders.clear();
        self.phase = Phase::Ended;
        self.mux.end();
    }

    /// Nothing waits to be sent or acknowledged, or the session has ended.
    pub fn is_settled(&self) -> bool {
        self.orders.is_empty() && (matches!(self.phase, Phase::Ended) || self.outgoing.is_empty())
    }

    /// Bytes of messages and streams held in memory, both ways. Never more than the bounds that [`Config`] states.
    pub fn buffered_bytes(&self) -> usize {
        self.incoming.ahead_bytes() + self.outgoing.unacked_bytes() + self.mux.buffered_bytes()
    }

    fn poll_again(&mut self, now: Instant) -> Option<Bytes> {
        match (&self.phase, self.paused_since) {
            (Phase::Ended, _) => None,
            (_, Some(_)) => self.outgoing.probe(now),
            (_, None) => self.outgoing.poll_resend(now),
        }
    }

    fn has_stream_bytes_to_send(&self) -> bool {
        matches!(self.phase, Phase::Ready) && self.mux.has_bytes_to_send()
    }

    fn has_something_to_send(&self) -> bool {
        !self.outgoing.is_empty() || !self.orders.is_empty() || self.mux.has_bytes_to_send()
    }

    fn deliver(&mut self, delivery: Delivery, now: Instant) {
        match (delivery.payload_type, &self.phase) {
            (Some(PayloadType::HandshakeRequest), _) => self.answer(&delivery.payload),
            (Some(PayloadType::HandshakeComplete), _) => self.complete(&delivery.payload, now),
            (Some(PayloadType::Output), Phase::Ready) => {
                if let Err(cause) = self.mux.receive(delivery.payload, now) {
                    self.end(Event::Failed(Refusal::StreamBroken { cause }));
                }
            }
            (Some(PayloadType::Output), Phase::Greeting { .. }) => self.end(Event::Failed(Refusal::NoHandshake)),
            (Some(PayloadType::Flag), _) => {
                if matches!(Flag::decode(&delivery.payload), Ok(Flag::ConnectToPortError)) {
                    self.mux.connect_refused();
                }
            }
            (Some(PayloadType::EncChallengeRequest), _) => {
                let action = "encryption challenge".to_owned();
                self.end(Event::Failed(Refusal::UnsupportedAction { action }));
            }
            (Some(PayloadType::Output), Phase::Answered { .. } | Phase::Ended) | (None, _) => {}
            // What shells say, and what only clients say.
            (
                Some(
                    PayloadType::EncChallengeResponse
                    | PayloadType::Error
                    | PayloadType::ExitCode
                    | PayloadType::HandshakeResponse
                    | PayloadType::Other(_)
                    | PayloadType::Parameter
                    | PayloadType::Size
                    | PayloadType::StdErr,
                ),
                _,
            ) => {}
        }
    }

    /// The SSM agent repairs ten messages a second, in their order, also those whose acknowledgement alone was lost: while it
    /// does, what a finished stream waits for may stand at the end of a long queue.
    fn notice_repairs(&mut self, created_at_ms: u64, now: Instant) {
        let apart = i128::from(self.unix_ms(now)) - i128::from(created_at_ms);
        let least = self.clocks_apart.map_or(apart, |least| least.min(apart));
        self.clocks_apart = Some(least);
        if apart - least > i128::from(REPAIRED) {
            self.mux.linger_anew(now);
        }
    }

    fn answer(&mut self, payload: &[u8]) {
        let Phase::Greeting { deadline } = self.phase else { return };
        let request = match HandshakeRequest::from_json(payload) {
            Ok(request) => request,
            Err(cause) => return self.end(Event::Failed(Refusal::Malformed { cause: cause.to_string() })),
        };
        let (response, outcome) = handshake::answer(&request, &self.config.client_version, self.config.remote_host);
        self.orders.push_back((PayloadType::HandshakeResponse, response.to_json().into()));
        match outcome {
            Ok(agent_version) => self.phase = Phase::Answered { deadline, agent_version },
            Err(refusal) => self.end(Event::Failed(refusal)),
        }
    }

    fn complete(&mut self, payload: &[u8], now: Instant) {
        let Phase::Answered { agent_version, .. } = self.phase else { return };
        let customer_message =
            HandshakeComplete::from_json(payload).map(|complete| complete.customer_message).unwrap_or_default();
        self.phase = Phase::Ready;
        self.settled_at = Some(now + SETTLE);
        let keepalive = handshake::needs_keepalive(agent_version, &self.config.client_version);
        self.keepalive_at = keepalive.then(|| now + KEEPALIVE);
        self.events.push_back(Event::Ready { agent_version, customer_message });
    }

    fn acknowledged(&mut self, payload: &[u8], now: Instant) {
        #[derive(Deserialize)]
        struct Acknowledged {
            #[serde(rename = "AcknowledgedMessageSequenceNumber")]
            sequence_number: i64,
        }
        if let Ok(Acknowledged { sequence_number }) = serde_json::from_slice(payload) {
            self.outgoing.acknowledge(sequence_number, now);
        }
    }

    fn end(&mut self, event: Event) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.phase = Phase::Ended;
        self.mux.end();
        self.events.push_back(event);
    }

    fn send(&mut self, payload_type: PayloadType, message: BytesMut, now: Instant) -> Bytes {
        let frame = Frame {
            message_type: MessageType::InputStreamData,
            sequence_number: self.outgoing.next_sequence(),
            flags: 0,
            message_id: self.ids.uuid(),
            created_at_ms: self.unix_ms(now),
            payload_type: Some(payload_type),
            payload: Bytes::new(),
        }
        .seal(message);
        self.outgoing.keep(frame.clone(), now);
        frame
    }

    fn acknowledgement(&mut self, receipt: Receipt, now: Instant) -> Bytes {
        let payload = Acknowledgement {
            message_type: MessageType::OutputStreamData.as_str().to_owned(),
            message_id: frame::format_uuid(receipt.message_id),
            sequence_number: receipt.sequence,
            is_sequential: true,
        };
        Frame {
            message_type: MessageType::Acknowledge,
            sequence_number: 0,
            flags: frame::ACKNOWLEDGE_FLAGS,
            message_id: self.ids.uuid(),
            created_at_ms: self.unix_ms(now),
            payload_type: None,
            payload: payload.to_json().into(),
        }
        .encode()
    }

    fn unix_ms(&self, now: Instant) -> u64 {
        let (started, unix_ms) = self.started;
        let elapsed = u64::try_from(now.saturating_duration_since(started).as_millis()).unwrap_or(u64::MAX);
        unix_ms.saturating_add(elapsed)
    }
}

/// Room for the header, in front of where the payload goes.
fn empty_message(payload_size: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(PREFIX_LENGTH + payload_size);
    message.resize(PREFIX_LENGTH, 0);
    message
}

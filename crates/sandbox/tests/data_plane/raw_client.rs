//! A client made of the frame codec and smux by hand: it does nothing by itself.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sandbox::clock::Clock;
use sandbox::data_channel::{AgentConfig, DataChannels, OpenedChannel, PortProperties, Vpc};
use ssm_proto::frame::{
    Acknowledgement, ChannelClosed, Flag, Frame, HandshakeResponse, MessageType, OpenDataChannel, PayloadType,
    ProcessedClientAction, format_uuid,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const SESSION: &str = "jane-0123456789abcdef0";
pub(crate) const SYN: u8 = 0;
pub(crate) const FIN: u8 = 1;
pub(crate) const PSH: u8 = 2;

const RESEND_AFTER: Duration = Duration::from_millis(30);
/// Nothing in these tests takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that does not dawdle.
pub(crate) fn quick() -> AgentConfig {
    AgentConfig { pacing: false, port_start_delay: Duration::ZERO, ..AgentConfig::default() }
}

pub(crate) fn channels(config: AgentConfig) -> DataChannels {
    DataChannels::start(Clock::real(), config, Vpc::new()).expect("a loopback port is free")
}

/// A port of this machine, as the bastion's own.
pub(crate) fn own_port(address: SocketAddr) -> PortProperties {
    PortProperties { host: None, port: address.port() }
}

/// Says back whatever it hears.
pub(crate) async fn echo() -> SocketAddr {
    serve(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.map(|_| ())
    })
    .await
}

/// Serves every connection to a new loopback port.
pub(crate) async fn serve<F>(connection: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
    address
}

/// A port nobody listens at.
pub(crate) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
    listener.local_addr().expect("it is bound")
}

/// What came over the tunnel.
#[derive(Default, Debug)]
pub(crate) struct Heard {
    /// Bytes not yet parsed as smux frames.
    unparsed: Vec<u8>,
    pub(crate) streams: BTreeMap<u32, Vec<u8>>,
    pub(crate) fins: Vec<u32>,
    pub(crate) flags: Vec<Flag>,
    pub(crate) closed: Option<ChannelClosed>,
    pub(crate) publications: Vec<MessageType>,
}

impl Heard {
    pub(crate) fn data(&mut self, frame: &Frame) {
        match frame.payload_type {
            Some(PayloadType::Output) => self.output(&frame.payload),
            Some(PayloadType::Flag) => self.flags.push(Flag::decode(&frame.payload).expect("four bytes")),
            _ => {}
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        self.unparsed.extend_from_slice(bytes);
        while let Some(&[version, command, low, high, ref id @ ..]) = self.unparsed.first_chunk::<8>() {
            let length = usize::from(u16::from_le_bytes([low, high]));
            let id = u32::from_le_bytes(*id.first_chunk().expect("four of eight bytes are left"));
            if self.unparsed.len() < 8 + length {
                return;
            }
            assert_eq!(version, 1, "smux version 1");
            let frame: Vec<u8> = self.unparsed.drain(..8 + length).skip(8).collect();
            match command {
                PSH => self.streams.entry(id).or_default().extend(frame),
                FIN => self.fins.push(id),
                other => panic!("the agent never sends command {other}"),
            }
        }
    }
}

pub(crate) struct RawClient {
    websocket: WebSocketStream<TcpStream>,
    next: i64,
    expected: i64,
    early: BTreeMap<i64, Frame>,
    pub(crate) acknowledged: Vec<i64>,
    pub(crate) heard: Heard,
}

impl RawClient {
    /// Opens the websocket and says the token.
    pub(crate) async fn open(opened: &OpenedChannel) -> Self {
        let address = opened.stream_url.trim_start_matches("ws://").split('/').next().expect("a host");
        let stream = TcpStream::connect(address).await.expect("the service listens");
        let (mut websocket, _) =
            tokio_tungstenite::client_async(&opened.stream_url, stream).await.expect("the session is known");
        websocket.send(Message::text(opening(&opened.token_value))).await.expect("the websocket is open");
        Self {
            websocket,
            next: 0,
            expected: 0,
            early: BTreeMap::new(),
            acknowledged: Vec::new(),
            heard: Heard::default(),
        }
    }

    /// Goes on over a new websocket where this one broke off.
    pub(crate) async fn resume(&mut self, opened: &OpenedChannel) {
        self.websocket = Self::open(opened).await.websocket;
    }

    /// Opens and shakes hands.
    pub(crate) async fn connect(opened: &OpenedChannel) -> Self {
        let mut client = Self::open(opened).await;
        client.shake_hands().await;
        client
    }

    pub(crate) async fn shake_hands(&mut self) {
        assert_eq!(self.data().await.payload_type, Some(PayloadType::HandshakeRequest));
        self.send(PayloadType::HandshakeResponse, response(1)).await;
        assert_eq!(self.data().await.payload_type, Some(PayloadType::HandshakeComplete));
    }

    pub(crate) async fn send(&mut self, payload_type: PayloadType, payload: impl Into<Bytes>) -> i64 {
        let number = self.next;
        self.next += 1;
        self.send_numbered(number, payload_type, payload).await;
        number
    }

    pub(crate) async fn send_numbered(&mut self, number: i64, kind: PayloadType, payload: impl Into<Bytes>) {
        let frame = frame(MessageType::InputStreamData, number, Some(kind), payload.into());
        self.send_frame(&frame).await;
    }

    /// Sends one smux frame as one message, again until it is acknowledged: the port may not be ready.
    pub(crate) async fn mux(&mut self, command: u8, id: u32, data: &[u8]) {
        let number = self.send(PayloadType::Output, mux_frame(command, id, data)).await;
        let mut resend_at = tokio::time::Instant::now() + RESEND_AFTER;
        while !self.acknowledged.contains(&number) {
            match tokio::time::timeout_at(resend_at, self.websocket.next()).await {
                Ok(Some(Ok(Message::Binary(bytes)))) => {
                    self.note(Frame::decode(bytes).expect("the service's frames are whole")).await;
                }
                Ok(_) => panic!("the channel closed before message {number} was acknowledged"),
                Err(_) => {
                    self.send_numbered(number, PayloadType::Output, mux_frame(command, id, data)).await;
                    resend_at += RESEND_AFTER;
                }
            }
        }
    }

    pub(crate) async fn flag(&mut self, flag: Flag) {
        self.send(PayloadType::Flag, flag.encode()).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(frame.encode()).await;
    }

    pub(crate) async fn send_bytes(&mut self, frame: Bytes) {
        self.websocket.send(Message::Binary(frame)).await.expect("the websocket is open");
    }

    /// The next frame of any kind; `None` once the websocket is closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let next = async {
            loop {
                match self.websocket.next().await?.ok()? {
                    Message::Binary(bytes) => {
                        return Some(Frame::decode(bytes).expect("the service's frames are whole"));
                    }
                    Message::Close(_) => return None,
                    Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the far end answers in time")
    }

    /// The next data message in its turn, acknowledged. Everything else that comes meanwhile is noted.
    pub(crate) async fn data(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.early.remove(&self.expected) {
                self.expected += 1;
                self.heard.data(&frame);
                return frame;
            }
            self.pass_over().await;
        }
    }

    /// Until the session ended and the websocket closed.
    pub(crate) async fn closing(&mut self) -> ChannelClosed {
        while let Some(frame) = self.frame().await {
            self.note(frame).await;
        }
        self.heard.closed.clone().expect("the service says why before it closes")
    }

    /// Until this message was acknowledged.
    pub(crate) async fn acknowledgement(&mut self, number: i64) {
        while !self.acknowledged.contains(&number) {
            self.pass_over().await;
        }
    }

    /// Until `enough` is true of what was heard.
    pub(crate) async fn until(&mut self, enough: impl Fn(&Heard) -> bool) {
        while !enough(&self.heard) {
            self.data().await;
        }
    }

    /// Until the stream has said this much.
    pub(crate) async fn until_heard(&mut self, id: u32, length: usize) -> &[u8] {
        self.until(|heard| heard.streams.get(&id).is_some_and(|data| data.len() >= length)).await;
        &self.heard.streams[&id]
    }

    /// Takes in one frame of any kind.
    pub(crate) async fn pass_over(&mut self) {
        let frame = self.frame().await.expect("the channel is open");
        self.note(frame).await;
    }

    /// Takes in whatever comes within this time.
    pub(crate) async fn pass_over_for(&mut self, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        while let Ok(next) = tokio::time::timeout_at(deadline, self.websocket.next()).await {
            let message = next.expect("the channel is open").expect("the channel is open");
            if let Message::Binary(bytes) = message {
                self.note(Frame::decode(bytes).expect("the service's frames are whole")).await;
            }
        }
    }

    /// How many data messages were taken in their turn.
    pub(crate) fn handled(&self) -> i64 {
        self.expected
    }

    async fn note(&mut self, frame: Frame) {
        match frame.message_type {
            MessageType::OutputStreamData => {
                self.send_frame(&acknowledgement(&frame)).await;
                if frame.sequence_number >= self.expected {
                    self.early.insert(frame.sequence_number, frame);
                }
            }
            MessageType::Acknowledge => {
                let acknowledgement = Acknowledgement::from_json(&frame.payload).expect("acknowledgements are JSON");
                self.acknowledged.push(acknowledgement.sequence_number);
            }
            MessageType::ChannelClosed => {
                self.heard.closed = Some(ChannelClosed::from_json(&frame.payload).expect("reasons are JSON"));
            }
            MessageType::PausePublication | MessageType::StartPublication => {
                self.heard.publications.push(frame.message_type);
            }
            MessageType::AgentSessionState | MessageType::InputStreamData | MessageType::Other(_) => {
                panic!("not for clients: {frame:?}");
            }
        }
    }
}

/// The first text frame.
pub(crate) fn opening(token: &str) -> String {
    OpenDataChannel {
        message_schema_version: "1.0".to_owned(),
        request_id: format_uuid([1; 16]),
        token_value: token.to_owned(),
        client_instance_id: None,
        client_id: format_uuid([2; 16]),
        client_version: Some("1.2.707.0".to_owned()),
    }
    .to_json()
}

pub(crate) fn response(status: i64) -> String {
    response_of("1.2.707.0", status)
}

pub(crate) fn response_of(client_version: &str, status: i64) -> String {
    HandshakeResponse {
        client_version: client_version.to_owned(),
        processed_client_actions: vec![ProcessedClientAction {
            action_type: "SessionType".to_owned(),
            action_status: status,
            action_result: serde_json::Value::Null,
            error: if status == 1 { String::new() } else { "no such thing here".to_owned() },
        }],
        errors: None,
    }
    .to_json()
}

pub(crate) fn frame(kind: MessageType, number: i64, payload_type: Option<PayloadType>, payload: Bytes) -> Frame {
    Frame {
        message_type: kind,
        sequence_number: number,
        flags: 0,
        message_id: [9; 16],
        created_at_ms: 1,
        payload_type,
        payload,
    }
}

pub(crate) fn acknowledgement(frame_: &Frame) -> Frame {
    let payload = Acknowledgement {
        message_type: frame_.message_type.as_str().to_owned(),
        message_id: format_uuid(frame_.message_id),
        sequence_number: frame_.sequence_number,
        is_sequential: true,
    };
    Frame { flags: 3, ..frame(MessageType::Acknowledge, 0, None, payload.to_json().into()) }
}

pub(crate) fn mux_frame(command: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a smux frame is short");
    [&[1, command][..], &length.to_le_bytes(), &id.to_le_bytes(), data].concat()
}

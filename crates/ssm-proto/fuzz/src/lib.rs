//! What is done with arbitrary bytes, by libFuzzer and by the test that replays the corpora.
//!
//! Each function panics when a promise is broken: no bytes may make the crate panic, hold more than it says, send what it
//! should not, or be due for ever.

mod channel;
mod smux;

use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use ssm_proto::{
    Channel, Config, Event,
    frame::{
        Acknowledgement, ChannelClosed, Flag, Frame, HandshakeComplete, HandshakeRequest, HandshakeResponse,
        MessageType, OpenDataChannel, PayloadType,
    },
};

pub use channel::channel;
pub use smux::smux;

/// One binary websocket message: what can be read is written and read back as the same.
pub fn frame(bytes: &[u8]) {
    check_frame(Bytes::copy_from_slice(bytes));
    if let Some(sealed) = with_right_digest(bytes) {
        check_frame(sealed);
    }
}

/// A handshake of whatever JSON: request and completion, parted by a byte 255.
pub fn handshake(bytes: &[u8]) {
    let (request, complete) = bytes.split_at(bytes.iter().position(|byte| *byte == 255).unwrap_or(bytes.len()));
    check_json(request);
    let now = start_of_time();
    let mut client = Channel::new(Config::default(), [1; 32], now, 1);
    feed(&mut client, 0, PayloadType::HandshakeRequest, request, now);
    let answer = std::iter::from_fn(|| client.poll_transmit(now))
        .map(|message| Frame::decode(message).expect("it is ours"))
        .find(|frame| frame.payload_type == Some(PayloadType::HandshakeResponse))
        .map(|frame| HandshakeResponse::from_json(&frame.payload).expect("it is ours"));
    let failed = matches!(client.poll_event(), Some(Event::Failed(_)));
    match (answer, HandshakeRequest::from_json(request)) {
        (Some(answer), Ok(asked)) => {
            assert_eq!(answer.processed_client_actions.len(), asked.requested_client_actions.len(), "one for each");
            let refused = answer.processed_client_actions.iter().any(|action| action.action_status != 1);
            assert!(failed || !refused, "a session that was refused goes on");
        }
        (None, Err(_)) => assert!(failed, "a request that cannot be read is waited for"),
        (answer, asked) => panic!("{asked:?} was answered with {answer:?}"),
    }
    feed(&mut client, 1, PayloadType::HandshakeComplete, complete.get(1..).unwrap_or_default(), now);
    let ready = matches!(client.poll_event(), Some(Event::Ready { .. }));
    assert_eq!(ready, !failed, "it is ready unless it was refused");
}

fn check_frame(bytes: Bytes) {
    let Ok(read) = Frame::decode(bytes) else { return };
    let name = read.message_type.as_str();
    if name.len() > 32 || !name.is_ascii() {
        return;
    }
    assert_eq!(Frame::decode(read.encode()).as_ref(), Ok(&read), "what was read is written");
    if let Ok(flag) = Flag::decode(&read.payload) {
        assert_eq!(flag.encode(), read.payload);
    }
    check_json(&read.payload);
}

/// What parses is written so that it parses as the same.
fn check_json(payload: &[u8]) {
    macro_rules! check {
        ($($shape:ident),*) => {$(
            if let Ok(read) = $shape::from_json(payload) {
                assert_eq!($shape::from_json(read.to_json().as_bytes()).ok(), Some(read));
            }
        )*};
    }
    check!(Acknowledgement, ChannelClosed, HandshakeComplete, HandshakeResponse, OpenDataChannel);
    // A request's parameters are any JSON: floating-point numbers in it need not survive to the last digit.
    drop(HandshakeRequest::from_json(payload));
}

/// Chance does not find a SHA-256.
fn with_right_digest(bytes: &[u8]) -> Option<Bytes> {
    let header_length = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let digest = Sha256::digest(bytes.get(header_length.checked_add(4)?..)?);
    let mut sealed = bytes.to_vec();
    sealed.get_mut(80..112)?.copy_from_slice(&digest);
    Some(sealed.into())
}

/// One data message of the SSM agent.
fn feed(client: &mut Channel, sequence_number: i64, payload_type: PayloadType, payload: &[u8], now: Instant) {
    let frame = Frame {
        message_type: MessageType::OutputStreamData,
        sequence_number,
        flags: 0,
        message_id: [1; 16],
        created_at_ms: 1,
        payload_type: Some(payload_type),
        payload: Bytes::copy_from_slice(payload),
    };
    client.handle_frame(frame.encode(), now).expect("it is whole");
}

/// A client whose handshake is complete; the next message of the SSM agent is number 2.
fn ready(config: Config, now: Instant) -> Channel {
    let mut client = Channel::new(config, [1; 32], now, 1);
    feed(&mut client, 0, PayloadType::HandshakeRequest, REQUEST, now);
    feed(&mut client, 1, PayloadType::HandshakeComplete, b"{}", now);
    assert!(matches!(client.poll_event(), Some(Event::Ready { .. })));
    client
}

const REQUEST: &[u8] =
    br#"{"AgentVersion":"3.3.1142.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":
    {"SessionType":"Port","Properties":{"portNumber":"5432","type":"LocalPortForwarding"}}}]}"#;

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; time moves on as the bytes say"
)]
fn start_of_time() -> Instant {
    Instant::now()
}

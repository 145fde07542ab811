use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn every_recorded_frame_is_read_and_written_back_byte_for_byte() {
    let mut frames = 0;
    for transcript in [
        include_str!("../../tests/transcripts/two-connections.jsonl"),
        include_str!("../../tests/transcripts/lone-line-feed.jsonl"),
        include_str!("../../tests/transcripts/refused-port.jsonl"),
        include_str!("../../tests/transcripts/client-cut-and-resume.jsonl"),
    ] {
        for line in transcript.lines() {
            let recorded: serde_json::Value = serde_json::from_str(line).expect("each line is a JSON object");
            let Some(text) = recorded["hex"].as_str() else { continue };
            let bytes = hex::decode(text).expect("recorded as hexadecimal");
            let frame = Frame::decode(bytes.clone()).expect("the plug-in and the SSM agent accepted it");
            assert_eq!(frame.encode(), bytes, "{frame:?}");
            round_trip_payload(&frame);
            frames += 1;
        }
    }
    assert!(frames > 100, "only {frames} frames");
}

/// Flags and JSON come out as they went in; only a request's parameters may change their members' order.
fn round_trip_payload(frame: &Frame) {
    let payload = &frame.payload[..];
    let written = match (&frame.message_type, frame.payload_type) {
        (MessageType::Acknowledge, _) => Acknowledgement::from_json(payload).expect("an acknowledgement").to_json(),
        (_, Some(PayloadType::HandshakeRequest)) => {
            let request = HandshakeRequest::from_json(payload).expect("a request");
            let recorded: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
            return assert_eq!(serde_json::to_value(request).expect("JSON"), recorded);
        }
        (_, Some(PayloadType::HandshakeResponse)) => HandshakeResponse::from_json(payload).expect("answer").to_json(),
        (_, Some(PayloadType::HandshakeComplete)) => HandshakeComplete::from_json(payload).expect("the end").to_json(),
        (_, Some(PayloadType::Flag)) => {
            return assert_eq!(Flag::decode(payload).expect("four bytes").encode(), frame.payload);
        }
        _ => return,
    };
    assert_eq!(written.as_bytes(), payload);
}

#[test]
fn a_channel_closed_of_the_service_has_a_shorter_header_and_nul_padding() {
    let json = br#"{"SessionId":"s-1","Output":"Session timed out.","SchemaVersion":1,"MessageId":null}"#;
    let mut bytes = 112_u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(b"channel_closed");
    bytes.resize(36, 0);
    bytes.extend_from_slice(&1_u32.to_be_bytes());
    bytes.extend_from_slice(&1_700_000_000_000_u64.to_be_bytes());
    bytes.resize(80, 0);
    bytes.extend_from_slice(&Sha256::digest(json));
    bytes.extend_from_slice(&u32::try_from(json.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(json);

    let frame = Frame::decode(bytes).expect("HeaderLength says where the payload is");

    assert_eq!((&frame.message_type, frame.payload_type), (&MessageType::ChannelClosed, None));
    let closed = ChannelClosed::from_json(&frame.payload).expect("JSON after PayloadLength");
    assert_eq!((closed.session_id.as_str(), closed.output.as_str()), ("s-1", "Session timed out."));
}

#[test]
fn a_header_length_beyond_the_frame_is_an_error() {
    for header_length in [0, 111, 113, 200, u32::MAX - 3, u32::MAX] {
        let mut bytes = vec![b'x'; 116];
        bytes[..4].copy_from_slice(&header_length.to_be_bytes());
        Frame::decode(bytes).expect_err("there is no payload to point at");
    }
}

#[test]
fn a_changed_payload_is_refused_but_publication_messages_are_not_checked() {
    let mut frame = sample(b"hello");
    let mut bytes = frame.encode().to_vec();
    *bytes.last_mut().expect("it has a payload") ^= 1;
    assert!(matches!(Frame::decode(bytes), Err(FrameError::WrongDigest { sequence_number: 7, .. })));

    frame.message_type = MessageType::PausePublication;
    frame.created_at_ms = 0;
    let mut bytes = frame.encode().to_vec();
    *bytes.last_mut().expect("it has a payload") ^= 1;
    Frame::decode(bytes.clone()).expect("the service fills in neither date nor digest");

    bytes.truncate(40);
    bytes[..4].fill(0);
    let bare = Frame::decode(bytes).expect("the plug-in does not look at HeaderLength either");
    assert_eq!(bare.message_type, MessageType::PausePublication);
}

#[test]
fn debug_output_does_not_show_the_token() {
    let open = OpenDataChannel::from_json(br#"{"TokenValue":"AAEAA-secret","ClientId":"c"}"#).expect("members default");
    assert_eq!(open.token_value, "AAEAA-secret");
    assert!(!format!("{open:?}").contains("secret"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..300)) {
        drop(Frame::decode(bytes.clone()));
        let mut nearly_right = sample(&bytes).encode().to_vec();
        if let (Some(at), Some(value)) = (bytes.first(), bytes.get(1)) {
            let at = usize::from(*at).min(nearly_right.len() - 1);
            nearly_right[at] = *value;
        }
        drop(Frame::decode(nearly_right));
        drop(Flag::decode(&bytes));
        drop(HandshakeRequest::from_json(&bytes));
    }

    #[test]
    fn what_is_written_is_read_back(
        payload in vec(any::<u8>(), 0..2000), sequence_number: i64, flags: u64, message_id: [u8; 16],
        created_at_ms in 1_u64.., number: u32, name in "[a-z_]{1,32}",
    ) {
        let payload_type = PayloadType::read(number % 20);
        let message_type = MessageType::from_name(&name);
        let payload = Bytes::from(payload);
        let frame = Frame { message_type, sequence_number, flags, message_id, created_at_ms, payload_type, payload };
        prop_assert_eq!(Frame::decode(frame.encode()).expect("ours"), frame);
    }
}

fn sample(payload: &[u8]) -> Frame {
    Frame {
        message_type: MessageType::InputStreamData,
        sequence_number: 7,
        flags: 0,
        message_id: [3; 16],
        created_at_ms: 1_700_000_000_000,
        payload_type: Some(PayloadType::Output),
        payload: Bytes::copy_from_slice(payload),
    }
}

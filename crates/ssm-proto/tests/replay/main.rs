//! The SSM agent's side of recorded sessions, played to the client.

mod bounds;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_proto::{
    Channel, Config, Event, Read, StreamId,
    frame::{Acknowledgement, Flag, Frame, MessageType, PayloadType},
};

#[test]
fn two_recorded_connections_are_read_to_their_last_byte() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let (first, second) = (replay.open(), replay.open());
    replay.play();
    assert_eq!(replay.read(first).len(), 5 + 1500 + 5120);
    assert_eq!(replay.read(second).len(), 6);
    assert_eq!(replay.client.read(second, &mut [0]), Read::Finished);
    assert_eq!(replay.client.read(first, &mut [0]), Read::Finished);
}

#[test]
fn a_recorded_refusal_names_the_stream() {
    let mut replay = Replay::new(include_str!("../transcripts/refused-port.jsonl"));
    let stream = replay.open();
    replay.play();
    assert!(replay.events.contains(&Event::ConnectRefused(stream)), "{:?}", replay.events);
    assert_eq!(replay.client.read(stream, &mut [0]), Read::Finished);
}

#[test]
fn a_recorded_resume_goes_on_where_it_was_cut() {
    let mut replay = Replay::new(include_str!("../transcripts/client-cut-and-resume.jsonl"));
    let stream = replay.open();
    replay.play();
    let echoed = replay.read(stream);
    assert!(echoed.starts_with(b"before"), "{:?}", String::from_utf8_lossy(&echoed));
    assert!(echoed.len() > b"before".len(), "the second echo came after the cut");
}

#[test]
fn a_lone_line_feed_is_sent_as_it_is() {
    let mut replay = Replay::new(include_str!("../transcripts/lone-line-feed.jsonl"));
    let stream = replay.open();
    replay.play();
    let mut write = vec![b'x'; 1017];
    write[1016] = b'\n';
    replay.client.write(stream, &write).expect_err("the recorded SSM agent has closed it");
    let fresh = replay.open();
    assert_eq!(replay.client.write(fresh, &write), Ok(write.len()));
    let sent: Vec<u8> = replay.sent().into_iter().flat_map(|frame| frame.payload).collect();
    assert!(sent.ends_with(b"x\n"), "it ends in {:?}", &sent[sent.len() - 2..]);
}

#[test]
fn every_recorded_message_is_acknowledged_also_when_it_comes_again() {
    let transcript = include_str!("../transcripts/two-connections.jsonl");
    let mut replay = Replay::new(transcript);
    replay.play();
    let data: Vec<i64> = replay.data_sequences();
    assert_eq!(replay.acknowledged, data);

    replay.acknowledged.clear();
    replay.play();
    assert_eq!(replay.acknowledged, data, "a duplicate means that its acknowledgement was lost");

    replay.acknowledged.clear();
    replay.client.reconnected(replay.now);
    replay.carry();
    assert!(replay.acknowledged.len() >= data.len(), "acknowledgements may have been lost with the old websocket");
}

#[test]
fn nothing_but_the_handshake_is_sent_before_it_is_complete() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let stream = replay.open();
    replay.client.write(stream, b"hello").expect("writing does not wait");
    replay.play_up_to(PayloadType::HandshakeRequest);
    let types: Vec<_> = replay.sent.iter().map(|frame| frame.payload_type).collect();
    assert_eq!(types, [Some(PayloadType::HandshakeResponse)]);

    replay.play_up_to(PayloadType::HandshakeComplete);
    let types: Vec<_> = replay.sent.iter().map(|frame| frame.payload_type).collect();
    assert_eq!(types, [Some(PayloadType::HandshakeResponse)], "the SSM agent has yet to note that it is complete");

    replay.settle();
    assert_eq!(replay.sent.last().map(|frame| frame.payload_type), Some(Some(PayloadType::Output)));
}

#[test]
fn the_first_stream_bytes_are_sent_again_fast_until_they_are_acknowledged() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    replay.sent.clear();
    let start = replay.now;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let (at, reason) = replay.client.poll_timeout().expect("it is not acknowledged");
        assert_eq!(reason, "resend");
        replay.now = at;
        replay.client.handle_timeout(at);
        replay.carry();
        waits.push(at - start);
    }
    assert_eq!(waits, [15, 45, 105, 225, 425].map(Duration::from_millis));
    assert!(replay.sent.iter().all(|frame| frame.sequence_number == 1), "it is the same message each time");
}

#[test]
fn the_first_stream_bytes_stay_fast_when_what_follows_them_is_acknowledged_early() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let stream = replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    let start = replay.now;
    replay.client.write(stream, b"select 1").expect("there is room");
    replay.carry();
    replay.sent.clear();
    replay.acknowledge(2);

    for wait in [15, 45, 105].map(Duration::from_millis) {
        let (at, _) = replay.client.poll_timeout().expect("it is not acknowledged");
        assert_eq!(at - start, wait);
        replay.now = at;
        replay.client.handle_timeout(at);
        assert_eq!(replay.sent().iter().map(|frame| frame.sequence_number).collect::<Vec<_>>(), [1]);
    }
    replay.acknowledge(1);
    assert_eq!(replay.client.poll_timeout(), None, "all is acknowledged");
}

#[test]
fn little_follows_the_first_stream_bytes_until_they_are_acknowledged() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let stream = replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    replay.client.write(stream, &[7; 200_000]).expect("there is room");
    replay.carry();
    for early in 2..=200 {
        replay.acknowledge(early);
    }
    let kept = replay.sent.iter().map(|frame| frame.sequence_number).max();
    assert_eq!(kept, Some(64), "the SSM agent keeps them all");

    replay.acknowledge(1);
    assert!(replay.sent.iter().any(|frame| frame.sequence_number > 64), "the port is ready");
}

#[test]
fn pausing_holds_everything_back_and_loses_nothing() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let stream = replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    replay.sent.clear();
    replay.feed(&service_message(MessageType::PausePublication));
    replay.client.write(stream, b"while paused").expect("there is room");
    replay.carry();
    assert_eq!(replay.sent, []);

    replay.feed(&service_message(MessageType::StartPublication));
    let sent: Vec<u8> = replay.sent().into_iter().flat_map(|frame| frame.payload).collect();
    assert!(sent.ends_with(b"while paused"));
}

#[test]
fn a_pause_whose_end_was_lost_is_probed() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    replay.play_until(PayloadType::HandshakeComplete);
    replay.sent.clear();
    replay.feed(&service_message(MessageType::PausePublication));
    replay.open();
    let (at, reason) = replay.client.poll_timeout().expect("something waits to be sent");
    assert_eq!((at - replay.now, reason), (Duration::from_secs(2), "probe"));
    replay.now = at;
    replay.client.handle_timeout(at);
    assert_eq!(replay.sent().len(), 1);
}

#[test]
fn a_closed_channel_tells_why_and_finishes_its_streams() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    let stream = replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    let mut closed = service_message(MessageType::ChannelClosed);
    closed.payload = Bytes::from_static(br#"{"Output":"Session timed out."}"#);
    replay.feed(&closed);
    assert!(replay.events.contains(&Event::Closed { reason: "Session timed out.".to_owned() }), "{:?}", replay.events);
    assert_eq!(replay.client.read(stream, &mut [0]), Read::Finished);
    assert_eq!(replay.client.open_stream(), None);
    assert_eq!(replay.client.poll_timeout(), None);
}

#[test]
fn terminating_sends_the_flag_and_waits_for_its_acknowledgement() {
    let mut replay = Replay::new(include_str!("../transcripts/two-connections.jsonl"));
    replay.play_until(PayloadType::HandshakeComplete);
    replay.sent.clear();
    replay.client.terminate();
    assert!(!replay.client.is_settled());
    let flag = replay.sent().pop().expect("the flag goes out");
    assert_eq!(Flag::decode(&flag.payload).expect("four bytes"), Flag::TerminateSession);
    for sequence in 0..=flag.sequence_number {
        replay.acknowledge(sequence);
    }
    assert!(replay.client.is_settled());
}

#[test]
fn no_handshake_is_a_refusal_after_its_time() {
    let mut replay = Replay::new("");
    let (at, reason) = replay.client.poll_timeout().expect("it waits");
    assert_eq!(reason, "handshake");
    replay.client.handle_timeout(at);
    assert!(matches!(replay.client.poll_event(), Some(Event::Failed(_))));
}

#[test]
fn the_opening_text_keeps_its_client_id_over_reconnects() {
    let mut client = Replay::new("").client;
    let parse = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let (first, second) = (parse(client.open_frame("token-1")), parse(client.open_frame("token-2")));
    assert_eq!(first["ClientId"], second["ClientId"]);
    assert_ne!(first["RequestId"], second["RequestId"]);
    assert_eq!((&first["TokenValue"], &first["ClientVersion"]), (&"token-1".into(), &"1.2.707.0".into()));
}

struct Replay {
    client: Channel,
    now: Instant,
    agent_frames: Vec<Frame>,
    events: Vec<Event>,
    sent: Vec<Frame>,
    acknowledged: Vec<i64>,
}

impl Replay {
    fn new(transcript: &str) -> Self {
        Self::with(Config::default(), transcript)
    }

    fn with(config: Config, transcript: &str) -> Self {
        let now = start_of_time();
        Self {
            client: Channel::new(config, [7; 32], now, 1_700_000_000_000),
            now,
            agent_frames: transcript.lines().filter_map(agent_frame).collect(),
            events: Vec::new(),
            sent: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    fn open(&mut self) -> StreamId {
        self.client.open_stream().expect("the session is new")
    }

    fn play(&mut self) {
        for frame in self.agent_frames.clone() {
            self.feed(&frame);
        }
        self.settle();
    }

    fn play_until(&mut self, payload_type: PayloadType) {
        self.play_up_to(payload_type);
        self.settle();
    }

    fn play_up_to(&mut self, payload_type: PayloadType) {
        let frames = self.agent_frames.clone();
        let last = frames.iter().position(|frame| frame.payload_type == Some(payload_type)).expect("it is recorded");
        for frame in &frames[..=last] {
            self.feed(frame);
        }
    }

    /// As long as the SSM agent takes to note that the handshake is complete.
    fn settle(&mut self) {
        self.now += Duration::from_millis(5);
        self.client.handle_timeout(self.now);
        self.carry();
    }

    fn feed(&mut self, frame: &Frame) {
        self.now += Duration::from_micros(100);
        self.client.handle_frame(frame.encode(), self.now).expect("it was recorded whole");
        self.carry();
    }

    fn carry(&mut self) {
        while let Some(message) = self.client.poll_transmit(self.now) {
            let frame = Frame::decode(message).expect("ours");
            if frame.message_type == MessageType::Acknowledge {
                self.acknowledged.push(Acknowledgement::from_json(&frame.payload).expect("JSON").sequence_number);
            } else {
                self.sent.push(frame);
            }
        }
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
    }

    /// What goes out now.
    fn sent(&mut self) -> Vec<Frame> {
        self.carry();
        std::mem::take(&mut self.sent)
    }

    fn acknowledge(&mut self, sequence_number: i64) {
        let mut frame = service_message(MessageType::Acknowledge);
        frame.payload = format!(r#"{{"AcknowledgedMessageSequenceNumber":{sequence_number}}}"#).into();
        self.feed(&frame);
    }

    fn read(&mut self, stream: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 700];
        while let Read::Bytes(length) = self.client.read(stream, &mut buffer) {
            all.extend_from_slice(&buffer[..length]);
        }
        all
    }

    fn data_sequences(&self) -> Vec<i64> {
        let data = self.agent_frames.iter().filter(|frame| frame.message_type == MessageType::OutputStreamData);
        data.map(|frame| frame.sequence_number).collect()
    }
}

fn agent_frame(line: &str) -> Option<Frame> {
    let recorded: serde_json::Value = serde_json::from_str(line).expect("each line is a JSON object");
    if recorded["from"] != "agent" {
        return None;
    }
    let bytes = hex::decode(recorded["hex"].as_str()?).expect("recorded as hexadecimal");
    Some(Frame::decode(bytes).expect("it was accepted"))
}

fn service_message(message_type: MessageType) -> Frame {
    Frame {
        message_type,
        sequence_number: 0,
        flags: 0,
        message_id: [9; 16],
        created_at_ms: 1,
        payload_type: None,
        payload: Bytes::from_static(b" "),
    }
}

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; time moves on as the test says"
)]
fn start_of_time() -> Instant {
    Instant::now()
}

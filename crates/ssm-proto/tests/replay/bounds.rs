//! What is held, how long is waited, and what is refused: the recorded handshake, then what no recording shows.

use super::*;

const TWO_CONNECTIONS: &str = include_str!("../transcripts/two-connections.jsonl");

#[test]
fn messages_out_of_order_are_kept_up_to_sixteen_mebibytes_and_the_others_are_not_acknowledged() {
    let mut replay = ready();
    let next = replay.next_sequence();
    replay.acknowledged.clear();
    for ahead in 1..=2000 {
        replay.feed(&data(next + ahead, PayloadType::Output, &[0; 16 * 1024]));
    }
    assert_eq!(replay.acknowledged.len(), 1024, "16 MiB of 16 KiB each");
    assert_eq!(replay.client.buffered_bytes(), 16 * 1024 * 1024);
}

#[test]
fn ten_thousand_messages_out_of_order_are_kept_however_small_they_are() {
    let mut replay = ready();
    let next = replay.next_sequence();
    replay.acknowledged.clear();
    for ahead in 1..=10_100 {
        replay.feed(&data(next + ahead, PayloadType::Output, b"x"));
    }
    assert_eq!(replay.acknowledged.len(), 10_000);
}

#[test]
fn two_mebibytes_wait_for_their_acknowledgement_and_no_more() {
    let mut replay = Replay::with(Config { send_limit: 8 * 1024 * 1024, ..Config::default() }, TWO_CONNECTIONS);
    let stream = replay.open();
    replay.play_until(PayloadType::HandshakeComplete);
    replay.client.write(stream, &vec![7; 8 * 1024 * 1024]).expect("there is room");
    let (now, mut acknowledged) = (replay.now, 0);
    while replay.client.buffered_bytes() > 5 * 1024 * 1024 {
        replay.acknowledge(acknowledged);
        acknowledged += 1;
        replay.now = now;
    }
    let waiting = replay.sent.iter().filter(|frame| frame.sequence_number >= acknowledged);
    let bytes: usize = waiting.map(|frame| frame.payload.len() + 120).sum();
    assert!((2_000_000..=2 * 1024 * 1024 + 1144).contains(&bytes), "{bytes} bytes");
}

#[test]
fn a_stream_takes_no_more_than_its_limit() {
    let mut replay = Replay::with(Config { send_limit: 1000, ..Config::default() }, TWO_CONNECTIONS);
    let stream = replay.open();
    assert_eq!(replay.client.write(stream, &[0; 5000]), Ok(1000));
    assert_eq!(replay.client.write(stream, &[0; 5000]), Ok(0));
}

#[test]
fn payload_sizes_out_of_range_are_taken_for_the_nearest() {
    for (asked, expected) in [(0, 9), (8, 9), (1_000_000, 1536)] {
        let mut replay = Replay::with(Config { payload_size: asked, ..Config::default() }, TWO_CONNECTIONS);
        let stream = replay.open();
        replay.client.write(stream, &[7; 20_000]).expect("there is room");
        replay.play_until(PayloadType::HandshakeComplete);
        let longest = replay.sent.iter().skip(1).map(|frame| frame.payload.len()).max();
        assert_eq!(longest, Some(expected), "{asked}");
    }
}

#[test]
fn an_old_agent_hears_something_every_ten_seconds_and_a_new_one_nothing() {
    for (version, nops) in [("3.1.1511.0", 6), ("3.1.1512.0", 0)] {
        let mut replay = Replay::new("");
        replay.greet(version);
        replay.acknowledge(0);
        replay.sent.clear();
        let end = replay.now + Duration::from_secs(65);
        while let Some((at, _)) = replay.client.poll_timeout().filter(|(at, _)| *at < end) {
            replay.now = at;
            replay.client.handle_timeout(at);
            let sent = replay.sent();
            sent.iter().for_each(|frame| replay.acknowledge(frame.sequence_number));
            replay.sent.extend(sent);
        }
        let heard: Vec<_> = replay.sent.iter().map(|frame| frame.payload.clone()).collect();
        assert_eq!(heard.len(), nops, "{version}");
        assert!(heard.iter().all(|payload| payload[..] == [1, 3, 0, 0, 0, 0, 0, 0]), "{version}: {heard:?}");
    }
}

#[test]
fn an_agent_that_knows_no_handshake_is_refused_in_words() {
    let mut replay = Replay::new("");
    replay.feed(&data(0, PayloadType::Output, b"bytes of a shell"));
    let [Event::Failed(refusal)] = &replay.events[..] else { panic!("{:?}", replay.events) };
    assert!(refusal.to_string().contains("3.0.196.1"), "{refusal}");
}

#[test]
fn what_shells_say_is_acknowledged_and_passed_over() {
    let mut replay = ready();
    let next = replay.next_sequence();
    replay.acknowledged.clear();
    replay.events.clear();
    let kinds = [2, 3, 4, 9, 11, 12, 99].map(|number| {
        let known = [PayloadType::Error, PayloadType::Size, PayloadType::Parameter, PayloadType::EncChallengeResponse];
        let later = [PayloadType::StdErr, PayloadType::ExitCode];
        known.into_iter().chain(later).find(|kind| kind.number() == number).unwrap_or(PayloadType::Other(number))
    });
    for (kind, sequence) in kinds.into_iter().zip(next..) {
        replay.feed(&data(sequence, kind, b"whatever"));
    }
    assert_eq!(replay.acknowledged.len(), kinds.len());
    assert_eq!(replay.events, []);
}

#[test]
fn an_encryption_challenge_ends_the_session_in_words() {
    let mut replay = ready();
    replay.events.clear();
    replay.feed(&data(replay.next_sequence(), PayloadType::EncChallengeRequest, br#"{"Challenge":"AAAA"}"#));
    let [Event::Failed(refusal)] = &replay.events[..] else { panic!("{:?}", replay.events) };
    assert!(refusal.to_string().contains("encryption challenge"), "{refusal}");
}

#[test]
fn a_finished_stream_waits_while_the_agent_repairs_what_it_lost() {
    let mut replay = Replay::with(Config { linger: Duration::from_secs(10), ..Config::default() }, TWO_CONNECTIONS);
    let (stream, _) = (replay.open(), replay.open());
    replay.play_until(PayloadType::HandshakeComplete);
    let first = replay.sent.iter().map(|frame| frame.sequence_number).max().expect("it sends");
    (0..=first).for_each(|sequence| replay.acknowledge(sequence));
    replay.client.finish(stream, replay.now);
    let next = replay.next_sequence();
    for late in 0..30 {
        replay.now += Duration::from_secs(1);
        // Written when the session began, and on its way ever since.
        replay.feed(&data(next + late, PayloadType::Output, &[1, 2, 1, 0, 5, 0, 0, 0, b'x']));
        if replay.client.poll_timeout().is_some_and(|(at, _)| at <= replay.now) {
            replay.client.handle_timeout(replay.now);
        }
    }
    assert_eq!(replay.client.read(stream, &mut [0]), Read::Blocked, "its answer may stand at the end of the queue");
    assert_eq!(replay.client.poll_timeout().map(|(at, reason)| (at - replay.now, reason)), {
        Some((Duration::from_secs(10), "linger"))
    });
}

fn ready() -> Replay {
    let mut replay = Replay::new(TWO_CONNECTIONS);
    replay.play_until(PayloadType::HandshakeComplete);
    replay
}

fn data(sequence_number: i64, payload_type: PayloadType, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let message_type = MessageType::OutputStreamData;
    Frame {
        message_type,
        sequence_number,
        payload_type: Some(payload_type),
        payload,
        ..service_message(MessageType::Acknowledge)
    }
}

impl Replay {
    fn next_sequence(&self) -> i64 {
        let fed = self.acknowledged.iter().max().copied();
        fed.map_or(0, |last| last + 1)
    }

    fn greet(&mut self, agent_version: &str) {
        let request = format!(
            r#"{{"AgentVersion":"{agent_version}","RequestedClientActions":[{{"ActionType":"SessionType","ActionParameters":
            {{"SessionType":"Port","Properties":{{"type":"LocalPortForwarding"}}}}}}]}}"#
        );
        self.feed(&data(0, PayloadType::HandshakeRequest, request.as_bytes()));
        self.feed(&data(1, PayloadType::HandshakeComplete, b"{}"));
    }
}

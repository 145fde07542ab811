//! What the real plug-in said to the real agent, said to this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use sandbox::data_channel::{DataChannels, Side};
use serde::Deserialize;
use ssm_proto::frame::{Flag, Frame, MessageType};

use super::raw_client::*;

#[derive(Deserialize)]
struct Entry {
    from: String,
    hex: String,
}

/// The data messages of a transcript in order, those of the client with their bytes.
fn data_messages(text: &str) -> Vec<(Option<Bytes>, Frame)> {
    let entries = text.lines().map(|line| serde_json::from_str::<Entry>(line).expect("a line is an entry"));
    let frames = entries.map(|entry| {
        let bytes = Bytes::from(hex::decode(entry.hex).expect("hex"));
        ((entry.from == "client").then(|| bytes.clone()), Frame::decode(bytes).expect("a recorded frame"))
    });
    frames
        .filter(|(_, frame)| matches!(frame.message_type, MessageType::InputStreamData | MessageType::OutputStreamData))
        .collect()
}

/// What the real agent said up to some point.
#[derive(Default)]
struct Recorded {
    heard: Heard,
    lengths: BTreeMap<u32, usize>,
}

/// Says the client's part, waiting each time for as much as the real agent had said by then. Returns what both said.
async fn replay(text: &str, address: SocketAddr, before: impl AsyncBefore) -> (Heard, Heard) {
    let channels = channels(quick());
    let mut client = RawClient::open(&channels.open(SESSION, own_port(address))).await;
    let mut recorded = Recorded::default();
    let mut handshakes = 0;
    let mut outputs = 0;
    for (sent, frame) in data_messages(text) {
        let Some(bytes) = sent else {
            handshakes += i64::from(frame.sequence_number < 2);
            recorded.heard.data(&frame);
            recorded.lengths = recorded.heard.streams.iter().map(|(id, data)| (*id, data.len())).collect();
            continue;
        };
        while client.handled() < handshakes {
            client.data().await;
        }
        client.until(|heard| reached(heard, &recorded)).await;
        if frame.sequence_number > 0 {
            outputs += 1;
            before.call(outputs, &channels, &mut client).await;
        }
        let terminates = Flag::decode(&frame.payload).is_ok_and(|flag| flag == Flag::TerminateSession);
        client.send_bytes(bytes).await;
        if !terminates {
            client.acknowledgement(frame.sequence_number).await;
        }
    }
    client.closing().await;
    (recorded.heard, client.heard)
}

fn reached(heard: &Heard, recorded: &Recorded) -> bool {
    recorded.lengths.iter().all(|(id, length)| heard.streams.get(id).map_or(0, Vec::len) >= *length)
        && recorded.heard.fins.iter().all(|id| heard.fins.contains(id))
        && heard.flags.len() >= recorded.heard.flags.len()
}

/// Something to do before the client's nth message after its handshake.
trait AsyncBefore {
    async fn call(&self, nth: usize, channels: &DataChannels, client: &mut RawClient);
}

struct Nothing;

impl AsyncBefore for Nothing {
    async fn call(&self, _: usize, _: &DataChannels, _: &mut RawClient) {}
}

struct CutBefore(usize);

impl AsyncBefore for CutBefore {
    async fn call(&self, nth: usize, channels: &DataChannels, client: &mut RawClient) {
        if nth == self.0 {
            channels.cut(SESSION, Side::Client);
            client.resume(&channels.resume(SESSION).expect("the session is open")).await;
        }
    }
}

fn assert_same(recorded: &Heard, heard: &Heard) {
    assert_eq!(recorded.streams, heard.streams);
    assert_eq!(recorded.fins, heard.fins);
    assert_eq!(recorded.flags, heard.flags);
}

#[tokio::test]
async fn two_connections_go_as_recorded() {
    let (recorded, heard) = replay(include_str!("../transcripts/two-connections.jsonl"), echo().await, Nothing).await;
    assert_eq!(recorded.streams[&3].len(), 5 + 1_500 + 5_120, "the transcript was read");
    assert_same(&recorded, &heard);
}

#[tokio::test]
async fn a_lone_line_feed_goes_as_recorded() {
    let (recorded, heard) = replay(include_str!("../transcripts/lone-line-feed.jsonl"), echo().await, Nothing).await;
    assert_eq!(recorded.streams[&3].last(), Some(&b'\r'), "the plug-in's own fault, and not the agent's");
    assert_same(&recorded, &heard);
}

#[tokio::test]
async fn a_refused_port_goes_as_recorded() {
    let transcript = include_str!("../transcripts/refused-port.jsonl");
    let (recorded, heard) = replay(transcript, closed_port().await, Nothing).await;
    assert_eq!(recorded.flags, [Flag::ConnectToPortError], "the transcript was read");
    assert_same(&recorded, &heard);
}

#[tokio::test]
async fn a_cut_and_resumed_channel_goes_as_recorded() {
    let transcript = include_str!("../transcripts/client-cut-and-resume.jsonl");
    let (recorded, heard) = replay(transcript, echo().await, CutBefore(2)).await;
    assert_eq!(recorded.streams[&3], b"beforeafter the cut", "the transcript was read");
    assert_same(&recorded, &heard);
}

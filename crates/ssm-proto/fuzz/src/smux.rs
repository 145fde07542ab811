//! The multiplexed stream, cut anywhere, against a reader that has it whole.

use std::collections::BTreeMap;

use ssm_proto::{Channel, Config, Event, Read, StreamId, frame::PayloadType};

use super::{feed, ready, start_of_time};

const STREAMS: u32 = 4;
const FIRST: u32 = 3;

/// The first byte says how long each message is; the rest is the multiplexed stream.
pub fn smux(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let now = start_of_time();
    let mut client = ready(Config::default(), now);
    let streams: Vec<StreamId> = (0..STREAMS).filter_map(|_| client.open_stream()).collect();
    let mut heard = vec![Vec::new(); streams.len()];
    for (part, sequence) in stream.chunks(usize::from(*first) + 1).zip(2..) {
        feed(&mut client, sequence, PayloadType::Output, part, now);
        for (id, heard) in streams.iter().zip(&mut heard) {
            read_all(&mut client, *id, heard);
        }
    }
    let expected = whole(stream);
    let failed = std::iter::from_fn(|| client.poll_event()).any(|event| matches!(event, Event::Failed(_)));
    assert_eq!(failed, expected.broken, "a broken stream ends the session, and nothing else does");
    for ((id, heard), (number, said)) in streams.iter().zip(&heard).zip(&expected.said) {
        assert_eq!(heard, said, "stream {number}");
        let finished = client.read(*id, &mut [0]) == Read::Finished;
        assert_eq!(finished, expected.broken || expected.finished.contains(number), "stream {number}");
    }
}

fn read_all(client: &mut Channel, id: StreamId, heard: &mut Vec<u8>) {
    let mut buffer = [0; 999];
    while let Read::Bytes(length) = client.read(id, &mut buffer) {
        assert!(length > 0, "reading nothing goes on for ever");
        heard.extend_from_slice(&buffer[..length]);
    }
}

struct Whole {
    said: BTreeMap<u32, Vec<u8>>,
    finished: Vec<u32>,
    broken: bool,
}

fn whole(mut stream: &[u8]) -> Whole {
    let ids = (0..STREAMS).map(|nth| FIRST + 2 * nth);
    let mut whole = Whole { said: ids.map(|id| (id, Vec::new())).collect(), finished: Vec::new(), broken: false };
    while let Some((header, rest)) = stream.split_first_chunk::<8>() {
        stream = rest;
        let id = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        match (header[0], header[1]) {
            (1, 0 | 3) => {}
            (1, 1) => whole.finished.push(id),
            (1, 2) => {
                let length = usize::from(u16::from_le_bytes([header[2], header[3]])).min(stream.len());
                let (bytes, rest) = stream.split_at(length);
                stream = rest;
                if let Some(said) = whole.said.get_mut(&id).filter(|_| !whole.finished.contains(&id)) {
                    said.extend_from_slice(bytes);
                }
            }
            _ => {
                whole.broken = true;
                return whole;
            }
        }
    }
    whole
}

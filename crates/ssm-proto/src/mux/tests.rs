use proptest::{collection::vec, prelude::*};

use super::*;
use crate::virtual_time::start_of_time;

const LINGER: Duration = Duration::from_secs(10);

#[test]
fn the_first_stream_is_number_three_and_its_syn_travels_with_its_first_bytes() {
    let mut mux = mux();
    let id = mux.open().expect("a new session has ids");
    mux.write(id, b"hello").expect("it is open");
    assert_eq!(drain(&mut mux), b"\x01\x00\0\0\x03\0\0\0\x01\x02\x05\0\x03\0\0\0hello");
    assert_eq!(mux.open(), Some(StreamId(5)));
}

#[test]
fn finishing_sends_no_fin_before_the_far_end_does() {
    let (mut mux, now) = (mux(), start_of_time());
    let id = mux.open().expect("ids");
    mux.write(id, b"q").expect("open");
    mux.finish(id, now);
    mux.write(id, b"more").expect_err("it was finished");
    let sent = drain(&mut mux);
    assert!(!sent.windows(8).any(|header| header == wire::header(Command::Fin, 3, 0)), "{sent:?}");

    receive(&mut mux, &[&wire::header(Command::Psh, 3, 2)[..], b"ok", &wire::header(Command::Fin, 3, 0)].concat(), now);

    let mut buffer = [0; 16];
    assert_eq!(mux.read(id, &mut buffer), Read::Bytes(2));
    assert_eq!(mux.read(id, &mut buffer), Read::Finished);
    assert_eq!(drain(&mut mux), wire::header(Command::Fin, 3, 0));
}

#[test]
fn a_finished_stream_that_hears_nothing_is_closed_after_the_linger_time() {
    let (mut mux, now) = (mux(), start_of_time());
    let id = mux.open().expect("ids");
    drain(&mut mux);
    mux.finish(id, now);
    receive(&mut mux, &[&wire::header(Command::Psh, 3, 1)[..], b"x"].concat(), now + LINGER / 2);
    assert_eq!(mux.next_timeout(), Some(now + LINGER / 2 + LINGER), "an answer prolongs the wait");

    mux.handle_timeout(false, now + LINGER * 9);
    assert!(drain(&mut mux).is_empty(), "the machine slept, nothing could be heard");

    mux.handle_timeout(true, now + LINGER * 10);
    assert!(drain(&mut mux).is_empty(), "what it would say may be among the missing messages");

    mux.handle_timeout(false, now + LINGER * 11);

    assert_eq!(drain(&mut mux), wire::header(Command::Fin, 3, 0));
    assert_eq!(mux.read(id, &mut [0; 4]), Read::Bytes(1));
    assert_eq!(mux.read(id, &mut [0; 4]), Read::Finished);
}

#[test]
fn a_small_query_waits_for_two_frames_of_a_bulk_copy_at_most() {
    let mut mux = mux();
    let (bulk, query) = (mux.open().expect("ids"), mux.open().expect("ids"));
    mux.write(bulk, &[0; 200_000]).expect("open");
    mux.write(query, b"select 1").expect("open");
    let sent = drain(&mut mux);
    let place = sent.windows(8).position(|bytes| bytes == b"select 1").expect("it was sent");
    assert!(place < 3 * LONGEST_FRAME, "after {place} bytes");
}

#[test]
fn a_small_query_waits_for_two_frames_however_many_bulk_copies_there_are() {
    let mut mux = mux();
    for _ in 0..50 {
        let bulk = mux.open().expect("ids");
        mux.write(bulk, &[0; 20_000]).expect("open");
    }
    mux.fill(&mut BytesMut::new(), 100 * LONGEST_FRAME);
    let query = mux.open().expect("ids");
    mux.write(query, b"select 1").expect("open");
    let sent = drain(&mut mux);
    let place = sent.windows(8).position(|bytes| bytes == b"select 1").expect("it was sent");
    assert!(place < 3 * LONGEST_FRAME, "after {place} bytes");
}

#[test]
fn a_stream_that_always_has_a_little_more_does_not_starve_a_bulk_copy() {
    let mut mux = mux();
    let (bulk, chatty) = (mux.open().expect("ids"), mux.open().expect("ids"));
    mux.write(bulk, &[7; 40_000]).expect("open");
    let mut sent = BytesMut::new();
    for _ in 0..24 {
        mux.write(chatty, b"more").expect("open");
        mux.fill(&mut sent, LONGEST_FRAME / 2);
    }
    let carried = sent.iter().filter(|byte| **byte == 7).count();
    assert!(carried > 20_000, "only {carried} bytes of the bulk copy");
}

#[test]
fn a_buffer_that_was_emptied_gives_its_memory_back() {
    let (mut mux, now) = (Mux::new(Bounds { receive: usize::MAX, ..BOUNDS }), start_of_time());
    let id = mux.open().expect("ids");
    for _ in 0..100 {
        receive(&mut mux, &[&wire::header(Command::Psh, 3, 60_000)[..], &vec![1; 60_000]].concat(), now);
    }
    let mut buffer = vec![0; 6_000_000];
    assert_eq!(mux.read(id, &mut buffer), Read::Bytes(6_000_000));
    let capacity = mux.streams.values().map(|stream| stream.unread.capacity()).sum::<usize>();
    assert!(capacity <= KEPT_BUFFER, "{capacity} bytes are kept");
}

#[test]
fn keepalives_do_not_pile_up_while_nothing_can_be_sent() {
    let mut mux = mux();
    for _ in 0..1000 {
        mux.keep_alive();
    }
    assert_eq!(drain(&mut mux), wire::header(Command::Nop, 0, 0));
}

#[test]
fn writing_stops_at_the_bound_and_goes_on_when_half_of_it_is_sent() {
    let mut mux = mux();
    let id = mux.open().expect("ids");
    assert_eq!(mux.write(id, &[7; 300_000]), Ok(256 * 1024));
    assert_eq!(mux.write(id, &[7; 10]), Ok(0));
    assert_eq!(mux.poll_change(), None);
    drain(&mut mux);
    assert_eq!(mux.poll_change(), Some(Change::Writable(id)));
}

#[test]
fn the_stream_that_is_furthest_behind_is_given_up_when_nothing_more_can_be_kept() {
    let (mut mux, now) = (mux(), start_of_time());
    let (slow, quick) = (mux.open().expect("ids"), mux.open().expect("ids"));
    drain(&mut mux);
    let frame = |id, length| [&wire::header(Command::Psh, id, length)[..], &vec![1; length]].concat();
    for _ in 0..4 {
        receive(&mut mux, &frame(slow.0, 300), now);
    }
    receive(&mut mux, &frame(quick.0, 10), now);
    assert_eq!(mux.read(slow, &mut [0; 4]), Read::Reset);
    assert_eq!(mux.read(quick, &mut [0; 64]), Read::Bytes(10));
    assert_eq!(drain(&mut mux), wire::header(Command::Fin, slow.0, 0));
    assert_eq!(mux.unread, 0);
}

#[test]
fn a_refused_connection_is_told_by_the_fin_that_follows() {
    let (mut mux, now) = (mux(), start_of_time());
    let (used, refused) = (mux.open().expect("ids"), mux.open().expect("ids"));
    receive(&mut mux, &[&wire::header(Command::Psh, used.0, 1)[..], b"x"].concat(), now);
    mux.connect_refused();
    receive(&mut mux, &[wire::header(Command::Fin, used.0, 0), wire::header(Command::Fin, refused.0, 0)].concat(), now);
    let refusals: Vec<Change> =
        std::iter::from_fn(|| mux.poll_change()).filter(|change| matches!(change, Change::Refused(_))).collect();
    assert_eq!(refusals, [Change::Refused(refused)]);
}

#[test]
fn a_refusal_of_a_stream_that_was_given_up_is_not_blamed_on_another() {
    let (mut mux, now) = (mux(), start_of_time());
    let given_up = mux.open().expect("ids");
    mux.reset(given_up);
    mux.connect_refused();
    receive(&mut mux, &wire::header(Command::Fin, given_up.0, 0), now);
    let silent = mux.open().expect("ids");
    receive(&mut mux, &wire::header(Command::Fin, silent.0, 0), now);
    assert!(!std::iter::from_fn(|| mux.poll_change()).any(|change| matches!(change, Change::Refused(_))));
}

#[test]
fn another_version_is_an_error() {
    mux()
        .receive(Bytes::from_static(&[2, 0, 0, 0, 3, 0, 0, 0]), start_of_time())
        .expect_err("version 2 has other rules");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(parts in vec(vec(any::<u8>(), 0..40), 0..40)) {
        let mut mux = mux();
        mux.open().expect("ids");
        for part in parts {
            if mux.receive(Bytes::from(part), start_of_time()).is_err() {
                break;
            }
        }
    }

    #[test]
    fn streams_arrive_whole_however_their_frames_are_cut(
        writes in vec((0_usize..3, vec(any::<u8>(), 0..3000)), 0..20), room in 9_usize..2000,
    ) {
        let (mut sender, now) = (mux(), start_of_time());
        let ids = [(); 3].map(|()| sender.open().expect("ids"));
        let mut receiver = Mux::new(Bounds { receive: usize::MAX, ..BOUNDS });
        for _ in ids {
            receiver.open().expect("ids");
        }
        let mut expected = [const { Vec::new() }; 3];
        for (stream, bytes) in writes {
            let taken = sender.write(ids[stream], &bytes).expect("open");
            expected[stream].extend_from_slice(&bytes[..taken]);
        }
        while sender.has_bytes_to_send() {
            let mut part = BytesMut::new();
            sender.fill(&mut part, room);
            prop_assert!(part.len() <= room);
            receiver.receive(part.freeze(), now).expect("version 1");
        }
        for (id, expected) in ids.into_iter().zip(expected) {
            let mut buffer = vec![0; expected.len() + 1];
            let length = match receiver.read(id, &mut buffer) {
                Read::Bytes(length) => length,
                Read::Blocked | Read::Finished | Read::Reset => 0,
            };
            prop_assert_eq!(&buffer[..length], &expected[..]);
        }
    }
}

const BOUNDS: Bounds = Bounds { linger: LINGER, receive: 1000, send: 256 * 1024 };

fn mux() -> Mux {
    Mux::new(BOUNDS)
}

fn drain(mux: &mut Mux) -> Vec<u8> {
    let mut sent = Vec::new();
    while mux.has_bytes_to_send() {
        let mut message = BytesMut::new();
        mux.fill(&mut message, 1024);
        sent.extend_from_slice(&message);
    }
    sent
}

fn receive(mux: &mut Mux, bytes: &[u8], now: Instant) {
    mux.receive(Bytes::copy_from_slice(bytes), now).expect("smux version 1");
}

use super::*;

fn phase(capabilities: Capabilities) -> CommandPhase {
    CommandPhase::new(capabilities, status::AUTOCOMMIT, false)
}

fn none(_: u32) -> Option<u32> {
    None
}

/// Sends one command and checks that it is passed on unchanged.
fn send(phase: &mut CommandPhase, payload: &[u8]) {
    let bytes = packet(0, payload);
    phase.receive_from_client(&bytes);
    let Ok(Some(FromClient::Forward { bytes: passed, begins_command: true })) = phase.poll_client(&none) else {
        panic!("a command to pass on")
    };
    assert_eq!(passed, bytes);
}

/// Answers with packets numbered from 1, in pieces of each size, and checks the activity at their end.
fn answer(phase: &mut CommandPhase, payloads: &[&[u8]], wanted: Activity) {
    let last = payloads.len() - 1;
    for (number, payload) in payloads.iter().enumerate() {
        let number = u8::try_from(number + 1).expect("few packets");
        for byte in packet(number, payload) {
            assert_eq!(phase.activity(), Activity::Busy, "before packet {number} has ended");
            phase.walk_answer(&mut [byte]).expect("an honest server");
        }
        if usize::from(number) <= last {
            assert_eq!(phase.activity(), Activity::Busy, "after packet {number}");
        }
    }
    assert_eq!(phase.activity(), wanted);
}

const COLUMN: &[u8] = b"\x03def\x00\x00\x00\x01a\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x81\x00\x00\x00\x00";
const TEXT_ROW: &[u8] = b"\x011";
const BINARY_ROW: &[u8] = b"\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";

fn eof(status: u16) -> Vec<u8> {
    [&[0xFE, 0, 0], status.to_le_bytes().as_slice()].concat()
}

fn end(status: u16) -> Vec<u8> {
    let mut end = ok(status);
    end[0] = 0xFE;
    end
}

#[test]
fn transactions_are_known_from_ok_packets() {
    let mut phase = phase(Capabilities::PASSED_ON);
    assert_eq!(phase.activity(), Activity::Idle);
    send(&mut phase, b"\x03BEGIN");
    answer(&mut phase, &[&ok(status::IN_TRANSACTION)], Activity::InTransaction);
    send(&mut phase, b"\x03COMMIT");
    answer(&mut phase, &[&ok(status::AUTOCOMMIT)], Activity::Idle);
    send(&mut phase, b"\x0e");
    answer(&mut phase, &[&ok(status::AUTOCOMMIT)], Activity::Idle);
}

#[test]
fn the_end_of_rows_is_found_with_and_without_eof_packets() {
    let count: &[u8] = b"\x02";
    let with_eof = Capabilities::PROTOCOL_41;
    for (command, row) in [(b"\x03SELECT 1".as_slice(), TEXT_ROW), (b"\x17\x01\0\0\0\0\x01\0\0\0", BINARY_ROW)] {
        let mut old = phase(with_eof);
        send(&mut old, command);
        let status = status::IN_TRANSACTION;
        answer(&mut old, &[count, COLUMN, COLUMN, &eof(2), row, row, &eof(status)], Activity::InTransaction);
        let mut new = phase(with_eof | Capabilities::DEPRECATE_EOF);
        send(&mut new, command);
        answer(&mut new, &[count, COLUMN, COLUMN, row, row, &end(status)], Activity::InTransaction);
    }
}

#[test]
fn an_error_ends_an_answer_and_leaves_the_transaction_as_it_was() {
    let error = ErrPacket::new(1064, "42000", "You have an error in your SQL syntax").payload();
    let mut phase = phase(Capabilities::PASSED_ON);
    send(&mut phase, b"\x03nonsense");
    answer(&mut phase, &[&error], Activity::Idle);
    send(&mut phase, b"\x03BEGIN");
    answer(&mut phase, &[&ok(1)], Activity::InTransaction);
    send(&mut phase, b"\x03nonsense");
    answer(&mut phase, &[&error], Activity::InTransaction);
}

#[test]
fn several_results_are_one_answer() {
    let more = status::MORE_RESULTS;
    let mut phase = phase(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF);
    send(&mut phase, b"\x03CALL p()");
    answer(
        &mut phase,
        &[b"\x01", COLUMN, TEXT_ROW, &end(more), &ok(more), b"\x01", COLUMN, &end(more), &ok(1)],
        Activity::InTransaction,
    );
}

#[test]
fn a_cursor_and_left_out_definitions_shorten_an_answer() {
    let mut cursor = phase(Capabilities::PROTOCOL_41);
    send(&mut cursor, b"\x17\x01\0\0\0\x01\x01\0\0\0");
    answer(&mut cursor, &[b"\x01", COLUMN, &eof(status::CURSOR | 1)], Activity::InTransaction);
    send(&mut cursor, b"\x1c\x01\0\0\0\x0a\0\0\0");
    answer(&mut cursor, &[BINARY_ROW, BINARY_ROW, &eof(0x80)], Activity::Idle);

    for optional in [Capabilities::OPTIONAL_METADATA, Capabilities::CACHE_METADATA] {
        let mut phase = phase(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF | optional);
        send(&mut phase, b"\x03SELECT 1");
        answer(&mut phase, &[b"\x01\x00", TEXT_ROW, &end(0)], Activity::Idle);
        send(&mut phase, b"\x03SELECT 1");
        answer(&mut phase, &[b"\x01\x01", COLUMN, TEXT_ROW, &end(0)], Activity::Idle);
    }
}

#[test]
fn a_prepared_statement_is_answered_with_its_definitions() {
    let prepared: &[u8] = b"\x00\x01\0\0\0\x01\x00\x02\x00\x00\x00\x00";
    let mut old = phase(Capabilities::PROTOCOL_41);
    send(&mut old, b"\x16SELECT ? + ?");
    answer(&mut old, &[prepared, COLUMN, COLUMN, &eof(2), COLUMN, &eof(2)], Activity::Idle);
    let mut new = phase(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF);
    send(&mut new, b"\x16SELECT ? + ?");
    answer(&mut new, &[prepared, COLUMN, COLUMN, COLUMN], Activity::Idle);
    send(&mut new, b"\x16DO 1");
    answer(&mut new, &[b"\x00\x01\0\0\0\x00\x00\x00\x00\x00\x00\x00"], Activity::Idle);
}

#[test]
fn commands_in_a_row_are_answered_in_their_order() {
    let mut phase = phase(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF);
    send(&mut phase, b"\x16DO 1");
    send(&mut phase, b"\x17\xff\xff\xff\xff\0\x01\0\0\0");
    send(&mut phase, b"\x19\x01\0\0\0");
    let mut answers = packet(1, b"\x00\x01\0\0\0\x00\x00\x00\x00\x00\x00\x00");
    phase.walk_answer(&mut answers).expect("an honest server");
    assert_eq!(phase.activity(), Activity::Busy);
    phase.walk_answer(&mut packet(1, &ok(1))).expect("an honest server");
    assert_eq!(phase.activity(), Activity::InTransaction, "closing a statement is not answered");
}

#[test]
fn progress_of_mariadb_is_no_error() {
    let mut phase = phase(Capabilities::PASSED_ON);
    send(&mut phase, b"\x03ALTER TABLE t ENGINE = InnoDB");
    answer(&mut phase, &[b"\xFF\xFF\xFF\x01\x01\x02\x10\x27\x00\x05stage", &ok(0)], Activity::Idle);
}

#[test]
fn a_file_is_only_given_where_that_was_agreed_on() {
    let mut strict = phase(Capabilities::PASSED_ON);
    send(&mut strict, b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
    assert_eq!(strict.walk_answer(&mut packet(1, b"\xFB/etc/passwd")), Err(ServerFault::LocalFile));

    let mut open = phase(Capabilities::PASSED_ON | Capabilities::LOCAL_FILES);
    send(&mut open, b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
    open.walk_answer(&mut packet(1, b"\xFBf")).expect("allowed");
    open.receive_from_client(&[packet(2, b"\x11rows"), packet(3, b"")].concat());
    let mut passed = Vec::new();
    while let Ok(Some(FromClient::Forward { bytes, begins_command: false })) = open.poll_client(&none) {
        passed.extend_from_slice(&bytes);
    }
    assert_eq!(passed, [packet(2, b"\x11rows"), packet(3, b"")].concat());
    open.walk_answer(&mut packet(4, &ok(0))).expect("an honest server");
    assert_eq!(open.activity(), Activity::Idle);
    send(&mut open, b"\x0e");
}

#[test]
fn a_long_command_passes_in_pieces_and_its_parts_are_not_taken_for_commands() {
    let long = [b"\x03INSERT ".as_slice(), &vec![0x11; 0xFF_FFFF + 100]].concat();
    let bytes = packet(0, &long);
    let mut phase = phase(Capabilities::PASSED_ON);
    let mut passed = Vec::new();
    for piece in bytes.chunks(100_000) {
        phase.receive_from_client(piece);
        while let Some(given) = phase.poll_client(&none).expect("in order") {
            let FromClient::Forward { bytes, begins_command } = given else { panic!("{given:?}") };
            assert_eq!(begins_command, passed.is_empty());
            passed.extend_from_slice(&bytes);
        }
    }
    assert!(passed == bytes, "all of it, unchanged");
    assert_eq!(phase.next_number(), Some(2), "behind the two packets of the command");
    phase.walk_answer(&mut packet(2, &ok(0))).expect("an honest server");
    assert_eq!(phase.activity(), Activity::Idle);
}

#[test]
fn a_row_of_more_than_16_mebibytes_is_no_end() {
    let mut phase = phase(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF);
    send(&mut phase, b"\x03SELECT big");
    let mut row = vec![0xFE];
    row.resize(0xFF_FFFF, 0);
    let mut answer = [packet(1, b"\x01"), packet(2, COLUMN), packet(3, &row), packet(5, &end(1))].concat();
    phase.walk_answer(&mut answer).expect("an honest server");
    assert_eq!(phase.activity(), Activity::InTransaction);
}

#[test]
fn commands_that_concern_the_login_are_handed_out_whole() {
    let mut phase = phase(Capabilities::PASSED_ON);
    let change = packet(0, b"\x11ana\0\0shop\0\x2d\0");
    for byte in &change {
        assert_eq!(phase.poll_client(&none), Ok(None));
        phase.receive_from_client(&[*byte]);
    }
    let payload = Bytes::copy_from_slice(change.get(4..).expect("a header"));
    assert_eq!(phase.poll_client(&none), Ok(Some(FromClient::ChangeUser(payload))));
    phase.receive_from_client(&packet(0, &[0x1F]));
    assert_eq!(phase.poll_client(&none), Ok(Some(FromClient::ResetConnection)));
    phase.receive_from_client(&[1, 0, 2, 0, 0x11]);
    phase.poll_client(&none).expect_err("no honest client sends 128 KiB");
}

#[test]
fn a_kill_names_the_session_upstream() {
    let mut phase = phase(Capabilities::PROTOCOL_41 | Capabilities::QUERY_ATTRIBUTES);
    phase.receive_from_client(&packet(0, b"\x03\x00\x01KILL QUERY 1879048192"));
    let upstream = |id| (id == 1_879_048_192).then_some(9);
    let Ok(Some(FromClient::Forward { bytes, .. })) = phase.poll_client(&upstream) else { panic!("to pass on") };
    assert_eq!(bytes, packet(0, b"\x03\x00\x01KILL QUERY 9"));
    answer(&mut phase, &[&ok(2)], Activity::Idle);
}

#[test]
fn numbers_that_compression_has_put_out_of_order_are_put_right() {
    let mut phase = CommandPhase::new(Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF, 2, true);
    send(&mut phase, b"\x03SELECT 1");
    let payloads: [&[u8]; 4] = [b"\x01", COLUMN, TEXT_ROW, &end(0)];
    let numbers = [1, 2, 2, 3];
    let mut bytes: Vec<u8> =
        payloads.iter().zip(numbers).flat_map(|(payload, number)| packet(number, payload)).collect();
    for piece in bytes.chunks_mut(3) {
        phase.walk_answer(piece).expect("an honest server");
    }
    let wanted: Vec<u8> = payloads.iter().zip(1..).flat_map(|(payload, number)| packet(number, payload)).collect();
    assert_eq!(bytes, wanted);
    assert_eq!(phase.activity(), Activity::Idle);
}

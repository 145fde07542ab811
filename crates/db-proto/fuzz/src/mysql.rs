//! MySQL in both roles.

use db_proto::mysql::{
    Capabilities, ClientEvent, ClientLogin, CommandPhase, Compression, Compressor, Credential, Decompressor, ErrPacket,
    FromClient, Greeting, LoginOptions, ServerEvent, ServerLogin, ServerStart, Transport, Verifier,
};

const PASSWORD: &[u8] = b"a password that no input holds";
/// Bytes handed over at a time.
const PIECE: usize = 7;

/// A server that says anything. The password is never sent in clear without TLS, and no login takes for ever.
pub fn client(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let credential = if mode & 1 == 0 { Credential::Password } else { Credential::Token };
    let transport = if mode & 2 == 0 { Transport::Plain } else { Transport::NegotiateTls };
    let mut login = ClientLogin::new(options(credential, mode & 4 == 0), transport);
    let mut encrypted = false;
    let mut asked = 0;
    for piece in bytes.chunks(PIECE) {
        login.receive(piece);
        while let Some(event) = login.poll_event() {
            match event {
                ClientEvent::StartTls => {
                    encrypted = true;
                    login.tls_established();
                }
                ClientEvent::PasswordWanted => {
                    asked += 1;
                    login.password(PASSWORD);
                }
                ClientEvent::LoggedIn(session) => assert_eq!(session.encrypted, encrypted),
                ClientEvent::Failed(error) => assert!(!error.to_string().is_empty()),
            }
        }
        if let Some(sent) = login.poll_transmit() {
            assert!(encrypted || !holds_password(&sent), "the password went out in clear");
        }
    }
    login.closed();
    assert!(asked <= 4, "the server may ask for ever");
}

/// A client that says anything. Nobody gets in without the password.
pub fn server(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let capabilities = Capabilities::from_fields(Capabilities::PASSED_ON.lower(), 0);
    let greeting = Greeting {
        version: "8.4.0".to_owned(),
        thread_id: 1,
        challenge: Vec::new(),
        capabilities,
        collation: 45,
        status: 2,
        plugin: if mode & 1 == 0 { "mysql_native_password" } else { "caching_sha2_password" }.to_owned(),
    };
    let mut login = if mode & 2 == 0 {
        ServerLogin::new(ServerStart { greeting, tls: mode & 4 == 0, seed: [*mode; 32] })
    } else {
        ServerLogin::change_user(bytes, capabilities, [*mode; 32])
    };
    for piece in bytes.chunks(PIECE) {
        login.receive(piece);
        while let Some(event) = login.poll_event() {
            match event {
                ServerEvent::StartTls(_) => login.tls_established(),
                ServerEvent::Asked(request) => {
                    assert!(request.proof.is_empty(), "the proof stays where it is judged");
                    login.verify(Verifier::of(PASSWORD));
                }
                ServerEvent::Proven => panic!("let in without the password"),
                ServerEvent::WrongPassword { .. } => login.refuse(&ErrPacket::new(1045, "28000", "denied")),
                ServerEvent::Failed(error) => assert!(!error.to_string().is_empty()),
            }
        }
        login.poll_transmit();
    }
    login.closed();
}

/// Both sides of a session say anything. Bytes pass unchanged, and none is lost.
pub fn session(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let lower = if mode & 1 == 0 { Capabilities::PASSED_ON.lower() } else { Capabilities::PROTOCOL_41.lower() };
    let mut phase = CommandPhase::new(Capabilities::from_fields(lower & !1, u32::from(mode & 2) * 8), 2, mode & 4 != 0);
    let (mut given, mut passed) = (0, 0);
    let mut rest = bytes;
    while let [head, tail @ ..] = rest {
        let (piece, later) = tail.split_at(tail.len().min(usize::from(head & 0x7F)));
        rest = later;
        if head & 0x80 == 0 {
            given += piece.len();
            phase.receive_from_client(piece);
            passed += pass(&mut phase);
        } else {
            walk(&mut phase, piece, mode & 4 == 0);
        }
    }
    assert!(passed <= given, "more came out than went in");
    phase.activity();
    phase.next_number();
}

fn pass(phase: &mut CommandPhase) -> usize {
    let mut passed = 0;
    while let Ok(Some(next)) = phase.poll_client(&|_| None) {
        passed += match next {
            FromClient::Forward { bytes, .. } => bytes.len(),
            FromClient::ChangeUser(payload) => 4 + payload.len(),
            FromClient::ResetConnection => 5,
        };
    }
    passed
}

fn walk(phase: &mut CommandPhase, piece: &[u8], unchanged: bool) {
    let mut walked = piece.to_vec();
    let fine = phase.walk_answer(&mut walked).is_ok();
    assert!(!fine || !unchanged || walked == piece, "bytes were changed without need");
}

/// A server that sends anything as compressed, and a compression of the same bytes.
pub fn compression(bytes: &[u8]) {
    for compression in [Compression::Zlib, Compression::Zstd] {
        let mut unpacking = Decompressor::new(compression);
        for piece in bytes.chunks(PIECE) {
            unpacking.push(piece);
            while let Ok(Some(plain)) = unpacking.take() {
                assert!(plain.len() <= 0xFF_FFFF, "more than a length can say");
            }
        }
        let mut packed = Vec::new();
        Compressor::new(compression).compress(bytes, &mut packed);
        let mut unpacking = Decompressor::new(compression);
        unpacking.push(&packed);
        let plain = unpacking.take().expect("of our own").unwrap_or_default();
        assert_eq!(plain, bytes);
    }
}

fn options(credential: Credential, compression: bool) -> LoginOptions {
    LoginOptions {
        user: "ana".to_owned(),
        database: Some("shop".to_owned()),
        capabilities: Capabilities::PROTOCOL_41,
        longest_packet: 1 << 24,
        collation: 45,
        attributes: vec![("program_name".to_owned(), "fuzz".to_owned())],
        credential,
        compression,
    }
}

fn holds_password(sent: &[u8]) -> bool {
    sent.windows(PASSWORD.len()).any(|part| part == PASSWORD)
}

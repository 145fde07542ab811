//! PostgreSQL in both roles.

use std::sync::LazyLock;

use db_proto::postgres::{
    ClientEvent, ClientLogin, ErrorResponse, LoggedIn, LoginOptions, NONCE_LENGTH, Replies, ScramVerifier, ServerEvent,
    ServerLogin, StartupParameters, TlsOffer, Transport,
};

const PASSWORD: &[u8] = b"a password that no input holds";
/// Bytes handed over at a time.
const PIECE: usize = 7;

static VERIFIER: LazyLock<ScramVerifier> = LazyLock::new(|| ScramVerifier::new(PASSWORD, [9; 16]));

/// A server that says anything. The password is never sent in clear without TLS, a token never proven, and a login ends once.
pub fn client(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let transport = if mode & 1 == 0 { Transport::Plain } else { Transport::NegotiateTls };
    let nonce = (mode & 2 == 0).then_some([*mode; NONCE_LENGTH]);
    let parameters = StartupParameters::new("app_ro", "shop").expect("plain words");
    let mut login = ClientLogin::with(parameters, transport, LoginOptions { nonce, newest: mode & 4 == 0 });
    let (mut encrypted, mut asked, mut ends) = (false, 0, 0);
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
                ClientEvent::LoggedIn(_) => ends += 1,
                ClientEvent::Failed(error) => {
                    assert!(!error.to_string().is_empty());
                    ends += 1;
                }
            }
        }
        if let Some(sent) = login.poll_transmit() {
            let clear = sent.windows(PASSWORD.len()).any(|window| window == PASSWORD);
            assert!(encrypted || !clear, "the password went out in clear");
            assert!(nonce.is_some() || !sent.windows(5).any(|window| window == b"SCRAM"), "a token is no password");
        }
    }
    login.closed();
    ends += usize::from(login.poll_event().is_some());
    assert_eq!(ends, 1, "a login ends once");
    assert!(asked <= 1, "the password is asked for once");
}

/// A client that says anything. Nobody gets in by a proof without the password.
pub fn server(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut login = match mode & 3 {
        0 => ServerLogin::encrypted(),
        1 => ServerLogin::new(TlsOffer::Decline),
        _ => ServerLogin::new(TlsOffer::Accept),
    };
    for piece in bytes.chunks(PIECE) {
        login.receive(piece);
        while let Some(event) = login.poll_event() {
            match event {
                ServerEvent::StartTls => login.tls_established(),
                ServerEvent::Startup(_) if mode & 4 == 0 => login.ask_scram(&VERIFIER, [*mode; NONCE_LENGTH]),
                ServerEvent::Startup(_) => login.ask_password(),
                ServerEvent::Password(_) => login.accept(&LoggedIn::default()),
                ServerEvent::PasswordProven => panic!("nobody knows the password"),
                ServerEvent::PasswordWrong => login.refuse(&ErrorResponse::fatal("28P01", "wrong")),
                ServerEvent::Cancel(key) => assert!(key.cancel_request().len() >= 16),
                ServerEvent::Failed(error) => assert!(!error.to_string().is_empty()),
            }
        }
        login.poll_transmit();
    }
    login.closed();
}

/// A server that says anything after its login. Cuts change nothing, and sense is never found again once it is lost.
pub fn replies(bytes: &[u8]) {
    let (mut whole, mut pieces) = (Replies::new(b'I'), Replies::new(b'I'));
    let ready = whole.walk(bytes);
    let last = bytes.chunks(PIECE).map(|piece| pieces.walk(piece)).last().unwrap_or(false);
    assert_eq!(ready, last);
    assert_eq!(whole.transaction_status(), pieces.transaction_status());
    assert_eq!(whole.is_between_messages(), pieces.is_between_messages());
    assert!(!ready || whole.is_between_messages());
    let _ = ErrorResponse::read(bytes).map(|error| error.to_error());
}

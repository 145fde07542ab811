use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PASSWORD: &[u8] = b"orders-prod.abc:5432/?Action=connect&X-Amz-Signature=0123";

fn parameters() -> StartupParameters {
    StartupParameters::new("app_ro", "shop").and_then(|p| p.with("application_name", "psql")).expect("plain words")
}

fn session() -> LoggedIn {
    LoggedIn {
        parameters: vec![("server_version".into(), "15.18".into()), ("TimeZone".into(), String::new())],
        cancel_key: CancelKey::new(77, &[1, 2, 3, 4][..]),
        transaction_status: b'I',
        ..LoggedIn::default()
    }
}

fn event(client: &mut ClientLogin) -> ClientEvent {
    client.poll_event().expect("the client has something to say")
}

fn server_event(server: &mut ServerLogin) -> ServerEvent {
    server.poll_event().expect("the server has something to say")
}

/// Carries what each side has to send to the other, one byte at a time.
fn exchange(client: &mut ClientLogin, server: &mut ServerLogin) {
    loop {
        let up = client.poll_transmit().unwrap_or_default();
        up.iter().for_each(|byte| server.receive(&[*byte]));
        let down = server.poll_transmit().unwrap_or_default();
        down.iter().for_each(|byte| client.receive(&[*byte]));
        if up.is_empty() && down.is_empty() {
            return;
        }
    }
}

/// Both sides behind TLS, with the start-up message read.
fn started(options: LoginOptions) -> (ClientLogin, ServerLogin) {
    let mut client = ClientLogin::with(parameters(), Transport::NegotiateTls, options);
    let mut server = ServerLogin::new(TlsOffer::Accept);
    exchange(&mut client, &mut server);
    assert!(matches!(event(&mut client), ClientEvent::StartTls));
    assert!(matches!(server_event(&mut server), ServerEvent::StartTls));
    server.tls_established();
    client.tls_established();
    exchange(&mut client, &mut server);
    (client, server)
}

fn asked_for_password() -> (ClientLogin, ServerLogin) {
    let (mut client, mut server) = started(LoginOptions::default());
    assert!(matches!(server_event(&mut server), ServerEvent::Startup(startup) if startup.parameters == parameters()));
    server.ask_password();
    exchange(&mut client, &mut server);
    assert!(matches!(event(&mut client), ClientEvent::PasswordWanted));
    client.password(PASSWORD);
    exchange(&mut client, &mut server);
    (client, server)
}

#[test]
fn the_two_roles_log_each_other_in() {
    let (mut client, mut server) = asked_for_password();
    let ServerEvent::Password(password) = server_event(&mut server) else { panic!("the password arrived") };
    assert_eq!(password.as_bytes(), PASSWORD);
    server.accept(&session());
    exchange(&mut client, &mut server);
    let ClientEvent::LoggedIn(logged_in) = event(&mut client) else { panic!("the server accepted") };
    assert_eq!(logged_in, session(), "settings, key and state pass unchanged");
}

/// Both sides behind TLS, the server having asked for a proof.
fn asked_for_proof(options: LoginOptions, password: &[u8]) -> (ClientLogin, ServerLogin) {
    let (mut client, mut server) = started(options);
    assert!(matches!(server_event(&mut server), ServerEvent::Startup(startup) if startup.parameters == parameters()));
    server.ask_scram(&ScramVerifier::new(password, [7; 16]), [3; NONCE_LENGTH]);
    exchange(&mut client, &mut server);
    (client, server)
}

const PROVING: LoginOptions = LoginOptions { nonce: Some([5; NONCE_LENGTH]), newest: true };

#[test]
fn the_two_roles_prove_a_password_to_each_other() {
    let (mut client, mut server) = asked_for_proof(PROVING, b"geheim");
    assert!(matches!(event(&mut client), ClientEvent::PasswordWanted));
    client.password(b"geheim");
    exchange(&mut client, &mut server);
    assert!(matches!(server_event(&mut server), ServerEvent::PasswordProven));
    let noticed = LoggedIn { notices: vec![ErrorResponse::warning("01000", "soon")], ..session() };
    server.accept(&noticed);
    exchange(&mut client, &mut server);
    let ClientEvent::LoggedIn(logged_in) = event(&mut client) else { panic!("the server accepted") };
    assert_eq!(logged_in, noticed);
}

#[test]
fn a_wrong_password_is_not_proven() {
    let (mut client, mut server) = asked_for_proof(PROVING, b"geheim");
    assert!(matches!(event(&mut client), ClientEvent::PasswordWanted));
    client.password(b"gehein");
    exchange(&mut client, &mut server);
    assert!(matches!(server_event(&mut server), ServerEvent::PasswordWrong));
    server.accept(&session());
    server.refuse(&ErrorResponse::fatal("28P01", "wrong"));
    exchange(&mut client, &mut server);
    let ClientEvent::Failed(error) = event(&mut client) else { panic!("who has proven nothing cannot be accepted") };
    assert_eq!(error.to_string(), "FATAL: wrong (28P01)");
}

#[test]
fn a_token_is_never_used_for_a_proof() {
    let (mut client, _) = asked_for_proof(LoginOptions::default(), b"geheim");
    let ClientEvent::Failed(error) = event(&mut client) else { panic!("a token is sent in clear or not at all") };
    assert!(error.to_string().contains("SCRAM-SHA-256"), "{error}");
    assert!(error.to_string().contains("rds_iam"), "{error}");
}

#[test]
fn a_server_that_does_not_know_the_password_is_left() {
    for accepted in [&b"R\0\0\0\x08\0\0\0\0"[..], b"R\0\0\0\x0a\0\0\0\x0cv="] {
        let (mut client, _) = asked_for_proof(PROVING, b"geheim");
        assert!(matches!(event(&mut client), ClientEvent::PasswordWanted));
        client.password(b"geheim");
        client.receive(accepted);
        assert!(matches!(event(&mut client), ClientEvent::Failed(_)), "it has proven nothing");
    }
}

#[test]
fn md5_is_answered_for_a_secret() {
    let mut client = ClientLogin::with(parameters(), Transport::NegotiateTls, PROVING);
    client.receive(b"S");
    client.tls_established();
    assert_eq!(client.poll_transmit().and_then(|bytes| bytes.get(12..16).map(<[u8]>::to_vec)), Some(vec![0, 3, 0, 2]));
    client.receive(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04");
    assert!(matches!(event(&mut client), ClientEvent::StartTls));
    assert!(matches!(event(&mut client), ClientEvent::PasswordWanted), "an older server is spoken to");
    client.password(b"geheim");
    let answer = client.poll_transmit().expect("the proof");
    assert!(answer.starts_with(b"p\0\0\0\x28md5") && answer.len() == 41, "{}", answer.escape_ascii());
}

#[test]
fn a_version_that_was_not_asked_for_is_refused() {
    let mut client = ClientLogin::new(parameters(), Transport::Plain);
    client.receive(b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0");
    assert!(matches!(event(&mut client), ClientEvent::Failed(ClientLoginError::Malformed(_))));
}

#[test]
fn a_client_that_breaks_scram_is_told() {
    let sasl = |mechanism: &str, opening: &[u8]| {
        let length = u32::try_from(opening.len()).expect("short");
        let body = [mechanism.as_bytes(), &[0], &length.to_be_bytes(), opening].concat();
        [&b"p"[..], &u32::try_from(body.len() + 4).expect("short").to_be_bytes(), &body].concat()
    };
    for (message, expected) in [
        (sasl("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=a"), "SCRAM-SHA-256-PLUS"),
        (sasl("SCRAM-SHA-256", b"n,,nonsense"), "SCRAM message"),
        (b"p\0\0\0\x08abcd".to_vec(), "broken body"),
        (b"Q\0\0\0\x05\0".to_vec(), "out of turn"),
    ] {
        let mut server = ServerLogin::encrypted();
        server.receive(&untyped(0x0003_0000, b"user\0jane\0\0"));
        server.ask_scram(&ScramVerifier::new(b"geheim", [7; 16]), [3; NONCE_LENGTH]);
        server.receive(&message);
        assert!(matches!(server_event(&mut server), ServerEvent::Startup(_)));
        let ServerEvent::Failed(error) = server_event(&mut server) else { panic!("{expected}") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_refusal_reaches_the_client_word_for_word() {
    let (mut client, mut server) = asked_for_password();
    let refusal = ErrorResponse::fatal("28000", "PAM authentication failed for user \"app_ro\"")
        .with_detail("the particulars")
        .with_hint("what to do");
    server.refuse(&refusal);
    exchange(&mut client, &mut server);
    let ClientEvent::Failed(ClientLoginError::Refused(error)) = event(&mut client) else { panic!("it was refused") };
    assert_eq!(error, refusal);
    assert_eq!((error.severity(), error.sqlstate()), ("FATAL", "28000"));
    assert_eq!((error.detail(), error.hint()), (Some("the particulars"), Some("what to do")));
    assert_eq!(error.to_string(), "FATAL: PAM authentication failed for user \"app_ro\" (28000)");
}

#[test]
fn debug_shows_no_password() {
    let (client, mut server) = started(LoginOptions::default());
    let mut server_with_password = asked_for_password().1;
    let mut client_with_password = client;
    client_with_password.receive(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
    client_with_password.password(b"geheim");
    server.receive(b"geheim");
    let event = server_event(&mut server_with_password);
    let shown = format!("{client_with_password:?} {server:?} {server_with_password:?} {event:?} {:?}", session());
    assert!(!shown.contains("geheim") && !shown.contains("Amz") && !shown.contains("103, 101"), "{shown}");
    assert!(!shown.contains("1, 2, 3, 4"), "the cancel key is a secret too: {shown}");
}

#[test]
fn a_client_takes_no_clear_bytes_behind_the_s() {
    let mut client = ClientLogin::new(parameters(), Transport::NegotiateTls);
    client.receive(b"SE");
    assert!(matches!(event(&mut client), ClientEvent::Failed(ClientLoginError::BytesBeforeTls)));

    let mut client = ClientLogin::new(parameters(), Transport::NegotiateTls);
    client.receive(b"S");
    assert!(matches!(event(&mut client), ClientEvent::StartTls));
    client.receive(b"E");
    assert!(matches!(event(&mut client), ClientEvent::Failed(ClientLoginError::BytesBeforeTls)));
    assert!(client.poll_event().is_none(), "a machine ends once");
}

#[test]
fn a_server_takes_no_clear_bytes_behind_an_ssl_request() {
    let mut server = ServerLogin::new(TlsOffer::Accept);
    let mut bytes = ClientLogin::new(parameters(), Transport::NegotiateTls).poll_transmit().expect("an SSLRequest");
    bytes.extend(ClientLogin::new(parameters(), Transport::Plain).poll_transmit().expect("a StartupMessage"));
    server.receive(&bytes);
    assert!(matches!(server_event(&mut server), ServerEvent::Failed(ServerLoginError::BytesBeforeTls)));
}

#[test]
fn a_server_without_tls_is_left() {
    for (answer, expected) in [(b'N', "offers no TLS"), (b'E', "byte 0x45"), (b'H', "byte 0x48")] {
        let mut client = ClientLogin::new(parameters(), Transport::NegotiateTls);
        client.receive(&[answer]);
        let ClientEvent::Failed(error) = event(&mut client) else { panic!("no TLS, no login") };
        assert!(error.to_string().contains(expected), "{error}");
        client.tls_established();
        client.poll_transmit();
        assert!(client.poll_transmit().is_none(), "nothing follows in clear");
    }
}

#[test]
fn a_password_is_never_given_in_clear() {
    let mut client = ClientLogin::new(parameters(), Transport::Plain);
    client.receive(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
    assert!(matches!(event(&mut client), ClientEvent::Failed(ClientLoginError::PasswordInClear)));
    client.password(PASSWORD);
    assert!(client.poll_transmit().is_none(), "nothing is sent after the failure");

    let mut server = ServerLogin::new(TlsOffer::Decline);
    server.receive(&ClientLogin::new(parameters(), Transport::Plain).poll_transmit().expect("a StartupMessage"));
    assert!(matches!(server_event(&mut server), ServerEvent::Startup(_)));
    server.ask_password();
    assert_eq!(server.poll_transmit().expect("an answer")[0], b'E', "nor is it asked for");
}

#[test]
fn other_authentication_is_named() {
    for (code, name) in [(5, "MD5"), (10, "SASL"), (99, "code 99")] {
        let (mut client, _) = started(LoginOptions::default());
        client.receive(&[b'R', 0, 0, 0, 8, 0, 0, 0, code]);
        let ClientEvent::Failed(error) = event(&mut client) else { panic!("only cleartext is spoken") };
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_closed_stream_says_when() {
    let mut client = ClientLogin::new(parameters(), Transport::NegotiateTls);
    client.closed();
    let ClientEvent::Failed(error) = event(&mut client) else { panic!("it failed") };
    assert_eq!(error.to_string(), "the server closed the connection before it answered the SSLRequest");
}

#[test]
fn messages_out_of_turn_end_the_login() {
    for early in [&b"S\0\0\0\x08a\0b\0"[..], b"Z\0\0\0\x05I", b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02"] {
        let mut client = ClientLogin::new(parameters(), Transport::Plain);
        client.receive(early);
        assert!(matches!(event(&mut client), ClientEvent::Failed(ClientLoginError::Malformed(_))));
    }
}

#[test]
fn bytes_behind_the_login_are_kept() {
    let mut client = ClientLogin::new(parameters(), Transport::Plain);
    client.receive(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05Irest");
    let ClientEvent::LoggedIn(session) = event(&mut client) else { panic!("trusted") };
    assert_eq!(&session.unread[..], b"rest");

    let mut server = ServerLogin::new(TlsOffer::Decline);
    server.receive(&ClientLogin::new(parameters(), Transport::Plain).poll_transmit().expect("a StartupMessage"));
    server.receive(b"more");
    server.accept(&session);
    assert_eq!(&server.take_unread()[..], b"more");
}

fn untyped(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + rest.len()).expect("short");
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

#[test]
fn a_server_declines_gss_once_and_then_still_offers_tls() {
    let mut server = ServerLogin::new(TlsOffer::Accept);
    server.receive(&untyped(GSSENC_REQUEST, b""));
    assert_eq!(server.poll_transmit().as_deref(), Some(&b"N"[..]));
    server.receive(&untyped(SSL_REQUEST, b""));
    assert_eq!(server.poll_transmit().as_deref(), Some(&b"S"[..]));

    let mut server = ServerLogin::new(TlsOffer::Accept);
    server.receive(&[untyped(GSSENC_REQUEST, b""), untyped(GSSENC_REQUEST, b"")].concat());
    assert!(matches!(server_event(&mut server), ServerEvent::Failed(ServerLoginError::EncryptionAskedTwice)));
}

#[test]
fn a_cancel_request_is_recognised() {
    let key = CancelKey::new(4711, vec![9; 32]).expect("32 bytes fit");
    let mut server = ServerLogin::new(TlsOffer::Accept);
    server.receive(&key.cancel_request());
    assert!(matches!(server_event(&mut server), ServerEvent::Cancel(seen) if seen == key));
}

#[test]
fn unknown_minors_and_options_are_negotiated() {
    let mut server = ServerLogin::new(TlsOffer::Decline);
    server.receive(&untyped(0x0003_270F, b"user\0jane\0_pq_.grease\0x\0\0"));
    let answer = server.poll_transmit().expect("NegotiateProtocolVersion");
    assert_eq!(&answer, b"v\0\0\0\x18\0\x03\0\x02\0\0\0\x01_pq_.grease\0");
    let ServerEvent::Startup(startup) = server_event(&mut server) else { panic!("it may log in") };
    assert_eq!((startup.parameters.user(), startup.parameters.database()), ("jane", "jane"));
    assert!(startup.parameters.others().is_empty(), "a declined option is not a setting");

    let mut server = ServerLogin::new(TlsOffer::Decline);
    server.receive(&untyped(0x0003_0002, b"user\0jane\0\0"));
    assert!(server.poll_transmit().is_none(), "3.2 is spoken");
}

#[test]
fn a_start_up_that_makes_no_sense_is_answered_in_words() {
    let too_long = [0, 0, 0x27, 0x11, 0, 3, 0, 0];
    let cases: [(&[u8], &str); 5] = [
        (&untyped(0x0002_0000, b""), "protocol 2.0"),
        (&untyped(0x0003_0000, b"database\0shop\0\0"), "named no user"),
        (&untyped(0x0003_0000, b"user\0jane"), "broken body"),
        (&too_long, "10001 bytes"),
        (b"\0\0\0\x03", "3 bytes"),
    ];
    for (bytes, expected) in cases {
        let mut server = ServerLogin::new(TlsOffer::Accept);
        server.receive(bytes);
        let ServerEvent::Failed(error) = server_event(&mut server) else { panic!("{expected}") };
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(server.poll_transmit().expect("it is told")[0], b'E');
    }
}

#[test]
fn tls_without_a_request_is_recognised() {
    let mut server = ServerLogin::new(TlsOffer::Accept);
    server.receive(&[0x16, 3, 1]);
    assert!(matches!(server_event(&mut server), ServerEvent::Failed(ServerLoginError::DirectTls)));
}

#[test]
fn parameters_that_would_break_the_message_are_refused() {
    assert!(matches!(StartupParameters::new("", "shop"), Err(ParameterError::Empty { .. })));
    assert!(matches!(StartupParameters::new("a\0b", "shop"), Err(ParameterError::Nul { .. })));
    assert!(matches!(parameters().with("options", "a\0b"), Err(ParameterError::Nul { .. })));
    assert!(matches!(parameters().with("options", "x".repeat(10_000)), Err(ParameterError::TooLong { .. })));
}

static VERIFIER: LazyLock<ScramVerifier> = LazyLock::new(|| ScramVerifier::new(PASSWORD, [0; 16]));

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let plausible = prop_oneof![
        Just(b"S".to_vec()),
        Just(vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0]),
        Just(vec![b'R', 0, 0, 0, 8, 0, 0, 0, 3]),
        Just(vec![b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4]),
        Just(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()),
        Just(b"p\0\0\0\x21SCRAM-SHA-256\0\0\0\0\x0bn,,n=x,r=ab".to_vec()),
        Just(untyped(SSL_REQUEST, b"")),
        Just(untyped(0x0003_0000, b"user\0jane\0\0")),
        (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| {
            let length = u32::try_from(body.len() + 4).expect("short");
            [&[kind][..], &length.to_be_bytes(), &body].concat()
        }),
        vec(any::<u8>(), 0..60),
    ];
    vec(plausible, 0..12)
}

proptest! {
    #[test]
    fn no_bytes_make_a_client_panic(pieces in pieces(), plain: bool, proving: bool) {
        let transport = if plain { Transport::Plain } else { Transport::NegotiateTls };
        let options = if proving { PROVING } else { LoginOptions::default() };
        let mut client = ClientLogin::with(parameters(), transport, options);
        let mut ends = 0;
        for piece in pieces {
            client.receive(&piece);
            client.poll_transmit();
            while let Some(event) = client.poll_event() {
                match event {
                    ClientEvent::StartTls => client.tls_established(),
                    ClientEvent::PasswordWanted => client.password(PASSWORD),
                    ClientEvent::LoggedIn(_) | ClientEvent::Failed(_) => ends += 1,
                }
            }
        }
        client.closed();
        ends += usize::from(matches!(client.poll_event(), Some(ClientEvent::Failed(_))));
        prop_assert_eq!(ends, 1, "a login ends exactly once");
    }

    #[test]
    fn no_bytes_make_a_server_panic(pieces in pieces(), declines: bool, proves: bool) {
        let mut server = ServerLogin::new(if declines { TlsOffer::Decline } else { TlsOffer::Accept });
        for piece in pieces {
            server.receive(&piece);
            server.poll_transmit();
            while let Some(event) = server.poll_event() {
                match event {
                    ServerEvent::StartTls => server.tls_established(),
                    ServerEvent::Startup(_) if proves => server.ask_scram(&VERIFIER, [0; NONCE_LENGTH]),
                    ServerEvent::Startup(_) => server.ask_password(),
                    ServerEvent::Password(_) => server.accept(&session()),
                    ServerEvent::PasswordProven | ServerEvent::PasswordWrong => prop_assert!(false, "nobody proved it"),
                    ServerEvent::Cancel(_) | ServerEvent::Failed(_) => {}
                }
            }
        }
        server.closed();
    }
}

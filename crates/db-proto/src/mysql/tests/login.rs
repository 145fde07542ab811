use super::*;

/// What a login came to.
#[derive(Debug)]
struct Outcome {
    client: Result<LoggedIn, ClientLoginError>,
    asked: Option<LoginRequest>,
    server: Option<&'static str>,
}

struct Pair {
    client: ClientLogin,
    server: ServerLogin,
    verifier: Option<Verifier>,
    password: Vec<u8>,
    refuse_with: Option<ErrPacket>,
}

impl Pair {
    fn new(greeting: Greeting, options: LoginOptions, tls: bool) -> Self {
        let transport = if tls { Transport::NegotiateTls } else { Transport::Plain };
        Self {
            client: ClientLogin::new(options, transport),
            server: ServerLogin::new(ServerStart { greeting, tls, seed: [7; 32] }),
            verifier: Some(Verifier::of(PASSWORD)),
            password: PASSWORD.to_vec(),
            refuse_with: None,
        }
    }

    fn run(mut self) -> Outcome {
        let mut outcome = Outcome { client: Err(ClientLoginError::TlsMissing), asked: None, server: None };
        for _ in 0..40 {
            while let Some(bytes) = self.server.poll_transmit() {
                bytes.chunks(3).for_each(|piece| self.client.receive(piece));
            }
            match self.client.poll_event() {
                Some(ClientEvent::StartTls) => {
                    self.hand_over();
                    assert!(matches!(self.server.poll_event(), Some(ServerEvent::StartTls(rest)) if rest.is_empty()));
                    self.client.tls_established();
                    self.server.tls_established();
                }
                Some(ClientEvent::PasswordWanted) => self.client.password(&self.password),
                Some(ClientEvent::LoggedIn(session)) => outcome.client = Ok(*session),
                Some(ClientEvent::Failed(error)) => outcome.client = Err(error),
                None => {}
            }
            self.hand_over();
            self.decide(&mut outcome);
        }
        outcome
    }

    fn hand_over(&mut self) {
        while let Some(bytes) = self.client.poll_transmit() {
            bytes.chunks(5).for_each(|piece| self.server.receive(piece));
        }
    }

    fn decide(&mut self, outcome: &mut Outcome) {
        match self.server.poll_event() {
            Some(ServerEvent::Asked(request)) => {
                outcome.asked = Some(*request);
                match self.verifier.clone() {
                    Some(verifier) => self.server.verify(verifier),
                    None => self.server.trust(),
                }
            }
            Some(ServerEvent::Proven) => match &self.refuse_with {
                Some(error) => self.server.refuse(error),
                None => self.server.accept(&ok(status::AUTOCOMMIT)),
            },
            Some(ServerEvent::WrongPassword { given }) => {
                outcome.server = Some(if given { "wrong password" } else { "no password" });
                self.server.refuse(&ErrPacket::new(1045, "28000", "Access denied"));
            }
            Some(ServerEvent::Failed(_)) => outcome.server = Some("failed"),
            Some(ServerEvent::StartTls(_)) => panic!("asked for above"),
            None => {}
        }
    }
}

#[test]
fn a_password_is_proven_by_each_plug_in_that_a_greeting_can_name() {
    for plugin in [AuthPlugin::CachingSha2, AuthPlugin::NativePassword] {
        for tls in [false, true] {
            let outcome = Pair::new(greeting(plugin), options(Credential::Password), tls).run();
            let session = outcome.client.expect("the password is right");
            assert_eq!(session.plugin, plugin);
            assert_eq!(session.status, status::AUTOCOMMIT);
            assert_eq!(session.encrypted, tls);
            assert_eq!(session.greeting.thread_id, 42);
            let asked = outcome.asked.expect("the client said who it is");
            assert_eq!((asked.user.as_str(), asked.database.as_deref()), ("ana", Some("shop")));
            assert_eq!(asked.attributes, [("program_name".to_owned(), "test".to_owned())]);
            assert!(asked.proof.is_empty(), "the proof stays in the machine");
        }
    }
}

#[test]
fn a_token_goes_in_clear_through_tls_and_nowhere_else() {
    let token = vec![b'x'; 2_000];
    let mut pair = Pair::new(greeting(AuthPlugin::CachingSha2), options(Credential::Token), true);
    pair.password.clone_from(&token);
    pair.verifier = Some(Verifier::of(&token));
    let session = pair.run().client.expect("the token is right");
    assert_eq!(session.plugin, AuthPlugin::ClearPassword);

    let mut client = ClientLogin::new(options(Credential::Token), Transport::Plain);
    let mut payload = Vec::new();
    greeting(AuthPlugin::NativePassword).put(&mut payload);
    client.receive(&packet(0, &payload));
    assert!(matches!(client.poll_event(), Some(ClientEvent::PasswordWanted)));
    client.password(&token);
    let sent = client.poll_transmit().expect("the login");
    assert!(!sent.windows(20).any(|part| token.starts_with(part)), "no token without TLS");
    client.receive(&packet(2, b"\xFEmysql_clear_password\0"));
    let Some(ClientEvent::Failed(error)) = client.poll_event() else { panic!("the server asks in clear") };
    assert_eq!(error, ClientLoginError::PasswordInClear);
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn a_wrong_password_and_none_are_told_apart() {
    for (password, wanted) in [(b"wrong".as_slice(), "wrong password"), (b"", "no password")] {
        for plugin in [AuthPlugin::CachingSha2, AuthPlugin::NativePassword] {
            let mut pair = Pair::new(greeting(plugin), options(Credential::Password), false);
            pair.password = password.to_vec();
            let outcome = pair.run();
            assert_eq!(outcome.server, Some(wanted));
            let Err(ClientLoginError::Refused { error, .. }) = outcome.client else { panic!("let in") };
            assert_eq!((error.code, error.sqlstate.as_str()), (1045, "28000"));
        }
    }
}

#[test]
fn whoever_is_trusted_needs_no_password_and_may_give_any() {
    for password in [b"anything".as_slice(), b""] {
        for plugin in [AuthPlugin::CachingSha2, AuthPlugin::NativePassword] {
            let mut pair = Pair::new(greeting(plugin), options(Credential::Password), false);
            pair.verifier = None;
            pair.password = password.to_vec();
            pair.run().client.expect("trusted");
        }
    }
}

#[test]
fn a_refusal_after_the_proof_reaches_the_client_word_for_word() {
    let refusal = ErrPacket::new(1044, "42000", "the grant for shop has ended; request it again");
    let mut pair = Pair::new(greeting(AuthPlugin::CachingSha2), options(Credential::Password), false);
    pair.refuse_with = Some(refusal.clone());
    let outcome = pair.run();
    let plugin = Some(AuthPlugin::CachingSha2);
    assert_eq!(outcome.client.expect_err("refused"), ClientLoginError::Refused { error: refusal, plugin });
}

/// A client's login packet as it is after the greeting of `server`.
fn login_packet(server: &mut ServerLogin, plugin: Option<&str>, make: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let greeted = server.poll_transmit().expect("the greeting");
    let greeting = Greeting::read(greeted.get(4..).expect("a header")).expect("a greeting of ours");
    let named = if plugin.is_some() { Capabilities::PLUGIN_AUTH } else { Capabilities::NONE };
    let request = LoginRequest {
        capabilities: Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::NOT_MARIADB | named,
        user: "ana".to_owned(),
        plugin: plugin.map(str::to_owned),
        proof: make(&greeting.challenge),
        ..LoginRequest::default()
    };
    let mut payload = Vec::new();
    request.put(&mut payload);
    packet(1, &payload)
}

fn asked(server: &mut ServerLogin) {
    assert!(matches!(server.poll_event(), Some(ServerEvent::Asked(_))));
    server.verify(Verifier::of(PASSWORD));
}

#[test]
fn a_client_that_names_ed25519_is_switched_to_it_and_signs() {
    let mut server =
        ServerLogin::new(ServerStart { greeting: greeting(AuthPlugin::NativePassword), tls: false, seed: [1; 32] });
    let login = login_packet(&mut server, Some("client_ed25519"), |_| Vec::new());
    server.receive(&login);
    asked(&mut server);
    let switch = server.poll_transmit().expect("a switch");
    let challenge = switch.get(4..).expect("a header").strip_prefix(b"\xFEclient_ed25519\0").expect("to what it named");
    assert_eq!(challenge.len(), 32);
    server.receive(&packet(3, &AuthPlugin::Ed25519.prove(PASSWORD, challenge)));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Proven)));
    server.accept(&ok(2));
    assert_eq!(server.poll_transmit(), Some(packet(4, &ok(2))));
}

#[test]
fn clients_without_plug_ins_or_with_strange_ones_find_a_way_in() {
    let native = |challenge: &[u8]| AuthPlugin::NativePassword.prove(PASSWORD, challenge);
    let mut server =
        ServerLogin::new(ServerStart { greeting: greeting(AuthPlugin::CachingSha2), tls: false, seed: [1; 32] });
    let login = login_packet(&mut server, None, native);
    server.receive(&login);
    asked(&mut server);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Proven)));

    for plugin in ["dialog", "sha256_password", "mysql_clear_password"] {
        let mut server =
            ServerLogin::new(ServerStart { greeting: greeting(AuthPlugin::CachingSha2), tls: false, seed: [1; 32] });
        let login = login_packet(&mut server, Some(plugin), |_| b"in clear, which is not looked at\0".to_vec());
        server.receive(&login);
        asked(&mut server);
        let switch = server.poll_transmit().expect("a switch");
        let challenge =
            switch.get(4..).expect("a header").strip_prefix(b"\xFEcaching_sha2_password\0").expect("its name");
        let challenge = challenge.strip_suffix(&[0]).expect("a NUL");
        server.receive(&packet(3, &AuthPlugin::CachingSha2.prove(PASSWORD, challenge)));
        assert!(matches!(server.poll_event(), Some(ServerEvent::Proven)), "{plugin}");
    }
}

#[test]
fn a_server_with_a_cold_cache_gets_the_password_in_clear_through_tls() {
    let mut client = ClientLogin::new(options(Credential::Password), Transport::NegotiateTls);
    let mut payload = Vec::new();
    let mut greeting = greeting(AuthPlugin::CachingSha2);
    greeting.capabilities = greeting.capabilities | Capabilities::SSL;
    greeting.put(&mut payload);
    client.receive(&packet(0, &payload));
    assert!(matches!(client.poll_event(), Some(ClientEvent::StartTls)));
    client.tls_established();
    assert!(matches!(client.poll_event(), Some(ClientEvent::PasswordWanted)));
    client.password(PASSWORD);
    client.poll_transmit();
    client.receive(&packet(3, &[1, 4]));
    assert!(matches!(client.poll_event(), Some(ClientEvent::PasswordWanted)));
    client.password(PASSWORD);
    assert_eq!(client.poll_transmit(), Some(packet(4, &[PASSWORD, &[0]].concat())));
    client.receive(&packet(5, &ok(2)));
    assert!(matches!(client.poll_event(), Some(ClientEvent::LoggedIn(_))));
}

#[test]
fn a_server_that_asks_for_ever_is_left() {
    let mut client = ClientLogin::new(options(Credential::Password), Transport::Plain);
    let mut payload = Vec::new();
    greeting(AuthPlugin::NativePassword).put(&mut payload);
    client.receive(&packet(0, &payload));
    for number in 1..100_u8 {
        match client.poll_event() {
            Some(ClientEvent::PasswordWanted) => client.password(PASSWORD),
            Some(ClientEvent::Failed(ClientLoginError::Malformed(_))) => return,
            other => panic!("{other:?}"),
        }
        client.poll_transmit();
        client.receive(&packet(number * 2, b"\xFEmysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0"));
    }
    panic!("it still answers");
}

#[test]
fn refusals_before_and_instead_of_a_greeting_are_understood() {
    let mut client = ClientLogin::new(options(Credential::Token), Transport::NegotiateTls);
    client.receive(&packet(0, b"\xFF\x10\x04Too many connections"));
    let Some(ClientEvent::Failed(ClientLoginError::Refused { error, plugin: None })) = client.poll_event() else {
        panic!("an ERR packet")
    };
    assert_eq!((error.code, error.sqlstate.as_str(), error.message.as_str()), (1040, "HY000", "Too many connections"));

    let mut payload = Vec::new();
    greeting(AuthPlugin::CachingSha2).put(&mut payload);
    let mut client = ClientLogin::new(options(Credential::Token), Transport::NegotiateTls);
    client.receive(&packet(0, &payload));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Failed(ClientLoginError::TlsMissing))));

    let mut client = ClientLogin::new(options(Credential::Token), Transport::NegotiateTls);
    client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(matches!(client.poll_event(), Some(ClientEvent::Failed(ClientLoginError::Malformed(_)))));
}

#[test]
fn a_server_that_lost_a_capability_in_use_is_left_with_its_name() {
    let mut old = greeting(AuthPlugin::NativePassword);
    old.capabilities = old.capabilities.without(Capabilities::DEPRECATE_EOF);
    let mut payload = Vec::new();
    old.put(&mut payload);
    let mut client = ClientLogin::new(options(Credential::Password), Transport::Plain);
    client.receive(&packet(0, &payload));
    let Some(ClientEvent::Failed(ClientLoginError::Changed { missing, .. })) = client.poll_event() else {
        panic!("it cannot be spoken to")
    };
    assert_eq!(missing, Capabilities::DEPRECATE_EOF);
}

#[test]
fn a_session_changes_its_user_on_both_sides() {
    let session = Pair::new(greeting(AuthPlugin::NativePassword), options(Credential::Password), false).run();
    let session = session.client.expect("the password is right");
    let mut client = ClientLogin::change_user(&session, options(Credential::Password));
    let sent = client.poll_transmit().expect("the command");
    let mut server = ServerLogin::change_user(sent.get(4..).expect("a header"), session.capabilities, [3; 32]);
    let Some(ServerEvent::Asked(request)) = server.poll_event() else { panic!("who it is") };
    assert_eq!((request.user.as_str(), request.database.as_deref(), request.collation), ("ana", Some("shop"), 45));
    server.verify(Verifier::of(PASSWORD));
    client.receive(&server.poll_transmit().expect("a switch, as no challenge is used twice"));
    assert!(matches!(client.poll_event(), Some(ClientEvent::PasswordWanted)));
    client.password(PASSWORD);
    server.receive(&client.poll_transmit().expect("a proof"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Proven)));
    server.accept(&ok(2));
    client.receive(&server.poll_transmit().expect("OK"));
    assert!(matches!(client.poll_event(), Some(ClientEvent::LoggedIn(_))));
}

#[test]
fn tls_bytes_sent_along_with_the_request_are_handed_out() {
    let mut server =
        ServerLogin::new(ServerStart { greeting: greeting(AuthPlugin::CachingSha2), tls: true, seed: [1; 32] });
    server.poll_transmit();
    let request = Capabilities::PROTOCOL_41 | Capabilities::SSL | Capabilities::NOT_MARIADB;
    let mut payload = request.lower().to_le_bytes().to_vec();
    payload.resize(32, 0);
    server.receive(&[packet(1, &payload), b"\x16\x03\x01hello".to_vec()].concat());
    let Some(ServerEvent::StartTls(hello)) = server.poll_event() else { panic!("TLS") };
    assert_eq!(hello, Bytes::from_static(b"\x16\x03\x01hello"));
}

#[test]
fn broken_clients_are_told_what_is_wrong() {
    for (bytes, wanted) in [
        (packet(0, &[0; 40]), "packet number 0, where 1 is next"),
        (packet(1, &[0; 40]), "from before MySQL 4.1"),
        (packet(1, &[0xFF; 20]), "a broken login packet"),
        (vec![0xFF, 0xFF, 0xFF, 1], "a packet of 16777215 bytes"),
    ] {
        let mut server =
            ServerLogin::new(ServerStart { greeting: greeting(AuthPlugin::CachingSha2), tls: false, seed: [1; 32] });
        server.poll_transmit();
        server.receive(&bytes);
        let Some(ServerEvent::Failed(error)) = server.poll_event() else { panic!("let in") };
        assert!(error.to_string().contains(wanted), "{error}");
        let told = server.poll_transmit().expect("an ERR packet");
        let told = ErrPacket::read(told.get(4..).expect("a header")).expect("an ERR packet");
        assert!(told.message.contains(wanted), "{told}");
    }
}

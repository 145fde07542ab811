use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.é-]{1,40}"
}

fn greetings() -> impl Strategy<Value = Greeting> {
    (text(), any::<u32>(), vec(1_u8..128, 20), any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>(), text()).prop_map(
        |(version, thread_id, challenge, lower, mariadb, collation, status, plugin)| {
            let capabilities = Capabilities::from_fields(lower, mariadb) | Capabilities::PLUGIN_AUTH;
            Greeting { version, thread_id, challenge, capabilities, collation, status, plugin }
        },
    )
}

fn requests() -> impl Strategy<Value = LoginRequest> {
    let names = (text(), proptest::option::of(text()), proptest::option::of(text()));
    (
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        any::<u8>(),
        names,
        vec(any::<u8>(), 0..250),
        vec((text(), text()), 0..5),
    )
        .prop_map(|(lower, mariadb, longest_packet, collation, (user, database, plugin), proof, attributes)| {
            let has = |flag, wanted| if wanted { flag } else { Capabilities::NONE };
            let fixed = Capabilities::CONNECT_WITH_DB
                | Capabilities::PLUGIN_AUTH
                | Capabilities::CONNECT_ATTRS
                | Capabilities::ZSTD;
            let capabilities = Capabilities::from_fields(lower, mariadb).without(fixed)
                | Capabilities::PROTOCOL_41
                | Capabilities::SECURE_CONNECTION
                | has(Capabilities::CONNECT_WITH_DB, database.is_some())
                | has(Capabilities::PLUGIN_AUTH, plugin.is_some())
                | has(Capabilities::CONNECT_ATTRS, !attributes.is_empty());
            let collation = u16::from(collation);
            LoginRequest { capabilities, longest_packet, collation, user, database, plugin, proof, attributes }
        })
}

proptest! {
    #[test]
    fn greetings_are_read_as_they_were_put(greeting in greetings()) {
        let mut payload = Vec::new();
        greeting.put(&mut payload);
        prop_assert_eq!(Greeting::read(&payload), Ok(greeting));
    }

    #[test]
    fn login_requests_are_read_as_they_were_put(request in requests()) {
        let mut payload = Vec::new();
        request.put(&mut payload);
        prop_assert_eq!(LoginRequest::read(&payload), Ok(request.clone()));
        let mut payload = Vec::new();
        request.put_change_user(&mut payload);
        let read = LoginRequest::read_change_user(&payload, request.capabilities);
        prop_assert_eq!(read, Ok(LoginRequest { longest_packet: 0, ..request }));
    }

    #[test]
    fn errors_are_read_as_they_were_put(code: u16, sqlstate in "[A-Z0-9]{5}", message in ".{0,200}") {
        let error = ErrPacket::new(code, &sqlstate, message);
        prop_assert_eq!(ErrPacket::read(&error.payload()), Ok(error));
    }

    #[test]
    fn no_payload_makes_a_reader_panic(payload in vec(any::<u8>(), 0..300), lower: u32, mariadb: u32) {
        drop(Greeting::read(&payload));
        drop(ErrPacket::read(&payload));
        drop(LoginRequest::read(&payload));
        drop(LoginRequest::read_change_user(&payload, Capabilities::from_fields(lower, mariadb)));
    }

    #[test]
    fn what_is_compressed_comes_out_again(
        commands in vec(vec(vec(prop_oneof![Just(b'a'), any::<u8>()], 0..400), 1..4), 1..5),
        cut in 1..50_usize,
    ) {
        for compression in [Compression::Zlib, Compression::Zstd] {
            let (mut packing, mut unpacking) = (Compressor::new(compression), Decompressor::new(compression));
            let mut wire = Vec::new();
            for command in &commands {
                packing.begin_command();
                command.iter().for_each(|part| packing.compress(part, &mut wire));
            }
            let mut plain = Vec::new();
            for piece in wire.chunks(cut) {
                unpacking.push(piece);
                while let Some(part) = unpacking.take().expect("of our own") {
                    plain.extend_from_slice(&part);
                }
            }
            prop_assert_eq!(plain, commands.concat().concat());
        }
    }

    #[test]
    fn broken_compressed_packets_are_errors(bytes in vec(any::<u8>(), 7..300)) {
        let length = u8::try_from(bytes.len() - 7).unwrap_or(u8::MAX);
        for compression in [Compression::Zlib, Compression::Zstd] {
            let mut unpacking = Decompressor::new(compression);
            unpacking.push(&[length, 0, 0, 0, 9, 0, 0]);
            unpacking.push(&bytes);
            unpacking.take().expect_err("random bytes are nothing that was compressed");
        }
    }
}

proptest! {
    // Signatures take long without optimisation.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn each_plug_in_accepts_its_own_proofs_and_no_others(password in vec(1_u8.., 1..60), challenge in vec(1_u8..128, 20)) {
        let verifier = Verifier::of(&password);
        for plugin in [AuthPlugin::CachingSha2, AuthPlugin::ClearPassword, AuthPlugin::Ed25519, AuthPlugin::NativePassword] {
            let proof = plugin.prove(&password, &challenge);
            prop_assert!(verifier.accepts(plugin, &challenge, &proof));
            prop_assert!(!Verifier::of(b"another").accepts(plugin, &challenge, &proof));
            prop_assert!(!verifier.accepts(plugin, &challenge, &proof[1..]));
            if plugin != AuthPlugin::ClearPassword {
                prop_assert!(!verifier.accepts(plugin, b"another challenge of", &proof));
            }
        }
    }
}

/// Proofs that servers have accepted, so that two mistakes do not make a pair.
#[test]
fn proofs_are_those_of_other_programs() {
    // PyMySQL 1.1, `_auth.py`: scramble_native_password, scramble_caching_sha2, ed25519_password.
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let challenge = b"ABCDEFGHIJKLMNOPQRST";
    assert_eq!(hex(AuthPlugin::NativePassword.prove(b"secret", challenge)), "28441590674285e7d03cae7af237504797f70e91");
    assert_eq!(
        hex(AuthPlugin::CachingSha2.prove(b"secret", challenge)),
        "d721e183c1f036a196c1389201b8d53f38064a16f1d0923683ab886763152d75"
    );
    assert_eq!(
        hex(AuthPlugin::Ed25519.prove(b"secret", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345")),
        "1961f2f49a2d3b788f2c904f6369817b94500f34eff666c210a8d1dbfc481696ba8dde6c123d318a3956be11afda97c4d9556eb2c61bdf925e649e990376a009"
    );
}

#[test]
fn a_payload_of_exactly_16_mebibytes_is_closed_by_an_empty_packet() {
    let bytes = packet(3, &vec![0; 0xFF_FFFF]);
    assert_eq!(bytes.len(), 4 + 0xFF_FFFF + 4);
    assert_eq!(bytes.get(bytes.len() - 4..), Some([0, 0, 0, 4].as_slice()));
}

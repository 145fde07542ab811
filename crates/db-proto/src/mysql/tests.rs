//! Both machines against each other, and a session walked packet by packet.

mod command_phase;
mod login;
mod packets;

use bytes::Bytes;

use super::*;

const PASSWORD: &[u8] = b"correct horse battery staple";

/// Of a MySQL server.
fn capabilities() -> Capabilities {
    Capabilities::from_fields(Capabilities::PASSED_ON.lower(), 0)
}

fn greeting(plugin: AuthPlugin) -> Greeting {
    Greeting {
        version: "8.0.40".to_owned(),
        thread_id: 42,
        challenge: b"abcdefghijklmnopqrst".to_vec(),
        capabilities: capabilities(),
        collation: 255,
        status: status::AUTOCOMMIT,
        plugin: plugin.name().to_owned(),
    }
}

fn options(credential: Credential) -> LoginOptions {
    LoginOptions {
        user: "ana".to_owned(),
        database: Some("shop".to_owned()),
        capabilities: capabilities(),
        longest_packet: 1 << 24,
        collation: 45,
        attributes: vec![("program_name".to_owned(), "test".to_owned())],
        credential,
        compression: false,
    }
}

/// An OK packet with this status.
fn ok(status: u16) -> Vec<u8> {
    [&[0, 0, 0], status.to_le_bytes().as_slice(), &[0, 0]].concat()
}

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, number, payload);
    out
}

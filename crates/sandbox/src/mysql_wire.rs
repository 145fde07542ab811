//! MySQL's packets up to the end of the login, as far as both ends of the sandbox need them.
//!
//! Source: "MySQL Client/Server Protocol" (connection phase) and MariaDB's "Connecting" page.

use std::io;

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNECT_WITH_DB: u32 = 0x8;
const PROTOCOL_41: u32 = 0x200;
pub(crate) const SSL: u32 = 0x800;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;
const PLUGIN_AUTH_LENENC: u32 = 0x20_0000;

/// First bytes of what a server says in a login.
pub(crate) const OK: u8 = 0;
pub(crate) const MORE_DATA: u8 = 1;
pub(crate) const AUTH_SWITCH: u8 = 0xfe;
pub(crate) const ERR: u8 = 0xff;

pub(crate) const NATIVE_PASSWORD: &str = "mysql_native_password";

/// A stream of packets. It reads nothing beyond the packet asked for, so that the stream can go on as TLS or be spliced.
pub(crate) struct Packets<S> {
    pub(crate) stream: S,
    sequence: u8,
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Packets<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, sequence: 0 }
    }

    /// The same conversation over another stream: `change` makes it encrypted.
    pub(crate) async fn over<T>(self, change: impl AsyncFnOnce(S) -> io::Result<T>) -> io::Result<Packets<T>> {
        Ok(Packets { stream: change(self.stream).await?, sequence: self.sequence })
    }

    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        const LONGEST: u32 = 1 << 20;
        let [a, b, c, sequence] = self.stream.read_u32_le().await?.to_le_bytes();
        let length = u32::from_le_bytes([a, b, c, 0]);
        if length > LONGEST {
            return Err(io::Error::other("a packet too long for a login"));
        }
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.stream.read_exact(&mut payload).await?;
        Ok(payload)
    }

    /// As the next packet after the one read or written last.
    pub(crate) async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let [a, b, c, _] = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
        self.stream.write_all(&[&[a, b, c, self.sequence][..], payload].concat()).await?;
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.flush().await
    }

    /// As the first packet of a command.
    pub(crate) async fn write_command(&mut self, payload: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.write(payload).await
    }
}

/// A server's first packet.
pub(crate) struct Greeting {
    payload: Vec<u8>,
    capabilities_at: usize,
}

impl Greeting {
    /// None when this is no greeting of protocol 10, for instance an error.
    pub(crate) fn read(payload: Vec<u8>) -> Option<Self> {
        let version = payload.strip_prefix(&[10])?.iter().position(|byte| *byte == 0)?;
        let capabilities_at = 1 + version + 1 + 4 + 8 + 1;
        (payload.len() >= capabilities_at + 18 + 13).then_some(Self { payload, capabilities_at })
    }

    /// The 20 bytes that passwords are scrambled with.
    pub(crate) fn nonce(&self) -> [u8; 20] {
        let bytes = |at: usize, count: usize| self.payload.get(at..at + count).unwrap_or_default();
        let both = [bytes(self.capabilities_at - 9, 8), bytes(self.capabilities_at + 18, 12)].concat();
        both.try_into().unwrap_or_default()
    }

    /// The greeting of the same server with TLS in front of it, which prefers `plugin`.
    pub(crate) fn with_tls(&self, plugin: Option<&str>) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if let Some(byte) = payload.get_mut(self.capabilities_at + 1) {
            *byte |= SSL.to_le_bytes()[1];
        }
        if let Some(plugin) = plugin {
            payload.truncate(self.capabilities_at + 18 + 13);
            payload.extend_from_slice(plugin.as_bytes());
            payload.push(0);
        }
        payload
    }
}

/// A client's answer to the greeting (HandshakeResponse41).
pub(crate) struct Response {
    /// Capabilities, packet size, character set and what is reserved.
    head: [u8; 32],
    pub(crate) user: Vec<u8>,
    pub(crate) answer: Vec<u8>,
    database: Vec<u8>,
    pub(crate) plugin: Vec<u8>,
    /// Connection attributes and compression level.
    rest: Vec<u8>,
}

impl Response {
    /// A login of our own.
    pub(crate) fn new(user: &str) -> Self {
        const UTF8MB4: u8 = 45;
        let mut head = [0; 32];
        let capabilities = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
        head[..4].copy_from_slice(&capabilities.to_le_bytes());
        head[4..8].copy_from_slice(&(1_u32 << 24).to_le_bytes());
        head[8] = UTF8MB4;
        let user = user.as_bytes().to_vec();
        Self { head, user, answer: Vec::new(), database: Vec::new(), plugin: Vec::new(), rest: Vec::new() }
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (head, mut left) = payload.split_first_chunk::<32>()?;
        let capabilities = u32::from_le_bytes(*head.first_chunk()?);
        let user = c_string(&mut left)?;
        let answer = if capabilities & PLUGIN_AUTH_LENENC != 0 {
            let length = length_encoded(&mut left)?;
            taken(&mut left, length)?
        } else if capabilities & SECURE_CONNECTION != 0 {
            let length = taken(&mut left, 1)?;
            taken(&mut left, usize::from(*length.first()?))?
        } else {
            c_string(&mut left)?
        };
        let database = if capabilities & CONNECT_WITH_DB == 0 { Vec::new() } else { c_string(&mut left)? };
        let plugin = if capabilities & PLUGIN_AUTH == 0 { Vec::new() } else { c_string(&mut left)? };
        Some(Self { head: *head, user, answer, database, plugin, rest: left.to_vec() })
    }

    fn capabilities(&self) -> u32 {
        u32::from_le_bytes([self.head[0], self.head[1], self.head[2], self.head[3]])
    }

    /// The same login with another proof, over a stream that is not encrypted.
    pub(crate) fn answering(&self, answer: &[u8], plugin: &str) -> Vec<u8> {
        let capabilities = (self.capabilities() & !SSL & !PLUGIN_AUTH_LENENC) | PLUGIN_AUTH | SECURE_CONNECTION;
        let mut out = [&capabilities.to_le_bytes()[..], &self.head[4..], &self.user, &[0]].concat();
        out.push(u8::try_from(answer.len()).unwrap_or(0));
        out.extend_from_slice(answer);
        if capabilities & CONNECT_WITH_DB != 0 {
            out.extend_from_slice(&self.database);
            out.push(0);
        }
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.rest);
        out
    }
}

/// Whether a client's first packet asks for TLS.
pub(crate) fn asks_for_tls(payload: &[u8]) -> bool {
    payload.len() == 32 && payload.first_chunk().is_some_and(|bytes| u32::from_le_bytes(*bytes) & SSL != 0)
}

/// An ERR packet.
pub(crate) fn error(code: u16, sqlstate: &str, message: &str) -> Vec<u8> {
    [&[ERR][..], &code.to_le_bytes(), b"#", sqlstate.as_bytes(), message.as_bytes()].concat()
}

/// Code and message of an ERR packet.
pub(crate) fn read_error(payload: &[u8]) -> (u16, String) {
    let code = payload.get(1..3).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes));
    let message = payload.get(3..).unwrap_or_default();
    let message = if message.starts_with(b"#") { message.get(6..).unwrap_or_default() } else { message };
    (code, String::from_utf8_lossy(message).into_owned())
}

/// An AuthSwitchRequest.
pub(crate) fn auth_switch(plugin: &str, data: &[u8]) -> Vec<u8> {
    [&[AUTH_SWITCH][..], plugin.as_bytes(), &[0], data].concat()
}

/// The proof of `mysql_native_password`.
pub(crate) fn native_proof(password: &str, nonce: &[u8]) -> Vec<u8> {
    let sha1 = |parts: &[&[u8]]| {
        let mut context = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    };
    let once = sha1(&[password.as_bytes()]);
    let twice = sha1(&[once.as_ref()]);
    let mask = sha1(&[nonce, twice.as_ref()]);
    once.as_ref().iter().zip(mask.as_ref()).map(|(byte, mask)| byte ^ mask).collect()
}

fn c_string(left: &mut &[u8]) -> Option<Vec<u8>> {
    let end = left.iter().position(|byte| *byte == 0)?;
    let text = taken(left, end)?;
    taken(left, 1)?;
    Some(text)
}

fn taken(left: &mut &[u8], count: usize) -> Option<Vec<u8>> {
    let (first, rest) = left.split_at_checked(count)?;
    *left = rest;
    Some(first.to_vec())
}

fn length_encoded(left: &mut &[u8]) -> Option<usize> {
    let width = match *taken(left, 1)?.first()? {
        short @ 0..=250 => return Some(short.into()),
        0xfc => 2,
        0xfd => 3,
        _ => return None,
    };
    let bytes = taken(left, width)?;
    Some(bytes.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

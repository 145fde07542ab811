//! The server's first packet.

use bytes::BufMut;

use super::capabilities::Capabilities;
use super::packet::{Fields, Malformed, put_c_string};

const PROTOCOL: u8 = 10;
const CHALLENGE: usize = 20;
const CHALLENGE_HEAD: usize = 8;

/// `HandshakeV10`: who the server is, and the challenge that a proof answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// As `8.0.40` or `5.5.5-10.11.19-MariaDB`.
    pub version: String,
    /// What `KILL` names.
    pub thread_id: u32,
    /// 20 bytes without NUL.
    pub challenge: Vec<u8>,
    /// What the server understands.
    pub capabilities: Capabilities,
    /// Low byte of the default collation's id.
    pub collation: u8,
    /// See [`super::status`].
    pub status: u16,
    /// The plug-in that the challenge is for; empty where plug-ins are not named.
    pub plugin: String,
}

impl Greeting {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed::OutOfTurn`] when it is another packet or protocol, [`Malformed::Body`].
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        if payload.first() != Some(&PROTOCOL) {
            return Err(Malformed::OutOfTurn { first: payload.first().copied().unwrap_or_default() });
        }
        Self::fields(payload).ok_or(Malformed::Body { packet: "greeting" })
    }

    fn fields(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(payload);
        fields.u8()?;
        let version = String::from_utf8_lossy(fields.c_string()?).into_owned();
        let thread_id = fields.u32()?;
        let mut challenge = fields.bytes(CHALLENGE_HEAD)?.to_vec();
        fields.u8()?;
        let low = fields.u16()?;
        let collation = fields.u8()?;
        let status = fields.u16()?;
        let high = fields.u16()?;
        let challenge_length = usize::from(fields.u8()?);
        fields.bytes(6)?;
        let mariadb = fields.u32()?;
        let capabilities = Capabilities::from_fields(u32::from(low) | u32::from(high) << 16, mariadb);
        // The rest of the challenge and its NUL.
        challenge.extend(fields.bytes(challenge_length.saturating_sub(CHALLENGE_HEAD).max(13))?);
        challenge.truncate(challenge_length.saturating_sub(1).max(CHALLENGE));
        let named = capabilities.contains(Capabilities::PLUGIN_AUTH);
        let plugin = if named { fields.last_c_string() } else { &[] };
        let plugin = String::from_utf8_lossy(plugin).into_owned();
        Some(Self { version, thread_id, challenge, capabilities, collation, status, plugin })
    }

    /// Appends the payload.
    pub fn put(&self, out: &mut Vec<u8>) {
        let lower = self.capabilities.lower().to_le_bytes();
        out.put_u8(PROTOCOL);
        put_c_string(out, self.version.as_bytes());
        out.put_u32_le(self.thread_id);
        let (head, tail) = self.challenge.split_at(self.challenge.len().min(CHALLENGE_HEAD));
        out.put_slice(head);
        out.put_u8(0);
        out.put_slice(&[lower[0], lower[1], self.collation]);
        out.put_u16_le(self.status);
        out.put_slice(&[lower[2], lower[3]]);
        out.put_u8(u8::try_from(self.challenge.len() + 1).unwrap_or(u8::MAX));
        out.put_bytes(0, 6);
        out.put_u32_le(self.capabilities.mariadb());
        put_c_string(out, tail);
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            put_c_string(out, self.plugin.as_bytes());
        }
    }
}

//! What a client says of itself: `SSLRequest`, `HandshakeResponse41` and the fields of `COM_CHANGE_USER`.

use std::fmt;

use bytes::BufMut;

use super::capabilities::Capabilities;
use super::packet::{Fields, Malformed, put_c_string, put_counted};

const SSL_REQUEST_LENGTH: usize = 32;
const COM_CHANGE_USER: u8 = 0x11;
/// Level that is named with zstd; 1 to 22, 3 is what MySQL's own clients name.
const ZSTD_LEVEL: u8 = 3;

/// Names and values, in order.
type Attributes = Vec<(String, String)>;

/// Who logs in, to what, and with which proof. `Debug` does not show the proof.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LoginRequest {
    /// What the client understands and uses.
    pub capabilities: Capabilities,
    /// Longest packet it takes, in bytes.
    pub longest_packet: u32,
    /// Id of the connection's collation; its low byte in a login, all of it in `COM_CHANGE_USER`.
    pub collation: u16,
    /// As named by the client.
    pub user: String,
    /// `None` or a name that is not empty.
    pub database: Option<String>,
    /// The plug-in that the proof is made by; `None` where the client names none.
    pub plugin: Option<String>,
    /// The proof itself.
    pub proof: Vec<u8>,
    /// Connection attributes in order.
    pub attributes: Vec<(String, String)>,
}

impl LoginRequest {
    /// The capabilities in an `SSLRequest`, if the payload is one.
    pub(super) fn read_ssl_request(payload: &[u8]) -> Option<Capabilities> {
        let capabilities = read_capabilities(&mut Fields::of(payload))?.0;
        (payload.len() == SSL_REQUEST_LENGTH && capabilities.contains(Capabilities::SSL)).then_some(capabilities)
    }

    /// Reads a `HandshakeResponse41`.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        Self::response_fields(payload).ok_or(Malformed::Body { packet: "login" })
    }

    /// Reads a whole `COM_CHANGE_USER` from a client that logged in with `capabilities`.
    pub(super) fn read_change_user(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        Self::change_user_fields(payload, capabilities).ok_or(Malformed::Body { packet: "COM_CHANGE_USER" })
    }

    fn response_fields(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(payload);
        let (capabilities, longest_packet, collation) = read_capabilities(&mut fields)?;
        let user = text(fields.c_string()?)?;
        let proof = if capabilities.contains(Capabilities::LONG_PROOF) {
            fields.counted()?
        } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let length = usize::from(fields.u8()?);
            fields.bytes(length)?
        } else {
            fields.c_string()?
        };
        let named = capabilities.contains(Capabilities::CONNECT_WITH_DB) && !fields.is_empty();
        let database = if named { Some(text(fields.last_c_string())?).filter(|name| !name.is_empty()) } else { None };
        let (plugin, attributes) = read_tail(&mut fields, capabilities)?;
        let proof = proof.to_vec();
        Some(Self {
            capabilities,
            longest_packet,
            collation: u16::from(collation),
            user,
            database,
            plugin,
            proof,
            attributes,
        })
    }

    fn change_user_fields(payload: &[u8], capabilities: Capabilities) -> Option<Self> {
        let mut fields = Fields::of(payload);
        fields.u8().filter(|command| *command == COM_CHANGE_USER)?;
        let user = text(fields.c_string()?)?;
        let length = usize::from(fields.u8()?);
        let proof = fields.bytes(length)?.to_vec();
        let database = Some(text(fields.last_c_string())?).filter(|name| !name.is_empty());
        let collation = if fields.is_empty() { 0 } else { fields.u16()? };
        let (plugin, attributes) = read_tail(&mut fields, capabilities)?;
        Some(Self { capabilities, longest_packet: 0, collation, user, database, plugin, proof, attributes })
    }

    /// Appends the payload of an `SSLRequest`.
    pub(super) fn put_ssl_request(&self, out: &mut Vec<u8>) {
        self.put_capabilities(out);
    }

    /// Appends the payload of a `HandshakeResponse41`.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.put_capabilities(out);
        put_c_string(out, self.user.as_bytes());
        if self.capabilities.contains(Capabilities::LONG_PROOF) {
            put_counted(out, &self.proof);
        } else {
            self.put_short_proof(out);
        }
        if self.capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            put_c_string(out, self.database.as_deref().unwrap_or_default().as_bytes());
        }
        self.put_tail(out);
        if self.capabilities.contains(Capabilities::ZSTD) {
            out.put_u8(ZSTD_LEVEL);
        }
    }

    /// Appends the payload of a `COM_CHANGE_USER`.
    pub(super) fn put_change_user(&self, out: &mut Vec<u8>) {
        out.put_u8(COM_CHANGE_USER);
        put_c_string(out, self.user.as_bytes());
        self.put_short_proof(out);
        put_c_string(out, self.database.as_deref().unwrap_or_default().as_bytes());
        out.put_u16_le(self.collation);
        self.put_tail(out);
    }

    fn put_short_proof(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::try_from(self.proof.len()).expect("whoever makes a longer proof waits for the server to ask"));
        out.put_slice(&self.proof);
    }

    fn put_capabilities(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.capabilities.lower());
        out.put_u32_le(self.longest_packet);
        out.put_u8(self.collation.to_le_bytes()[0]);
        out.put_bytes(0, 19);
        out.put_u32_le(self.capabilities.mariadb());
    }

    fn put_tail(&self, out: &mut Vec<u8>) {
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            put_c_string(out, self.plugin.as_deref().unwrap_or_default().as_bytes());
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            let mut pairs = Vec::new();
            for (name, value) in &self.attributes {
                put_counted(&mut pairs, name.as_bytes());
                put_counted(&mut pairs, value.as_bytes());
            }
            put_counted(out, &pairs);
        }
    }
}

fn read_capabilities(fields: &mut Fields<'_>) -> Option<(Capabilities, u32, u8)> {
    let lower = fields.u32()?;
    let longest_packet = fields.u32()?;
    let collation = fields.u8()?;
    fields.bytes(19)?;
    let mariadb = fields.u32()?;
    Some((Capabilities::from_fields(lower, mariadb), longest_packet, collation))
}

/// Plug-in and attributes. Both may be cut off: servers take that too.
fn read_tail(fields: &mut Fields<'_>, capabilities: Capabilities) -> Option<(Option<String>, Attributes)> {
    let mut plugin = None;
    if capabilities.contains(Capabilities::PLUGIN_AUTH) && !fields.is_empty() {
        plugin = Some(text(fields.last_c_string())?).filter(|name| !name.is_empty());
    }
    let mut attributes = Vec::new();
    if capabilities.contains(Capabilities::CONNECT_ATTRS) && !fields.is_empty() {
        let mut pairs = Fields::of(fields.counted()?);
        while !pairs.is_empty() {
            attributes.push((text(pairs.counted()?)?, text(pairs.counted()?)?));
        }
    }
    Some((plugin, attributes))
}

fn text(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("plugin", &self.plugin)
            .field("capabilities", &self.capabilities)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

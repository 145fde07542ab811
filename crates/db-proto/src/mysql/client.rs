//! The client's side of a login.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::capabilities::Capabilities;
use super::compression::Compression;
use super::err_packet::{ERR, ErrPacket};
use super::greeting::Greeting;
use super::login_request::LoginRequest;
use super::ok_packet::{END, OK, ok_status};
use super::packet::{Fields, Malformed, PacketReader, put_packet};
use super::proof::{AuthPlugin, in_clear};

/// How often a server may ask for the password in one login. Honest ones ask three times at most: at first, after a switch of
/// plug-ins, and in full where their cache is cold.
const MOST_PROOFS: u8 = 4;
const MORE_DATA: u8 = 0x01;
const FAST_AUTH_DONE: u8 = 3;
const FULL_AUTH_WANTED: u8 = 4;
/// Proof that fits where proofs are counted by one byte.
const LONGEST_SHORT_PROOF: usize = 250;

/// Logs in to a server: `receive` what it sends, send what `poll_transmit` gives, do what `poll_event` says.
///
/// Keeps no password: it is handed over whenever the server wants it and leaves, as a proof, with the next
/// [`ClientLogin::poll_transmit`].
pub struct ClientLogin {
    options: LoginOptions,
    transport: Transport,
    encrypted: bool,
    phase: Phase,
    inbox: PacketReader,
    outbox: Vec<u8>,
    events: VecDeque<ClientEvent>,
    greeting: Option<Greeting>,
    capabilities: Capabilities,
    plugin: AuthPlugin,
    challenge: Bytes,
    proofs: u8,
}

/// Who logs in, and what is asked for.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// At most 32 characters on MySQL, 80 on MariaDB.
    pub user: String,
    /// To begin in; `None` for none.
    pub database: Option<String>,
    /// What the other end of the Connection uses. [`Capabilities::FORMAT`] flags among them have to be the server's too.
    pub capabilities: Capabilities,
    /// Longest packet that is taken, in bytes.
    pub longest_packet: u32,
    /// Id of the connection's collation.
    pub collation: u16,
    /// Connection attributes in order; a server may cut them at 65,535 bytes.
    pub attributes: Vec<(String, String)>,
    /// What [`ClientLogin::password`] will be given.
    pub credential: Credential,
    /// Whether packets after the login are to be compressed where the server can do it.
    pub compression: bool,
}

/// Kinds of password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The server is expected to know the password itself.
    Password,
    /// The server asks someone else: RDS checks IAM tokens, which it takes in clear over TLS.
    Token,
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A plain byte stream on which TLS is asked for first; a server that has none is left.
    NegotiateTls,
    /// A stream that needs no encryption (a Unix socket of this machine). A password in clear is never given over it.
    Plain,
}

/// What the caller does next.
#[derive(Debug)]
pub enum ClientEvent {
    /// Send, do the TLS handshake (and verify whom it is with), then call [`ClientLogin::tls_established`].
    StartTls,
    /// Call [`ClientLogin::password`]; may come several times in one login.
    PasswordWanted,
    /// Logged in; the machine is done.
    LoggedIn(Box<LoggedIn>),
    /// Not logged in; the machine is done.
    Failed(ClientLoginError),
}

/// What is known of a fresh session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// As the server said at first.
    pub greeting: Greeting,
    /// What both sides use.
    pub capabilities: Capabilities,
    /// By which the password was proven at last.
    pub plugin: AuthPlugin,
    /// Whether the login went through TLS.
    pub encrypted: bool,
    /// How all later packets are compressed.
    pub compression: Option<Compression>,
    /// Payload of the OK packet.
    pub ok: Bytes,
    /// Its status, see [`super::status`].
    pub status: u16,
    /// Bytes that arrived behind it.
    pub unread: Bytes,
}

/// Why a login did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientLoginError {
    /// The greeting offers no TLS.
    #[error("the server offers no TLS; check that host and port are the database's own")]
    TlsMissing,
    /// Bytes in clear where the TLS handshake belongs: someone between may have put them there.
    #[error("unencrypted bytes arrived where TLS begins; the connection is being tampered with or is no MySQL")]
    BytesBeforeTls,
    /// The server asks for a password in clear outside TLS.
    #[error("the server asks for a password in clear on an unencrypted connection; it is not given")]
    PasswordInClear,
    /// The server wants a proof that is not known here.
    #[error(
        "the server asks for the plug-in `{name}`; create the user with one of AWSAuthenticationPlugin, caching_sha2_password, mysql_native_password or ed25519"
    )]
    UnknownPlugin {
        /// As named by the server.
        name: String,
    },
    /// The server's capabilities are not what was learned of it.
    #[error("the server does not have what it had when the gateway opened ({missing:?}); connect again")]
    Changed {
        /// In use on the other side of the Connection.
        missing: Capabilities,
        /// What it says now.
        greeting: Box<Greeting>,
    },
    /// The server said no.
    #[error("{error}")]
    Refused {
        /// In its words.
        error: ErrPacket,
        /// By which it had the password proven at last. For a token anything but [`AuthPlugin::ClearPassword`] means that
        /// the user is none of AWSAuthenticationPlugin, or does not exist.
        plugin: Option<AuthPlugin>,
    },
    /// The server does not speak the protocol.
    #[error("{0} from the server; is this a MySQL or MariaDB server?")]
    Malformed(#[from] Malformed),
    /// The stream ended.
    #[error("the server closed the connection {stage}")]
    Closed {
        /// When, in words: "before it greeted".
        stage: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    TlsHandshake,
    PasswordWanted(Wanted),
    Proving,
    Done,
}

/// What the password is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Login,
    Challenge,
    Clear,
}

impl ClientLogin {
    /// Begins a login; the server speaks first.
    pub fn new(options: LoginOptions, transport: Transport) -> Self {
        Self {
            options,
            transport,
            encrypted: false,
            phase: Phase::Greeting,
            inbox: PacketReader::new(0, false),
            outbox: Vec::new(),
            events: VecDeque::new(),
            greeting: None,
            capabilities: Capabilities::NONE,
            plugin: AuthPlugin::NativePassword,
            challenge: Bytes::new(),
            proofs: 0,
        }
    }

    /// Logs in anew inside a session that no command runs in (`COM_CHANGE_USER`): its state is reset, its thread id stays. The
    /// bytes of both directions are what is inside the compressed packets, where the session has them.
    pub fn change_user(session: &LoggedIn, options: LoginOptions) -> Self {
        let mut login = Self::new(options, Transport::Plain);
        login.encrypted = session.encrypted;
        login.capabilities = session.capabilities;
        login.greeting = Some(session.greeting.clone());
        login.inbox = PacketReader::new(1, session.compression.is_some());
        // Naming another plug-in makes the server ask, with a fresh challenge: a token is too long for this packet, and which
        // challenge an unasked proof answers differs between servers.
        let in_clear = session.plugin == AuthPlugin::ClearPassword;
        let other = if in_clear { AuthPlugin::NativePassword } else { AuthPlugin::ClearPassword };
        let mut payload = Vec::new();
        login.request(other, Vec::new()).put_change_user(&mut payload);
        put_packet(&mut login.outbox, 0, &payload);
        login.plugin = other;
        login.phase = Phase::Proving;
        login
    }

    /// Takes bytes from the server, in any pieces.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Done {
            return;
        }
        self.inbox.push(bytes);
        if let Err(error) = self.read() {
            self.fail(error);
        }
    }

    /// The server's stream ended.
    pub fn closed(&mut self) {
        let stage = match self.phase {
            Phase::Greeting => "before it greeted",
            Phase::TlsHandshake => "before the TLS handshake",
            Phase::PasswordWanted(_) => "while it waited for the password",
            Phase::Proving => "while it checked the password",
            Phase::Done => return,
        };
        self.fail(ClientLoginError::Closed { stage });
    }

    /// Bytes to send to the server, all of them in order, before anything else is done.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.outbox.is_empty()).then(|| std::mem::take(&mut self.outbox))
    }

    /// What to do next.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// What the server said at first, once it has.
    pub fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_ref()
    }

    /// The TLS handshake asked for by [`ClientEvent::StartTls`] is done and the server's name verified.
    pub fn tls_established(&mut self) {
        if self.phase == Phase::TlsHandshake {
            self.encrypted = true;
            self.want_password(Wanted::Login);
        }
    }

    /// Answers [`ClientEvent::PasswordWanted`]. A NUL ends a password in clear, as the protocol has no way to carry one.
    pub fn password(&mut self, password: &[u8]) {
        let Phase::PasswordWanted(wanted) = self.phase else { return };
        match wanted {
            Wanted::Login => self.send_login(password),
            Wanted::Challenge => {
                let proof = self.plugin.prove(password, &self.challenge);
                self.inbox.reply(&mut self.outbox, &proof);
            }
            Wanted::Clear => self.inbox.reply(&mut self.outbox, &in_clear(password)),
        }
        self.phase = Phase::Proving;
    }

    fn send_login(&mut self, password: &[u8]) {
        let (plugin, proof) = match self.options.credential {
            Credential::Token if self.encrypted && self.fits(password) => {
                (AuthPlugin::ClearPassword, in_clear(password))
            }
            // Without a proof the server asks for one.
            Credential::Token => (AuthPlugin::NativePassword, Vec::new()),
            Credential::Password => (self.plugin, self.plugin.prove(password, &self.challenge)),
        };
        self.plugin = plugin;
        let mut payload = Vec::new();
        self.request(plugin, proof).put(&mut payload);
        self.inbox.reply(&mut self.outbox, &payload);
    }

    fn fits(&self, token: &[u8]) -> bool {
        self.capabilities.contains(Capabilities::LONG_PROOF) || token.len() < LONGEST_SHORT_PROOF
    }

    fn request(&self, plugin: AuthPlugin, proof: Vec<u8>) -> LoginRequest {
        LoginRequest {
            capabilities: self.capabilities,
            longest_packet: self.options.longest_packet,
            collation: self.options.collation,
            user: self.options.user.clone(),
            database: self.options.database.clone(),
            plugin: Some(plugin.name().to_owned()),
            proof,
            attributes: self.options.attributes.clone(),
        }
    }

    fn want_password(&mut self, wanted: Wanted) {
        self.proofs += 1;
        self.phase = Phase::PasswordWanted(wanted);
        self.events.push_back(ClientEvent::PasswordWanted);
    }

    fn fail(&mut self, error: ClientLoginError) {
        self.phase = Phase::Done;
        self.outbox.clear();
        self.inbox.take_rest();
        self.events.push_back(ClientEvent::Failed(error));
    }

    fn read(&mut self) -> Result<(), ClientLoginError> {
        while matches!(self.phase, Phase::Greeting | Phase::Proving) {
            let Some(packet) = self.inbox.take()? else { return Ok(()) };
            if self.phase == Phase::Greeting {
                self.read_greeting(&packet)?;
            } else {
                self.read_answer(&packet)?;
            }
        }
        if self.phase == Phase::TlsHandshake && !self.inbox.is_empty() {
            return Err(ClientLoginError::BytesBeforeTls);
        }
        Ok(())
    }

    fn read_greeting(&mut self, packet: &Bytes) -> Result<(), ClientLoginError> {
        if packet.first() == Some(&ERR) {
            return Err(ClientLoginError::Refused { error: ErrPacket::read(packet)?, plugin: None });
        }
        let greeting = Greeting::read(packet)?;
        self.challenge = Bytes::from(greeting.challenge.clone());
        if greeting.plugin == AuthPlugin::CachingSha2.name() {
            self.plugin = AuthPlugin::CachingSha2;
        }
        self.capabilities = self.agree(&greeting)?;
        self.greeting = Some(greeting);
        match self.transport {
            Transport::NegotiateTls => {
                let mut payload = Vec::new();
                self.request(self.plugin, Vec::new()).put_ssl_request(&mut payload);
                self.inbox.reply(&mut self.outbox, &payload);
                self.phase = Phase::TlsHandshake;
                self.events.push_back(ClientEvent::StartTls);
            }
            Transport::Plain => self.want_password(Wanted::Login),
        }
        Ok(())
    }

    /// What both sides have of what the other end uses, and what a login of ours needs.
    fn agree(&self, greeting: &Greeting) -> Result<Capabilities, ClientLoginError> {
        let theirs = greeting.capabilities;
        let needed = self.options.capabilities & Capabilities::FORMAT | Capabilities::PROTOCOL_41;
        if !theirs.contains(needed) {
            let missing = needed.without(theirs);
            return Err(ClientLoginError::Changed { missing, greeting: Box::new(greeting.clone()) });
        }
        if self.transport == Transport::NegotiateTls && !theirs.contains(Capabilities::SSL) {
            return Err(ClientLoginError::TlsMissing);
        }
        let tls = if self.transport == Transport::NegotiateTls { Capabilities::SSL } else { Capabilities::NONE };
        let database = if self.options.database.is_some() { Capabilities::CONNECT_WITH_DB } else { Capabilities::NONE };
        let attributes =
            if self.options.attributes.is_empty() { Capabilities::NONE } else { Capabilities::CONNECT_ATTRS };
        let compression = self.compression(theirs).map_or(Capabilities::NONE, Compression::capability);
        let ours = self.options.capabilities
            & (Capabilities::PASSED_ON | Capabilities::LOCAL_FILES)
                .without(Capabilities::CONNECT_WITH_DB | Capabilities::CONNECT_ATTRS)
            | Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::LONG_PROOF;
        // A side is MariaDB's by what it leaves out, so that this flag is not the server's to agree to.
        let flavour = self.options.capabilities & Capabilities::NOT_MARIADB;
        Ok((ours | tls | database | attributes | compression) & theirs | flavour)
    }

    fn compression(&self, theirs: Capabilities) -> Option<Compression> {
        let available = [Compression::Zstd, Compression::Zlib].into_iter();
        available.filter(|_| self.options.compression).find(|one| theirs.contains(one.capability()))
    }

    fn read_answer(&mut self, packet: &Bytes) -> Result<(), ClientLoginError> {
        match packet.first().copied() {
            Some(OK) => self.logged_in(packet),
            Some(ERR) => Err(ClientLoginError::Refused { error: ErrPacket::read(packet)?, plugin: Some(self.plugin) }),
            Some(END) => self.switch(packet),
            Some(MORE_DATA) => self.more_data(packet),
            first => Err(Malformed::OutOfTurn { first: first.unwrap_or_default() }.into()),
        }
    }

    fn switch(&mut self, packet: &Bytes) -> Result<(), ClientLoginError> {
        let mut fields = Fields::of(packet);
        fields.u8();
        let name = fields.last_c_string();
        let name = String::from_utf8_lossy(if name.is_empty() { b"mysql_old_password" } else { name }).into_owned();
        let Some(plugin) = AuthPlugin::named(&name) else { return Err(ClientLoginError::UnknownPlugin { name }) };
        let challenge = fields.rest();
        // Scrambles end with a NUL that is no part of them; the 32 random bytes of `client_ed25519` may end with one that is.
        let closed = if plugin == AuthPlugin::Ed25519 { None } else { challenge.strip_suffix(&[0]) };
        self.challenge = Bytes::copy_from_slice(closed.unwrap_or(challenge));
        self.plugin = plugin;
        let in_clear = plugin.proof_length().is_none();
        self.prove_again(if in_clear { Wanted::Clear } else { Wanted::Challenge })
    }

    fn more_data(&mut self, packet: &Bytes) -> Result<(), ClientLoginError> {
        match (self.plugin, packet.get(1)) {
            (AuthPlugin::CachingSha2, Some(&FAST_AUTH_DONE)) => Ok(()),
            (AuthPlugin::CachingSha2, Some(&FULL_AUTH_WANTED)) => self.prove_again(Wanted::Clear),
            _ => Err(Malformed::OutOfTurn { first: MORE_DATA }.into()),
        }
    }

    fn prove_again(&mut self, wanted: Wanted) -> Result<(), ClientLoginError> {
        if wanted == Wanted::Clear && !self.encrypted {
            return Err(ClientLoginError::PasswordInClear);
        }
        if self.proofs >= MOST_PROOFS {
            return Err(Malformed::OutOfTurn { first: END }.into());
        }
        self.want_password(wanted);
        Ok(())
    }

    fn logged_in(&mut self, packet: &Bytes) -> Result<(), ClientLoginError> {
        let status = ok_status(packet).ok_or(Malformed::Body { packet: "OK" })?;
        let greeting = self.greeting.take().ok_or(Malformed::OutOfTurn { first: OK })?;
        self.phase = Phase::Done;
        self.events.push_back(ClientEvent::LoggedIn(Box::new(LoggedIn {
            greeting,
            capabilities: self.capabilities,
            plugin: self.plugin,
            encrypted: self.encrypted,
            compression: Compression::agreed(self.capabilities),
            ok: packet.clone(),
            status,
            unread: self.inbox.take_rest(),
        })));
        Ok(())
    }
}

/// The outgoing bytes may hold the password, so no buffer is shown.
impl fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLogin")
            .field("options", &self.options)
            .field("encrypted", &self.encrypted)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

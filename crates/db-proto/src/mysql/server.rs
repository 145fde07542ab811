//! The server's side of a login.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::capabilities::Capabilities;
use super::err_packet::ErrPacket;
use super::greeting::Greeting;
use super::login_request::LoginRequest;
use super::packet::{Malformed, PacketReader, put_c_string, put_packet};
use super::proof::{AuthPlugin, Verifier};

const SWITCH: u8 = 0xFE;
const FAST_AUTH_DONE: [u8; 2] = [0x01, 3];
/// `ER_HANDSHAKE_ERROR` of MySQL.
const HANDSHAKE_ERROR: u16 = 1043;

/// Lets a client log in: `receive` what it sends, send what `poll_transmit` gives, do what `poll_event` says.
///
/// The decisions are the caller's: after [`ServerEvent::Asked`] it calls [`ServerLogin::verify`], [`ServerLogin::trust`] or
/// [`ServerLogin::refuse`]; after [`ServerEvent::Proven`] it accepts or refuses. A client that breaks the protocol is told so
/// and [`ServerEvent::Failed`] follows.
///
/// The proof may be made by `caching_sha2_password` or `mysql_native_password`, as the client likes, by `client_ed25519` where
/// the client names it, and in clear over TLS. Any other plug-in is answered with a switch to `caching_sha2_password`; its
/// slow way is never needed, since the verifier is always at hand.
pub struct ServerLogin {
    capabilities: Capabilities,
    seed: [u8; 32],
    challenge: Vec<u8>,
    challenge_plugin: AuthPlugin,
    encrypted: bool,
    phase: Phase,
    inbox: PacketReader,
    outbox: Vec<u8>,
    events: VecDeque<ServerEvent>,
    proof: Proof,
}

/// How the server presents itself.
#[derive(Clone, Debug)]
pub struct ServerStart {
    /// The version, capabilities, collation and plug-in to show. Its challenge is replaced.
    pub greeting: Greeting,
    /// Whether TLS is offered; the caller does it.
    pub tls: bool,
    /// Chance, from which challenges are made. Never used twice.
    pub seed: [u8; 32],
}

/// What the caller does next, always after sending what [`ServerLogin::poll_transmit`] gives.
#[derive(Debug)]
pub enum ServerEvent {
    /// Do the TLS handshake, of which the client has already sent these bytes, then call [`ServerLogin::tls_established`].
    StartTls(Bytes),
    /// Call [`ServerLogin::verify`], [`ServerLogin::trust`] or [`ServerLogin::refuse`].
    Asked(Box<LoginRequest>),
    /// The client knows the password or is trusted: call [`ServerLogin::accept`] or [`ServerLogin::refuse`].
    Proven,
    /// It does not: call [`ServerLogin::refuse`].
    WrongPassword {
        /// Whether it sent any.
        given: bool,
    },
    /// The client broke the protocol; close the connection once the outgoing bytes are sent.
    Failed(ServerLoginError),
}

/// Why a client was turned away before the caller could decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerLoginError {
    /// Of before MySQL 4.1.
    #[error("the client speaks a protocol from before MySQL 4.1; update it")]
    TooOld,
    /// A second SSLRequest, or one that was not offered.
    #[error("the client asked for TLS {0}")]
    TlsNotOffered(&'static str),
    /// The client does not speak the protocol.
    #[error("{0} from the client")]
    Malformed(#[from] Malformed),
    /// The stream ended.
    #[error("the client closed the connection during its login")]
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    TlsHandshake,
    Deciding,
    Switched,
    Proven,
    Done,
}

/// What the client has sent to prove itself, and how it is judged.
#[derive(Default)]
struct Proof {
    plugin: Option<AuthPlugin>,
    bytes: Vec<u8>,
    verifier: Option<Verifier>,
}

impl ServerLogin {
    /// Greets; the greeting waits in [`ServerLogin::poll_transmit`].
    pub fn new(start: ServerStart) -> Self {
        let ServerStart { mut greeting, tls, seed } = start;
        let tls = if tls { Capabilities::SSL } else { Capabilities::NONE };
        greeting.capabilities = greeting.capabilities.without(Capabilities::SSL)
            | tls
            | Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::LONG_PROOF
            | Capabilities::CONNECT_ATTRS
            | Capabilities::CONNECT_WITH_DB;
        greeting.challenge = challenge(&seed, 0, 20);
        let plugin = AuthPlugin::named(&greeting.plugin).filter(|plugin| *plugin == AuthPlugin::NativePassword);
        let plugin = plugin.unwrap_or(AuthPlugin::CachingSha2);
        plugin.name().clone_into(&mut greeting.plugin);
        let mut login = Self::bare(greeting.capabilities, seed, PacketReader::new(1, false));
        login.challenge_plugin = plugin;
        let mut payload = Vec::new();
        greeting.put(&mut payload);
        login.challenge = greeting.challenge;
        put_packet(&mut login.outbox, 0, &payload);
        login
    }

    /// Lets a client that is logged in do it again: `payload` is its whole `COM_CHANGE_USER`, `capabilities` are those of its
    /// login. Its proof is asked for anew, so that no challenge is used twice.
    pub fn change_user(payload: &[u8], capabilities: Capabilities, seed: [u8; 32]) -> Self {
        let mut login = Self::bare(capabilities, seed, PacketReader::new(1, false));
        match LoginRequest::read_change_user(payload, capabilities) {
            Ok(request) => login.ask(LoginRequest { proof: Vec::new(), ..request }),
            Err(error) => login.fail(error.into()),
        }
        login
    }

    fn bare(capabilities: Capabilities, seed: [u8; 32], inbox: PacketReader) -> Self {
        Self {
            capabilities,
            seed,
            challenge: Vec::new(),
            challenge_plugin: AuthPlugin::CachingSha2,
            encrypted: false,
            phase: Phase::Opening,
            inbox,
            outbox: Vec::new(),
            events: VecDeque::new(),
            proof: Proof::default(),
        }
    }

    /// Takes bytes from the client, in any pieces.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
        if let Err(error) = self.read() {
            self.fail(error);
        }
    }

    /// The client's stream ended.
    pub fn closed(&mut self) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            self.events.push_back(ServerEvent::Failed(ServerLoginError::Closed));
        }
    }

    /// Bytes to send to the client, all of them in order, before anything else is done.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.outbox.is_empty()).then(|| std::mem::take(&mut self.outbox))
    }

    /// What to do next.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// The TLS handshake asked for by [`ServerEvent::StartTls`] is done.
    pub fn tls_established(&mut self) {
        if self.phase == Phase::TlsHandshake {
            self.encrypted = true;
            self.phase = Phase::Opening;
        }
    }

    /// Whether the client came through TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// After [`ServerEvent::Asked`]: has the client prove the password of `verifier`.
    pub fn verify(&mut self, verifier: Verifier) {
        self.proof.verifier = Some(verifier);
        self.judge();
    }

    /// After [`ServerEvent::Asked`]: lets the client in without a password.
    pub fn trust(&mut self) {
        self.judge();
    }

    /// After [`ServerEvent::Proven`]: logs the client in with the payload of an OK packet; the machine is done.
    pub fn accept(&mut self, ok: &[u8]) {
        if self.phase != Phase::Proven {
            return;
        }
        // A client that sent a scramble waits for this before anything else.
        if self.proof.plugin == Some(AuthPlugin::CachingSha2) && self.proof.bytes.len() > 1 {
            self.inbox.reply(&mut self.outbox, &FAST_AUTH_DONE);
        }
        self.inbox.reply(&mut self.outbox, ok);
        self.phase = Phase::Done;
    }

    /// Turns the client away with `error`; the machine is done.
    pub fn refuse(&mut self, error: &ErrPacket) {
        self.inbox.reply(&mut self.outbox, &error.payload());
        self.phase = Phase::Done;
    }

    /// After [`ServerLogin::accept`]: what the client sent behind its login, for the server behind.
    pub fn take_unread(&mut self) -> Bytes {
        self.inbox.take_rest()
    }

    fn fail(&mut self, error: ServerLoginError) {
        // Where TLS is expected, an error in clear would be read as a broken handshake.
        if self.phase != Phase::TlsHandshake {
            let packet = ErrPacket::new(HANDSHAKE_ERROR, "08S01", format!("daypass: {error}"));
            self.inbox.reply(&mut self.outbox, &packet.payload());
        }
        self.phase = Phase::Done;
        self.inbox.take_rest();
        self.events.push_back(ServerEvent::Failed(error));
    }

    fn read(&mut self) -> Result<(), ServerLoginError> {
        match self.phase {
            Phase::Opening => self.read_opening(),
            Phase::Switched => {
                let Some(packet) = self.inbox.take()? else { return Ok(()) };
                self.proof.bytes = packet.to_vec();
                self.conclude();
                Ok(())
            }
            Phase::TlsHandshake | Phase::Deciding | Phase::Proven | Phase::Done => Ok(()),
        }
    }

    fn read_opening(&mut self) -> Result<(), ServerLoginError> {
        let Some(packet) = self.inbox.take()? else { return Ok(()) };
        if LoginRequest::read_ssl_request(&packet).is_some() {
            return self.start_tls();
        }
        let first = packet.first_chunk().map_or(0, |chunk: &[u8; 4]| u32::from_le_bytes(*chunk));
        if !Capabilities::from_fields(first, 0).contains(Capabilities::PROTOCOL_41) {
            return Err(ServerLoginError::TooOld);
        }
        let mut request = LoginRequest::read(&packet)?;
        request.capabilities =
            request.capabilities & self.capabilities | request.capabilities & Capabilities::NOT_MARIADB;
        self.ask(request);
        Ok(())
    }

    fn start_tls(&mut self) -> Result<(), ServerLoginError> {
        if self.encrypted {
            return Err(ServerLoginError::TlsNotOffered("twice"));
        }
        if !self.capabilities.contains(Capabilities::SSL) {
            return Err(ServerLoginError::TlsNotOffered("which is not offered"));
        }
        self.phase = Phase::TlsHandshake;
        // Clients do not wait for an answer, so that their TLS handshake may have begun.
        self.events.push_back(ServerEvent::StartTls(self.inbox.take_rest()));
        Ok(())
    }

    fn ask(&mut self, mut request: LoginRequest) {
        // Clients from before plug-ins had a name make native proofs.
        self.proof.plugin = match &request.plugin {
            Some(name) => AuthPlugin::named(name),
            None => Some(AuthPlugin::NativePassword),
        };
        self.proof.bytes = std::mem::take(&mut request.proof);
        self.phase = Phase::Deciding;
        self.events.push_back(ServerEvent::Asked(Box::new(request)));
    }

    /// Judges the proof that came with the request, or asks for one that can be judged.
    fn judge(&mut self) {
        if self.phase != Phase::Deciding {
            return;
        }
        let trusted = self.proof.verifier.is_none();
        let judgeable = match self.proof.plugin {
            _ if trusted && self.proof.bytes.len() <= 1 && self.proof.plugin == Some(self.challenge_plugin) => true,
            Some(AuthPlugin::ClearPassword) => self.encrypted && !self.proof.bytes.is_empty(),
            // Both take the 20 bytes of the greeting.
            Some(plugin @ (AuthPlugin::CachingSha2 | AuthPlugin::NativePassword)) => {
                plugin.proof_length() == Some(self.proof.bytes.len()) && !self.challenge.is_empty()
            }
            Some(AuthPlugin::Ed25519 | AuthPlugin::Sha256Password) | None => false,
        };
        if judgeable { self.conclude() } else { self.switch() }
    }

    fn switch(&mut self) {
        let plugin = match self.proof.plugin {
            Some(plugin @ (AuthPlugin::Ed25519 | AuthPlugin::NativePassword)) => plugin,
            _ => AuthPlugin::CachingSha2,
        };
        let length = if plugin == AuthPlugin::Ed25519 { 32 } else { 20 };
        self.challenge = challenge(&self.seed, 1, length);
        self.proof = Proof { plugin: Some(plugin), bytes: Vec::new(), verifier: self.proof.verifier.take() };
        let mut payload = vec![SWITCH];
        put_c_string(&mut payload, plugin.name().as_bytes());
        payload.extend_from_slice(&self.challenge);
        if plugin != AuthPlugin::Ed25519 {
            payload.push(0);
        }
        self.inbox.reply(&mut self.outbox, &payload);
        self.phase = Phase::Switched;
    }

    fn conclude(&mut self) {
        let proven = match (&self.proof.verifier, self.proof.plugin) {
            (None, _) => true,
            (Some(verifier), Some(plugin)) => verifier.accepts(plugin, &self.challenge, &self.proof.bytes),
            (Some(_), None) => false,
        };
        self.phase = Phase::Proven;
        // `caching_sha2_password` says "no password" by a NUL.
        let given = self.proof.bytes.len() > 1;
        self.events.push_back(if proven { ServerEvent::Proven } else { ServerEvent::WrongPassword { given } });
        if !proven {
            self.phase = Phase::Done;
        }
    }
}

/// Bytes to prove a password by: 7 bits each and no NUL, since clients keep them in C strings.
fn challenge(seed: &[u8; 32], number: u8, length: usize) -> Vec<u8> {
    let random = Sha256::new().chain_update(seed).chain_update([number]).finalize();
    random.iter().take(length).map(|byte| (byte & 0x7F).max(1)).collect()
}

/// The incoming bytes may hold a password, so no buffer is shown.
impl fmt::Debug for ServerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLogin")
            .field("encrypted", &self.encrypted)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

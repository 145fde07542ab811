//! The server's side of a login.

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes};

use super::client::LoggedIn;
use super::error_response::ErrorResponse;
use super::scram::{self, Answer, NONCE_LENGTH, ScramError, ScramServer, ScramVerifier};
use super::startup::{CancelKey, Startup, StartupProblem};
use super::wire::{Fields, Inbox, Malformed, put_c_string, put_typed};
use super::{CANCEL_REQUEST, GSSENC_REQUEST, NEWEST_MINOR, PROTOCOL_MAJOR, SSL_REQUEST};

/// First byte of a TLS record: a client that opens with TLS directly (PostgreSQL 17, `sslnegotiation=direct`).
const TLS_RECORD: u8 = 0x16;

/// Lets a client log in: `receive` what it sends, send what `poll_transmit` gives, do what `poll_event` says.
///
/// The decisions are the caller's: after [`ServerEvent::Startup`] it asks for the password, accepts or refuses; after
/// [`ServerEvent::Password`] it accepts or refuses. A client that breaks the protocol is told so and
/// [`ServerEvent::Failed`] follows.
pub struct ServerLogin {
    tls: TlsOffer,
    encrypted: bool,
    gss_declined: bool,
    phase: Phase,
    scram: Option<Scram>,
    inbox: Inbox,
    outbox: Vec<u8>,
    events: VecDeque<ServerEvent>,
}

/// The answer to an SSLRequest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    /// `S`: the caller does TLS.
    Accept,
    /// `N`: the client goes on in clear or goes away.
    Decline,
}

/// What the caller does next, always after sending what [`ServerLogin::poll_transmit`] gives.
#[derive(Debug)]
pub enum ServerEvent {
    /// The `S` is in the outgoing bytes: do the TLS handshake, then call [`ServerLogin::tls_established`].
    StartTls,
    /// The connection asks for another one's query to be cancelled; it gets no answer and is closed.
    Cancel(CancelKey),
    /// Call [`ServerLogin::ask_password`], [`ServerLogin::accept`] or [`ServerLogin::refuse`].
    Startup(Startup),
    /// The answer to [`ServerLogin::ask_password`]: call [`ServerLogin::accept`] or [`ServerLogin::refuse`].
    Password(ClearPassword),
    /// The client has answered [`ServerLogin::ask_scram`] and knows the password: call [`ServerLogin::accept`] or
    /// [`ServerLogin::refuse`].
    PasswordProven,
    /// The client has answered [`ServerLogin::ask_scram`] and does not know the password: call [`ServerLogin::refuse`].
    PasswordWrong,
    /// The client broke the protocol; close the connection once the outgoing bytes are sent.
    Failed(ServerLoginError),
}

/// A password as the client sent it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearPassword(Bytes);

impl ClearPassword {
    /// The password itself, without the closing NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClearPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearPassword(..)")
    }
}

/// Why a client was turned away before the caller could decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerLoginError {
    /// TLS without an SSLRequest before it.
    #[error("the client opened with TLS directly; it has to send an SSLRequest first (`sslnegotiation=postgres`)")]
    DirectTls,
    /// Bytes in clear behind the SSLRequest, where the TLS handshake belongs (CVE-2021-23214).
    #[error("the client sent unencrypted bytes where TLS begins")]
    BytesBeforeTls,
    /// A second SSLRequest or GSSENCRequest.
    #[error("the client asked for encryption twice")]
    EncryptionAskedTwice,
    /// A StartupMessage without a user.
    #[error("the client named no user")]
    NoUser,
    /// Another major version.
    #[error("the client speaks protocol {major}.{minor}, and this side speaks 3.0 to 3.{NEWEST_MINOR}")]
    Version {
        /// Upper half of the code.
        major: u32,
        /// Lower half of the code.
        minor: u32,
    },
    /// The client chose another SASL mechanism than the one offered.
    #[error("the client wants to log in by `{mechanism}`, and only SCRAM-SHA-256 is offered")]
    Mechanism {
        /// As the client named it.
        mechanism: String,
    },
    /// The client does not keep to SCRAM.
    #[error("{0} came from the client")]
    Scram(#[from] ScramError),
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
    PasswordAsked,
    ScramAsked,
    /// The client has not proven itself; whatever the caller decides, it does not get in.
    Refusing,
    Done,
}

/// How far SCRAM has come.
enum Scram {
    Offered(ScramVerifier, [u8; NONCE_LENGTH]),
    Asked(ScramServer),
}

impl ServerLogin {
    /// Waits for a client's first message.
    pub fn new(tls: TlsOffer) -> Self {
        Self {
            tls,
            encrypted: false,
            gss_declined: false,
            phase: Phase::Opening,
            scram: None,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Waits for the first message of a client that opened with TLS directly (`sslnegotiation=direct`); the handshake is done.
    pub fn encrypted() -> Self {
        Self { encrypted: true, ..Self::new(TlsOffer::Accept) }
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

    /// Asks for the password in clear. Only over TLS; without it the client is refused instead.
    pub fn ask_password(&mut self) {
        if self.phase != Phase::Deciding {
            return;
        }
        if !self.encrypted {
            self.refuse(&ErrorResponse::fatal("28000", "a password is not asked for without TLS"));
            return;
        }
        put_typed(&mut self.outbox, b'R', |body| body.put_u32(3));
        self.phase = Phase::PasswordAsked;
    }

    /// Asks the client to prove by SCRAM-SHA-256 that it knows the password. `nonce` is random.
    pub fn ask_scram(&mut self, verifier: &ScramVerifier, nonce: [u8; NONCE_LENGTH]) {
        if self.phase != Phase::Deciding {
            return;
        }
        put_typed(&mut self.outbox, b'R', |body| {
            body.put_u32(10);
            put_c_string(body, scram::MECHANISM.as_bytes());
            body.put_u8(0);
        });
        self.scram = Some(Scram::Offered(verifier.clone(), nonce));
        self.phase = Phase::ScramAsked;
    }

    /// Logs the client in with the session of the server behind (its settings, key and state); the machine is done.
    pub fn accept(&mut self, session: &LoggedIn) {
        if self.phase != Phase::Deciding {
            return;
        }
        let out = &mut self.outbox;
        put_typed(out, b'R', |body| body.put_u32(0));
        for (name, value) in &session.parameters {
            put_typed(out, b'S', |body| {
                put_c_string(body, name.as_bytes());
                put_c_string(body, value.as_bytes());
            });
        }
        if let Some(key) = &session.cancel_key {
            put_typed(out, b'K', |body| key.put_body(body));
        }
        for notice in &session.notices {
            out.extend_from_slice(&notice.to_notice());
        }
        put_typed(out, b'Z', |body| body.put_u8(session.transaction_status));
        out.extend_from_slice(&session.unread);
        self.phase = Phase::Done;
    }

    /// Turns the client away with `error`, in any phase but that of a TLS handshake; the machine is done.
    pub fn refuse(&mut self, error: &ErrorResponse) {
        if matches!(self.phase, Phase::Done | Phase::TlsHandshake) {
            self.phase = Phase::Done;
            return;
        }
        self.outbox.extend_from_slice(&error.to_error());
        self.phase = Phase::Done;
    }

    /// After [`ServerLogin::accept`]: what the client sent behind its login, for the server behind.
    pub fn take_unread(&mut self) -> Bytes {
        self.inbox.take_rest()
    }

    fn fail(&mut self, error: ServerLoginError) {
        let sqlstate = match error {
            ServerLoginError::NoUser => "28000",
            ServerLoginError::Version { .. } => "0A000",
            ServerLoginError::DirectTls
            | ServerLoginError::BytesBeforeTls
            | ServerLoginError::EncryptionAskedTwice
            | ServerLoginError::Malformed(_)
            | ServerLoginError::Mechanism { .. }
            | ServerLoginError::Scram(_)
            | ServerLoginError::Closed => "08P01",
        };
        // Where TLS is expected, an error in clear would be read as a broken handshake.
        if self.phase != Phase::TlsHandshake && error != ServerLoginError::DirectTls {
            self.outbox.extend_from_slice(&ErrorResponse::fatal(sqlstate, error.to_string()).to_error());
        }
        self.phase = Phase::Done;
        self.inbox.take_rest();
        self.events.push_back(ServerEvent::Failed(error));
    }

    fn read(&mut self) -> Result<(), ServerLoginError> {
        match self.phase {
            Phase::Opening => self.read_opening(),
            Phase::TlsHandshake if !self.inbox.is_empty() => Err(ServerLoginError::BytesBeforeTls),
            Phase::PasswordAsked => self.read_password(),
            Phase::ScramAsked => self.read_scram(),
            Phase::TlsHandshake | Phase::Deciding | Phase::Refusing | Phase::Done => Ok(()),
        }
    }

    fn read_opening(&mut self) -> Result<(), ServerLoginError> {
        while self.phase == Phase::Opening {
            if self.inbox.first() == Some(TLS_RECORD) {
                return Err(ServerLoginError::DirectTls);
            }
            let Some(body) = self.inbox.take_startup()? else { break };
            let mut fields = Fields::of(&body);
            match fields.u32().ok_or(Malformed::Body { kind: b'?' })? {
                SSL_REQUEST => self.answer_ssl_request()?,
                GSSENC_REQUEST => self.decline_gss()?,
                CANCEL_REQUEST => self.read_cancel(&mut fields)?,
                version => self.read_startup(&mut fields, version)?,
            }
        }
        Ok(())
    }

    fn answer_ssl_request(&mut self) -> Result<(), ServerLoginError> {
        match self.tls {
            _ if self.encrypted => Err(ServerLoginError::EncryptionAskedTwice),
            TlsOffer::Decline => {
                self.outbox.push(b'N');
                Ok(())
            }
            TlsOffer::Accept if self.inbox.is_empty() => {
                self.outbox.push(b'S');
                self.phase = Phase::TlsHandshake;
                self.events.push_back(ServerEvent::StartTls);
                Ok(())
            }
            TlsOffer::Accept => Err(ServerLoginError::BytesBeforeTls),
        }
    }

    fn decline_gss(&mut self) -> Result<(), ServerLoginError> {
        if std::mem::replace(&mut self.gss_declined, true) {
            return Err(ServerLoginError::EncryptionAskedTwice);
        }
        self.outbox.push(b'N');
        Ok(())
    }

    fn read_cancel(&mut self, fields: &mut Fields<'_>) -> Result<(), ServerLoginError> {
        let key = CancelKey::read(fields).ok_or(Malformed::Body { kind: b'?' })?;
        self.phase = Phase::Done;
        self.events.push_back(ServerEvent::Cancel(key));
        Ok(())
    }

    fn read_startup(&mut self, fields: &mut Fields<'_>, version: u32) -> Result<(), ServerLoginError> {
        let (major, minor) = (version >> 16, version & 0xFFFF);
        if major != PROTOCOL_MAJOR {
            return Err(ServerLoginError::Version { major, minor });
        }
        let startup = Startup::read(fields, minor).map_err(|problem| match problem {
            StartupProblem::Malformed(malformed) => malformed.into(),
            StartupProblem::NoUser => ServerLoginError::NoUser,
        })?;
        if minor > NEWEST_MINOR || !startup.options.is_empty() {
            self.negotiate(&startup);
        }
        self.phase = Phase::Deciding;
        self.events.push_back(ServerEvent::Startup(startup));
        Ok(())
    }

    /// NegotiateProtocolVersion: the newest minor version spoken and the options that are not known.
    fn negotiate(&mut self, startup: &Startup) {
        let count = u32::try_from(startup.options.len()).expect("a start-up message holds fewer than 10,000 options");
        put_typed(&mut self.outbox, b'v', |body| {
            body.put_u32(PROTOCOL_MAJOR << 16 | startup.minor.min(NEWEST_MINOR));
            body.put_u32(count);
            for option in &startup.options {
                put_c_string(body, option.as_bytes());
            }
        });
    }

    fn read_scram(&mut self) -> Result<(), ServerLoginError> {
        let Some((kind, body)) = self.inbox.take_typed()? else { return Ok(()) };
        if kind != b'p' {
            return Err(Malformed::OutOfTurn { kind }.into());
        }
        match self.scram.take() {
            Some(Scram::Offered(verifier, nonce)) => {
                let asked = ScramServer::ask(verifier, scram_opening(&body)?, nonce)?;
                put_sasl(&mut self.outbox, 11, asked.question());
                self.scram = Some(Scram::Asked(asked));
            }
            Some(Scram::Asked(asked)) => match asked.judge(&body)? {
                Answer::Right(owed) => {
                    put_sasl(&mut self.outbox, 12, &owed);
                    self.phase = Phase::Deciding;
                    self.events.push_back(ServerEvent::PasswordProven);
                }
                Answer::Wrong => {
                    self.phase = Phase::Refusing;
                    self.events.push_back(ServerEvent::PasswordWrong);
                }
            },
            None => {}
        }
        Ok(())
    }

    fn read_password(&mut self) -> Result<(), ServerLoginError> {
        let Some((kind, body)) = self.inbox.take_typed()? else { return Ok(()) };
        if kind != b'p' {
            return Err(Malformed::OutOfTurn { kind }.into());
        }
        let password = Fields::of(&body).c_string().ok_or(Malformed::Body { kind })?;
        self.phase = Phase::Deciding;
        self.events.push_back(ServerEvent::Password(ClearPassword(Bytes::copy_from_slice(password))));
        Ok(())
    }
}

/// The client-first-message within SASLInitialResponse.
fn scram_opening(body: &[u8]) -> Result<&[u8], ServerLoginError> {
    let broken = Malformed::Body { kind: b'p' };
    let mut fields = Fields::of(body);
    let mechanism = fields.text().ok_or(broken)?;
    if mechanism != scram::MECHANISM {
        return Err(ServerLoginError::Mechanism { mechanism: mechanism.escape_default().to_string() });
    }
    let length = fields.u32().ok_or(broken)?;
    let opening = fields.rest();
    // -1 stands for no opening at all, which SCRAM does not know.
    let fits = usize::try_from(length).is_ok_and(|length| length == opening.len());
    fits.then_some(opening).ok_or(broken.into())
}

fn put_sasl(out: &mut Vec<u8>, code: u32, message: &[u8]) {
    put_typed(out, b'R', |body| {
        body.put_u32(code);
        body.put_slice(message);
    });
}

/// The incoming bytes may hold the password, so no buffer is shown.
impl fmt::Debug for ServerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLogin")
            .field("encrypted", &self.encrypted)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

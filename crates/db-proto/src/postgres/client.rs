//! The client's side of a login.

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes};

use super::error_response::ErrorResponse;
use super::scram::{self, Challenge, NONCE_LENGTH, ScramClient, ScramError, ServerProof};
use super::startup::{CancelKey, StartupParameters};
use super::wire::{Fields, Inbox, Malformed, put_c_string, put_typed, put_untyped};
use super::{NEWEST_MINOR, PROTOCOL_MAJOR, SSL_REQUEST};

/// Notices kept for [`LoggedIn`]; a server that talks more is not listened to.
const MOST_NOTICES: usize = 16;
/// ParameterStatus messages accepted; servers send about fifteen.
const MOST_PARAMETERS: usize = 1_000;

/// Logs in to a server: `receive` what it sends, send what `poll_transmit` gives, do what `poll_event` says.
///
/// Keeps no password: it is handed over when the server asks and leaves, itself or as a proof, with the next
/// [`ClientLogin::poll_transmit`].
pub struct ClientLogin {
    parameters: StartupParameters,
    options: LoginOptions,
    encrypted: bool,
    phase: Phase,
    asked: Asked,
    inbox: Inbox,
    outbox: Vec<u8>,
    events: VecDeque<ClientEvent>,
    session: LoggedIn,
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A plain byte stream on which TLS is asked for first; a server that declines is left.
    NegotiateTls,
    /// A stream that needs no encryption (a Unix socket of this machine). A cleartext password is never given over it.
    Plain,
}

/// What a login may make use of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LoginOptions {
    /// Random bytes, if the password is one that may be proven by SCRAM-SHA-256 (or MD5) too. Without them the server has
    /// to ask for it in clear, as it does for a DbAuthToken.
    pub nonce: Option<[u8; NONCE_LENGTH]>,
    /// Whether protocol 3.2 is asked for, whose cancel keys may be longer; an older server answers with 3.0.
    pub newest: bool,
}

/// The nonce is not shown before it is used.
impl fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginOptions").field("newest", &self.newest).finish_non_exhaustive()
    }
}

/// What the caller does next.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server agreed: do the TLS handshake (and verify whom it is with), then call [`ClientLogin::tls_established`].
    StartTls,
    /// The server wants the password in clear inside TLS, or a proof of it: call [`ClientLogin::password`].
    PasswordWanted,
    /// Logged in; the machine is done.
    LoggedIn(LoggedIn),
    /// Not logged in; the machine is done.
    Failed(ClientLoginError),
}

/// What a server says of a fresh session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedIn {
    /// ParameterStatus messages in order: `server_version`, `client_encoding`, ...
    pub parameters: Vec<(String, String)>,
    /// For cancelling queries; poolers may leave it out.
    pub cancel_key: Option<CancelKey>,
    /// `I` idle, `T` in a transaction, `E` in a failed one.
    pub transaction_status: u8,
    /// What the server wanted known meanwhile.
    pub notices: Vec<ErrorResponse>,
    /// Bytes that arrived behind `ReadyForQuery`.
    pub unread: Bytes,
}

/// Why a login did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientLoginError {
    /// An `N` to the SSLRequest.
    #[error("the server offers no TLS; check that host and port are the database's own")]
    TlsDeclined,
    /// An answer to the SSLRequest that PostgreSQL does not give.
    #[error("the answer to an SSLRequest began with byte {0:#04x}; is this a PostgreSQL server?")]
    TlsAnswerUnknown(u8),
    /// Bytes in clear behind the `S`: someone between may have put them there (CVE-2021-23214).
    #[error("unencrypted bytes arrived where TLS begins; the connection is being tampered with or is no PostgreSQL")]
    BytesBeforeTls,
    /// The server asks for a cleartext password outside TLS.
    #[error("the server asks for a password in clear on an unencrypted connection; it is not given")]
    PasswordInClear,
    /// The server wants another proof than a cleartext password.
    #[error("the server asks for {method} authentication; grant `rds_iam` to the user, so that it takes IAM tokens")]
    OtherAuthentication {
        /// Its name, or `code N`.
        method: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(ErrorResponse),
    /// The server did not keep to SCRAM, or did not prove that it knows the password.
    #[error("{0} came from the server; it may not be the one meant")]
    Scram(#[from] ScramError),
    /// The server does not speak the protocol.
    #[error("{0} from the server; is this a PostgreSQL server?")]
    Malformed(#[from] Malformed),
    /// The stream ended.
    #[error("the server closed the connection {stage}")]
    Closed {
        /// When, in words: "before it answered the SSLRequest".
        stage: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    TlsAsked,
    TlsHandshake,
    StartupSent,
    ScramOpened,
    PasswordWanted,
    PasswordSent,
    Authenticated,
    Done,
}

/// How the server wants to be convinced.
enum Asked {
    Clear,
    Md5([u8; 4]),
    Opening(ScramClient),
    Scram(Challenge),
    /// The password has been proven; now it is the server's turn.
    Owed(ServerProof),
}

impl ClientLogin {
    /// Begins a login with protocol 3.0 and a password in clear; the first bytes wait in [`ClientLogin::poll_transmit`].
    pub fn new(parameters: StartupParameters, transport: Transport) -> Self {
        Self::with(parameters, transport, LoginOptions::default())
    }

    /// Begins a login; the first bytes wait in [`ClientLogin::poll_transmit`].
    pub fn with(parameters: StartupParameters, transport: Transport, options: LoginOptions) -> Self {
        let mut login = Self {
            parameters,
            options,
            encrypted: false,
            phase: Phase::TlsAsked,
            asked: Asked::Clear,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            events: VecDeque::new(),
            session: LoggedIn::default(),
        };
        match transport {
            Transport::NegotiateTls => put_untyped(&mut login.outbox, |body| body.put_u32(SSL_REQUEST)),
            Transport::Plain => login.send_startup(),
        }
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
            Phase::TlsAsked => "before it answered the SSLRequest",
            Phase::TlsHandshake => "before the TLS handshake",
            Phase::StartupSent => "before it asked for a password",
            Phase::ScramOpened => "before it asked for a proof of the password",
            Phase::PasswordWanted => "while it waited for the password",
            Phase::PasswordSent => "while it checked the password",
            Phase::Authenticated => "after it had accepted the login",
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

    /// The TLS handshake asked for by [`ClientEvent::StartTls`] is done and the server's name verified.
    pub fn tls_established(&mut self) {
        if self.phase == Phase::TlsHandshake {
            self.encrypted = true;
            self.send_startup();
        }
    }

    /// Answers [`ClientEvent::PasswordWanted`]. A NUL in `password` ends it, as the protocol has no way to carry one. A
    /// proof by SCRAM takes some milliseconds.
    pub fn password(&mut self, password: &[u8]) {
        if self.phase != Phase::PasswordWanted {
            return;
        }
        let out = &mut self.outbox;
        match &self.asked {
            Asked::Clear => put_typed(out, b'p', |body| put_c_string(body, password)),
            Asked::Md5(salt) => {
                let proof = scram::md5_proof(self.parameters.user(), password, *salt);
                put_typed(out, b'p', |body| put_c_string(body, proof.as_bytes()));
            }
            Asked::Scram(challenge) => {
                let (last, owed) = challenge.answer(password);
                put_typed(out, b'p', |body| body.put_slice(&last));
                self.asked = Asked::Owed(owed);
            }
            Asked::Opening(_) | Asked::Owed(_) => return,
        }
        self.phase = Phase::PasswordSent;
    }

    fn send_startup(&mut self) {
        self.parameters.put(&mut self.outbox, if self.options.newest { NEWEST_MINOR } else { 0 });
        self.phase = Phase::StartupSent;
    }

    fn fail(&mut self, error: ClientLoginError) {
        self.phase = Phase::Done;
        self.outbox.clear();
        self.inbox.take_rest();
        self.events.push_back(ClientEvent::Failed(error));
    }

    fn read(&mut self) -> Result<(), ClientLoginError> {
        match self.phase {
            Phase::TlsAsked => self.read_tls_answer(),
            Phase::TlsHandshake if !self.inbox.is_empty() => Err(ClientLoginError::BytesBeforeTls),
            Phase::TlsHandshake | Phase::Done => Ok(()),
            Phase::StartupSent
            | Phase::ScramOpened
            | Phase::PasswordWanted
            | Phase::PasswordSent
            | Phase::Authenticated => self.read_messages(),
        }
    }

    fn read_tls_answer(&mut self) -> Result<(), ClientLoginError> {
        match self.inbox.take_byte() {
            None => Ok(()),
            Some(b'S') if self.inbox.is_empty() => {
                self.phase = Phase::TlsHandshake;
                self.events.push_back(ClientEvent::StartTls);
                Ok(())
            }
            Some(b'S') => Err(ClientLoginError::BytesBeforeTls),
            Some(b'N') => Err(ClientLoginError::TlsDeclined),
            Some(other) => Err(ClientLoginError::TlsAnswerUnknown(other)),
        }
    }

    fn read_messages(&mut self) -> Result<(), ClientLoginError> {
        while self.phase != Phase::Done {
            let Some((kind, body)) = self.inbox.take_typed()? else { break };
            self.message(kind, &body)?;
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Result<(), ClientLoginError> {
        let broken = Malformed::Body { kind };
        match (kind, self.phase) {
            (b'E', _) => Err(ClientLoginError::Refused(ErrorResponse::read(body)?)),
            (b'N', _) => self.notice(ErrorResponse::read(body)?),
            (b'R', Phase::StartupSent | Phase::ScramOpened | Phase::PasswordSent) => self.authentication(body),
            (b'v', Phase::StartupSent) => self.negotiated(Fields::of(body).u32().ok_or(broken)?),
            (b'S', Phase::Authenticated) => self.parameter(body),
            (b'K', Phase::Authenticated) => {
                self.session.cancel_key = Some(CancelKey::read(&mut Fields::of(body)).ok_or(broken)?);
                Ok(())
            }
            (b'Z', Phase::Authenticated) => self.ready(Fields::of(body).u8().ok_or(broken)?),
            _ => Err(Malformed::OutOfTurn { kind }.into()),
        }
    }

    fn authentication(&mut self, body: &[u8]) -> Result<(), ClientLoginError> {
        let broken = Malformed::Body { kind: b'R' };
        let mut fields = Fields::of(body);
        match (fields.u32().ok_or(broken)?, self.phase) {
            (0, Phase::StartupSent | Phase::PasswordSent) if !matches!(self.asked, Asked::Owed(_)) => {
                self.phase = Phase::Authenticated;
                Ok(())
            }
            (3 | 5, Phase::StartupSent) if !self.encrypted => Err(ClientLoginError::PasswordInClear),
            (3, Phase::StartupSent) => self.want_password(Asked::Clear),
            (5, Phase::StartupSent) if self.options.nonce.is_some() => {
                let salt = *fields.rest().first_chunk().ok_or(broken)?;
                self.want_password(Asked::Md5(salt))
            }
            (10, Phase::StartupSent) => self.open_scram(fields),
            (11, Phase::ScramOpened) => {
                let Asked::Opening(scram) = &self.asked else { return Err(broken.into()) };
                let challenge = scram.challenge(fields.rest())?;
                self.want_password(Asked::Scram(challenge))
            }
            (12, Phase::PasswordSent) => {
                let Asked::Owed(proof) = &self.asked else { return Err(broken.into()) };
                proof.check(fields.rest())?;
                self.asked = Asked::Clear;
                Ok(())
            }
            (0 | 3 | 11 | 12, _) => Err(Malformed::OutOfTurn { kind: b'R' }.into()),
            (other, _) => Err(ClientLoginError::OtherAuthentication { method: method_name(other) }),
        }
    }

    fn open_scram(&mut self, mut mechanisms: Fields<'_>) -> Result<(), ClientLoginError> {
        let mut offered = Vec::new();
        while let Some(mechanism) = mechanisms.text().filter(|mechanism| !mechanism.is_empty()) {
            offered.push(mechanism);
        }
        let Some(nonce) = self.options.nonce.filter(|_| offered.contains(&scram::MECHANISM)) else {
            return Err(ClientLoginError::OtherAuthentication { method: format!("SASL ({})", offered.join(", ")) });
        };
        let scram = ScramClient::new(nonce);
        let opening = scram.opening();
        put_typed(&mut self.outbox, b'p', |body| {
            put_c_string(body, scram::MECHANISM.as_bytes());
            body.put_u32(u32::try_from(opening.len()).expect("an opening of ours has some dozen bytes"));
            body.put_slice(&opening);
        });
        self.asked = Asked::Opening(scram);
        self.phase = Phase::ScramOpened;
        Ok(())
    }

    fn want_password(&mut self, asked: Asked) -> Result<(), ClientLoginError> {
        self.asked = asked;
        self.phase = Phase::PasswordWanted;
        self.events.push_back(ClientEvent::PasswordWanted);
        Ok(())
    }

    /// The server speaks an older minor version, or declines an option; none was asked for.
    fn negotiated(&self, version: u32) -> Result<(), ClientLoginError> {
        let asked = if self.options.newest { NEWEST_MINOR } else { 0 };
        let known = (PROTOCOL_MAJOR << 16..=PROTOCOL_MAJOR << 16 | asked).contains(&version);
        known.then_some(()).ok_or(Malformed::Body { kind: b'v' }.into())
    }

    fn notice(&mut self, notice: ErrorResponse) -> Result<(), ClientLoginError> {
        if self.session.notices.len() < MOST_NOTICES {
            self.session.notices.push(notice);
        }
        Ok(())
    }

    fn parameter(&mut self, body: &[u8]) -> Result<(), ClientLoginError> {
        let mut fields = Fields::of(body);
        let pair = fields.text().map(str::to_owned).zip(fields.text().map(str::to_owned));
        let fits = self.session.parameters.len() < MOST_PARAMETERS;
        self.session.parameters.push(pair.filter(|_| fits).ok_or(Malformed::Body { kind: b'S' })?);
        Ok(())
    }

    fn ready(&mut self, transaction_status: u8) -> Result<(), ClientLoginError> {
        let mut session = std::mem::take(&mut self.session);
        session.transaction_status = transaction_status;
        session.unread = self.inbox.take_rest();
        self.phase = Phase::Done;
        self.events.push_back(ClientEvent::LoggedIn(session));
        Ok(())
    }
}

/// The outgoing bytes may hold the password, so no buffer is shown.
impl fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLogin")
            .field("parameters", &self.parameters)
            .field("encrypted", &self.encrypted)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

fn method_name(code: u32) -> String {
    match code {
        2 => "Kerberos".to_owned(),
        5 => "MD5".to_owned(),
        7 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        10 => "SASL (SCRAM)".to_owned(),
        other => format!("code {other}"),
    }
}

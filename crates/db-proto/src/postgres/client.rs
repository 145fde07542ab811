//! The client's side of a login.

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes};

use super::SSL_REQUEST;
use super::error_response::ErrorResponse;
use super::startup::{CancelKey, StartupParameters};
use super::wire::{Fields, Inbox, Malformed, put_typed, put_untyped};

/// Notices kept for [`LoggedIn`]; a server that talks more is not listened to.
const MOST_NOTICES: usize = 16;
/// ParameterStatus messages accepted; servers send about fifteen.
const MOST_PARAMETERS: usize = 1_000;

/// Logs in to a server: `receive` what it sends, send what `poll_transmit` gives, do what `poll_event` says.
///
/// Asks for protocol 3.0. Keeps no password: it is handed over when the server asks and leaves with the next
/// [`ClientLogin::poll_transmit`].
pub struct ClientLogin {
    parameters: StartupParameters,
    encrypted: bool,
    phase: Phase,
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

/// What the caller does next.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server agreed: do the TLS handshake (and verify whom it is with), then call [`ClientLogin::tls_established`].
    StartTls,
    /// The server wants the password in clear, inside TLS: call [`ClientLogin::password`].
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
    PasswordWanted,
    PasswordSent,
    Authenticated,
    Done,
}

impl ClientLogin {
    /// Begins a login; the first bytes wait in [`ClientLogin::poll_transmit`].
    pub fn new(parameters: StartupParameters, transport: Transport) -> Self {
        let mut login = Self {
            parameters,
            encrypted: false,
            phase: Phase::TlsAsked,
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

    /// Answers [`ClientEvent::PasswordWanted`]. A NUL in `password` ends it, as the protocol has no way to carry one.
    pub fn password(&mut self, password: &[u8]) {
        if self.phase == Phase::PasswordWanted {
            put_typed(&mut self.outbox, b'p', |body| super::wire::put_c_string(body, password));
            self.phase = Phase::PasswordSent;
        }
    }

    fn send_startup(&mut self) {
        self.parameters.put(&mut self.outbox, 0);
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
            Phase::StartupSent | Phase::PasswordWanted | Phase::PasswordSent | Phase::Authenticated => {
                self.read_messages()
            }
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
            (b'R', Phase::StartupSent | Phase::PasswordSent) => self.authentication(body),
            // Sent where an option is declined; without options there is nothing to do about it.
            (b'v', Phase::StartupSent) => Ok(()),
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
        match Fields::of(body).u32().ok_or(Malformed::Body { kind: b'R' })? {
            0 => {
                self.phase = Phase::Authenticated;
                Ok(())
            }
            3 if self.phase != Phase::StartupSent => Err(Malformed::OutOfTurn { kind: b'R' }.into()),
            3 if !self.encrypted => Err(ClientLoginError::PasswordInClear),
            3 => {
                self.phase = Phase::PasswordWanted;
                self.events.push_back(ClientEvent::PasswordWanted);
                Ok(())
            }
            other => Err(ClientLoginError::OtherAuthentication { method: method_name(other) }),
        }
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

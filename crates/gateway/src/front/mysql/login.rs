//! One login at the Target.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use db_proto::mysql::{
    Capabilities, ClientEvent, ClientLogin, ClientLoginError, Credential as Kind, ErrPacket, Greeting, LoggedIn,
    LoginOptions, LoginRequest, Transport, is_ok,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{server_link::ServerLink, words};
use crate::front::{
    Credential, FrontConfig, Shared, UpstreamStream,
    event::{Reason, TurnedAway},
    logins::Origin,
    upstream::{TryFailed, UpstreamTls},
};

const COM_QUERY: u8 = 0x03;
/// Of a statement, in one set.
const NO_ATTRIBUTES: [u8; 2] = [0, 1];
const BEGIN_READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";
/// `max_allowed_packet` of clients that say nothing; no server takes more.
const LONGEST_PACKET: u32 = 1 << 30;
const UTF8MB4: u16 = 45;

/// A session at the Target.
pub(crate) struct Session {
    pub(crate) logged_in: LoggedIn,
    pub(crate) link: ServerLink,
}

impl Session {
    /// Makes transactions read-only by default; a client that wants it otherwise can say so. Needed again whenever the session
    /// is reset.
    pub(crate) async fn begin_read_only(&mut self) -> io::Result<()> {
        let answer = self.link.ask(&query(BEGIN_READ_ONLY, self.logged_in.capabilities)).await?;
        if is_ok(&answer) {
            return Ok(());
        }
        let error = ErrPacket::read(&answer).map_err(io::Error::other)?;
        Err(io::Error::other(error.to_string()))
    }
}

/// How to log in; once or several times, with whichever credential.
#[derive(Clone)]
pub(crate) struct Attempt {
    config: Arc<FrontConfig>,
    tls: UpstreamTls,
    options: LoginOptions,
    seen: Arc<Mutex<Seen>>,
}

/// What the Target has said, over all tries.
#[derive(Default)]
struct Seen {
    greeting: Option<Greeting>,
    code: Option<u16>,
}

impl Attempt {
    /// For a client that said this of itself.
    pub(crate) fn for_client(shared: &Shared, request: &LoginRequest) -> Self {
        let compression = shared.config.mysql.compression.unwrap_or_else(|| shared.is_slow());
        Self {
            config: Arc::new(shared.config.clone()),
            tls: shared.upstream_tls.clone(),
            options: LoginOptions {
                user: String::new(),
                database: request.database.clone(),
                capabilities: request.capabilities,
                longest_packet: request.longest_packet,
                collation: request.collation,
                attributes: attributes(request, &shared.logins.origin()),
                credential: Kind::Password,
                compression,
            },
            seen: Arc::default(),
        }
    }

    /// For nobody, to see whether it works.
    pub(crate) fn of_our_own(shared: &Shared) -> Self {
        let database = Some(shared.config.database.clone()).filter(|name| !name.is_empty());
        let attributes = vec![("program_name".to_owned(), "daypass".to_owned())];
        let (longest_packet, collation) = (LONGEST_PACKET, UTF8MB4);
        let request = LoginRequest { database, attributes, longest_packet, collation, ..LoginRequest::default() };
        Self::for_client(shared, &request)
    }

    /// As in the login, for the request of a `COM_CHANGE_USER`.
    pub(crate) fn change_user_options(
        shared: &Shared,
        request: &LoginRequest,
        credential: &Credential,
    ) -> LoginOptions {
        Self::for_client(shared, request).options(credential)
    }

    /// As the Target greeted last, if it did.
    pub(crate) fn greeting(&self) -> Option<Greeting> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).greeting.clone()
    }

    /// Of the last error that the Target answered with.
    pub(crate) fn last_code(&self) -> Option<u16> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).code
    }

    /// Logs in over a fresh connection.
    pub(crate) async fn run(&self, stream: UpstreamStream, credential: &Credential) -> Result<Session, TryFailed> {
        let mut stream = stream;
        let mut machine = ClientLogin::new(self.options(credential), Transport::NegotiateTls);
        let tls = self.advance(&mut machine, &mut stream, credential).await?;
        self.note(machine.greeting());
        if tls.is_some() {
            let closed = ClientLoginError::Closed { stage: "without TLS" };
            return Err(words::failed(&self.config, credential.user(), &closed));
        }
        let mut encrypted = self.tls.encrypt(stream).await.map_err(TryFailed::Other)?;
        machine.tls_established();
        let logged_in = loop {
            if let Some(logged_in) = self.advance(&mut machine, &mut encrypted, credential).await? {
                break logged_in;
            }
        };
        let link = ServerLink::new(encrypted, logged_in.compression, &logged_in.unread);
        let mut session = Session { logged_in, link };
        if self.config.read_only {
            let begun = session.begin_read_only().await;
            begun.map_err(|error| self.not_read_only(&error))?;
        }
        Ok(session)
    }

    fn options(&self, credential: &Credential) -> LoginOptions {
        let kind = match credential {
            Credential::Secret { .. } => Kind::Password,
            Credential::Token { .. } => Kind::Token,
        };
        LoginOptions { user: credential.user().to_owned(), credential: kind, ..self.options.clone() }
    }

    /// Until logged in (`Some`) or TLS is next (`None`).
    async fn advance(
        &self,
        machine: &mut ClientLogin,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        credential: &Credential,
    ) -> Result<Option<LoggedIn>, TryFailed> {
        let mut buffer = vec![0; 4096];
        loop {
            while let Some(bytes) = machine.poll_transmit() {
                stream.write_all(&bytes).await.map_err(|error| self.broken(&error))?;
            }
            match machine.poll_event() {
                Some(ClientEvent::StartTls) => {
                    stream.flush().await.map_err(|error| self.broken(&error))?;
                    return Ok(None);
                }
                Some(ClientEvent::PasswordWanted) => machine.password(credential.secret().expose().as_bytes()),
                Some(ClientEvent::LoggedIn(session)) => return Ok(Some(*session)),
                Some(ClientEvent::Failed(error)) => return Err(self.failed(credential.user(), error)),
                None => {
                    stream.flush().await.map_err(|error| self.broken(&error))?;
                    match stream.read(&mut buffer).await.map_err(|error| self.broken(&error))? {
                        0 => machine.closed(),
                        length => machine.receive(&buffer[..length]),
                    }
                }
            }
        }
    }

    fn note(&self, greeting: Option<&Greeting>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).greeting = greeting.cloned();
    }

    fn failed(&self, user: &str, error: ClientLoginError) -> TryFailed {
        match &error {
            ClientLoginError::Changed { greeting, .. } => self.note(Some(greeting)),
            ClientLoginError::Refused { error, .. } => {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).code = Some(error.code);
            }
            ClientLoginError::TlsMissing
            | ClientLoginError::BytesBeforeTls
            | ClientLoginError::PasswordInClear
            | ClientLoginError::UnknownPlugin { .. }
            | ClientLoginError::Malformed(_)
            | ClientLoginError::Closed { .. } => {}
        }
        words::failed(&self.config, user, &error)
    }

    fn broken(&self, error: &io::Error) -> TryFailed {
        TryFailed::Other(words::server_gone(&self.config, error))
    }

    fn not_read_only(&self, error: &io::Error) -> TryFailed {
        let message = format!("{} would not begin read-only: {error}", self.config.server_name);
        let hint = "ask for the read-write role, or have an administrator look at it".to_owned();
        TryFailed::Other(TurnedAway::new(Reason::Database, "HY000", message, hint))
    }
}

/// The command that runs `statement` in a session with these capabilities.
fn query(statement: &str, capabilities: Capabilities) -> Vec<u8> {
    let attributes: &[u8] = if capabilities.contains(Capabilities::QUERY_ATTRIBUTES) { &NO_ATTRIBUTES } else { &[] };
    [&[COM_QUERY], attributes, statement.as_bytes()].concat()
}

/// The client's own, and who it is for unless the client says that too.
fn attributes(request: &LoginRequest, origin: &Origin) -> Vec<(String, String)> {
    let mut attributes = request.attributes.clone();
    let ours = [("daypass_person", Some(&origin.person)), ("daypass_request", origin.request.as_ref())];
    for (name, value) in ours {
        let said = attributes.iter().any(|(key, _)| key == name);
        if let (Some(value), false) = (value.filter(|value| !value.is_empty()), said) {
            attributes.push((name.to_owned(), value.clone()));
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_attributes_before_it_where_that_was_agreed_on() {
        assert_eq!(query("DO 1", Capabilities::PROTOCOL_41), b"\x03DO 1");
        assert_eq!(query("DO 1", Capabilities::PROTOCOL_41 | Capabilities::QUERY_ATTRIBUTES), b"\x03\x00\x01DO 1");
    }

    fn origin() -> Origin {
        Origin { person: "ana@acme.dev".to_owned(), request: Some("req-7".to_owned()) }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn who_and_why_stand_behind_the_attributes_of_the_client() {
        let request = LoginRequest { attributes: pairs(&[("program_name", "mysql")]), ..LoginRequest::default() };
        let wanted =
            pairs(&[("program_name", "mysql"), ("daypass_person", "ana@acme.dev"), ("daypass_request", "req-7")]);
        assert_eq!(attributes(&request, &origin()), wanted);
    }

    #[test]
    fn what_the_client_says_of_itself_stays_and_nothing_empty_is_added() {
        let request = LoginRequest { attributes: pairs(&[("daypass_person", "a robot")]), ..LoginRequest::default() };
        let nobody = Origin { person: String::new(), request: None };
        assert_eq!(attributes(&request, &nobody), request.attributes);
        assert_eq!(
            attributes(&request, &origin()),
            pairs(&[("daypass_person", "a robot"), ("daypass_request", "req-7")])
        );
    }
}

//! The login at the Target.

use std::io;

use db_proto::postgres::{ClientEvent, ClientLogin, LoggedIn, LoginOptions, Startup, StartupParameters, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    super::{
        Shared,
        event::TurnedAway,
        logins::Credential,
        upstream::{TryFailed, UpstreamStream},
    },
    parameters, words,
};

/// Where a client is logged in to.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) shared: &'a Shared,
    pub(super) startup: &'a Startup,
}

/// A session at the Target.
pub(super) struct Session {
    pub(super) stream: UpstreamStream,
    pub(super) logged_in: LoggedIn,
    pub(super) parameters: StartupParameters,
}

impl Target<'_> {
    /// One login, over `stream`.
    pub(super) async fn log_in(self, stream: UpstreamStream, credential: Credential) -> Result<Session, TryFailed> {
        let Self { shared, startup } = self;
        if parameters::is_replication(&startup.parameters) && matches!(credential, Credential::Token { .. }) {
            return Err(TryFailed::Other(words::no_replication()));
        }
        let origin = shared.logins.origin();
        let parameters = parameters::upstream(&shared.config, &startup.parameters, credential.user(), &origin)
            .map_err(|error| TryFailed::Other(words::unsendable(&error)))?;
        let nonce = match credential {
            Credential::Secret { .. } => Some(rand::random()),
            // A token is no password: a server that wants a proof does not know of IAM.
            Credential::Token { .. } => None,
        };
        let options = LoginOptions { nonce, newest: startup.minor >= 2 };
        let machine = ClientLogin::with(parameters.clone(), Transport::NegotiateTls, options);
        let attempt = Attempt { shared, credential: &credential, machine };
        let (stream, logged_in) = attempt.run(stream).await?;
        Ok(Session { stream, logged_in, parameters })
    }
}

/// TLS with the Target for something else than a login.
pub(super) async fn encrypted(shared: &Shared, mut stream: UpstreamStream) -> Result<UpstreamStream, TurnedAway> {
    let parameters = parameters::proof(&shared.config).map_err(|error| words::unsendable(&error))?.parameters;
    let mut machine = ClientLogin::new(parameters, Transport::NegotiateTls);
    loop {
        let event = next(&mut machine, &mut stream).await.map_err(|error| words::broken(shared, &error))?;
        match event {
            ClientEvent::StartTls => return Ok(Box::new(shared.upstream_tls.encrypt(stream).await?)),
            ClientEvent::Failed(error) => return Err(words::no_tls(shared, &error)),
            ClientEvent::PasswordWanted | ClientEvent::LoggedIn(_) => {}
        }
    }
}

struct Attempt<'a> {
    shared: &'a Shared,
    credential: &'a Credential,
    machine: ClientLogin,
}

impl Attempt<'_> {
    async fn run(mut self, mut stream: UpstreamStream) -> Result<(UpstreamStream, LoggedIn), TryFailed> {
        loop {
            let event = next(&mut self.machine, &mut stream).await;
            match event.map_err(|error| TryFailed::Other(words::broken(self.shared, &error)))? {
                ClientEvent::StartTls => {
                    stream = Box::new(self.shared.upstream_tls.encrypt(stream).await.map_err(TryFailed::Other)?);
                    self.machine.tls_established();
                }
                ClientEvent::PasswordWanted => self.machine.password(self.credential.secret().expose().as_bytes()),
                ClientEvent::LoggedIn(logged_in) => return Ok((stream, logged_in)),
                ClientEvent::Failed(error) => return Err(words::failed(self.shared, self.credential, error)),
            }
        }
    }
}

/// Carries bytes between server and machine until the machine says what to do.
async fn next(machine: &mut ClientLogin, stream: &mut UpstreamStream) -> io::Result<ClientEvent> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(bytes) = machine.poll_transmit() {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        }
        if let Some(event) = machine.poll_event() {
            return Ok(event);
        }
        match stream.read(&mut buffer).await? {
            0 => machine.closed(),
            length => machine.receive(&buffer[..length]),
        }
    }
}

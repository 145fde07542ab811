//! A login to the Target through a Tunnel, to prove that a Grant opens it.

use std::{io, sync::Arc, time::Duration};

use db_proto::postgres::{
    ClientEvent, ClientLogin, ClientLoginError, LoggedIn, ParameterError, StartupParameters, TERMINATE, Transport,
};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use secrets::Secret;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Whom to log in as, and how the Target proves that it is the one meant.
#[derive(Clone, Debug)]
pub struct Login {
    /// The database user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The DbAuthToken.
    pub password: Secret<String>,
    /// The Target's real endpoint, which its certificate must name, without the port.
    pub server_name: String,
    /// Who may have signed it: the certificates of RDS.
    pub roots: Vec<CertificateDer<'static>>,
    /// For everything.
    pub timeout: Duration,
}

/// Why there was no login.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Nothing came in time.
    #[error("{server_name} did not finish the login in {seconds} s")]
    TimedOut {
        /// As asked for.
        server_name: String,
        /// Waited.
        seconds: u64,
    },
    /// The certificate names another server.
    #[error("the server's certificate is not for {server_name}: the tunnel may end at another database")]
    TlsName {
        /// As asked for.
        server_name: String,
    },
    /// The certificate is not signed by a known root, or is out of date.
    #[error(
        "the certificate of {server_name} cannot be trusted ({cause}): update the RDS certificates or check the target"
    )]
    TlsChain {
        /// As asked for.
        server_name: String,
        /// From rustls.
        cause: String,
    },
    /// TLS failed otherwise.
    #[error("TLS with {server_name} failed: {cause}")]
    Tls {
        /// As asked for.
        server_name: String,
        /// From rustls or the system.
        cause: String,
    },
    /// The database said no.
    #[error("the database refused the login: {message} ({sqlstate})")]
    Refused {
        /// Five characters of PostgreSQL.
        sqlstate: String,
        /// In the database's words.
        message: String,
    },
    /// The SSM agent could not reach the Target.
    #[error("the bastion could not connect to {server_name}: check host, port and security groups")]
    Unreachable {
        /// As asked for.
        server_name: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {server_name} ended {stage}")]
    Closed {
        /// As asked for.
        server_name: String,
        /// When, in words.
        stage: String,
    },
    /// User or database name cannot be sent.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The server does something else than PostgreSQL with IAM logins does.
    #[error(transparent)]
    Protocol(ClientLoginError),
}

/// Logs in to PostgreSQL over `stream` with TLS and a cleartext password, and leaves in good order.
///
/// # Errors
/// [`LoginError`].
pub async fn prove_login(stream: impl AsyncRead + AsyncWrite + Unpin, login: &Login) -> Result<LoggedIn, LoginError> {
    let attempt = Attempt { login, machine: ClientLogin::new(parameters(login)?, Transport::NegotiateTls) };
    let late = LoginError::TimedOut { server_name: login.server_name.clone(), seconds: login.timeout.as_secs() };
    timeout(login.timeout, attempt.run(stream)).await.unwrap_or(Err(late))
}

struct Attempt<'a> {
    login: &'a Login,
    machine: ClientLogin,
}

impl Attempt<'_> {
    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<LoggedIn, LoginError> {
        if let Some(done) = self.advance(&mut stream).await? {
            return Ok(done);
        }
        let mut encrypted = self.encrypt(stream).await?;
        self.machine.tls_established();
        let done = self.advance(&mut encrypted).await?;
        // A server that has let us in is proof enough, whether or not it hears the farewell.
        drop(encrypted.write_all(&TERMINATE).await);
        drop(encrypted.shutdown().await);
        done.ok_or_else(|| self.closed("when TLS was asked for twice"))
    }

    /// Until logged in (`Some`) or TLS is next (`None`).
    async fn advance(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<Option<LoggedIn>, LoginError> {
        let mut buffer = vec![0; 4096];
        loop {
            while let Some(bytes) = self.machine.poll_transmit() {
                stream.write_all(&bytes).await.map_err(|error| self.broken(&error))?;
            }
            match self.machine.poll_event() {
                Some(ClientEvent::StartTls) => return Ok(None),
                Some(ClientEvent::PasswordWanted) => self.machine.password(self.login.password.expose().as_bytes()),
                Some(ClientEvent::LoggedIn(session)) => return Ok(Some(session)),
                Some(ClientEvent::Failed(error)) => return Err(self.refused(error)),
                None => {
                    stream.flush().await.map_err(|error| self.broken(&error))?;
                    match stream.read(&mut buffer).await.map_err(|error| self.broken(&error))? {
                        0 => self.machine.closed(),
                        length => self.machine.receive(&buffer[..length]),
                    }
                }
            }
        }
    }

    async fn encrypt<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: T,
    ) -> Result<tokio_rustls::client::TlsStream<T>, LoginError> {
        let server_name = || self.login.server_name.clone();
        let unusable = |cause: String| LoginError::Tls { server_name: server_name(), cause };
        let name = ServerName::try_from(server_name()).map_err(|cause| unusable(cause.to_string()))?;
        let config = tls_config(&self.login.roots).map_err(|cause| unusable(cause.to_string()))?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| self.untrusted(&error))
    }

    fn untrusted(&self, error: &io::Error) -> LoginError {
        let server_name = self.login.server_name.clone();
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => LoginError::TlsName { server_name },
            Some(rustls::Error::InvalidCertificate(cause)) => {
                LoginError::TlsChain { server_name, cause: cause.to_string() }
            }
            _ => LoginError::Tls { server_name, cause: error.to_string() },
        }
    }

    fn refused(&self, error: ClientLoginError) -> LoginError {
        if let ClientLoginError::Refused(response) = &error {
            let (sqlstate, message) = (response.sqlstate().to_owned(), response.message().to_owned());
            return LoginError::Refused { sqlstate, message };
        }
        if let ClientLoginError::Closed { stage } = error {
            return self.closed(stage);
        }
        LoginError::Protocol(error)
    }

    fn broken(&self, error: &io::Error) -> LoginError {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return LoginError::Unreachable { server_name: self.login.server_name.clone() };
        }
        self.closed(&format!("in the middle ({error})"))
    }

    fn closed(&self, stage: &str) -> LoginError {
        LoginError::Closed { server_name: self.login.server_name.clone(), stage: stage.to_owned() }
    }
}

fn parameters(login: &Login) -> Result<StartupParameters, ParameterError> {
    StartupParameters::new(&login.user, &login.database)?.with("application_name", "daypass")
}

fn tls_config(roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

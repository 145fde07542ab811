//! What stands in front of a database at RDS: TLS with the endpoint's name, an IAM token instead of a password, and the
//! log that alone tells why a token was not taken.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_proto::postgres::{
    CancelKey, ClientLoginError, ErrorResponse, LoggedIn, ServerEvent, ServerLogin, Startup, TlsOffer,
};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::postgres::{self, QueryError};
use crate::tls::ServerCertificate;

/// `invalid_authorization_specification`.
const REFUSED: &str = "28000";
/// As PostgreSQL's `authentication_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_LOG: usize = 1_000;

/// One database endpoint. It closes when dropped; connections that are open are broken off.
pub struct RdsFront {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What an endpoint is.
pub struct RdsFrontConfig {
    /// Its name, as in `DescribeDBInstances`: `orders-prod.abc.eu-west-1.rds.amazonaws.com`.
    pub endpoint_host: String,
    /// The port it has in the VPC, which tokens are signed for; the real one is [`RdsFront::address`].
    pub endpoint_port: u16,
    /// As `eu-west-1`.
    pub region: String,
    /// DbiResourceId or DbClusterResourceId, as in policies.
    pub resource_id: String,
    /// Shown to clients.
    pub certificate: ServerCertificate,
    /// The folder of the real server's socket, [`crate::postgres::Postgres::socket_dir`].
    pub upstream: PathBuf,
    /// Judges tokens.
    pub check: Arc<dyn TokenCheck>,
    /// Says when a login is.
    pub clock: Clock,
}

/// Decides whether a token logs its user in.
pub trait TokenCheck: Send + Sync {
    /// Judges one login.
    ///
    /// # Errors
    /// [`TokenRefusal`]: what goes to the log; the client is not told.
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal>;
}

/// A user at an endpoint with a token. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginAttempt {
    /// [`RdsFrontConfig::endpoint_host`].
    pub endpoint_host: String,
    /// [`RdsFrontConfig::endpoint_port`].
    pub endpoint_port: u16,
    /// [`RdsFrontConfig::region`].
    pub region: String,
    /// [`RdsFrontConfig::resource_id`].
    pub resource_id: String,
    /// The database user, as the client wrote it.
    pub user: String,
    /// What came as the password.
    pub token: String,
    /// When.
    pub now: Timestamp,
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAttempt")
            .field("endpoint_host", &self.endpoint_host)
            .field("endpoint_port", &self.endpoint_port)
            .field("user", &self.user)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Why a token was not taken, in the words of the `iam-db-auth-error` log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct TokenRefusal {
    /// `InvalidToken`, `ExpiredToken`, `NotAuthorized`, ...
    pub code: String,
    /// `token age is longer than 15 minutes`, ...
    pub message: String,
}

/// A line of the `iam-db-auth-error` log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamDbAuthError {
    /// When, by the sandbox's clock.
    pub at: Timestamp,
    /// The database user.
    pub user: String,
    /// Why.
    pub refusal: TokenRefusal,
}

struct Shared {
    config: RdsFrontConfig,
    errors: Mutex<VecDeque<IamDbAuthError>>,
}

impl RdsFront {
    /// Listens on a free port of 127.0.0.1. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Whatever binding a loopback port can fail with.
    pub fn start(config: RdsFrontConfig) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { config, errors: Mutex::default() });
        let accepting = accept(listener, Arc::clone(&shared), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// Where it really listens; what the endpoint's name leads to in the VPC.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The newest lines of the `iam-db-auth-error` log, oldest first.
    pub fn iam_db_auth_errors(&self) -> Vec<IamDbAuthError> {
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl fmt::Debug for RdsFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdsFront")
            .field("address", &self.address)
            .field("endpoint_host", &self.shared.config.endpoint_host)
            .finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        // A failed accept concerns one client; pausing keeps a full descriptor table from spinning.
        let Ok((client, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // The client has been told what there is to tell.
            let _ = shared.serve(client, peer).await;
        }));
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream, peer: SocketAddr) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut login = ServerLogin::new(TlsOffer::Accept);
        match within_login_timeout(next_event(&mut client, &mut login)).await? {
            ServerEvent::StartTls => self.serve_tls(client, login).await,
            ServerEvent::Cancel(key) => self.cancel(&key).await,
            ServerEvent::Startup(startup) => {
                login.refuse(&no_encryption(&startup, peer));
                flush(&mut client, &mut login).await
            }
            ServerEvent::Password(_) | ServerEvent::Failed(_) => Ok(()),
        }
    }

    async fn serve_tls(&self, client: TcpStream, mut login: ServerLogin) -> io::Result<()> {
        let logging_in = async {
            let mut client = self.config.certificate.acceptor().accept(client).await?;
            login.tls_established();
            let logged_in = match next_event(&mut client, &mut login).await? {
                ServerEvent::Startup(startup) => self.log_in(&mut client, &mut login, startup).await?,
                ServerEvent::Cancel(key) => {
                    self.cancel(&key).await?;
                    None
                }
                ServerEvent::StartTls | ServerEvent::Password(_) | ServerEvent::Failed(_) => None,
            };
            io::Result::Ok((client, logged_in))
        };
        let (mut client, Some(mut database)) = within_login_timeout(logging_in).await? else { return Ok(()) };
        database.write_all(&login.take_unread()).await?;
        tokio::io::copy_bidirectional(&mut client, &mut database).await.map(|_| ())
    }

    /// Asks for the token and logs in to the real server. `None` when the client was refused.
    async fn log_in<S>(
        &self,
        client: &mut S,
        login: &mut ServerLogin,
        startup: Startup,
    ) -> io::Result<Option<UnixStream>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        login.ask_password();
        let ServerEvent::Password(token) = next_event(client, login).await? else { return Ok(None) };
        let token = String::from_utf8_lossy(token.as_bytes()).into_owned();
        let upstream = match self.check(startup.parameters.user(), token) {
            Ok(()) => self.log_in_upstream(startup).await,
            Err(refused) => Err(refused),
        };
        let database = match upstream {
            Ok((database, session)) => {
                login.accept(&session);
                Some(database)
            }
            Err(refused) => {
                login.refuse(&refused);
                None
            }
        };
        flush(client, login).await?;
        Ok(database)
    }

    /// The client learns nothing but that it failed.
    fn check(&self, user: &str, token: String) -> Result<(), ErrorResponse> {
        let attempt = LoginAttempt {
            endpoint_host: self.config.endpoint_host.clone(),
            endpoint_port: self.config.endpoint_port,
            region: self.config.region.clone(),
            resource_id: self.config.resource_id.clone(),
            user: user.to_owned(),
            token,
            now: self.config.clock.now(),
        };
        self.config.check.check(&attempt).map_err(|refusal| {
            self.note(IamDbAuthError { at: attempt.now, user: user.to_owned(), refusal });
            ErrorResponse::fatal(REFUSED, format!("PAM authentication failed for user \"{user}\""))
        })
    }

    async fn log_in_upstream(&self, startup: Startup) -> Result<(UnixStream, LoggedIn), ErrorResponse> {
        let attempt = async {
            let mut database = postgres::connect(&self.config.upstream).await?;
            let session = postgres::log_in(&mut database, startup.parameters).await?;
            Ok((database, session))
        };
        attempt.await.map_err(|error: QueryError| match error {
            QueryError::Login(ClientLoginError::Refused(refusal)) | QueryError::Failed(refusal) => refusal,
            QueryError::Login(_) | QueryError::Io(_) | QueryError::Parameter(_) => {
                ErrorResponse::fatal("57P03", "the database system is starting up")
            }
        })
    }

    /// Passed on; nothing is answered, whatever comes of it.
    async fn cancel(&self, key: &CancelKey) -> io::Result<()> {
        let mut database = postgres::connect(&self.config.upstream).await?;
        database.write_all(&key.cancel_request()).await?;
        database.read(&mut [0]).await.map(|_| ())
    }

    fn note(&self, error: IamDbAuthError) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() == LONGEST_LOG {
            errors.pop_front();
        }
        errors.push_back(error);
    }
}

fn no_encryption(startup: &Startup, peer: SocketAddr) -> ErrorResponse {
    let (user, database) = (startup.parameters.user(), startup.parameters.database());
    let host = peer.ip();
    ErrorResponse::fatal(
        REFUSED,
        format!("no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", no encryption"),
    )
}

/// Carries bytes between client and machine until the machine says what to do, and sends everything it has to say.
async fn next_event<S>(client: &mut S, login: &mut ServerLogin) -> io::Result<ServerEvent>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 4_096];
    loop {
        flush(client, login).await?;
        if let Some(event) = login.poll_event() {
            return Ok(event);
        }
        match client.read(&mut buffer).await? {
            0 => login.closed(),
            length => login.receive(buffer.get(..length).unwrap_or_default()),
        }
    }
}

async fn flush<S: AsyncWrite + Unpin>(client: &mut S, login: &mut ServerLogin) -> io::Result<()> {
    if let Some(bytes) = login.poll_transmit() {
        client.write_all(&bytes).await?;
        client.flush().await?;
    }
    Ok(())
}

async fn within_login_timeout<T>(login: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(LOGIN_TIMEOUT, login).await?
}

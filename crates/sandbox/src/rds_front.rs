//! What stands in front of a database at RDS: TLS with the endpoint's name, an IAM token instead of a password, and the
//! log that alone tells why a token was not taken. Users who have a password log in to the real server with it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::mariadb::MariadbDoor;
use crate::tls::ServerCertificate;

mod mysql;
mod postgres;

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
pub struct RdsFrontConfig<U = PathBuf> {
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
    /// The real server: the folder of PostgreSQL's socket, [`crate::postgres::Postgres::socket_dir`], or
    /// [`crate::mariadb::Mariadb::door`].
    pub upstream: U,
    /// Judges tokens.
    pub check: Arc<dyn TokenCheck>,
    /// Says when a login is.
    pub clock: Clock,
}

impl<U: Into<Upstream>> RdsFrontConfig<U> {
    fn known(self) -> RdsFrontConfig<Upstream> {
        let Self { endpoint_host, endpoint_port, region, resource_id, certificate, upstream, check, clock } = self;
        let upstream = upstream.into();
        RdsFrontConfig { endpoint_host, endpoint_port, region, resource_id, certificate, upstream, check, clock }
    }
}

/// What is behind an endpoint.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// MariaDB.
    Mariadb(MariadbDoor),
    /// PostgreSQL, by the folder of its socket.
    Postgres(PathBuf),
}

impl From<PathBuf> for Upstream {
    fn from(folder: PathBuf) -> Self {
        Self::Postgres(folder)
    }
}

impl From<MariadbDoor> for Upstream {
    fn from(door: MariadbDoor) -> Self {
        Self::Mariadb(door)
    }
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
    config: RdsFrontConfig<Upstream>,
    errors: Mutex<VecDeque<IamDbAuthError>>,
}

impl RdsFront {
    /// Listens on a free port of 127.0.0.1. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Whatever binding a loopback port can fail with.
    pub fn start<U: Into<Upstream>>(config: RdsFrontConfig<U>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { config: config.known(), errors: Mutex::default() });
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
    async fn serve(&self, client: TcpStream, peer: SocketAddr) -> io::Result<()> {
        client.set_nodelay(true)?;
        match &self.config.upstream {
            Upstream::Mariadb(door) => mysql::serve(self, door, client, peer).await,
            Upstream::Postgres(folder) => postgres::serve(self, folder, client, peer).await,
        }
    }

    /// Whether `token` logs `user` in; a refusal is noted, and not for the client to know.
    fn takes(&self, user: &str, token: &[u8]) -> bool {
        let attempt = LoginAttempt {
            endpoint_host: self.config.endpoint_host.clone(),
            endpoint_port: self.config.endpoint_port,
            region: self.config.region.clone(),
            resource_id: self.config.resource_id.clone(),
            user: user.to_owned(),
            token: String::from_utf8_lossy(token).into_owned(),
            now: self.config.clock.now(),
        };
        let judged = self.config.check.check(&attempt);
        judged.map_err(|refusal| self.note(IamDbAuthError { at: attempt.now, user: user.to_owned(), refusal })).is_ok()
    }

    fn note(&self, error: IamDbAuthError) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() == LONGEST_LOG {
            errors.pop_front();
        }
        errors.push_back(error);
    }
}

/// A client's stream, encrypted by now.
trait Encrypted: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Encrypted for tokio_rustls::server::TlsStream<S> {}

async fn within_login_timeout<T>(login: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(LOGIN_TIMEOUT, login).await?
}

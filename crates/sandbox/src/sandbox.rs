//! Putting the account together and taking it down.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::Engine;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::account::Account;
use crate::automation::Automation;
use crate::catalog;
use crate::clock::Clock;
use crate::cloud::{Cloud, Seeds};
use crate::colleague;
use crate::data_channel::{AgentConfig, DataChannels};
use crate::ecs::Tasks;
use crate::endpoint;
use crate::faults::Faults;
use crate::iam::{Iam, PolicyFlaw};
use crate::journal::Journal;
use crate::mariadb::{Mariadb, MariadbError};
use crate::oidc::{Issuer, KeyFlaw};
use crate::postgres::{Postgres, PostgresError};
use crate::rds_front::{RdsFront, RdsFrontConfig, Upstream};
use crate::rds_login::RdsLogin;
use crate::secrets_manager::{Doors, Secrets};
use crate::seed::{Seed, Use};
use crate::ssm::Sessions;
use crate::ssm_agent::Vpc;
use crate::sts::Handed;
use crate::tls::{CertificateAuthority, TlsError};

mod knobs;
mod tunnels;

pub use knobs::TemporaryCredentials;

/// How a sandbox is to be.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Everything that is made up follows from it.
    pub seed: u64,
    /// How far the sandbox's clock is from the machine's.
    pub clock_offset: SignedDuration,
    /// Whether the SSM agent sleeps a millisecond after each message, as the real one does.
    pub pacing: bool,
    /// Between here and the sandbox, one way, for the data channel and for every call.
    pub one_way_delay: Duration,
    /// Ben approves each request this long after it began, on the sandbox's clock; none: nobody answers by themselves.
    pub colleague: Option<Duration>,
    /// Whether there are servers (PostgreSQL, MariaDB) behind the databases; without them nothing listens at their
    /// endpoints.
    pub with_postgres: bool,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            clock_offset: SignedDuration::ZERO,
            pacing: true,
            one_way_delay: Duration::ZERO,
            colleague: None,
            with_postgres: true,
        }
    }
}

/// A sandbox that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The seed gives no usable key.
    #[error(transparent)]
    Key(#[from] KeyFlaw),
    /// No port or no temporary folder.
    #[error(
        "the sandbox cannot {what}: {cause}; free a loopback port or space in the temporary folder and start again"
    )]
    Machine {
        /// What it wanted to do.
        what: &'static str,
        /// The machine's answer.
        cause: std::io::Error,
    },
    /// A database does not take the passwords of its users.
    #[error("a database does not take the passwords of its users: {cause}; start again")]
    Passwords {
        /// The database's words.
        cause: String,
    },
    /// The built-in policies do not parse.
    #[error(transparent)]
    Policy(#[from] PolicyFlaw),
    /// No MariaDB.
    #[error(transparent)]
    Mariadb(#[from] MariadbError),
    /// No PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An AWS account that lives as long as this value.
pub struct Sandbox {
    cloud: Arc<Cloud>,
    endpoint_url: String,
    vpc: Vpc,
    authority: CertificateAuthority,
    folder: tempfile::TempDir,
    fronts: Vec<RdsFront>,
    _servers: Option<Servers>,
    _colleague: Option<AbortOnDropHandle<()>>,
    _stop: DropGuard,
}

impl Sandbox {
    /// Starts an account on free loopback ports. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SandboxError`] says what the machine refused.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let clock = Clock::real();
        clock.set_offset(config.clock_offset);
        let authority = CertificateAuthority::new("Amazon RDS eu-west-1 Root CA (sandbox)", Timestamp::now())?;
        let folder = folder_with(&authority)
            .map_err(|cause| SandboxError::Machine { what: "make a temporary folder", cause })?;
        let (endpoint, endpoint_url) = listen().await?;
        let (issuer, issuer_url) = listen().await?;
        let vpc = Vpc::new();
        let cloud = Arc::new(cloud(&config, &clock, issuer_url, vpc.clone())?);

        let stop = CancellationToken::new();
        let stop_on_drop = stop.clone().drop_guard();
        serve(issuer, cloud.issuer.router(), stop.clone());
        serve(endpoint, endpoint::router(Arc::clone(&cloud), config.one_way_delay * 2), stop);
        let colleague = config.colleague.map(|after| {
            let answering = colleague::approve_each(Arc::downgrade(&cloud), after);
            AbortOnDropHandle::new(tokio::spawn(answering))
        });
        let servers = if config.with_postgres { Some(Servers::start().await?) } else { None };
        let fronts = match &servers {
            Some(servers) => {
                let opened = cloud.secrets.open(servers.doors()).await;
                opened.map_err(|cause| SandboxError::Passwords { cause: cause.to_string() })?;
                fronts(&cloud, &authority, servers, &vpc)?
            }
            None => Vec::new(),
        };
        Ok(Self {
            cloud,
            endpoint_url,
            vpc,
            authority,
            folder,
            fronts,
            _servers: servers,
            _colleague: colleague,
            _stop: stop_on_drop,
        })
    }

    /// Where all AWS services listen: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// The identity provider: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn issuer_url(&self) -> &str {
        &self.cloud.issuer.url
    }

    /// The sandbox's clock, to be moved.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.cloud.clock
    }

    /// What the databases' certificates chain to.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// The catalog that tells Daypass about this account; the files it names are there until the sandbox ends.
    #[must_use]
    pub fn catalog_toml(&self) -> String {
        self.catalog_with(&self.folder.path().join(CA_FILE))
    }

    /// Writes `catalog.toml` and `ca.pem` into `dir` and answers the catalog's path.
    ///
    /// # Errors
    /// Whatever writing into `dir` fails with.
    pub fn write_catalog(&self, dir: &Path) -> std::io::Result<PathBuf> {
        let (ca, catalog) = (dir.join(CA_FILE), dir.join("catalog.toml"));
        std::fs::write(&ca, self.ca_pem())?;
        std::fs::write(&catalog, self.catalog_with(&ca))?;
        Ok(catalog)
    }

    fn catalog_with(&self, ca: &Path) -> String {
        let ca = ca.to_string_lossy();
        let addresses =
            catalog::Addresses { endpoint: &self.endpoint_url, issuer: self.issuer_url(), ca_bundle: Some(&ca) };
        catalog::toml(&self.cloud.account, &addresses)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("endpoint_url", &self.endpoint_url).finish_non_exhaustive()
    }
}

const CA_FILE: &str = "ca.pem";

fn cloud(config: &SandboxConfig, clock: &Clock, issuer_url: String, vpc: Vpc) -> Result<Cloud, SandboxError> {
    let account = Arc::new(Account::acme());
    let (seeds, faults) = (Seeds::new(config.seed), Arc::new(Faults::default()));
    let agent = AgentConfig { pacing: config.pacing, one_way_delay: config.one_way_delay, ..AgentConfig::default() };
    let agent_version = agent.agent_version.clone();
    let channels = DataChannels::start(clock.clone(), agent, vpc)
        .map_err(|cause| SandboxError::Machine { what: "listen for data channels", cause })?;
    let issuer_host = issuer_url.trim_start_matches("http://").to_owned();
    let sign_in = Seed::new(config.seed, Use::SignIn);
    let issuer = Issuer::new(issuer_url, clock.clone(), sign_in, Arc::clone(&faults), Arc::clone(&account))?;
    Ok(Cloud {
        secrets: Secrets::new(&account, &seeds.secrets, clock.now()),
        iam: Iam::new(&account, &issuer_host, &seeds.keys, clock.clone())?,
        sessions: Sessions::new(&account, channels, agent_version),
        tasks: Tasks::default(),
        clock: clock.clone(),
        issuer: Arc::new(issuer),
        handed: Handed::default(),
        journal: Journal::default(),
        automation: Automation::default(),
        account,
        seeds,
        faults,
    })
}

fn folder_with(authority: &CertificateAuthority) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("daypass-sandbox-").tempdir()?;
    std::fs::write(folder.path().join(CA_FILE), authority.ca_pem())?;
    Ok(folder)
}

/// What the databases really are: one server of each family.
struct Servers {
    mariadb: Mariadb,
    postgres: Postgres,
}

impl Servers {
    async fn start() -> Result<Self, SandboxError> {
        let mariadb = async { Mariadb::start().await.map_err(SandboxError::from) };
        let postgres = async { Postgres::start().await.map_err(SandboxError::from) };
        let (mariadb, postgres) = tokio::try_join!(mariadb, postgres)?;
        Ok(Self { mariadb, postgres })
    }

    fn doors(&self) -> Doors {
        Doors { mariadb: self.mariadb.door(), postgres: self.postgres.socket_dir().to_owned() }
    }

    fn behind(&self, engine: Engine) -> Upstream {
        match engine {
            Engine::Mariadb => self.mariadb.door().into(),
            Engine::Mysql => self.mariadb.door().like_mysql_8().into(),
            Engine::Postgres => self.postgres.socket_dir().to_owned().into(),
        }
    }
}

/// One endpoint for each database. Certificates are judged by the clients' own clocks.
fn fronts(
    cloud: &Arc<Cloud>,
    authority: &CertificateAuthority,
    servers: &Servers,
    vpc: &Vpc,
) -> Result<Vec<RdsFront>, SandboxError> {
    let mut fronts = Vec::new();
    for database in &cloud.account.databases {
        let front = RdsFront::start(RdsFrontConfig {
            endpoint_host: database.host.clone(),
            endpoint_port: database.port,
            region: cloud.account.region.clone(),
            resource_id: database.resource_id.into(),
            certificate: authority.certificate(&[&database.host], Timestamp::now())?,
            upstream: servers.behind(database.engine),
            check: Arc::new(RdsLogin(Arc::clone(cloud))),
            clock: cloud.clock.clone(),
        })
        .map_err(|cause| SandboxError::Machine { what: "listen for a database", cause })?;
        vpc.route(&database.host, database.port, front.address());
        fronts.push(front);
    }
    Ok(fronts)
}

async fn listen() -> Result<(TcpListener, String), SandboxError> {
    let flaw = |cause| SandboxError::Machine { what: "listen on 127.0.0.1", cause };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(flaw)?;
    let url = format!("http://{}", listener.local_addr().map_err(flaw)?);
    Ok((listener, url))
}

/// Serves until `stop`, which also ends connections that a client keeps open for its next call.
fn serve(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    tokio::spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::warn!(%error, "stopped listening");
        }
    });
}

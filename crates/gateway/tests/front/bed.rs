//! A PostgreSQL behind an RDS endpoint, a Front before it, and the answers the Front gets about logins.

use std::{
    net::SocketAddr,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use gateway::{
    Credential, Direct, Doors, Ending, Front, FrontConfig, FrontEvent, FrontLimits, Logins, MysqlSettings,
    NoCredential, Origin, Route, TurnedAway, Upstream,
};
use model::Engine;
use sandbox::{
    clock::Clock,
    postgres::{DATABASE, Postgres},
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::CertificateAuthority,
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::mpsc,
    time::{Instant, timeout},
};

pub(crate) const HOST: &str = "orders.abc.eu-west-1.rds.amazonaws.com";
pub(crate) const TARGET: &str = "orders-prod";
pub(crate) const PASSWORD: &str = "local-canary-81";
pub(crate) const TOKEN: &str = "token-canary-82";
const PATIENCE: Duration = Duration::from_secs(30);

/// A database with its endpoint.
pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    pub(crate) authority: CertificateAuthority,
    pub(crate) endpoint: RdsFront,
}

impl Database {
    pub(crate) async fn start() -> Self {
        let clock = Clock::real();
        let authority = CertificateAuthority::new("Daypass test", clock.now()).expect("keys can be made");
        let postgres = Postgres::start().await.expect("PostgreSQL is installed");
        let endpoint = RdsFront::start(RdsFrontConfig {
            endpoint_host: HOST.to_owned(),
            endpoint_port: 5432,
            region: "eu-west-1".to_owned(),
            resource_id: "db-ABC".to_owned(),
            certificate: authority.certificate(&[HOST], clock.now()).expect("a name"),
            upstream: postgres.socket_dir().to_owned(),
            check: Arc::new(OneToken),
            clock,
        })
        .expect("loopback has free ports");
        Self { postgres, authority, endpoint }
    }

    pub(crate) async fn execute(&self, statements: &str) {
        self.postgres.execute(DATABASE, statements).await.expect("the superuser may");
    }
}

/// Takes [`TOKEN`] from everybody.
pub(crate) struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        if attempt.token == TOKEN {
            return Ok(());
        }
        Err(TokenRefusal { code: "stale".to_owned(), message: "another token".to_owned() })
    }
}

/// What a test lets the Front know. Credentials are handed out in order, the last one for ever.
#[derive(Default)]
pub(crate) struct TestLogins {
    pub(crate) credentials: Mutex<Vec<Result<Credential, NoCredential>>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) refused: AtomicUsize,
    pub(crate) fresh_until: Mutex<Option<Instant>>,
    pub(crate) wait: Mutex<Duration>,
}

impl TestLogins {
    pub(crate) fn with(credentials: impl Into<Vec<Credential>>) -> Self {
        let credentials = credentials.into().into_iter().map(Ok).collect();
        Self { credentials: Mutex::new(credentials), ..Self::default() }
    }
}

pub(crate) fn token(user: &str, token: &str) -> Credential {
    Credential::Token { user: user.to_owned(), token: token.into() }
}

pub(crate) fn secret(user: &str, password: &str) -> Credential {
    Credential::Secret { user: user.to_owned(), password: password.into() }
}

impl Logins for TestLogins {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        self.asked.fetch_add(1, SeqCst);
        let wait = *self.wait.lock().expect("no panic");
        let mut credentials = self.credentials.lock().expect("no panic");
        let next = if credentials.len() > 1 { credentials.remove(0) } else { credentials[0].clone() };
        async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            next
        }
        .boxed()
    }

    fn refused(&self, _: &Credential) {
        self.refused.fetch_add(1, SeqCst);
    }

    fn fresh_until(&self) -> Option<Instant> {
        *self.fresh_until.lock().expect("no panic")
    }

    fn origin(&self) -> Origin {
        Origin { person: "ana@acme.dev".to_owned(), request: Some("req-7".to_owned()) }
    }
}

/// A Front, and what it tells.
pub(crate) struct Bed {
    pub(crate) front: Front,
    pub(crate) events: mpsc::UnboundedReceiver<FrontEvent>,
    pub(crate) folder: TempDir,
    pub(crate) logins: Arc<TestLogins>,
}

impl Bed {
    pub(crate) async fn at(database: &Database, logins: TestLogins) -> Self {
        let config = config(&database.authority);
        Self::with(config, route(database.endpoint.address()), logins).await
    }

    pub(crate) async fn with(config: FrontConfig, upstream: Arc<dyn Upstream>, logins: TestLogins) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let doors = Doors::bind(None).await.expect("a port is free");
        let doors = doors.with_socket(&folder.path().join("s"), config.engine).expect("the folder is ours");
        let (report, events) = mpsc::unbounded_channel();
        let logins = Arc::new(logins);
        let knows = Arc::clone(&logins);
        let front = Front::open(doors, config, upstream, knows, report).expect("a name");
        Self { front, events, folder, logins }
    }

    pub(crate) fn port(&self) -> u16 {
        self.front.local_addr().expect("it listens").port()
    }

    /// A connection string without the password.
    pub(crate) fn dsn(&self, settings: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=app_ro dbname={DATABASE} sslmode=disable connect_timeout=20 {settings}",
            self.port()
        )
    }

    pub(crate) fn socket_dsn(&self, settings: &str) -> String {
        format!("host={} {settings}", self.folder.path().join("s").display())
    }

    pub(crate) async fn event(&mut self) -> FrontEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("soon").expect("the Front is open")
    }

    /// The next client that is turned away.
    pub(crate) async fn turned_away(&mut self) -> TurnedAway {
        loop {
            if let FrontEvent::TurnedAway { why, .. } = self.event().await {
                return why;
            }
        }
    }

    pub(crate) async fn logged_in(&mut self) -> (String, String, String) {
        loop {
            if let FrontEvent::LoggedIn { user, database, application, .. } = self.event().await {
                return (user, database, application);
            }
        }
    }

    pub(crate) fn end_in(&self, left: Duration) {
        self.end_at(Instant::now() + left);
    }

    pub(crate) fn end_at(&self, at: Instant) {
        self.front.end(Some(Ending {
            at,
            notice: "your access to orders-prod ends at 15:42".to_owned(),
            cause: "your access to orders-prod ended at 15:42".to_owned(),
            hint: "ask again in Daypass".to_owned(),
        }));
    }

    /// psql, as a person starts it; later settings win. Fails a test that it hangs in.
    pub(crate) async fn psql(&self, dsn: &str, statement: &str) -> Output {
        timeout(PATIENCE, psql(dsn, statement).output()).await.expect("soon").expect("psql is installed")
    }

    pub(crate) async fn tokio_postgres(&self) -> tokio_postgres::Client {
        let mut config: tokio_postgres::Config = self.dsn("").parse().expect("a connection string");
        config.password(PASSWORD);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("it may log in");
        tokio::spawn(connection);
        client
    }
}

pub(crate) fn psql(dsn: &str, statement: &str) -> Command {
    let mut command = program("psql");
    command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--command", statement, dsn]);
    command
}

/// A libpq program that inherits nothing but the way to programs.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PGPASSWORD", PASSWORD);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) fn config(authority: &CertificateAuthority) -> FrontConfig {
    FrontConfig {
        engine: Engine::Postgres,
        target: TARGET.to_owned(),
        database_user: "app_ro".to_owned(),
        database: DATABASE.to_owned(),
        read_only: false,
        server_name: HOST.to_owned(),
        roots: vec![authority.ca_der().clone()],
        local_password: PASSWORD.into(),
        mysql: MysqlSettings::default(),
        limits: FrontLimits::default(),
    }
}

pub(crate) fn route(address: SocketAddr) -> Arc<dyn Upstream> {
    Arc::new(Route::from(direct(address)))
}

pub(crate) fn direct(address: SocketAddr) -> Direct {
    Direct::new(address.ip().to_string(), address.port(), Duration::from_secs(5))
}

pub(crate) fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

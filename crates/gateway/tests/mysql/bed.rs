//! A MariaDB behind an RDS endpoint, a Front before it, and the answers the Front gets about logins.

use std::{
    process::{Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use gateway::{
    Credential, Direct, Doors, Ending, Front, FrontConfig, FrontEvent, FrontLimits, Logins, MysqlSettings,
    NoCredential, Origin, Route, TurnedAway,
};
use model::Engine;
use sandbox::{
    clock::Clock,
    mariadb::{DATABASE, Mariadb, MariadbDoor},
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::CertificateAuthority,
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::mpsc,
    time::{Instant, timeout},
};

pub(crate) const HOST: &str = "billing.abc.eu-west-1.rds.amazonaws.com";
pub(crate) const TARGET: &str = "billing-prod";
pub(crate) const USER: &str = "app_rw";
pub(crate) const PASSWORD: &str = "local-canary-91";
pub(crate) const TOKEN: &str = "token-canary-92";
const PATIENCE: Duration = Duration::from_secs(30);

/// A database with its endpoint.
pub(crate) struct Database {
    pub(crate) mariadb: Mariadb,
    pub(crate) authority: CertificateAuthority,
    pub(crate) endpoint: RdsFront,
}

impl Database {
    pub(crate) async fn start() -> Self {
        Self::with_door(|door| door).await
    }

    pub(crate) async fn with_door(change: impl FnOnce(MariadbDoor) -> MariadbDoor) -> Self {
        let clock = Clock::real();
        let authority = CertificateAuthority::new("Daypass test", clock.now()).expect("keys can be made");
        let mariadb = Mariadb::start().await.expect("MariaDB is installed");
        let endpoint = RdsFront::start(RdsFrontConfig {
            endpoint_host: HOST.to_owned(),
            endpoint_port: 3306,
            region: "eu-west-1".to_owned(),
            resource_id: "db-ABC".to_owned(),
            certificate: authority.certificate(&[HOST], clock.now()).expect("a name"),
            upstream: change(mariadb.door()),
            check: Arc::new(OneToken),
            clock,
        })
        .expect("loopback has free ports");
        let grant = format!("GRANT ALL ON {DATABASE}.* TO '{USER}'@'%'");
        mariadb.execute(&grant).await.expect("the superuser may");
        Self { mariadb, authority, endpoint }
    }
}

struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        if attempt.token == TOKEN {
            return Ok(());
        }
        Err(TokenRefusal { code: "stale".to_owned(), message: "another token".to_owned() })
    }
}

/// Hands out credentials in order, the last one for ever.
pub(crate) struct TestLogins {
    credentials: Mutex<Vec<Credential>>,
    pub(crate) refused: AtomicUsize,
}

impl TestLogins {
    pub(crate) fn with(credentials: impl Into<Vec<Credential>>) -> Self {
        Self { credentials: Mutex::new(credentials.into()), refused: AtomicUsize::new(0) }
    }
}

pub(crate) fn token(token: &str) -> Credential {
    Credential::Token { user: USER.to_owned(), token: token.into() }
}

pub(crate) fn secret(user: &str, password: &str) -> Credential {
    Credential::Secret { user: user.to_owned(), password: password.into() }
}

impl Logins for TestLogins {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        let mut credentials = self.credentials.lock().expect("no panic");
        let next = if credentials.len() > 1 { credentials.remove(0) } else { credentials[0].clone() };
        async move { Ok(next) }.boxed()
    }

    fn refused(&self, _: &Credential) {
        self.refused.fetch_add(1, SeqCst);
    }

    fn fresh_until(&self) -> Option<Instant> {
        None
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
    /// With a token that is right.
    pub(crate) async fn at(database: &Database) -> Self {
        Self::with(database, TestLogins::with([token(TOKEN)]), |_| {}).await
    }

    pub(crate) async fn with(database: &Database, logins: TestLogins, change: impl FnOnce(&mut FrontConfig)) -> Self {
        let mut config = config(&database.authority);
        change(&mut config);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let doors = Doors::bind(None).await.expect("a port is free");
        let doors = doors.with_socket(&folder.path().join("s"), config.engine).expect("the folder is ours");
        let (report, events) = mpsc::unbounded_channel();
        let logins = Arc::new(logins);
        let knows = Arc::clone(&logins);
        let address = database.endpoint.address();
        let direct = Direct::new(address.ip().to_string(), address.port(), Duration::from_secs(5));
        let front = Front::open(doors, config, Arc::new(Route::from(direct)), knows, report).expect("a name");
        Self { front, events, folder, logins }
    }

    pub(crate) fn port(&self) -> u16 {
        self.front.local_addr().expect("it listens").port()
    }

    /// The `mariadb` program at the port, as a person starts it.
    pub(crate) fn client(&self, options: &[&str]) -> Command {
        let mut command = Command::new("mariadb");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("MYSQL_PWD", PASSWORD);
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--host=127.0.0.1"]);
        command.arg(format!("--port={}", self.port())).arg(format!("--user={USER}")).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs statements in the billing database.
    pub(crate) async fn sql(&self, options: &[&str], statements: &str) -> Output {
        run(self.client(options).arg(DATABASE).arg("--execute").arg(statements)).await
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
        self.front.end(Some(Ending {
            at: Instant::now() + left,
            notice: "your access to billing-prod ends at 15:42".to_owned(),
            cause: "your access to billing-prod ended at 15:42".to_owned(),
            hint: "ask again in Daypass".to_owned(),
        }));
    }
}

/// Fails a test that the program hangs in.
pub(crate) async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("soon").expect("the program is installed")
}

pub(crate) fn config(authority: &CertificateAuthority) -> FrontConfig {
    FrontConfig {
        engine: Engine::Mariadb,
        target: TARGET.to_owned(),
        database_user: USER.to_owned(),
        database: DATABASE.to_owned(),
        read_only: false,
        server_name: HOST.to_owned(),
        roots: vec![authority.ca_der().clone()],
        local_password: PASSWORD.into(),
        mysql: MysqlSettings::default(),
        limits: FrontLimits::default(),
    }
}

pub(crate) fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

//! Fronts, and what they need to open.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use gateway::{
    Credential, Direct, Doors, Front, FrontConfig, FrontLimits, Listener, Logins, MysqlSettings, NoCredential,
    Observer, Origin, Route, Traffic, serve,
};
use model::Engine;
use rustls_pki_types::CertificateDer;
use sandbox::{
    clock::Clock,
    mariadb::{self, Mariadb},
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::CertificateAuthority,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::postgres_server::{self, PostgresServer};

/// What clients log in with at every Front.
pub(crate) const LOCAL_PASSWORD: &str = "of-this-machine";
/// MariaDB's user.
pub(crate) const MARIADB_USER: &str = "app_rw";
const BILLING_HOST: &str = "billing.abc.eu-west-1.rds.amazonaws.com";
const TOKEN: &str = "a-token";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn direct(address: SocketAddr) -> Route {
    Direct::new(address.ip().to_string(), address.port(), PATIENCE).into()
}

/// Carries bytes as they are, from the address returned.
pub(crate) async fn plain_forward(to: SocketAddr) -> SocketAddr {
    let listener = Listener::bind(None).await.expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    let observer = Observer { traffic: Arc::new(Traffic::default()), events: mpsc::unbounded_channel().0 };
    tokio::spawn(serve(listener, Arc::new(direct(to)), CancellationToken::new(), observer));
    address
}

/// Before `server`, which `route` leads to.
pub(crate) async fn before_postgres(server: &PostgresServer, route: Route) -> Front {
    let (user, password) = (postgres_server::USER.to_owned(), postgres_server::PASSWORD.into());
    let config = FrontConfig {
        engine: Engine::Postgres,
        database_user: user.clone(),
        database: user.clone(),
        server_name: postgres_server::NAME.to_owned(),
        ..config(&server.authority)
    };
    open(config, route, Credential::Secret { user, password }).await
}

/// A real MariaDB behind an endpoint as RDS has them.
pub(crate) struct Billing {
    pub(crate) endpoint: RdsFront,
    authority: CertificateAuthority,
    _mariadb: Mariadb,
}

impl Billing {
    pub(crate) async fn start() -> Self {
        let clock = Clock::real();
        let authority = CertificateAuthority::new("Daypass bench", clock.now()).expect("keys can be made");
        let mariadb = Mariadb::start().await.expect("MariaDB is installed");
        let endpoint = RdsFront::start(RdsFrontConfig {
            endpoint_host: BILLING_HOST.to_owned(),
            endpoint_port: 3306,
            region: "eu-west-1".to_owned(),
            resource_id: "db-ABC".to_owned(),
            certificate: authority.certificate(&[BILLING_HOST], clock.now()).expect("a name"),
            upstream: mariadb.door(),
            check: Arc::new(OneToken),
            clock,
        })
        .expect("loopback has free ports");
        Self { endpoint, authority, _mariadb: mariadb }
    }

    /// `route` leads to the endpoint.
    pub(crate) async fn front(&self, route: Route, compression: bool) -> Front {
        let config = FrontConfig {
            engine: Engine::Mariadb,
            database_user: MARIADB_USER.to_owned(),
            database: mariadb::DATABASE.to_owned(),
            server_name: BILLING_HOST.to_owned(),
            mysql: MysqlSettings { compression: Some(compression), ..MysqlSettings::default() },
            ..config(self.authority.ca_der())
        };
        open(config, route, Credential::Token { user: MARIADB_USER.to_owned(), token: TOKEN.into() }).await
    }
}

/// How long one login at the Target takes.
pub(crate) async fn login_time(front: &Front) -> Duration {
    let begun = Instant::now();
    front.prove().await.expect("it may log in");
    begun.elapsed()
}

fn config(authority: &CertificateDer<'static>) -> FrontConfig {
    FrontConfig {
        engine: Engine::Postgres,
        target: "bench".to_owned(),
        database_user: String::new(),
        database: String::new(),
        read_only: false,
        server_name: String::new(),
        roots: vec![authority.clone()],
        local_password: LOCAL_PASSWORD.into(),
        mysql: MysqlSettings::default(),
        limits: FrontLimits::default(),
    }
}

async fn open(config: FrontConfig, route: Route, credential: Credential) -> Front {
    let doors = Doors::bind(None).await.expect("some port is free");
    let events = mpsc::unbounded_channel().0;
    Front::open(doors, config, Arc::new(route), Arc::new(OneCredential(credential)), events).expect("a name")
}

struct OneCredential(Credential);

impl Logins for OneCredential {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        async { Ok(self.0.clone()) }.boxed()
    }

    fn refused(&self, _: &Credential) {}

    fn fresh_until(&self) -> Option<tokio::time::Instant> {
        None
    }

    fn origin(&self) -> Origin {
        Origin::default()
    }
}

struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        if attempt.token == TOKEN {
            return Ok(());
        }
        Err(TokenRefusal { code: "InvalidToken".to_owned(), message: "another token".to_owned() })
    }
}

//! Logging in to a real PostgreSQL behind a TLS front, through a tunnel.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use gateway::{
    Credential, Doors, Front, FrontConfig, FrontLimits, Logins, MysqlSettings, NoCredential, Origin, Reason, Route,
};
use model::Engine;
use sandbox::{
    clock::Clock,
    data_channel::AgentConfig,
    postgres::{DATABASE, Postgres},
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::CertificateAuthority,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_postgres::NoTls;

use crate::bed::{Bed, HOST, PORT, in_time};

#[tokio::test]
async fn a_front_logs_in_through_a_tunnel_and_tells_what_stands_in_the_way() {
    let clock = Clock::real();
    let authority = CertificateAuthority::new("Daypass test", clock.now()).expect("keys can be made");
    let postgres = Postgres::start().await.expect("PostgreSQL is installed");
    let endpoint = RdsFront::start(RdsFrontConfig {
        endpoint_host: HOST.to_owned(),
        endpoint_port: PORT,
        region: "eu-west-1".to_owned(),
        resource_id: "db-ABC".to_owned(),
        certificate: authority.certificate(&[HOST], clock.now()).expect("a name"),
        upstream: postgres.socket_dir().to_owned(),
        check: Arc::new(OneToken),
        clock,
    })
    .expect("loopback has free ports");
    let bed = Bed::new(AgentConfig::default());
    bed.route(endpoint.address());

    let right = front(&bed, &authority, "right").await;
    in_time(right.prove()).await.expect("the token is right");
    let port = right.local_addr().expect("it listens").port();
    let client = format!("host=127.0.0.1 port={port} user=app_ro password=local dbname={DATABASE}");
    let (client, connection) = in_time(tokio_postgres::connect(&client, NoTls)).await.expect("it may enter");
    tokio::spawn(connection);
    let rows = in_time(client.query("SELECT id FROM orders", &[])).await.expect("it may read");
    assert_eq!(rows.len(), 50);

    let stale = front(&bed, &authority, "stale").await;
    let refused = in_time(stale.prove()).await.expect_err("the token is stale");
    assert_eq!((refused.reason, refused.sqlstate.as_str()), (Reason::Authentication, "28000"));
    assert_eq!(refused.message, "PAM authentication failed for user \"app_ro\"");
}

async fn front(bed: &Bed, authority: &CertificateAuthority, token: &'static str) -> Front {
    let config = FrontConfig {
        engine: Engine::Postgres,
        target: "orders".to_owned(),
        database_user: "app_ro".to_owned(),
        database: DATABASE.to_owned(),
        read_only: true,
        server_name: HOST.to_owned(),
        roots: vec![authority.ca_der().clone()],
        local_password: "local".into(),
        mysql: MysqlSettings::default(),
        limits: FrontLimits { waiting: Duration::from_secs(20), ..FrontLimits::default() },
    };
    let (pool, _events) = bed.pool().await;
    let (report, _) = mpsc::unbounded_channel();
    let doors = Doors::bind(None).await.expect("a port is free");
    Front::open(doors, config, Arc::new(Route::from(pool)), Arc::new(Token(token)), report).expect("a name")
}

struct Token(&'static str);

impl Logins for Token {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        let credential = Credential::Token { user: "app_ro".to_owned(), token: self.0.into() };
        std::future::ready(Ok(credential)).boxed()
    }

    fn refused(&self, _: &Credential) {}

    fn fresh_until(&self) -> Option<Instant> {
        None
    }

    fn origin(&self) -> Origin {
        Origin::default()
    }
}

struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        if attempt.token == "right" {
            return Ok(());
        }
        Err(TokenRefusal { code: "stale".to_owned(), message: "another token".to_owned() })
    }
}

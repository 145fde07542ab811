//! Logging in to a real PostgreSQL behind a TLS front, through a tunnel.

use std::{sync::Arc, time::Duration};

use gateway::{Login, LoginError, Tunnel, prove_login};
use sandbox::{
    clock::Clock,
    data_channel::AgentConfig,
    postgres::{DATABASE, Postgres},
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::CertificateAuthority,
};

use crate::bed::{Bed, HOST, PORT};

#[tokio::test]
async fn a_login_with_the_right_token_is_proven_and_each_wrong_one_is_told_apart() {
    let world = World::start().await;
    let tunnel = &world.tunnel;

    let session = world.prove(tunnel, |_| ()).await.expect("the token is right");
    assert!(session.parameters.iter().any(|(name, _)| name == "server_version"), "{session:?}");

    let refused = world.prove(tunnel, |login| login.password = "stale".into()).await;
    let Err(LoginError::Refused { sqlstate, message }) = refused else { panic!("{refused:?}") };
    assert_eq!((sqlstate.as_str(), message.as_str()), ("28000", "PAM authentication failed for user \"app_ro\""));

    let wrong_name = world.prove(tunnel, |login| login.server_name = "other.rds.amazonaws.com".to_owned()).await;
    assert!(matches!(wrong_name, Err(LoginError::TlsName { .. })), "{wrong_name:?}");

    let foreign = CertificateAuthority::new("Foreign", Clock::real().now()).expect("keys can be made");
    let wrong_chain = world.prove(tunnel, |login| login.roots = vec![foreign.ca_der().clone()]).await;
    assert!(matches!(wrong_chain, Err(LoginError::TlsChain { .. })), "{wrong_chain:?}");
}

struct World {
    tunnel: Tunnel,
    authority: CertificateAuthority,
    _bed: Bed,
    _front: RdsFront,
    _postgres: Postgres,
}

impl World {
    async fn start() -> Self {
        let clock = Clock::real();
        let authority = CertificateAuthority::new("Daypass test", clock.now()).expect("keys can be made");
        let postgres = Postgres::start().await.expect("PostgreSQL is installed");
        let front = RdsFront::start(RdsFrontConfig {
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
        bed.route(front.address());
        let (tunnel, _events) = bed.open().await;
        Self { tunnel, authority, _bed: bed, _front: front, _postgres: postgres }
    }

    async fn prove(
        &self,
        tunnel: &Tunnel,
        change: impl FnOnce(&mut Login),
    ) -> Result<db_proto::postgres::LoggedIn, LoginError> {
        let mut login = Login {
            user: "app_ro".to_owned(),
            database: DATABASE.to_owned(),
            password: "right".into(),
            server_name: HOST.to_owned(),
            roots: vec![self.authority.ca_der().clone()],
            timeout: Duration::from_secs(20),
        };
        change(&mut login);
        prove_login(tunnel.connect().await.expect("it is open"), &login).await
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

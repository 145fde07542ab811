//! What clients are told when the Target does not let them in.

use std::{net::SocketAddr, sync::atomic::Ordering::SeqCst, time::Duration};

use gateway::{NoCredential, Reason};
use sandbox::{
    clock::Clock,
    rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal},
    tls::{CertificateAuthority, ServerCertificate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use crate::bed::{Bed, Database, HOST, TOKEN, TestLogins, config, out, route, secret, token, words};

#[tokio::test]
async fn the_databases_own_words_come_with_ours() {
    let database = Database::start().await;
    let mut bed = Bed::at(&database, TestLogins::with([token("app_ro", "stale")])).await;
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("FATAL:  PAM authentication failed for user \"app_ro\""), "{said}");
    assert!(said.contains("HINT:  the database did not take the IAM token"), "{said}");
    let why = bed.turned_away().await;
    assert_eq!((why.reason, why.sqlstate.as_str()), (Reason::Authentication, "28000"));
    assert_eq!(bed.logins.asked.load(SeqCst), 2, "a token is made anew once");
    assert_eq!(bed.logins.refused.load(SeqCst), 2);

    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(token("app_ro", TOKEN))];
    let said = words(&bed.psql(&bed.dsn("dbname=elsewhere"), "SELECT 1").await);
    assert!(said.contains("database \"elsewhere\" does not exist") && said.contains("\"shop\""), "{said}");

    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(token("ghost", TOKEN))];
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("GRANT rds_iam TO \"ghost\""), "{said}");

    let no_sign_in = NoCredential { cause: "your sign-in has ended".to_owned(), hint: "sign in in Daypass".to_owned() };
    *bed.logins.credentials.lock().expect("no panic") = vec![Err(no_sign_in)];
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("FATAL:  your sign-in has ended") && said.contains("HINT:  sign in in Daypass"), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains("stale"), "{said}");
}

#[tokio::test]
async fn after_a_fresh_grant_a_refusal_is_tried_again_quietly() {
    let database = Database::start().await;
    let stale = || token("app_ro", "stale");
    let logins = TestLogins::with([stale(), stale(), stale(), token("app_ro", TOKEN)]);
    *logins.fresh_until.lock().expect("no panic") = Some(Instant::now() + Duration::from_secs(60));
    let mut config = config(&database.authority);
    config.limits.between_tries = Duration::from_millis(50);
    let bed = Bed::with(config, route(database.endpoint.address()), logins).await;
    assert_eq!(out(&bed.psql(&bed.dsn(""), "SELECT 1").await), "1");
    assert_eq!(bed.logins.refused.load(SeqCst), 3);
}

#[tokio::test]
async fn a_secret_is_proven_and_read_again_after_its_rotation() {
    let database = Database::start().await;
    database.execute("CREATE ROLE app_pw LOGIN PASSWORD 'new' IN ROLE shop_reader").await;
    database
        .execute("SET password_encryption = 'md5'; CREATE ROLE app_md5 LOGIN PASSWORD 'm5' IN ROLE shop_reader")
        .await;
    let bed = Bed::at(&database, TestLogins::with([secret("app_pw", "old"), secret("app_pw", "new")])).await;
    assert_eq!(out(&bed.psql(&bed.dsn(""), "SELECT current_user").await), "app_pw");
    assert_eq!(bed.logins.refused.load(SeqCst), 1);

    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(secret("app_md5", "m5"))];
    assert_eq!(out(&bed.psql(&bed.dsn(""), "SELECT current_user").await), "app_md5");

    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(token("app_pw", TOKEN))];
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("GRANT rds_iam TO \"app_pw\""), "a token is no password: {said}");

    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(secret("app_pw", "old-canary"))];
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("password authentication failed for user \"app_pw\"") && said.contains("rotation"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn a_server_that_proves_to_be_another_gets_nothing() {
    let now = Clock::real().now();
    let authority = CertificateAuthority::new("Daypass test", now).expect("keys can be made");
    let foreign = CertificateAuthority::new("Foreign", now).expect("keys can be made");
    let cases = [
        (authority.certificate(&["other.rds.amazonaws.com"], now), Reason::TlsName, "is not for"),
        (authority.expired_certificate(&[HOST], now), Reason::TlsChain, "cannot be trusted"),
        (foreign.certificate(&[HOST], now), Reason::TlsChain, "cannot be trusted"),
    ];
    for (certificate, reason, expected) in cases {
        let endpoint = endpoint(certificate.expect("a name"));
        let mut bed = bed(&authority, endpoint.address()).await;
        let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
        assert!(said.contains(expected) && said.contains(HOST) && said.contains("HINT"), "{said}");
        assert_eq!(bed.turned_away().await.reason, reason);
        assert!(endpoint.iam_db_auth_errors().is_empty(), "no token arrived there");
    }
}

#[tokio::test]
async fn servers_that_are_none_are_told_apart() {
    let authority = CertificateAuthority::new("Daypass test", Clock::real().now()).expect("keys can be made");
    for (answer, reason, expected) in [
        (&b"N"[..], Reason::Tls, "offers no TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason::Tls, "is this a PostgreSQL server?"),
        (b"SEcheap trick", Reason::Tls, "tampered"),
        (b"", Reason::Route, "ended before it answered"),
    ] {
        let mut bed = bed(&authority, answering(answer).await).await;
        let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(bed.turned_away().await.reason, reason, "{said}");
    }
}

#[tokio::test]
async fn a_way_that_stays_closed_is_told_in_time() {
    let authority = CertificateAuthority::new("Daypass test", Clock::real().now()).expect("keys can be made");
    let nowhere = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = nowhere.local_addr().expect("bound");
    let mut stalled = bed(&authority, address).await;
    let said = words(&stalled.psql(&stalled.dsn(""), "SELECT 1").await);
    assert!(said.contains("the database to finish the login") && said.contains("daypass status"), "{said}");
    assert_eq!(stalled.turned_away().await.reason, Reason::Late);

    drop(nowhere);
    let mut closed = bed(&authority, address).await;
    let said = words(&closed.psql(&closed.dsn(""), "SELECT 1").await);
    assert!(said.contains("cannot be reached") && said.contains("daypass doctor"), "{said}");
    assert_eq!(closed.turned_away().await.reason, Reason::Route);
}

/// A Front that waits no longer than half a second.
async fn bed(authority: &CertificateAuthority, address: SocketAddr) -> Bed {
    let mut config = config(authority);
    config.limits.waiting = Duration::from_millis(500);
    config.limits.between_tries = Duration::from_millis(100);
    Bed::with(config, route(address), TestLogins::with([token("app_ro", TOKEN)])).await
}

/// An endpoint nobody gets through.
fn endpoint(certificate: ServerCertificate) -> RdsFront {
    RdsFront::start(RdsFrontConfig {
        endpoint_host: HOST.to_owned(),
        endpoint_port: 5432,
        region: "eu-west-1".to_owned(),
        resource_id: "db-ABC".to_owned(),
        certificate,
        upstream: std::path::PathBuf::from("/nonexistent"),
        check: std::sync::Arc::new(Nobody),
        clock: Clock::real(),
    })
    .expect("loopback has free ports")
}

struct Nobody;

impl TokenCheck for Nobody {
    fn check(&self, _: &LoginAttempt) -> Result<(), TokenRefusal> {
        Err(TokenRefusal { code: "nobody".to_owned(), message: "nobody".to_owned() })
    }
}

/// Says one thing to everybody who has said something, and closes.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 8];
            drop(client.read_exact(&mut request).await);
            drop(client.write_all(answer).await);
        }
    });
    address
}

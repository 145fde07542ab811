//! Who may enter.

use std::{os::unix::fs::PermissionsExt, sync::atomic::Ordering::SeqCst, time::Duration};

use gateway::{DoorError, Doors, FrontEvent, Reason};
use model::Engine;
use sandbox::{clock::Clock, tls::CertificateAuthority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::bed::{Bed, Database, PASSWORD, TARGET, TOKEN, TestLogins, config, out, psql, route, token, words};

/// A Front whose Target nobody may reach.
async fn guarded(start_up: Duration) -> (Bed, TcpListener) {
    let authority = CertificateAuthority::new("Daypass test", Clock::real().now()).expect("keys can be made");
    let target = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let mut config = config(&authority);
    config.limits.start_up = start_up;
    let upstream = route(target.local_addr().expect("bound"));
    (Bed::with(config, upstream, TestLogins::with([token("app_ro", TOKEN)])).await, target)
}

#[tokio::test]
async fn nothing_is_opened_for_who_may_not_enter() {
    let (mut bed, target) = guarded(Duration::from_secs(20)).await;
    for failures in 1..=2 {
        let mut wrong = psql(&bed.dsn(""), "SELECT 1");
        let said = words(&wrong.env("PGPASSWORD", "guess").output().await.expect("psql is installed"));
        assert!(said.contains("password authentication failed for user \"app_ro\""), "{said}");
        assert!(said.contains("daypass password orders-prod") && !said.contains(PASSWORD), "{said}");
        assert!(matches!(bed.event().await, FrontEvent::Accepted { .. }));
        assert!(matches!(bed.event().await, FrontEvent::WrongPassword { failures: seen, .. } if seen == failures));
        assert_eq!(bed.turned_away().await.reason, Reason::LocalPassword);
    }
    let said = words(&bed.psql(&bed.dsn("user=root"), "SELECT 1").await);
    assert!(said.contains("log in as \"app_ro\"") && said.contains(TARGET), "{said}");
    assert_eq!(bed.turned_away().await.reason, Reason::LocalUser);
    assert_eq!(bed.logins.asked.load(SeqCst), 0, "nobody was asked for a token");
    let opened = timeout(Duration::from_millis(50), target.accept()).await;
    assert!(opened.is_err(), "nothing was opened upstream");
}

#[tokio::test]
async fn the_password_can_be_changed_while_connections_stay() {
    let database = Database::start().await;
    let bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    let before = bed.tokio_postgres().await;
    bed.front.change_password("another-canary".into());
    let said = words(&bed.psql(&bed.dsn(""), "SELECT 1").await);
    assert!(said.contains("password authentication failed"), "{said}");
    let mut right = psql(&bed.dsn(""), "SELECT 1");
    assert_eq!(out(&right.env("PGPASSWORD", "another-canary").output().await.expect("psql is installed")), "1");
    before.simple_query("SELECT 1").await.expect("it was let in");
}

#[tokio::test]
async fn a_client_that_stalls_is_cut() {
    let (mut bed, _target) = guarded(Duration::from_millis(300)).await;
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    for sent in [&b""[..], &[0, 0, 0, 9], &ssl_request, b"\x16\x03\x01"] {
        let mut client = TcpStream::connect(("127.0.0.1", bed.port())).await.expect("it listens");
        client.write_all(sent).await.expect("it reads");
        let mut answer = Vec::new();
        // Whether the end comes as a close or as a reset makes no difference.
        drop(timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await.expect("it is cut"));
        drop(client);
        assert_eq!(bed.turned_away().await.reason, Reason::Client);
    }
    assert_eq!(bed.front.traffic().open(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_noticed() {
    let (mut bed, _target) = guarded(Duration::from_secs(20)).await;
    let mut impatient = psql(&bed.dsn("connect_timeout=2"), "SELECT 1");
    let said = words(&impatient.output().await.expect("psql is installed"));
    assert!(said.contains("timeout expired"), "{said}");
    assert_eq!(bed.turned_away().await.reason, Reason::Client);
    assert_eq!(bed.front.traffic().open(), 0);
}

#[tokio::test]
async fn the_socket_is_for_this_user_alone_and_goes_with_its_front() {
    let (bed, _target) = guarded(Duration::from_secs(20)).await;
    let socket = bed.front.socket().expect("there is one").to_owned();
    let folder = socket.parent().expect("it is in a folder");
    assert_eq!(folder.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    let taken =
        Doors::bind(None).await.expect("a port is free").with_socket(folder, Engine::Mysql).expect("another name");
    let again = Doors::bind(None).await.expect("a port is free").with_socket(folder, Engine::Mysql);
    assert!(matches!(again, Err(DoorError::SocketInUse { .. })), "it is not taken by force: {again:?}");
    let path = taken.socket().expect("there is one").to_owned();
    drop(taken);
    assert!(!path.exists());
    let Bed { front, .. } = bed;
    front.close("closed", "open it again").await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_port_is_one_on_both_loopback_addresses() {
    let doors = Doors::bind(None).await.expect("a port is free");
    let port = doors.local_addr().expect("bound").port();
    if doors.has_v6() {
        drop(doors);
        let other = TcpListener::bind(("::1", port)).await.expect("it is free again");
        let refused = Doors::bind(Some(port)).await;
        assert!(matches!(&refused, Err(DoorError::PortOfV6 { .. })), "localhost may lead there: {refused:?}");
        let said = refused.expect_err("as above").to_string();
        assert!(said.contains(&format!("port {port} of ::1 is in use")), "{said}");
        drop(other);
    }
}

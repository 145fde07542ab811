//! The end of a Grant, as clients see it.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use gateway::{FrontEvent, Reason};
use sandbox::{clock::Clock, tls::CertificateAuthority};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_postgres::{AsyncMessage, Client, NoTls, error::SqlState};

use crate::bed::{Bed, Database, PASSWORD, TOKEN, TestLogins, config, psql, route, token, words};

const SOON: Duration = Duration::from_secs(20);

async fn bed(database: &Database) -> Bed {
    let mut config = config(&database.authority);
    config.limits.last_call = Duration::from_secs(4);
    Bed::with(config, route(database.endpoint.address()), TestLogins::with([token("app_ro", TOKEN)])).await
}

/// A client, the notices it gets, and the error its connection ends with.
async fn client(bed: &Bed) -> (Client, mpsc::UnboundedReceiver<Result<String, tokio_postgres::Error>>) {
    let mut config: tokio_postgres::Config = bed.dsn("").parse().expect("a connection string");
    let (client, mut connection) = config.password(PASSWORD).connect(NoTls).await.expect("it may log in");
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            drop(match message {
                Ok(AsyncMessage::Notice(notice)) => tell.send(Ok(notice.message().to_owned())),
                Ok(_) => Ok(()),
                Err(error) => tell.send(Err(error)),
            });
        }
    });
    (client, told)
}

fn ended(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    *error.code() == SqlState::ADMIN_SHUTDOWN
        && error.message().contains("ended at 15:42")
        && error.hint() == Some("ask again in Daypass")
}

#[tokio::test]
async fn idle_connections_end_first_and_the_others_are_told() {
    let database = Database::start().await;
    let mut bed = bed(&database).await;
    let (idle, mut idle_told) = client(&bed).await;
    let (busy, mut busy_told) = client(&bed).await;
    idle.simple_query("SELECT 1").await.expect("it is open");
    busy.batch_execute("BEGIN; SELECT count(*) FROM orders").await.expect("it is open");

    let end = Instant::now() + Duration::from_secs(6);
    bed.end_at(end);
    for told in [&mut idle_told, &mut busy_told] {
        let notice = timeout(SOON, told.recv()).await.expect("soon").expect("open").expect("a notice");
        assert_eq!(notice, "your access to orders-prod ends at 15:42");
    }
    // Reckoned again from the same end, which nobody wants to hear of twice.
    bed.end_at(end + Duration::from_millis(3));
    let error = timeout(SOON, idle_told.recv()).await.expect("soon").expect("open").expect_err("it is idle");
    assert!(ended(&error), "{error:?}");
    busy.simple_query("SELECT 1").await.expect("a transaction has until the deadline");
    let refused = bed.psql(&bed.dsn(""), "SELECT 1").await;
    assert!(words(&refused).contains("your access to orders-prod ended at 15:42"), "{}", words(&refused));
    assert_eq!(bed.turned_away().await.reason, Reason::Ended);

    let error = timeout(SOON, busy_told.recv()).await.expect("soon").expect("open").expect_err("the deadline");
    assert!(ended(&error), "{error:?}");
    while bed.front.traffic().open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_close_ends_queries_at_the_server_too() {
    let database = Database::start().await;
    let mut bed = bed(&database).await;
    let (_idle, mut told) = client(&bed).await;
    bed.logged_in().await;
    let (busy, _told) = client(&bed).await;
    bed.logged_in().await;
    let sleeping = tokio::spawn(async move { busy.simple_query("SELECT pg_sleep(600)").await });
    let count = "DO $$ BEGIN IF (SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = \
                 'active') <> {} THEN RAISE 'not yet'; END IF; END $$";
    while database.postgres.execute("shop", &count.replace("{}", "1")).await.is_err() {
        tokio::task::yield_now().await;
    }
    let Bed { front, mut events, .. } = bed;
    timeout(SOON, front.close("Daypass was quit", "start it again")).await.expect("within its time");
    let error = timeout(SOON, told.recv()).await.expect("soon").expect("open").expect_err("it is idle");
    assert!(error.as_db_error().is_some_and(|error| error.message() == "Daypass was quit"), "{error:?}");
    sleeping.await.expect("no panic").expect_err("its connection has ended");
    while database.postgres.execute("shop", &count.replace("{}", "0")).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut closed = 0;
    while let Some(event) = events.recv().await {
        closed += usize::from(matches!(event, FrontEvent::Closed { .. }));
    }
    assert_eq!(closed, 2);
}

#[tokio::test]
async fn a_client_that_still_waits_is_told_too() {
    let authority = CertificateAuthority::new("Daypass test", Clock::real().now()).expect("keys can be made");
    let logins = TestLogins::with([token("app_ro", TOKEN)]);
    *logins.wait.lock().expect("no panic") = Duration::from_secs(3_600);
    let nowhere = "127.0.0.1:1".parse().expect("an address");
    let bed = Bed::with(config(&authority), route(nowhere), logins).await;
    let mut waiting = psql(&bed.dsn(""), "SELECT 1");
    let waiting = tokio::spawn(async move { waiting.output().await });
    while bed.logins.asked.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    timeout(SOON, bed.front.close("you disconnected", "connect again")).await.expect("within its time");
    let said = words(&waiting.await.expect("no panic").expect("psql is installed"));
    assert!(said.contains("FATAL:  you disconnected") && said.contains("HINT:  connect again"), "{said}");
}

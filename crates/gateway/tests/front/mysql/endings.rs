use std::time::Duration;

use db_proto::mysql::{ErrPacket, is_ok};

use super::{
    billing::{Billing, USER},
    wire::Wire,
};
use crate::bed::{Bed, TOKEN, TestLogins, token};

async fn bed(database: &Billing) -> Bed {
    let short = |config: &mut gateway::FrontConfig| {
        config.limits.last_call = Duration::from_secs(2);
    };
    database.front_with(TestLogins::with([token(USER, TOKEN)]), short).await
}

async fn farewell(wire: &mut Wire) -> String {
    let (number, packet) = wire.packet().await.expect("a farewell");
    assert_eq!(number, 0, "nothing was asked");
    let error = ErrPacket::read(&packet).expect("an error");
    assert_eq!((error.code, error.sqlstate.as_str()), (1053, "08S01"));
    assert_eq!(wire.packet().await, None, "and the end");
    error.message
}

#[tokio::test]
async fn idle_connections_end_before_those_in_a_transaction() {
    let database = Billing::start().await;
    let bed = bed(&database).await;
    let mut idle = Wire::log_in(&bed).await.expect("it may");
    let mut busy = Wire::log_in(&bed).await.expect("it may");
    assert!(is_ok(&idle.ask(b"\x03SET @a = 1").await));
    assert!(is_ok(&busy.ask(b"\x03BEGIN").await));
    bed.end_in(Duration::from_millis(2_500));
    assert_eq!(farewell(&mut idle).await, "your access to orders-prod ended at 15:42; ask again in Daypass");
    assert!(is_ok(&busy.ask(b"\x03COMMIT").await), "what was begun may be finished");
    farewell(&mut busy).await;
}

#[tokio::test]
async fn a_transaction_ends_at_the_deadline() {
    let database = Billing::start().await;
    let bed = bed(&database).await;
    let mut busy = Wire::log_in(&bed).await.expect("it may");
    assert!(is_ok(&busy.ask(b"\x03START TRANSACTION").await));
    bed.end_in(Duration::from_millis(500));
    farewell(&mut busy).await;
}

#[tokio::test]
async fn a_query_that_runs_is_cut_at_the_deadline_with_an_error_in_its_place() {
    let database = Billing::start().await;
    let bed = bed(&database).await;
    let mut busy = Wire::log_in(&bed).await.expect("it may");
    assert!(is_ok(&busy.ask(b"\x03BEGIN").await));
    bed.end_in(Duration::from_millis(500));
    let answer = busy.ask(b"\x03SELECT SLEEP(60)").await;
    let error = ErrPacket::read(&answer).expect("an error");
    assert_eq!(error.code, 1053);
}

use std::time::Duration;

use db_proto::mysql::{ClientLoginError, ErrPacket};
use gateway::{FrontEvent, Reason};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    billing::{Billing, USER, mariadb, run, sql},
    wire::Wire,
};
use crate::bed::{TOKEN, TestLogins, token, words};

#[tokio::test]
async fn a_wrong_local_password_opens_nothing_upstream() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    let mut client = mariadb(&bed, &["billing", "--execute", "SELECT 1"]);
    let told = words(&run(client.env("MYSQL_PWD", "guess")).await);
    assert!(told.contains("ERROR 1045 (28000)"), "{told}");
    assert!(told.contains("Daypass made a password of its own"), "{told}");
    let mut warned = false;
    loop {
        match bed.event().await {
            FrontEvent::WrongPassword { failures: 1, .. } => warned = true,
            FrontEvent::TurnedAway { why, .. } => {
                assert_eq!(why.reason, Reason::LocalPassword);
                break;
            }
            FrontEvent::Accepted { .. } => {}
            other @ (FrontEvent::WrongPassword { .. } | FrontEvent::LoggedIn { .. } | FrontEvent::Closed { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert!(warned, "the person is told");
}

#[tokio::test]
async fn another_user_is_told_the_right_one() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    let told = words(&sql(&bed, &["--user=root"], "SELECT 1").await);
    assert!(told.contains("log in as \"app_rw\""), "{told}");
    assert_eq!(bed.turned_away().await.reason, Reason::LocalUser);
}

#[tokio::test]
async fn refusals_of_the_database_come_with_its_code_and_a_hint() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    let told = words(&run(mariadb(&bed, &["nothing_here", "--execute", "SELECT 1"]).arg("--skip-ssl")).await);
    assert!(told.contains("the catalog names billing"), "{told}");
    assert!(told.contains("ERROR 1044 (42000)") || told.contains("ERROR 1049 (42000)"), "{told}");
    assert_eq!(bed.turned_away().await.reason, Reason::Database);
}

#[tokio::test]
async fn a_server_of_another_name_or_authority_gets_no_credential() {
    let database = Billing::start().await;
    let other = |config: &mut gateway::FrontConfig| "other.rds.amazonaws.com".clone_into(&mut config.server_name);
    let mut bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), other).await;
    let told = words(&sql(&bed, &[], "SELECT 1").await);
    assert!(told.contains("ERROR 1053 (08S01)") && told.contains("is not for other.rds.amazonaws.com"), "{told}");
    assert_eq!(bed.turned_away().await.reason, Reason::TlsName);

    let foreign = Billing::start().await.authority;
    let change = |config: &mut gateway::FrontConfig| config.roots = vec![foreign.ca_der().clone()];
    let mut bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), change).await;
    let told = words(&sql(&bed, &[], "SELECT 1").await);
    assert!(told.contains("cannot be trusted"), "{told}");
    assert_eq!(bed.turned_away().await.reason, Reason::TlsChain);
}

#[tokio::test]
async fn a_client_that_comes_after_the_end_is_told_so() {
    let database = Billing::start().await;
    let bed = database.front().await;
    bed.end_in(Duration::ZERO);
    let Err(ClientLoginError::Refused { error, .. }) = Wire::log_in(&bed).await else { panic!("let in") };
    assert_eq!((error.code, error.sqlstate.as_str()), (1053, "08S01"));
    assert!(error.message.contains("ended at 15:42; ask again in Daypass"), "{error}");
}

#[tokio::test]
async fn a_client_that_stalls_is_cut() {
    let database = Billing::start().await;
    let soon = |config: &mut gateway::FrontConfig| config.limits.start_up = Duration::from_millis(50);
    let mut bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), soon).await;
    let mut client = TcpStream::connect(("127.0.0.1", bed.port())).await.expect("it listens");
    let mut all = Vec::new();
    timeout(Duration::from_secs(10), client.read_to_end(&mut all)).await.expect("cut").expect("closed in order");
    assert_eq!(all.get(4), Some(&10), "it was greeted");
    assert_eq!(bed.turned_away().await.reason, Reason::Client);
}

#[tokio::test]
async fn random_start_ups_end_in_an_error_or_a_close() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..200 {
        let mut client = TcpStream::connect(("127.0.0.1", bed.port())).await.expect("it listens");
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill(bytes.as_mut_slice());
        if round % 2 == 0 && bytes.len() > 4 {
            // A packet of the right length and number, so that its inside is looked at.
            let length = u8::try_from(bytes.len() - 4).expect("below 200");
            bytes[..4].copy_from_slice(&[length, 0, 0, 1]);
        }
        drop(client.write_all(&bytes).await);
        drop(client.shutdown().await);
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await.expect("nothing is stuck");
        if read.is_ok()
            && let Some(error) = answer.get(usize::from(answer[0]) + 8..)
            && !error.is_empty()
        {
            ErrPacket::read(error).expect("an error of the protocol");
        }
    }
    let reason = bed.turned_away().await.reason;
    assert!(matches!(reason, Reason::Client | Reason::LocalUser), "{reason:?}");
    Wire::log_in(&bed).await.expect("others get in as before");
}

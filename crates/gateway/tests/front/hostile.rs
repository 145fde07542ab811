//! Clients that are none.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use db_proto::postgres::{ClientLogin, StartupParameters, Transport};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sandbox::{clock::Clock, tls::CertificateAuthority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::bed::{Bed, TOKEN, TestLogins, config, route, token};

const STARTS: usize = 10_000;
const AT_ONCE: usize = 50;

#[tokio::test]
async fn ten_thousand_broken_starts_leave_nothing_behind() {
    let authority = CertificateAuthority::new("Daypass test", Clock::real().now()).expect("keys can be made");
    let nowhere = "127.0.0.1:1".parse().expect("an address");
    let bed = Bed::with(config(&authority), route(nowhere), TestLogins::with([token("app_ro", TOKEN)])).await;
    let port = bed.port();
    let workers = (0..AT_ONCE).map(|worker| async move {
        let mut random = StdRng::seed_from_u64(worker as u64);
        for _ in 0..STARTS / AT_ONCE {
            let start = broken_start(&mut random);
            let answer = timeout(Duration::from_secs(20), say(port, &start)).await.expect("nothing is stuck");
            let plain = answer.is_empty() || matches!(answer[0], b'E' | b'S' | b'N' | b'R' | b'v' | 0x15);
            assert!(plain, "{} was answered by {}", start.escape_ascii(), answer.escape_ascii());
        }
    });
    futures_util::future::join_all(workers).await;
    let told = answer_to_a_good_start(port).await;
    assert!(told.starts_with(b"R") && told.escape_ascii().to_string().contains("SCRAM-SHA-256"), "it still serves");
    while bed.front.traffic().open() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(bed.front.traffic().accepted() > STARTS as u64 - 1);
    assert_eq!(bed.logins.asked.load(SeqCst), 0, "nobody got in");
}

fn good_start() -> Vec<u8> {
    let parameters = StartupParameters::new("app_ro", "shop").expect("plain words");
    ClientLogin::new(parameters, Transport::Plain).poll_transmit().expect("a StartupMessage")
}

/// Noise, or something true that was cut, changed or made too long.
fn broken_start(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = match random.random_range(0..5) {
        0 => return (0..random.random_range(0..2_000)).map(|_| random.random()).collect(),
        1 => [&[0, 0, 0, 8, 4, 210, 22, 47][..], &good_start()].concat(),
        2 => [&[0, 0, 0, 8, 4, 210, 22, 48][..], &good_start()].concat(),
        3 => [&good_start()[..], &vec![b'p'; random.random_range(1..20_000)]].concat(),
        _ => good_start(),
    };
    for _ in 0..random.random_range(1..4) {
        let place = random.random_range(0..bytes.len());
        bytes[place] = random.random();
    }
    bytes.truncate(random.random_range(0..=bytes.len()));
    bytes
}

async fn say(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    // It may have closed before all was said.
    drop(client.write_all(bytes).await);
    drop(client.shutdown().await);
    let mut answer = Vec::new();
    drop(client.read_to_end(&mut answer).await);
    answer
}

async fn answer_to_a_good_start(port: u16) -> Vec<u8> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    client.write_all(&good_start()).await.expect("it reads");
    let mut answer = vec![0; 24];
    client.read_exact(&mut answer).await.expect("it answers");
    answer
}

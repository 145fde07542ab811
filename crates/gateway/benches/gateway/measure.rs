//! The figures.

use std::{net::SocketAddr, time::Duration};

use gateway::{Front, Pool, PoolConfig, Route};
use sandbox::data_channel::AgentConfig;
use tokio::{sync::mpsc, task::block_in_place};

use crate::{
    clients::{self, Way},
    far_away::far_away,
    fronts::{Billing, before_postgres, direct, login_time, plain_forward},
    measured::{Goal, figure},
    path::{SandboxSessions, one_thread},
    postgres_server::PostgresServer,
};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(4);
const DELAY: Duration = Duration::from_millis(20);
/// SSLRequest, TLS 1.3, start-up, and two for SCRAM.
const LEAST_POSTGRES: f64 = 5.0;
/// The greeting comes by itself, which is half of one; then SSLRequest with TLS 1.3, and the login with the token.
const LEAST_MYSQL: f64 = 2.5;
/// Of a row of the big result.
const ROW: &str = "SELECT CONCAT_WS('\\t', seq, 'Holm & Co', 'books@holm.example.com', 'paid', 100 * (1 + (seq * 7) % 90), \
                   TIMESTAMPADD(MINUTE, seq * 7, '2026-11-01 08:00:00'), 'Position of the invoice of this month')";
/// About 50 MB.
const ROWS: u32 = 415_000;

pub(crate) async fn all() {
    logins().await;
    selects().await;
    big_result().await;
}

/// How many round trips a login takes, beside the least that the protocols allow.
async fn logins() {
    let server = PostgresServer::start();
    let front = before_postgres(&server, direct(far_away(server.address, DELAY).await)).await;
    round_trips("PostgreSQL, SCRAM", &front, LEAST_POSTGRES).await;
    let billing = Billing::start().await;
    let front = billing.front(direct(far_away(billing.endpoint.address(), DELAY).await), false).await;
    round_trips("MySQL, token", &front, LEAST_MYSQL).await;
}

async fn round_trips(what: &str, front: &Front, least: f64) {
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(login_time(front).await.as_secs_f64() / (DELAY * 2).as_secs_f64());
    }
    let name = format!("gateway login at the Target, {what}");
    // Timers and the work of both sides are part of what is measured; they take less than a round trip.
    figure(&name, median(took), "round trips", Some(least), Some(Goal::AtMost(least + 1.0)));
}

async fn selects() {
    let server = PostgresServer::start();
    block_in_place(|| clients::fill(&server));
    let forward = plain_forward(server.address).await;
    let front = before_postgres(&server, direct(server.address)).await;
    let ways = [
        Way::to_server(&server, server.address),
        Way::to_server(&server, forward),
        Way::to_front(front.local_addr().expect("it listens")),
    ];
    for clients in [1, 8] {
        let rounds: Vec<[f64; 3]> =
            (0..ROUNDS).map(|_| block_in_place(|| ways.each_ref().map(|way| way.selects(clients, ROUND)))).collect();
        let of = |way: usize| median(rounds.iter().map(|round| round[way]).collect());
        let (straight, forwarded, fronted) = (of(0), of(1), of(2));
        let name = |way: &str| format!("gateway pgbench -S, {clients} clients, {way}");
        figure(&name("plain forward beside direct"), forwarded, "tps", Some(straight), None);
        figure(
            &name("Front beside plain forward"),
            fronted,
            "tps",
            Some(forwarded),
            Some(Goal::AtLeast(forwarded * 0.9)),
        );
    }
}

/// Through the SSM agent's pacing.
async fn big_result() {
    let billing = Billing::start().await;
    let query = format!("{ROW} FROM seq_1_to_{ROWS}");
    let compressed = rate(&billing, true, &query).await;
    let as_it_is = rate(&billing, false, &query).await;
    let goal = Some(Goal::AtLeast(as_it_is * 3.0));
    figure("gateway MySQL result of 50 MB, paced, compressed beside not", compressed, "MB/s", Some(as_it_is), goal);
}

async fn rate(billing: &Billing, compression: bool, query: &str) -> f64 {
    let far = one_thread();
    let sessions = SandboxSessions::start(billing.endpoint.address(), AgentConfig::default(), far.handle().clone());
    let config = PoolConfig { most_sessions: 1, ..PoolConfig::default() };
    let pool = Pool::open(sessions, config, mpsc::unbounded_channel().0).await.expect("the data channel is there");
    let front = billing.front(Route::from(pool), compression).await;
    front.prove().await.expect("it may log in");
    let address: SocketAddr = front.local_addr().expect("it listens");
    let (took, length) = block_in_place(|| clients::read_rows(address, query));
    front.close("measured", "start it again").await;
    far.shutdown_background();
    length as f64 / 1e6 / took.as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

//! Many clients for a long time, each query and each login without an error. `cargo xtask soak clients` runs it.
#![expect(clippy::print_stdout, reason = "it says how far it is")]

use std::time::{Duration, Instant};

use crate::{
    clients::{self, Way},
    fronts::{Billing, before_postgres, direct},
    postgres_server::PostgresServer,
};

const CLIENTS: &str = "32";

/// `time` for each kind of client.
pub(crate) async fn run(time: Duration) {
    let seconds = time.as_secs().to_string();
    let server = PostgresServer::start();
    clients::fill(&server);
    let front = before_postgres(&server, direct(server.address)).await;
    let way = Way::to_front(front.local_addr().expect("it listens"));
    for (title, more) in [("one login for each client", &[][..]), ("a login for each transaction", &["-C"])] {
        let options = [&["-S", "-n", "-c", CLIENTS, "-j", "2", "-T", &seconds][..], more].concat();
        let (way, begun) = (way.clone(), Instant::now());
        let owned: Vec<String> = options.into_iter().map(str::to_owned).collect();
        let said = blocking(move || way.pgbench(&owned.iter().map(String::as_str).collect::<Vec<_>>())).await;
        tell(&format!("pgbench, {title}"), begun, &said, &["actually processed", "failed", "tps"]);
    }
    front.close("the run is over", "start it again").await;
    mariadb(&seconds).await;
}

async fn mariadb(seconds: &str) {
    let billing = Billing::start().await;
    let front = billing.front(direct(billing.endpoint.address()), false).await;
    front.prove().await.expect("it may log in");
    let address = front.local_addr().expect("it listens");
    let (begun, time) = (Instant::now(), format!("--time={seconds}"));
    let said = blocking(move || {
        clients::sysbench(address, &["prepare"]);
        let threads = format!("--threads={CLIENTS}");
        clients::sysbench(address, &[&threads, &time, "--mysql-ignore-errors=none", "run"])
    });
    tell("sysbench oltp_read_only", begun, &said.await, &["transactions:", "queries:", "errors:", "reconnects:"]);
    front.close("the run is over", "start it again").await;
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no client fails")
}

fn tell(title: &str, begun: Instant, said: &str, words: &[&str]) {
    println!("{title}, {CLIENTS} clients, {:.0} s", begun.elapsed().as_secs_f64());
    for line in said.lines().filter(|line| words.iter().any(|word| line.contains(word))) {
        println!("  {}", line.trim());
    }
}

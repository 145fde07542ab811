//! Database clients as processes of their own.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::{
    fronts::{LOCAL_PASSWORD, MARIADB_USER},
    postgres_server::{self, PostgresServer},
};

/// Where pgbench connects, and how.
#[derive(Clone)]
pub(crate) struct Way {
    conninfo: String,
    password: &'static str,
}

impl Way {
    /// TLS with the server, verified, at `address`.
    pub(crate) fn to_server(server: &PostgresServer, address: SocketAddr) -> Self {
        let (name, file) = (postgres_server::NAME, server.authority_file());
        let tls = format!("host={name} sslmode=verify-full sslrootcert={}", file.display());
        Self { conninfo: conninfo(address, &tls), password: postgres_server::PASSWORD }
    }

    /// As Daypass hands the settings out: TLS is the Front's, towards the server.
    pub(crate) fn to_front(address: SocketAddr) -> Self {
        Self { conninfo: conninfo(address, "host=localhost sslmode=disable"), password: LOCAL_PASSWORD }
    }

    /// Fails the run when pgbench fails, or any transaction.
    pub(crate) fn pgbench(&self, options: &[&str]) -> String {
        let mut command = client("pgbench");
        command.env("PGPASSWORD", self.password).args(options).arg(&self.conninfo);
        let output = done(&mut command);
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(!errors.contains("error:"), "{errors}");
        assert!(!said.contains("failed transactions: ") || said.contains("failed transactions: 0 "), "{said}");
        said
    }

    /// Transactions a second; the time for connecting does not count.
    pub(crate) fn selects(&self, clients: usize, time: Duration) -> f64 {
        let (clients, seconds) = (clients.to_string(), time.as_secs().to_string());
        let said = self.pgbench(&["-S", "-n", "-c", &clients, "-j", "1", "-T", &seconds]);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.expect("pgbench tells it")
    }
}

/// Makes pgbench's tables.
pub(crate) fn fill(server: &PostgresServer) {
    Way::to_server(server, server.address).pgbench(&["-i", "-q"]);
}

/// How long the `mariadb` program takes to read the rows of `query`, and their bytes.
pub(crate) fn read_rows(front: SocketAddr, query: &str) -> (Duration, usize) {
    let mut command = client("mariadb");
    command.env("MYSQL_PWD", LOCAL_PASSWORD).args(["--no-defaults", "--host=127.0.0.1", "--skip-ssl", "--quick"]);
    command.arg(format!("--port={}", front.port())).arg(format!("--user={MARIADB_USER}"));
    // The tables of numbers need some database to be in.
    command.args(["--batch", "--skip-column-names", "--database=bench", "--execute", query]);
    let begun = Instant::now();
    let output = done(&mut command);
    (begun.elapsed(), output.stdout.len())
}

/// Fails the run when sysbench fails, or any statement.
pub(crate) fn sysbench(front: SocketAddr, options: &[&str]) -> String {
    let mut command = client("sysbench");
    command.args(["oltp_read_only", "--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-db=bench"]);
    command.arg(format!("--mysql-port={}", front.port())).arg(format!("--mysql-user={MARIADB_USER}"));
    // sysbench takes a password by argument alone; this one opens a Front that lives as long as the run.
    command.arg(format!("--mysql-password={LOCAL_PASSWORD}")).args(["--tables=1", "--table-size=10000"]);
    text(&done(command.args(options)).stdout)
}

fn conninfo(address: SocketAddr, settings: &str) -> String {
    let (user, port) = (postgres_server::USER, address.port());
    format!("hostaddr=127.0.0.1 port={port} user={user} dbname={user} {settings}")
}

/// Inherits nothing but the way to programs.
fn client(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the client is installed");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

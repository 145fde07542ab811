//! A MariaDB with invoices behind an RDS endpoint, and the real client before a Front of it.

use std::{
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use gateway::FrontConfig;
use model::Engine;
use sandbox::{
    clock::Clock,
    mariadb::{DATABASE, Mariadb, MariadbDoor},
    rds_front::{RdsFront, RdsFrontConfig},
    tls::CertificateAuthority,
};
use tokio::{process::Command, time::timeout};

use crate::bed::{Bed, OneToken, PASSWORD, TOKEN, TestLogins, config, program, route, token};

pub(crate) const HOST: &str = "billing.abc.eu-west-1.rds.amazonaws.com";
pub(crate) const USER: &str = "app_rw";
const PATIENCE: Duration = Duration::from_secs(30);

/// A database with its endpoint.
pub(crate) struct Billing {
    pub(crate) mariadb: Mariadb,
    pub(crate) authority: CertificateAuthority,
    endpoint: RdsFront,
}

impl Billing {
    pub(crate) async fn start() -> Self {
        Self::with_door(|door| door).await
    }

    pub(crate) async fn with_door(change: impl FnOnce(MariadbDoor) -> MariadbDoor) -> Self {
        let clock = Clock::real();
        let authority = CertificateAuthority::new("Daypass test", clock.now()).expect("keys can be made");
        let mariadb = Mariadb::start().await.expect("MariaDB is installed");
        let endpoint = RdsFront::start(RdsFrontConfig {
            endpoint_host: HOST.to_owned(),
            endpoint_port: 3306,
            region: "eu-west-1".to_owned(),
            resource_id: "db-ABC".to_owned(),
            certificate: authority.certificate(&[HOST], clock.now()).expect("a name"),
            upstream: change(mariadb.door()),
            check: Arc::new(OneToken),
            clock,
        })
        .expect("loopback has free ports");
        let grant = format!("GRANT ALL ON {DATABASE}.* TO '{USER}'@'%'");
        mariadb.execute(&grant).await.expect("the superuser may");
        Self { mariadb, authority, endpoint }
    }

    /// A Front with a token that is right.
    pub(crate) async fn front(&self) -> Bed {
        self.front_with(TestLogins::with([token(USER, TOKEN)]), |_| {}).await
    }

    pub(crate) async fn front_with(&self, logins: TestLogins, change: impl FnOnce(&mut FrontConfig)) -> Bed {
        let mut config = FrontConfig {
            engine: Engine::Mariadb,
            database_user: USER.to_owned(),
            database: DATABASE.to_owned(),
            server_name: HOST.to_owned(),
            ..config(&self.authority)
        };
        change(&mut config);
        Bed::with(config, route(self.endpoint.address()), logins).await
    }
}

/// A program of MariaDB at the port, as a person starts it.
pub(crate) fn client(bed: &Bed, name: &str, options: &[&str]) -> Command {
    let mut command = program(name);
    command.env("MYSQL_PWD", PASSWORD).args(["--no-defaults", "--host=127.0.0.1"]);
    command.arg(format!("--port={}", bed.port())).arg(format!("--user={USER}")).args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The `mariadb` program, for its bare output.
pub(crate) fn mariadb(bed: &Bed, options: &[&str]) -> Command {
    let mut command = client(bed, "mariadb", &["--batch", "--skip-column-names"]);
    command.args(options);
    command
}

/// Runs statements in the billing database.
pub(crate) async fn sql(bed: &Bed, options: &[&str], statements: &str) -> Output {
    run(mariadb(bed, options).arg(DATABASE).arg("--execute").arg(statements)).await
}

/// Fails a test that the program hangs in.
pub(crate) async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("soon").expect("the program is installed")
}

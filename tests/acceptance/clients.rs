//! People's own database programs, and their pools, through an open gateway.

use std::{convert::Infallible, path::Path, process::Stdio, time::Duration};

use futures_util::future::join_all;
use model::{Engine, Gateway};
use sandbox::RotationStep;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::world::{Person, Ran, World, finished, finished_within, view};

/// Each of them does as much as many commands, beside the others.
const PATIENCE: Duration = Duration::from_secs(100);
const POSTGRES: [&str; 5] = ["psql", "psycopg3", "asyncpg", "node-postgres", "JdbcPostgres"];
const MYSQL: [&str; 5] = ["mariadb", "pymysql", "mysql-connector", "mysql2", "JdbcMariadb"];

#[tokio::test(flavor = "multi_thread")]
async fn programs_for_postgresql_work_by_a_token() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    work_all(&POSTGRES, &Way::open(&ana, "billing-staging").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_for_postgresql_work_by_a_secret() {
    let world = World::new().await;
    let report = Secret { target: "orders-prod", user: Some("report"), name: "daypass/orders-prod/report" };
    let ana = world.person_with_catalog("ana", |catalog| report.offered_in(&catalog));
    ana.signs_in("acme").await;
    work_all(&POSTGRES, &Way::open(&ana, report.target).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_for_mysql_work_by_a_token() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    work_all(&MYSQL, &Way::open(&ana, "billing-mysql").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_for_mariadb_work_by_a_secret_of_a_kind_that_some_do_not_know() {
    let world = World::new().await;
    let audit = Secret { target: "stock-mariadb", user: Some("stock_audit"), name: "daypass/stock-mariadb/audit" };
    let ana = world.person_with_catalog("ana", |catalog| audit.offered_in(&catalog));
    ana.signs_in("acme").await;
    work_all(&MYSQL, &Way::open(&ana, audit.target).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_log_in_again_when_every_token_of_before_has_expired() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    let mut pools = Vec::new();
    for (target, program) in [("billing-staging", "node-postgres-pool"), ("stock-mariadb", "mysql2-pool")] {
        pools.push(Pool::fill(program, &Way::open(&ana, target).await).await);
    }
    world.sandbox.clock().advance(Duration::from_secs(16 * 60));
    // Any call to AWS tells how far its clock has moved; both clocks of real life move by themselves.
    ana.does(&["doctor", "billing-staging"]).await;
    for pool in pools {
        let ran = pool.goes_on().await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "what it logs in with is made for that login");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_connects_notices_that_a_secret_is_rotated() {
    let secrets = [
        Secret { target: "orders-prod", user: Some("report"), name: "daypass/orders-prod/report" },
        // Its two users alternate, so that none of them is what clients log in as.
        Secret { target: "billing-mysql", user: None, name: "daypass/billing-mysql/app" },
        Secret { target: "stock-mariadb", user: Some("stock_report"), name: "daypass/stock-mariadb/report" },
    ];
    let world = World::new().await;
    let ana = world.person_with_catalog("ana", |catalog| {
        secrets.iter().fold(catalog, |catalog, secret| secret.offered_in(&catalog))
    });
    ana.signs_in("acme").await;
    let mut visits = Vec::new();
    for secret in &secrets {
        visits.push((secret, Way::open(&ana, secret.target).await, watch::Sender::new(0_u32)));
    }
    let visiting = join_all(visits.iter().map(|(_, way, count)| way.visit_on_and_on(count)));
    let rotating = join_all(visits.iter().map(|(secret, _, count)| secret.rotate(&world, count)));
    let before = secrets.each_ref().map(|secret| world.sandbox.secret(secret.name, "AWSCURRENT"));
    tokio::select! {
        _ = visiting => {}
        _ = rotating => {}
    }
    let after = secrets.each_ref().map(|secret| world.sandbox.secret(secret.name, "AWSCURRENT"));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "each was rotated to its end");
}

/// A database user whose password is in a secret.
struct Secret {
    target: &'static str,
    /// Whom clients log in as; none leaves it to the agent.
    user: Option<&'static str>,
    name: &'static str,
}

impl Secret {
    /// The catalog in which the Target has this one Role, standing.
    fn offered_in(&self, catalog: &str) -> String {
        let user = self.user.map(|user| format!("user = \"{user}\"\n")).unwrap_or_default();
        let role = format!("role = \"read-only\"\n{user}secret = \"{}\"\ngate = \"standing\"\n", self.name);
        let named = format!("id = \"{}\"\n", self.target);
        let (before, rest) = catalog.split_once(&named).expect("the sandbox's catalog has it");
        let (target, after) = rest.split_once("\n[[target]]").unwrap_or((rest, ""));
        let target = target.split("\n[[target.entitlement]]").next().unwrap_or_default();
        let after = if after.is_empty() { String::new() } else { format!("\n[[target]]{after}") };
        format!("{before}{named}{target}\n[[target.entitlement]]\n{role}{after}")
    }

    /// In its four steps, with logins between them.
    async fn rotate(&self, world: &World, visits: &watch::Sender<u32>) {
        use RotationStep::{CreateSecret, FinishSecret, SetSecret, TestSecret};
        let mut visits = visits.subscribe();
        for step in [CreateSecret, SetSecret, TestSecret, FinishSecret] {
            world.sandbox.rotate(self.name, step).await.expect("each step in its turn");
            // The first of them may have begun before the step.
            let enough = *visits.borrow() + 3;
            visits.wait_for(|visits| *visits >= enough).await.expect("the visits go on");
        }
    }
}

/// What a program has to be told to connect.
pub(crate) struct Way {
    engine: Engine,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: String,
}

impl Way {
    /// Connects to a Target and asks for what a person would ask for.
    pub(crate) async fn open(ana: &Person, target: &str) -> Self {
        ana.does(&["connect", target]).await;
        let password = ana.does(&["password", target]).await.trim().to_owned();
        ana.sees("it is connected", |snapshot| {
            let view = view(snapshot, target);
            let Gateway::Open { connection, .. } = &view.gateway else { return None };
            Some(Self {
                engine: view.target.engine,
                port: connection.port,
                user: connection.user.clone(),
                database: connection.database.clone(),
                password: password.clone(),
            })
        })
        .await
    }

    /// One of the programs of tests/clients, waiting for its password.
    fn started(&self, program: &str) -> Child {
        let port = self.port.to_string();
        program_of(program).args(["127.0.0.1", &port, &self.user, &self.database]).spawn().expect("there is a shell")
    }

    async fn visit_on_and_on(&self, visits: &watch::Sender<u32>) -> Infallible {
        loop {
            let ran =
                finished(self.visit().spawn().expect("psql and mariadb are installed by `cargo xtask setup`")).await;
            assert_eq!((ran.out.trim(), ran.err.as_str()), ("1", ""), "after {} logins", *visits.borrow());
            visits.send_modify(|visits| *visits += 1);
        }
    }

    fn visit(&self) -> Command {
        let Self { port, user, database, password, .. } = self;
        let mut command = match self.engine {
            Engine::Postgres => {
                let mut psql = Command::new("psql");
                let place = format!("host=127.0.0.1 port={port} user={user} dbname={database} sslmode=disable");
                psql.args(["-XAtc", "SELECT 1", &place]).env("PGPASSWORD", password);
                psql
            }
            Engine::Mariadb | Engine::Mysql => {
                let mut mariadb = Command::new("mariadb");
                mariadb.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-Ne", "SELECT 1"]);
                mariadb.args([format!("-P{port}"), format!("-u{user}"), database.clone()]).env("MYSQL_PWD", password);
                mariadb
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// Has each program do all it does, side by side.
async fn work_all(programs: &[&str], way: &Way) {
    let working = programs.iter().map(|program| async move {
        let ran = told(way.started(program), &way.password).await;
        (ran.out.trim() != "ok").then(|| format!("{program}: {ran:#?}"))
    });
    let failed: Vec<String> = join_all(working).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "each of {programs:?} prints ok, but {}", failed.join("\n"));
}

/// One of the programs of tests/clients, to be started.
pub(crate) fn program_of(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/run.sh")).arg(name);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Gives a program its standard input and waits for its end.
pub(crate) async fn told(mut program: Child, words: &str) -> Ran {
    let mut input = program.stdin.take().expect("stdin is piped");
    // One that could not start has closed it; its own words say why.
    let _gone = input.write_all(words.as_bytes()).await;
    drop(input);
    finished_within(PATIENCE, program).await
}

/// A program that keeps a pool of connections.
struct Pool(Child);

impl Pool {
    /// One connection is open and used.
    async fn fill(program: &str, way: &Way) -> Self {
        let mut child = way.started(program);
        let input = child.stdin.as_mut().expect("stdin is piped");
        input.write_all(format!("{}\n", way.password).as_bytes()).await.expect("it reads");
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().expect("stdout is piped"));
        output.read_line(&mut said).await.expect("it is text");
        if said.trim() != "ready" {
            panic!("{program} has no connection: {:#?}", finished(child).await);
        }
        Self(child)
    }

    /// It needs other connections.
    async fn goes_on(self) -> Ran {
        told(self.0, "\n").await
    }
}

//! Every way to a database: by tag, by task, by another document, by none; and what becomes of clients when a tunnel ends.

use std::{path::PathBuf, process::Stdio, time::Duration};

use ipc::{Client, ServerMessage};
use model::{ErrorView, Notice};
use sandbox::data_channel::SessionLimits;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::world::{Person, World};

const PATIENCE: Duration = Duration::from_secs(60);
const WHO: &[&str] = &["connect", "billing-staging", "--", "psql", "-Atc", "SELECT current_user"];
const HOST: &str = "billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com";

/// Ana, signed in, with a catalog in which billing-staging is reached like this.
async fn ana_by(world: &World, way: &str) -> Person {
    let ana = world.person_with_catalog("ana", |text| {
        let (before, after) = text.split_once("id = \"billing-staging\"").expect("the catalog has it");
        let usual = "bastion = { instance = \"i-0da7a9a55ba5710e1\" }";
        assert!(after.contains(usual), "the sandbox's catalog names its bastion so");
        format!("{before}id = \"billing-staging\"{}", after.replacen(usual, way, 1))
    });
    ana.signs_in("acme").await;
    ana
}

/// What sessions were started through, and by which document, oldest first.
fn started(world: &World) -> Vec<(String, String)> {
    let calls = world.sandbox.calls().into_iter();
    let starts = calls.filter(|call| call.operation == "StartSession" && call.error.is_none());
    let text = |value: &serde_json::Value| value.as_str().expect("StartSession names it").to_owned();
    starts.map(|call| (text(&call.input["Target"]), text(&call.input["DocumentName"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_leads_to_a_bastion_that_is_online_and_to_another_when_that_one_goes() {
    let world = World::new().await;
    let ana = ana_by(&world, "bastion = { tag = \"daypass-pool\", value = \"shared\" }").await;
    assert_eq!(ana.does(WHO).await.trim(), "app_ro");
    let first = started(&world).pop().expect("a session was started").0;
    assert_ne!(first, "i-0da7a9a55ba5710f1", "that one is offline");
    world.sandbox.target_offline(&first);
    assert_eq!(ana.does(WHO).await.trim(), "app_ro");
    let second = started(&world).pop().expect("a session was started").0;
    assert!(second != first && second.starts_with("i-0da7a9a55ba5710f"), "{second}");
    world.sandbox.target_offline(&second);
    let refusal = ana.is_refused(&["connect", "billing-staging"], "bastion-offline").await;
    assert!(refusal.contains("ConnectionLost") && refusal.contains("does not restart it"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_ecs_carries_a_tunnel() {
    const TASK: &str = "7c1d4a0e9b3f4e52a6d8b0c2e4f60718";
    let world = World::new().await;
    let ana = ana_by(&world, "bastion = { cluster = \"tools\", service = \"daypass-bastion\" }").await;
    assert_eq!(ana.does(WHO).await.trim(), "app_ro");
    assert_eq!(started(&world)[0].0, format!("ecs:tools_{TASK}_{TASK}-2531612879"));
    let doctor = ana.does(&["doctor", "billing-staging"]).await;
    assert!(doctor.contains("ecs:tools_") && doctor.contains("is online"), "{doctor}");
    world.sandbox.set_task(TASK, "RUNNING", "STOPPED");
    let refusal = ana.is_refused(&["connect", "billing-staging"], "bastion-offline").await;
    assert!(refusal.contains("the ECS Exec agent in `bastion` is STOPPED"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_port_leads_to_a_relay_on_the_bastion() {
    let world = World::new().await;
    let relayed = world.sandbox.database_address("billing-staging").expect("there is a PostgreSQL");
    world.sandbox.vpc().route("localhost", 6432, relayed);
    let way = "bastion = { instance = \"i-0da7a9a55ba5710e1\" }\n\
               document = { name = \"AWS-StartPortForwardingSession\", port = 6432 }";
    let ana = ana_by(&world, way).await;
    world.sandbox.set_agent_version("billing-staging", "3.1.1188.0");
    assert_eq!(ana.does(WHO).await.trim(), "app_ro", "an SSM agent too old for other hosts serves its own ports");
    assert_eq!(started(&world)[0].1, "AWS-StartPortForwardingSession");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_ones_own_gets_its_parameters_and_is_told_apart_when_it_is_refused() {
    let world = World::new().await;
    let own = |document: &str| format!("bastion = {{ instance = \"i-0da7a9a55ba5710e1\" }}\ndocument = {document}");
    let way = own("{ name = \"Acme-BillingTunnel\", parameters = { team = \"payments\", portNumber = \"{port}\" } }");
    let ana = ana_by(&world, &way).await;
    assert_eq!(ana.does(WHO).await.trim(), "app_ro");
    assert_eq!(started(&world)[0].1, "Acme-BillingTunnel");

    let elsewhere = World::new().await;
    let ana = ana_by(&elsewhere, &own("\"Acme-BillingTunnel\"")).await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "rejected-by-aws").await;
    assert!(refusal.contains("Missing required parameter: team") && refusal.contains("`parameters`"), "{refusal}");

    let elsewhere = World::new().await;
    let ana = ana_by(&elsewhere, &own("\"Acme-Other\"")).await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "not-authorized").await;
    assert!(refusal.contains("on the session document: arn:aws:ssm:eu-west-1::document/Acme-Other"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_reaches_the_database_needs_no_session() {
    let world = World::new().await;
    let address = world.sandbox.database_address("billing-staging").expect("there is a PostgreSQL");
    let ana = ana_by(&world, &format!("bastion = {{ direct = \"{address}\" }}")).await;
    assert_eq!(ana.does(WHO).await.trim(), "app_ro", "with a token and a certificate of the real endpoint");
    assert_eq!(started(&world), [], "no session was started");
    let operations: Vec<String> = world.sandbox.calls().into_iter().map(|call| call.operation).collect();
    assert!(operations.iter().any(|operation| operation == "GetCallerIdentity"), "the account is checked all the same");
    let doctor = ana.does(&["doctor", "billing-staging"]).await;
    assert!(doctor.contains("this network reaches"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_too_old_is_told_before_a_session_starts() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    world.sandbox.set_agent_version("billing-staging", "3.1.1188.0");
    let refusal = ana.is_refused(&["connect", "billing-staging"], "agent-too-old").await;
    assert!(refusal.contains("3.1.1188.0") && refusal.contains("update the SSM agent"), "{refusal}");
    let asked = world.sandbox.calls().into_iter().filter(|call| call.operation == "StartSession").count();
    assert_eq!(asked, 0, "AWS was not asked for a session that is of no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_idles_is_told_and_the_next_connection_works_on_the_same_port() {
    let world = World::new().await;
    let (ana, service) = connected(&world).await;
    let mut notices = listens(&ana).await;
    let mut idler = Psql::open(&service);
    assert_eq!(idler.answers("SELECT 1").await, "1");
    let idle = Some(Duration::from_millis(500));
    world.sandbox.limit_sessions(SessionLimits { idle, ..SessionLimits::default() });
    let told = is_told(&mut notices, "session-idle").await;
    assert!(told.message.contains("`billing-staging`") && told.hint.contains("same port"), "{told:?}");
    assert!(idler.is_cut_off().await, "its connection ended with the session");
    world.sandbox.limit_sessions(SessionLimits::default());
    assert_eq!(service.says("SELECT 1").await, "1");
    assert_eq!(started(&world).len(), 2, "through a new session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_by_somebody_or_lasts_too_long_is_told_as_such() {
    let world = World::new().await;
    let (ana, service) = connected(&world).await;
    let mut notices = listens(&ana).await;
    let mut first = Psql::open(&service);
    assert_eq!(first.answers("SELECT 1").await, "1");
    world.sandbox.data_channels().terminate(&world.sandbox.open_sessions().concat());
    let told = is_told(&mut notices, "session-terminated").await;
    assert!(told.hint.contains("CloudTrail"), "{told:?}");
    assert!(first.is_cut_off().await);

    let mut second = Psql::open(&service);
    assert_eq!(second.answers("SELECT 1").await, "1");
    let maximum = Some(Duration::from_secs(1));
    world.sandbox.limit_sessions(SessionLimits { maximum, ..SessionLimits::default() });
    is_told(&mut notices, "session-too-long").await;
    assert!(second.is_cut_off().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hourly_close_of_the_websocket_is_invisible_to_a_psql_session() {
    let world = World::new().await;
    let (_ana, service) = connected(&world).await;
    let mut session = Psql::open(&service);
    let backend = session.answers("SELECT pg_backend_pid()").await;
    for _ in 0..3 {
        for id in world.sandbox.open_sessions() {
            world.sandbox.data_channels().say_bye(&id);
        }
        assert_eq!(session.answers("SELECT pg_backend_pid()").await, backend, "it is the same connection");
    }
    assert_eq!(started(&world).len(), 1, "and the same session");
    let resumed = world.sandbox.calls().into_iter().filter(|call| call.operation == "ResumeSession").count();
    assert!(resumed >= 3, "each close was healed: {resumed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_under_an_open_gateway_is_told() {
    let world = World::new().await;
    let behind = world.sandbox.database_address("billing-staging").expect("there is a PostgreSQL");
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    world.sandbox.vpc().route(HOST, 5432, relay.local_addr().expect("it is bound"));
    let relaying = tokio::spawn(async move {
        while let Ok((mut near, _)) = relay.accept().await {
            let mut far = TcpStream::connect(behind).await.expect("the database listens");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let (ana, service) = connected(&world).await;
    let mut notices = listens(&ana).await;
    relaying.abort();
    assert!(relaying.await.is_err(), "nobody listens any more");
    let refusal = service.says("SELECT 1").await;
    assert!(!refusal.starts_with('1'), "it cannot be reached: {refusal}");
    let told = is_told(&mut notices, "database-unreachable").await;
    assert!(told.message.contains("billing-staging") && !told.hint.is_empty(), "{told:?}");
}

/// Ana with an open gateway to billing-staging, and how psql finds it.
async fn connected(world: &World) -> (Person, Service) {
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    let file = ana.data_dir().join("run/gateways/billing-staging/pg_service.conf");
    assert!(file.exists(), "it is there while the gateway is open");
    (ana, Service { file, name: "billing-staging" })
}

/// A libpq service of an open gateway.
struct Service {
    file: PathBuf,
    name: &'static str,
}

impl Service {
    /// psql, which answers at once only to a terminal.
    fn psql(&self) -> Command {
        let mut psql = Command::new("stdbuf");
        psql.args(["-oL", "psql", &format!("service={}", self.name), "-qAt"]).env("PGSERVICEFILE", &self.file);
        psql.kill_on_drop(true);
        psql
    }

    /// What one psql prints, rows or error.
    async fn says(&self, statement: &str) -> String {
        let output = self.psql().args(["-c", statement]).output().await;
        let output = output.expect("psql is installed by `cargo xtask setup`");
        let text = if output.status.success() { output.stdout } else { output.stderr };
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

/// Hears what the person is told from now on.
async fn listens(person: &Person) -> Client {
    let mut client = Client::connect(&person.socket()).await.expect("an agent runs");
    client.subscribe().await.expect("it lets us follow");
    client
}

/// Waits until an interruption of this kind is told.
async fn is_told(notices: &mut Client, code: &str) -> ErrorView {
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            if let ServerMessage::Notice(Notice::GatewayInterrupted { cause, .. }) =
                notices.next().await.expect("it goes on").expect("it goes on")
                && cause.code == code
            {
                return cause;
            }
        }
    });
    told.await.unwrap_or_else(|_| panic!("`{code}` was never told"))
}

/// A psql that stays connected.
struct Psql {
    _program: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Psql {
    fn open(service: &Service) -> Self {
        let mut psql = service.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = psql.spawn().expect("psql is installed by `cargo xtask setup`");
        let to = program.stdin.take().expect("it is piped");
        let from = BufReader::new(program.stdout.take().expect("it is piped")).lines();
        Self { _program: program, to, from }
    }

    async fn answers(&mut self, statement: &str) -> String {
        self.ask(statement).await.unwrap_or_else(|| panic!("psql ended instead of answering {statement}"))
    }

    /// Whether its connection is gone: psql ends then, as it is no terminal that talks to it.
    async fn is_cut_off(&mut self) -> bool {
        self.ask("SELECT 1").await.is_none()
    }

    async fn ask(&mut self, statement: &str) -> Option<String> {
        // A psql that has ended reads nothing; the missing answer tells.
        let _ended = self.to.write_all(format!("{statement};\n").as_bytes()).await;
        tokio::time::timeout(PATIENCE, self.from.next_line()).await.expect("it answers in time").expect("it is text")
    }
}

//! The computer sleeps, changes its network, or stops the program for a while: an open psql goes on.

use std::{io::Write as _, process::Stdio, time::Duration};

use sandbox::data_channel::Side;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use zbus::{Connection, connection};

use crate::world::{Person, World, signal};

const PATIENCE: Duration = Duration::from_secs(60);
/// Tells the test that it runs in a network of its own.
const OWN_NETWORK: &str = "DAYPASS_TEST_OWN_NETWORK";

#[tokio::test(flavor = "multi_thread")]
async fn a_psql_session_goes_on_after_sleep_as_logind_announces_it() {
    let world = World::new().await;
    let mut ana = world.person("ana");
    let (_bus, address) = bus().await;
    let logind = connection::Builder::address(address.as_str()).expect("the daemon's own address");
    let logind = logind.name("org.freedesktop.login1").expect("a bus name").build().await.expect("nobody has the name");
    ana.system_bus = Some(address);
    let _agent = ana.agent().await;
    let mut psql = connected(&world, &ana).await;
    assert_eq!(psql.ask("SELECT 1").await, "1");

    let resumed = resumes(&world);
    says(&logind, true).await;
    says(&logind, false).await;
    world_has(&world, "ResumeSession was asked for at once", |world| resumes(world) > resumed).await;
    assert_eq!(psql.ask("SELECT 2").await, "2", "in the same login");
    assert_eq!(starts(&world), 1, "through the same session");
}

#[test]
fn a_psql_session_goes_on_when_the_computer_gets_another_address() {
    if std::env::var_os(OWN_NETWORK).is_none() {
        return in_a_network_of_its_own("surroundings::a_psql_session_goes_on_when_the_computer_gets_another_address");
    }
    ip("link set lo up");
    let runtime = tokio::runtime::Runtime::new().expect("the system gives threads");
    runtime.block_on(async {
        let world = World::new().await;
        let ana = world.person("ana");
        let _agent = ana.agent().await;
        let mut psql = connected(&world, &ana).await;
        assert_eq!(psql.ask("SELECT 1").await, "1");
        // The addresses there are at the start have settled by now: connecting took longer than that, or waits for it here.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for change in ["addr add 198.51.100.7/32 dev lo", "addr del 198.51.100.7/32 dev lo"] {
            let resumed = resumes(&world);
            ip(change);
            world_has(&world, "ResumeSession was asked for at once", |world| resumes(world) > resumed).await;
            assert_eq!(psql.ask("SELECT 2").await, "2", "in the same login, after `ip {change}`");
        }
        assert_eq!(starts(&world), 1, "through the same session");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_psql_session_goes_on_in_a_program_that_was_stopped_while_its_connection_was_cut() {
    let world = World::new().await;
    let ana = world.person("ana");
    let agent = ana.agent().await;
    let mut psql = connected(&world, &ana).await;
    assert_eq!(psql.ask("SELECT 1").await, "1");
    let session = world.sandbox.open_sessions().concat();
    let resumed = resumes(&world);
    signal("STOP", &agent).await;
    world.sandbox.data_channels().cut(&session, Side::Client);
    let asking = tokio::spawn(async move { psql.ask("SELECT 2").await });
    signal("CONT", &agent).await;
    assert_eq!(asking.await.expect("it asks"), "2", "what was typed meanwhile is answered");
    assert!(resumes(&world) > resumed, "by a new connection to the same session");
    assert_eq!(starts(&world), 1, "through the same session");
}

/// psql, logged in through an open gateway.
async fn connected(world: &World, ana: &Person) -> Psql {
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    assert_eq!(starts(world), 1);
    Psql::open(&ana.does(&["url", "billing-staging", "--as", "env"]).await)
}

fn resumes(world: &World) -> usize {
    calls(world, "ResumeSession")
}

fn starts(world: &World) -> usize {
    calls(world, "StartSession")
}

fn calls(world: &World, operation: &str) -> usize {
    world.sandbox.calls().iter().filter(|call| call.operation == operation && call.error.is_none()).count()
}

async fn world_has(world: &World, what: &str, is_so: impl Fn(&World) -> bool) {
    let waiting = async {
        while !is_so(world) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never came to it that {what}"));
}

/// One login that stays.
struct Psql {
    _child: Child,
    asks: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Psql {
    /// By variables: `PGHOST=…` and so on, one in each line.
    fn open(variables: &str) -> Self {
        // Without stdbuf it would keep its rows to itself until it ends.
        let mut psql = Command::new("stdbuf");
        psql.args(["-oL", "psql", "-At"])
            .envs(variables.lines().filter_map(|line| line.split_once('=')))
            .kill_on_drop(true);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = psql.spawn().expect("psql is installed by `cargo xtask setup`");
        let asks = child.stdin.take().expect("stdin is piped");
        let says = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { _child: child, asks, says }
    }

    async fn ask(&mut self, statement: &str) -> String {
        self.asks.write_all(format!("{statement};\n").as_bytes()).await.expect("psql reads");
        let row = tokio::time::timeout(PATIENCE, self.says.next_line()).await.expect("it answers in time");
        row.expect("it is text").expect("the login goes on")
    }
}

/// Runs one test of this program as if it were alone on a computer without a network, whose addresses it may change.
fn in_a_network_of_its_own(test: &str) {
    let unshare = |command: &std::path::Path, arguments: &[&str]| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.arg("--net").arg("--").arg(command).args(arguments).env(OWN_NETWORK, "1");
        unshare.status().is_ok_and(|status| status.success())
    };
    if !unshare("true".as_ref(), &[]) {
        let skipped = b"SKIPPED: `unshare --net` is not allowed here, so no address can be changed; root may\n";
        std::io::stderr().write_all(skipped).expect("it can be written");
        return;
    }
    let this = std::env::current_exe().expect("a test is a program");
    assert!(unshare(&this, &["--exact", test, "--nocapture"]), "{test} failed in a network of its own");
}

fn ip(arguments: &str) {
    let done = std::process::Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(done.success(), "ip {arguments}");
}

/// A bus of its own; it ends with the child.
async fn bus() -> (Child, String) {
    let mut daemon = Command::new("dbus-daemon");
    daemon.args(["--session", "--nofork", "--print-address"]).stdin(Stdio::null()).stderr(Stdio::null());
    let daemon = daemon.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let mut daemon = daemon.expect("dbus-daemon is installed by `cargo xtask setup`");
    let mut said = BufReader::new(daemon.stdout.take().expect("stdout is piped")).lines();
    let address = said.next_line().await.expect("it is text").expect("it prints its address");
    (daemon, address)
}

async fn says(logind: &Connection, falls_asleep: bool) {
    let (path, interface) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
    let said = logind.emit_signal(None::<&str>, path, interface, "PrepareForSleep", &falls_asleep).await;
    said.expect("the bus takes it");
}

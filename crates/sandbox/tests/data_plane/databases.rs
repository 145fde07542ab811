//! psql at the RDS front, and what the front says to those it does not let in.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sandbox::clock::Clock;
use sandbox::postgres::{DATABASE, Postgres};
use sandbox::rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal};
use sandbox::tls::{CertificateAuthority, ServerCertificate};

const HOST: &str = "orders-prod.abc.eu-west-1.rds.amazonaws.com";
const TOKEN: &str = "orders-prod.abc.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app_ro&X-Amz-Signature=00";

/// Takes one token.
struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        assert_eq!((attempt.endpoint_host.as_str(), attempt.endpoint_port), (HOST, 5432));
        if attempt.token == TOKEN {
            return Ok(());
        }
        let message = "token is malformed or otherwise invalid".to_owned();
        Err(TokenRefusal { code: "InvalidToken".to_owned(), message })
    }
}

/// An endpoint with everything behind it.
struct Endpoint {
    postgres: Postgres,
    authority: CertificateAuthority,
    front: RdsFront,
    files: tempfile::TempDir,
}

impl Endpoint {
    async fn start() -> Self {
        let authority = CertificateAuthority::new("Sandbox RDS root", Timestamp::now()).expect("a key can be made");
        let certificate = authority.certificate(&[HOST], Timestamp::now()).expect("a DNS name");
        let postgres = Postgres::start().await.expect("PostgreSQL is installed");
        let front = front(&postgres, certificate);
        let files = tempfile::tempdir().expect("a temporary folder");
        Self { postgres, authority, front, files }
    }

    fn roots(&self, authority: &CertificateAuthority) -> PathBuf {
        let path = self.files.path().join("roots.pem");
        std::fs::write(&path, authority.ca_pem()).expect("the folder is ours");
        path
    }

    fn psql(&self, settings: &str) -> Command {
        psql(&self.front, &self.roots(&self.authority), settings)
    }
}

fn front(postgres: &Postgres, certificate: ServerCertificate) -> RdsFront {
    RdsFront::start(RdsFrontConfig {
        endpoint_host: HOST.to_owned(),
        endpoint_port: 5432,
        region: "eu-west-1".to_owned(),
        resource_id: "db-ORDERS".to_owned(),
        certificate,
        upstream: postgres.socket_dir().to_owned(),
        check: Arc::new(OneToken),
        clock: Clock::real(),
    })
    .expect("a loopback port is free")
}

/// psql as a person would start it behind a tunnel; later settings win.
fn psql(front: &RdsFront, roots: &Path, settings: &str) -> Command {
    let mut command = Command::new("psql");
    let address = front.address();
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PGPASSWORD", TOKEN)
        .args(["--no-psqlrc", "--no-align", "--tuples-only"])
        .arg(format!(
            "host={HOST} hostaddr={} port={} user=app_ro dbname={DATABASE} sslmode=verify-full sslrootcert={} {settings}",
            address.ip(),
            address.port(),
            roots.display(),
        ));
    command
}

async fn run(mut command: Command, statement: &str) -> Output {
    command.args(["--command", statement]);
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("psql is installed")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn psql_reads_rows_with_a_token() {
    let endpoint = Endpoint::start().await;
    let count = run(endpoint.psql(""), "SELECT count(*), min(id), max(status) FROM orders").await;
    assert_eq!(String::from_utf8_lossy(&count.stdout), "50|1|shipped\n", "{}", words(&count));
    let name =
        run(endpoint.psql("application_name=till"), "SELECT current_user, current_setting('application_name')").await;
    assert_eq!(String::from_utf8_lossy(&name.stdout), "app_ro|till\n", "start-up settings are passed on");
    let write = run(endpoint.psql(""), "DELETE FROM orders").await;
    assert!(words(&write).contains("permission denied for table orders"), "{}", words(&write));
    let write = run(endpoint.psql("user=app_rw"), "UPDATE products SET price_cents = 1 WHERE id = 2").await;
    assert_eq!(String::from_utf8_lossy(&write.stdout), "UPDATE 1\n", "{}", words(&write));
    assert!(endpoint.front.iam_db_auth_errors().is_empty(), "nobody was refused");
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_words_of_rds() {
    let endpoint = Endpoint::start().await;
    let mut wrong = endpoint.psql("");
    wrong.env("PGPASSWORD", "stale");
    let said = words(&run(wrong, "SELECT").await);
    assert!(said.contains("FATAL:  PAM authentication failed for user \"app_ro\""), "{said}");
    let noted = &endpoint.front.iam_db_auth_errors()[0];
    assert_eq!((noted.user.as_str(), noted.refusal.code.as_str()), ("app_ro", "InvalidToken"));

    let said = words(&run(endpoint.psql("sslmode=disable"), "SELECT").await);
    let expected =
        "FATAL:  no pg_hba.conf entry for host \"127.0.0.1\", user \"app_ro\", database \"shop\", no encryption";
    assert!(said.contains(expected), "{said}");

    let said = words(&run(endpoint.psql("user=nobody_here"), "SELECT").await);
    assert!(said.contains("FATAL:  password authentication failed for user \"nobody_here\""), "{said}");
    let said = words(&run(endpoint.psql("dbname=elsewhere"), "SELECT").await);
    assert!(said.contains("FATAL:  database \"elsewhere\" does not exist"), "{said}");
    let said = words(&run(endpoint.psql("host=localhost"), "SELECT").await);
    assert!(said.contains("does not match host name \"localhost\""), "{said}");
}

#[tokio::test]
async fn clients_see_through_foreign_and_expired_certificates() {
    let endpoint = Endpoint::start().await;
    let foreign = CertificateAuthority::new("Somebody else", Timestamp::now()).expect("a key can be made");
    let said = words(&run(psql(&endpoint.front, &endpoint.roots(&foreign), ""), "SELECT").await);
    assert!(said.contains("certificate verify failed"), "{said}");

    let expired = endpoint.authority.expired_certificate(&[HOST], Timestamp::now()).expect("a DNS name");
    let late = front(&endpoint.postgres, expired);
    let said = words(&run(psql(&late, &endpoint.roots(&endpoint.authority), ""), "SELECT").await);
    assert!(said.contains("certificate verify failed"), "{said}");
}

#[tokio::test]
async fn a_query_can_be_cancelled_through_the_front() {
    let endpoint = Endpoint::start().await;
    let mut command = endpoint.psql("");
    let child =
        command.args(["--command", "SELECT pg_sleep(600)"]).stderr(Stdio::piped()).spawn().expect("psql is installed");
    let pid = rustix::process::Pid::from_child(&child);
    let running = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND \
                   state = 'active') THEN RAISE 'not yet'; END IF; END $$";
    while endpoint.postgres.execute(DATABASE, running).await.is_err() {
        tokio::task::yield_now().await;
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("no panic").expect("it ended");
    assert!(words(&output).contains("canceling statement due to user request"), "{}", words(&output));
}

/// Set for the child of the test below.
const HOLD: &str = "DAYPASS_TEST_HOLDS_POSTGRES";

#[tokio::test]
async fn a_dropped_server_leaves_nothing_behind() {
    let server = Postgres::start().await.expect("PostgreSQL is installed");
    let folder = server.socket_dir().to_owned();
    if std::env::var_os(HOLD).is_some() {
        let mut out = std::io::stdout().lock();
        std::io::Write::write_all(&mut out, format!("\nfolder={}\n", folder.display()).as_bytes()).expect("a pipe");
        std::io::Write::flush(&mut out).expect("a pipe");
        std::future::pending::<()>().await;
    }
    assert!(folder.join(".s.PGSQL.5432").exists(), "it runs");
    drop(server);
    assert!(!folder.exists(), "and is gone");
}

#[test]
fn a_killed_owner_leaves_nothing_behind() {
    let this = std::env::current_exe().expect("the test's own file");
    let mut owner = Command::new(this)
        .args(["--exact", "data_plane::databases::a_dropped_server_leaves_nothing_behind", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs once more");
    let lines = BufReader::new(owner.stdout.take().expect("piped")).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("folder=").map(PathBuf::from))
        .expect("the owner says where its server lives");
    owner.kill().expect("it runs");
    owner.wait().expect("it was killed");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while folder.exists() {
        assert!(std::time::Instant::now() < deadline, "{} is still there", folder.display());
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn users_outside_rds_iam_log_in_with_their_password() {
    let endpoint = Endpoint::start().await;
    let scram = "CREATE ROLE scram LOGIN IN ROLE shop_reader PASSWORD 'right'";
    let md5 = "SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN IN ROLE shop_reader PASSWORD 'right'";
    for (user, statement) in [("scram", scram), ("md5", md5)] {
        endpoint.postgres.execute(DATABASE, statement).await.expect("a role can be made");
        let mut right = endpoint.psql(&format!("user={user}"));
        right.env("PGPASSWORD", "right");
        let count = run(right, "SELECT current_user, count(*) FROM orders").await;
        assert_eq!(String::from_utf8_lossy(&count.stdout), format!("{user}|50\n"), "{}", words(&count));
        let token = run(endpoint.psql(&format!("user={user}")), "SELECT").await;
        let refusal = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(words(&token).contains(&refusal), "{}", words(&token));
    }
}

//! The mariadb client at the RDS front, by every way to log in.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use sandbox::clock::Clock;
use sandbox::mariadb::{DATABASE, Mariadb, MysqlPlugin};
use sandbox::rds_front::{LoginAttempt, RdsFront, RdsFrontConfig, TokenCheck, TokenRefusal};
use sandbox::tls::CertificateAuthority;

/// Longer than the 250 bytes that fit a short length.
fn token() -> String {
    format!(
        "billing-mysql.abc.eu-west-1.rds.amazonaws.com:3306/?Action=connect&X-Amz-Security-Token={}",
        "t".repeat(1_500)
    )
}

struct OneToken;

impl TokenCheck for OneToken {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        if attempt.token == token() {
            return Ok(());
        }
        let message = "token is malformed or otherwise invalid".to_owned();
        Err(TokenRefusal { code: "InvalidToken".to_owned(), message })
    }
}

struct Endpoint {
    mariadb: Mariadb,
    front: RdsFront,
    roots: tempfile::NamedTempFile,
}

impl Endpoint {
    async fn start(like_mysql_8: bool) -> Self {
        let authority = CertificateAuthority::new("Sandbox RDS root", Timestamp::now()).expect("a key can be made");
        let mariadb = Mariadb::start().await.expect("MariaDB is installed");
        let front = RdsFront::start(RdsFrontConfig {
            endpoint_host: "billing-mysql.abc.eu-west-1.rds.amazonaws.com".to_owned(),
            endpoint_port: 3306,
            region: "eu-west-1".to_owned(),
            resource_id: "db-BILLING".to_owned(),
            certificate: authority.certificate(&["localhost"], Timestamp::now()).expect("a name"),
            upstream: if like_mysql_8 { mariadb.door().like_mysql_8() } else { mariadb.door() },
            check: Arc::new(OneToken),
            clock: Clock::real(),
        });
        let roots = tempfile::NamedTempFile::new().expect("a temporary folder");
        std::fs::write(roots.path(), authority.ca_pem()).expect("the file is ours");
        Self { mariadb, front: front.expect("a loopback port is free"), roots }
    }

    /// The client as a person would start it; the password goes by the environment of the child alone.
    fn client(&self, user: &str, password: &str, options: &[&str]) -> Command {
        let mut command = Command::new("mariadb");
        let (port, roots) = (self.front.address().port(), self.roots.path().display());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("MYSQL_PWD", password);
        command.args(["--no-defaults", "--protocol=tcp", "--host=localhost", "--batch", "--skip-column-names"]);
        command.args([format!("--port={port}"), format!("--ssl-ca={roots}"), format!("--user={user}")]);
        command.args(["--ssl-verify-server-cert", &format!("--database={DATABASE}")]).args(options);
        command
    }

    /// What a statement gave, or the client's complaint.
    async fn ask(&self, user: &str, password: &str, options: &[&str], statement: &str) -> String {
        let mut command = self.client(user, password, options);
        command.args(["--execute", statement]);
        let run = tokio::task::spawn_blocking(move || command.output());
        said(&run.await.expect("no panic").expect("the client is installed"))
    }
}

fn said(output: &Output) -> String {
    let words = if output.status.success() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(words).trim().to_owned()
}

#[tokio::test]
async fn a_token_reads_rows_and_roles_are_kept_apart() {
    let endpoint = Endpoint::start(false).await;
    let who = "SELECT CURRENT_USER(), COUNT(*) FROM invoices";
    assert_eq!(endpoint.ask("app_ro", &token(), &[], who).await, "app_ro@%\t60");
    assert_eq!(endpoint.ask("app_ro", &token(), &["--compress"], who).await, "app_ro@%\t60", "zlib passes");
    let rows = endpoint.ask("app_ro", &token(), &["--compress"], "SELECT REPEAT('x', 999) FROM seq_1_to_20000").await;
    assert_eq!(rows.len(), 20_000 * 1_000 - 1);
    let write = endpoint.ask("app_ro", &token(), &[], "DELETE FROM invoices").await;
    assert!(write.contains("DELETE command denied"), "{write}");
    let delete = "DELETE FROM invoice_lines WHERE line = 3; SELECT ROW_COUNT()";
    assert_eq!(endpoint.ask("app_rw", &token(), &[], delete).await, "60");
    assert!(endpoint.front.iam_db_auth_errors().is_empty(), "nobody was refused");
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_words_of_mysql() {
    let endpoint = Endpoint::start(true).await;
    let stale = endpoint.ask("app_ro", "stale", &[], "SELECT 1").await;
    assert!(stale.contains("ERROR 1045 (28000): Access denied for user 'app_ro'@'127.0.0.1'"), "{stale}");
    let noted = &endpoint.front.iam_db_auth_errors()[0];
    assert_eq!((noted.user.as_str(), noted.refusal.code.as_str()), ("app_ro", "InvalidToken"));
    let plain = ["--skip-ssl", "--skip-ssl-verify-server-cert"];
    let plain = endpoint.ask("app_ro", &token(), &plain, "SELECT 1").await;
    assert!(plain.contains("ERROR 3159 (HY000): Connections using insecure transport are prohibited"), "{plain}");
    let nobody = endpoint.ask("nobody_here", "x", &[], "SELECT 1").await;
    assert!(nobody.contains("ERROR 1045 (28000): Access denied for user 'nobody_here'"), "{nobody}");
    let nowhere = endpoint.ask("app_ro", &token(), &["--database=elsewhere"], "SELECT 1").await;
    assert!(nowhere.contains("Access denied for user 'app_ro'@'%' to database 'elsewhere'"), "{nowhere}");
}

#[tokio::test]
async fn each_kind_of_password_logs_in_until_it_is_changed() {
    let endpoint = Endpoint::start(true).await;
    let plugins = [MysqlPlugin::CachingSha2, MysqlPlugin::Ed25519, MysqlPlugin::Native];
    let (first, second) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    for plugin in plugins {
        let door = endpoint.mariadb.door();
        door.set_password("report", first, plugin).await.expect("the server runs");
        for time in ["shown", "known"] {
            let count = endpoint.ask("report", first, &[], "SELECT COUNT(*) FROM accounts").await;
            assert_eq!(count, "5", "{plugin:?}, {time}");
        }
        let wrong = endpoint.ask("report", second, &[], "SELECT 1").await;
        assert!(wrong.contains("ERROR 1045 (28000)"), "{plugin:?}: {wrong}");
        door.set_password("report", second, plugin).await.expect("the server runs");
        assert!(endpoint.ask("report", first, &[], "SELECT 1").await.contains("ERROR 1045"), "{plugin:?}");
        assert_eq!(endpoint.ask("report", second, &[], "SELECT 1").await, "1", "{plugin:?}");
    }
}

#[tokio::test]
async fn a_query_is_killed_by_the_id_its_client_was_told() {
    let endpoint = Endpoint::start(false).await;
    let statement = "SELECT CONNECTION_ID(); SELECT SLEEP(600)";
    let mut child = endpoint.client("app_ro", &token(), &["--unbuffered", "--skip-reconnect", "--execute", statement]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client is installed");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let told = tokio::task::spawn_blocking(move || {
        let mut id = String::new();
        out.read_line(&mut id).map(|_| id)
    });
    let id = told.await.expect("no panic").expect("a pipe");
    let killed = endpoint.ask("app_ro", &token(), &[], &format!("KILL {}", id.trim())).await;
    assert_eq!(killed, "");
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
    let ended = said(&ended.expect("it ended"));
    assert!(ended.contains("ERROR 2013") || ended.contains("ERROR 1927"), "its connection was killed: {ended}");
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing_behind() {
    let mariadb = Mariadb::start().await.expect("MariaDB is installed");
    let socket = format!("{:?}", mariadb.door());
    let folder = socket.split('"').nth(1).and_then(|path| std::path::Path::new(path).parent()).expect("a path");
    assert!(folder.exists(), "{socket}");
    drop(mariadb);
    assert!(!folder.exists(), "{} is gone", folder.display());
}

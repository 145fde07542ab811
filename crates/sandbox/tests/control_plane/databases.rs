//! Databases: described, and logged in to with IAM tokens.

use std::process::{Command, Output};
use std::time::Duration;

use jiff::SignedDuration;
use sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

use super::client::{Client, account};

const BILLING: &str = "billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com";
const ORDERS: &str = "orders-prod.c9daypass0.eu-west-1.rds.amazonaws.com";

#[tokio::test]
async fn an_instance_and_a_cluster_are_described() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let orders = ana.rds("DescribeDBInstances", &[("DBInstanceIdentifier", "orders-prod")]).await;
    assert_eq!(orders.xml("Address"), ORDERS);
    assert!(orders.xml("DbiResourceId").starts_with("db-"));
    assert_eq!(orders.xml("IAMDatabaseAuthenticationEnabled"), "true");
    let ledger = ana.rds("DescribeDBClusters", &[("DBClusterIdentifier", "ledger-prod")]).await;
    assert!(ledger.xml("DbClusterResourceId").starts_with("cluster-"));
    assert_eq!(ledger.xml("DBInstanceIdentifier"), "ledger-prod-1", "its writer");
    let refused = ana.rds("DescribeDBInstances", &[("DBInstanceIdentifier", "nowhere")]).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused.error(), ("DBInstanceNotFound".into(), "DBInstance nowhere not found.".into()));
    let cluster = ana.rds("DescribeDBClusters", &[("DBClusterIdentifier", "orders-prod")]).await;
    assert_eq!(cluster.error().0, "DBClusterNotFoundFault", "an instance is no cluster");
    let ben = Client::new(&sandbox, "ben", "JitRdsApprover");
    assert_eq!(ben.rds("DescribeDBInstances", &[]).await.error().0, "AccessDenied");
}

#[tokio::test]
async fn the_catalog_names_every_database_and_both_doors() {
    let sandbox = account().await;
    let catalog: toml::Table = sandbox.catalog_toml().parse().expect("TOML");
    let targets = catalog["target"].as_array().expect("targets");
    let ids: Vec<&str> = targets.iter().map(|target| target["id"].as_str().expect("an id")).collect();
    assert_eq!(
        ids,
        ["orders-prod", "billing-staging", "ledger-prod", "archive-prod", "billing-mysql", "stock-mariadb"]
    );
    assert_eq!(catalog["identity-provider"].as_array().expect("providers").len(), 2);
    let ca = catalog["aws"]["ca-bundle"].as_str().expect("a path");
    assert_eq!(std::fs::read_to_string(ca).expect("the file is there"), sandbox.ca_pem());
}

/// psql at the front itself, without a tunnel. The token goes by the environment of the child alone.
async fn psql(sandbox: &Sandbox, host: &str, user: &str, token: String) -> Output {
    let database = host.split_once('.').expect("a full name").0;
    let port = sandbox.database_address(database).expect("there is a PostgreSQL").port();
    let ca = sandbox.catalog_toml().parse::<toml::Table>().expect("TOML")["aws"]["ca-bundle"].clone();
    let ca = ca.as_str().expect("a path");
    let target = format!(
        "host={host} hostaddr=127.0.0.1 port={port} user={user} dbname=shop sslmode=verify-full sslrootcert={ca}"
    );
    let mut command = Command::new("psql");
    command.args(["-XAt", &target, "-c", "SELECT current_user, count(*) > 0 FROM orders"]).env("PGPASSWORD", token);
    tokio::task::spawn_blocking(move || command.output().expect("psql is installed")).await.expect("it does not panic")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).trim().to_owned()
}

#[tokio::test]
async fn a_token_logs_in_where_a_policy_allows_it_and_nowhere_else() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("PostgreSQL is installed");
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let standing = psql(&sandbox, BILLING, "app_ro", ana.db_auth_token(BILLING, "app_ro")).await;
    assert_eq!(said(&standing), "app_ro|t");

    let pam = |user: &str| format!("FATAL:  PAM authentication failed for user \"{user}\"");
    let orders = psql(&sandbox, ORDERS, "app_ro", ana.db_auth_token(ORDERS, "app_ro")).await;
    assert!(said(&orders).ends_with(&pam("app_ro")), "{}", said(&orders));
    let other_host = psql(&sandbox, BILLING, "app_ro", ana.db_auth_token(ORDERS, "app_ro")).await;
    assert!(said(&other_host).ends_with(&pam("app_ro")), "a token for another host: {}", said(&other_host));
    let other_user = psql(&sandbox, BILLING, "app_rw", ana.db_auth_token(BILLING, "app_ro")).await;
    assert!(said(&other_user).ends_with(&pam("app_rw")), "a token for another user: {}", said(&other_user));
    let old = ana.clone().off_by(SignedDuration::from_secs(-901)).db_auth_token(BILLING, "app_ro");
    assert!(!psql(&sandbox, BILLING, "app_ro", old).await.status.success(), "a token lives for 15 minutes");
    let mut cut = ana.db_auth_token(BILLING, "app_ro");
    cut.truncate(512);
    assert!(!psql(&sandbox, BILLING, "app_ro", cut).await.status.success(), "a token that was cut short");

    let codes: Vec<String> = sandbox.iam_db_auth_errors().into_iter().map(|error| error.refusal.code).collect();
    assert_eq!(codes, ["NotAuthorized", "InvalidToken", "InvalidToken", "ExpiredToken", "InvalidToken"]);
}

#[tokio::test]
async fn a_token_logs_in_to_mysql_where_a_policy_allows_it() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("the servers are installed");
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let at = "billing-mysql.c9daypass0.eu-west-1.rds.amazonaws.com:3306";
    let port = sandbox.database_address("billing-mysql").expect("it runs").port();
    let log_in = async |user: &str, token: String| {
        let mut mariadb = Command::new("mariadb");
        mariadb.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "--ssl", "-Ne", "SELECT CURRENT_USER()"]);
        mariadb.args([format!("-P{port}"), format!("-u{user}")]).env("MYSQL_PWD", token);
        let run = tokio::task::spawn_blocking(move || mariadb.output());
        said(&run.await.expect("no panic").expect("the client is installed"))
    };
    assert_eq!(log_in("app_ro", ana.db_auth_token_at(at, "app_ro")).await, "app_ro@%");
    let refused = log_in("app_rw", ana.db_auth_token_at(at, "app_rw")).await;
    assert!(refused.contains("ERROR 1045 (28000): Access denied for user 'app_rw'"), "{refused}");
    let other_port = log_in("app_ro", ana.db_auth_token_at(&at.replace("3306", "3307"), "app_ro")).await;
    assert!(other_port.contains("ERROR 1045"), "{other_port}");
    let codes: Vec<String> = sandbox.iam_db_auth_errors().into_iter().map(|error| error.refusal.code).collect();
    assert_eq!(codes, ["NotAuthorized", "InvalidToken"]);
    let described = ana.rds("DescribeDBInstances", &[("DBInstanceIdentifier", "billing-mysql")]).await;
    assert_eq!((described.xml("Engine"), described.xml("Port")), ("mysql", "3306"));
    assert!(described.xml("SecretArn").contains(":secret:rds!db-"), "its master's password");
}

#[tokio::test]
async fn a_grant_may_take_a_while_to_be_known_everywhere() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("PostgreSQL is installed");
    sandbox.delay_policies(Duration::from_secs(30));
    let ana = Client::new(&sandbox, "ana", "JitRds");
    granted(&sandbox, &ana, "read-only").await;
    let too_early = psql(&sandbox, ORDERS, "app_ro", ana.db_auth_token(ORDERS, "app_ro")).await;
    assert!(!too_early.status.success(), "the policy is written and not yet known");
    sandbox.clock().advance(Duration::from_secs(31));
    let token = ana.off_by(SignedDuration::from_secs(31)).db_auth_token(ORDERS, "app_ro");
    assert_eq!(said(&psql(&sandbox, ORDERS, "app_ro", token).await), "app_ro|t");
}

/// Asks for a quarter of an hour on orders-prod; eva agrees.
async fn granted(sandbox: &Sandbox, client: &Client, access: &str) {
    let parameters = json!({
        "Database": ["orders-prod"], "Access": [access], "Duration": ["PT15M"], "Justification": ["a test"],
    });
    let ask = json!({ "DocumentName": "Daypass-TemporaryAccess", "Parameters": parameters });
    let id = client.ssm("StartAutomationExecution", ask).await.json()["AutomationExecutionId"].take();
    sandbox.request_waits().await;
    sandbox.approve("eva").expect("eva may, since it is not her own");
    sandbox.policy_is_granted(id.as_str().expect("an id")).await;
}

#[tokio::test]
async fn a_grant_opens_the_database_and_its_end_closes_it() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("PostgreSQL is installed");
    let (ana, eva) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "eva", "JitRds"));
    granted(&sandbox, &ana, "read-write").await;

    let token = ana.db_auth_token(ORDERS, "app_rw");
    assert_eq!(said(&psql(&sandbox, ORDERS, "app_rw", token).await), "app_rw|t");
    let stranger = psql(&sandbox, ORDERS, "app_rw", eva.db_auth_token(ORDERS, "app_rw")).await;
    assert!(!stranger.status.success(), "the grant is ana's, though eva has the same role");

    sandbox.clock().advance(Duration::from_secs(901));
    let fresh = ana.off_by(SignedDuration::from_secs(901)).db_auth_token(ORDERS, "app_rw");
    assert!(!psql(&sandbox, ORDERS, "app_rw", fresh).await.status.success(), "the grant has ended by its date");
    assert_eq!(sandbox.iam_db_auth_errors().last().expect("it was noted").refusal.code, "NotAuthorized");
}

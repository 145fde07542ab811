//! Secrets: who may read them, why they cannot be read, and rotation in the real databases.

use std::process::Command;

use sandbox::{RotationStep, Sandbox, SandboxConfig, SecretFault};
use serde_json::{Value, json};

use super::client::{Answer, Client, account};

const REPORT: &str = "daypass/orders-prod/report";
const APP: &str = "daypass/billing-mysql/app";

async fn value(client: &Client, id: &str, stage: &str) -> Answer {
    client.secrets("GetSecretValue", json!({ "SecretId": id, "VersionStage": stage })).await
}

fn content(answer: &Answer) -> Value {
    let text = answer.json()["SecretString"].as_str().expect("a text").to_owned();
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn each_form_of_a_secret_is_read_by_name_and_by_arn() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let answer = value(&ana, REPORT, "AWSCURRENT").await;
    let arn = answer.json()["ARN"].as_str().expect("an ARN").to_owned();
    let instance = content(&answer);
    assert_eq!((&instance["engine"], &instance["port"]), (&json!("postgres"), &json!(5432)));
    assert_eq!(instance["dbInstanceIdentifier"], "orders-prod");
    assert_eq!(content(&value(&ana, &arn, "AWSCURRENT").await), instance);
    assert_eq!(content(&value(&ana, arn.rsplit_once('-').expect("a suffix").0, "AWSCURRENT").await), instance);
    let cluster = content(&value(&ana, "daypass/ledger-prod/report", "AWSCURRENT").await);
    assert_eq!((&cluster["port"], &cluster["dbClusterIdentifier"]), (&json!("5432"), &json!("ledger-prod")));
    let alternating = content(&value(&ana, APP, "AWSCURRENT").await);
    let managed = content(&value(&ana, alternating["masterarn"].as_str().expect("an ARN"), "AWSCURRENT").await);
    assert_eq!(managed.as_object().expect("an object").len(), 2, "user and password alone");
    let listed = ana.secrets("ListSecrets", json!({ "MaxResults": 3 })).await.json();
    assert_eq!(listed["SecretList"].as_array().expect("a list").len(), 3);
    assert!(listed["NextToken"].is_string(), "there are more");
    let described = ana.secrets("DescribeSecret", json!({ "SecretId": REPORT })).await.json();
    assert_eq!(described["VersionIdsToStages"].as_object().expect("versions").len(), 1);
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let code = |answer: Answer| answer.error().0;
    assert_eq!(code(value(&ana, "daypass/nowhere", "AWSCURRENT").await), "ResourceNotFoundException");
    assert_eq!(code(value(&ana, REPORT, "AWSPENDING").await), "ResourceNotFoundException");
    assert_eq!(code(value(&ana, "", "AWSCURRENT").await), "InvalidParameterException");
    let (denied, sentence) = value(&ana, "restricted/orders-prod/payroll", "AWSCURRENT").await.error();
    assert_eq!(denied, "AccessDeniedException");
    assert!(sentence.contains("secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:"), "{sentence}");
    for (fault, status, expected) in [
        (SecretFault::DecryptionFailure, 400, "DecryptionFailure"),
        (SecretFault::InternalServiceError, 500, "InternalServiceError"),
        (SecretFault::KmsDenied, 400, "AccessDeniedException"),
        (SecretFault::MarkedForDeletion, 400, "InvalidRequestException"),
    ] {
        sandbox.set_secret_fault(REPORT, Some(fault));
        let answer = value(&ana, REPORT, "AWSCURRENT").await;
        assert_eq!((answer.status, answer.error().0.as_str()), (status, expected));
    }
    sandbox.set_secret_fault(REPORT, None);
    assert_eq!(value(&ana, REPORT, "AWSCURRENT").await.status, 200);
    sandbox.throttle("GetSecretValue", 1);
    assert_eq!(code(value(&ana, REPORT, "AWSCURRENT").await), "ThrottlingException");
}

/// psql or mariadb at the front with what a secret says; answers what it printed or complained of.
async fn log_in(sandbox: &Sandbox, secret: &str) -> String {
    let secret: Value = serde_json::from_str(secret).expect("JSON");
    let text = |field: &str| secret[field].as_str().unwrap_or_default().to_owned();
    let port = sandbox.database_address(&text("dbInstanceIdentifier")).expect("it runs").port();
    let mut command = if text("engine") == "postgres" {
        let mut psql = Command::new("psql");
        let target =
            format!("host=127.0.0.1 port={port} user={} dbname={} sslmode=require", text("username"), text("dbname"));
        psql.args(["-XAt", &target, "-c", "SELECT 1"]).env("PGPASSWORD", text("password"));
        psql
    } else {
        let mut mariadb = Command::new("mariadb");
        mariadb.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "--ssl", "-Ne", "SELECT 1"]);
        mariadb.args([format!("-P{port}"), format!("-u{}", text("username"))]).env("MYSQL_PWD", text("password"));
        mariadb
    };
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("no panic").expect("the client is installed");
    let words = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8_lossy(&words).trim().to_owned()
}

#[tokio::test]
async fn a_single_user_is_locked_out_from_the_second_step_to_the_last() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("the servers are installed");
    let at = |stage: &str| sandbox.secret(REPORT, stage).expect("a version");
    let first = at("AWSCURRENT");
    assert_eq!(log_in(&sandbox, &first).await, "1");
    let early = sandbox.rotate(REPORT, RotationStep::SetSecret).await;
    assert!(early.expect_err("nothing is pending").to_string().contains("create-secret first"));
    sandbox.rotate(REPORT, RotationStep::CreateSecret).await.expect("the first step");
    assert_eq!(log_in(&sandbox, &first).await, "1", "the database knows of nothing");
    sandbox.rotate(REPORT, RotationStep::SetSecret).await.expect("the second step");
    assert!(log_in(&sandbox, &first).await.contains("password authentication failed"));
    assert_eq!(at("AWSCURRENT"), first, "the old one is still handed out");
    assert_eq!(log_in(&sandbox, &at("AWSPENDING")).await, "1");
    sandbox.rotate(REPORT, RotationStep::TestSecret).await.expect("the third step");
    sandbox.rotate(REPORT, RotationStep::FinishSecret).await.expect("the last step");
    assert_eq!(log_in(&sandbox, &at("AWSCURRENT")).await, "1");
    assert_eq!(at("AWSPREVIOUS"), first);
    assert!(sandbox.secret(REPORT, "AWSPENDING").is_none(), "the rotation is over");
}

#[tokio::test]
async fn alternating_users_never_lock_anybody_out() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("the servers are installed");
    let current = || sandbox.secret(APP, "AWSCURRENT").expect("a version");
    let first = current();
    for step in
        [RotationStep::CreateSecret, RotationStep::SetSecret, RotationStep::TestSecret, RotationStep::FinishSecret]
    {
        sandbox.rotate(APP, step).await.expect("each step in its turn");
        assert_eq!(log_in(&sandbox, &current()).await, "1", "after {step:?}");
        assert_eq!(log_in(&sandbox, &first).await, "1", "after {step:?}, with what a client still holds");
    }
    assert!(current().contains("billing_app_clone"), "the other user of the pair");
    let audit = sandbox.secret("daypass/stock-mariadb/audit", "AWSCURRENT").expect("a version");
    assert_eq!(log_in(&sandbox, &audit).await, "1", "client_ed25519");
    let master = sandbox.secret("daypass/stock-mariadb/report", "AWSCURRENT").expect("a version");
    assert_eq!(log_in(&sandbox, &master).await, "1", "mysql_native_password");
}

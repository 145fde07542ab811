//! Bad input and bad weather: each error names the input, the cause and the next step, and loses nothing.

use std::time::Duration;

use jiff::SignedDuration;
use sandbox::SandboxConfig;
use tokio::net::TcpListener;

use crate::world::World;

fn all_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{text}` must say `{part}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_database_is_named_with_the_ones_there_are() {
    let world = World::new().await;
    let ana = world.person("ana");
    let refusal = ana.is_refused(&["connect", "orders-prd"], "unknown-target").await;
    all_in(&refusal, &["`orders-prd`", "orders-prod"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_catalog_is_told_by_file_line_and_column_and_the_sign_in_stays() {
    let world = World::new().await;
    let ana = world.person_with_catalog("ana", |text| text.replacen("port = 5432", "port = \"x\"", 1));
    let said = ana.run(&["list"]).await;
    all_in(&said.err, &["catalog.toml:", ":8: ", "invalid type"]);
    let refusal = ana.is_refused(&["connect", "orders-prod"], "unknown-target").await;
    all_in(&refusal, &["`orders-prod`", "catalog.toml:"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_told_with_what_is_missing_there() {
    let world = World::new().await;
    let ana = world.person_with_catalog("ana", |text| {
        let (before, after) = text.split_once("id = \"billing-staging\"").expect("the catalog has it");
        format!(
            "{before}id = \"billing-staging\"{}",
            after.replacen("region = \"eu-west-1\"", "region = \"us-east-1\"", 1)
        )
    });
    ana.signs_in("acme").await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "wrong-region").await;
    all_in(&refusal, &["`billing-staging`", "us-east-1", "region = \"eu-west-1\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_provider_that_is_down_is_told_before_a_browser_opens() {
    let world = World::new().await;
    let ana = world.person_with_catalog("ana", |text| {
        text.lines()
            .map(|line| if line.starts_with("endpoint") { "endpoint = \"http://127.0.0.1:9\"" } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    });
    let refusal = ana.is_refused(&["sign-in", "acme", "--no-browser"], "aws-unreachable").await;
    all_in(&refusal, &["http://127.0.0.1:9", "does not answer", "network"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_declined_says_so_and_can_be_tried_again() {
    let world = World::new().await;
    let ana = world.person("ana");
    let ran = ana.sign_in_with("acme", &["--as", "ana", "--deny"]).await;
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    all_in(&ran.err, &["code: sign-in-cancelled"]);
    ana.signs_in("acme").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_with_the_program_that_holds_it() {
    let world = World::new().await;
    let holder = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = holder.local_addr().expect("it is bound").port();
    let ana = world.person_with_catalog("ana", |text| {
        text.replacen("id = \"billing-staging\"", &format!("id = \"billing-staging\"\nlocal-port = {port}"), 1)
    });
    ana.signs_in("acme").await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "port-in-use").await;
    all_in(&refusal, &["billing-staging", &port.to_string(), &std::process::id().to_string(), "--port"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bastion_that_is_offline_is_named_and_left_alone() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    world.sandbox.target_offline("i-0da7a9a55ba5710e1");
    let refusal = ana.is_refused(&["connect", "billing-staging"], "bastion-offline").await;
    all_in(&refusal, &["billing-staging", "i-0da7a9a55ba5710e1", "Ask its owner"]);
    let doctor = ana.run(&["doctor", "billing-staging"]).await;
    assert_eq!(doctor.code, Some(1), "{}", doctor.out);
    all_in(&doctor.out, &["✕ bastion", "i-0da7a9a55ba5710e1"]);
    world.sandbox.target_online("i-0da7a9a55ba5710e1");
    ana.does(&["connect", "billing-staging"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_an_alias_of_the_database_is_told_with_the_name_to_write() {
    let world = World::new().await;
    let real = "billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com";
    let ana = world.person_with_catalog("ana", |text| text.replace(real, "billing.db.acme.dev"));
    ana.signs_in("acme").await;
    world.sandbox.vpc().alias("billing.db.acme.dev", real, 5432);
    let refusal = ana.is_refused(&["connect", "billing-staging"], "tls-name").await;
    all_in(&refusal, &["billing.db.acme.dev", "not an alias"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_rds_refuses_is_told_with_every_reason_it_may_have() {
    let world = World::new().await;
    let ana = world.person_with_catalog("ana", |text| {
        let (before, after) = text.split_once("id = \"billing-staging\"").expect("the catalog has it");
        format!("{before}id = \"billing-staging\"{}", after.replacen("user = \"app_ro\"", "user = \"app_rw\"", 1))
    });
    ana.signs_in("acme").await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "login-refused").await;
    let parts =
        ["`app_rw`", "PAM authentication failed", "rds-db:connect", "15 minutes", "daypass doctor billing-staging"];
    all_in(&refusal, &parts);
    let reasons = world.sandbox.iam_db_auth_errors();
    assert!(reasons.iter().any(|reason| reason.user == "app_rw"), "it was RDS that refused: {reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_is_told_apart_from_a_refused_login() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    let host = "billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com";
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it was bound");
    world.sandbox.vpc().route(host, 5432, nobody);
    let refusal = ana.is_refused(&["connect", "billing-staging"], "database-unreachable").await;
    all_in(&refusal, &["billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com:5432", "bastion", "security group"]);

    world.sandbox.vpc().remove(host, 5432);
    let refusal = ana.is_refused(&["connect", "billing-staging"], "database-unreachable").await;
    all_in(&refusal, &[host, "no such host", "doctor"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_by_ten_minutes_is_told_and_reckoned_with() {
    for minutes in [10, -10] {
        let clock_offset = SignedDuration::from_mins(minutes);
        let world = World::with(SandboxConfig { clock_offset, pacing: false, ..SandboxConfig::default() }).await;
        let ana = world.person("ana");
        ana.signs_in("acme").await;
        let doctor = ana.does(&["doctor", "billing-staging"]).await;
        let side = if minutes > 0 { "10 min behind AWS's" } else { "10 min ahead of AWS's" };
        all_in(&doctor, &["! clock", side, "set the clock by the network"]);
        let rows = ana.does(&["connect", "billing-staging", "--", "psql", "-Atc", "SELECT 1"]).await;
        assert_eq!(rows.trim(), "1", "tokens are signed by AWS's clock");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_after_the_first_token_has_expired_works_as_before() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    world.sandbox.clock().advance(Duration::from_secs(16 * 60));
    ana.sees("AWS's clock has moved", |snapshot| (snapshot.clock_skew_seconds > 900).then_some(())).await;
    let url = ana.does(&["url", "billing-staging"]).await;
    let rows = crate::story::psql(url.trim(), "SELECT 1").await;
    assert_eq!(rows, "1", "each login is made with a token of that moment");
}

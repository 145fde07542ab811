//! The main job: sign in, ask, be approved, connect, read rows, and have it end by itself.

use std::time::Duration;

use model::{EndReason, Gateway, Grant};

use crate::world::{World, view};

const COUNT: &str = "SELECT count(*) FROM orders";

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_asks_a_colleague_approves_rows_come_and_access_ends_by_itself() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    assert!(ana.does(&["list"]).await.contains("◌ orders-prod"), "orders-prod has to be asked for");
    ana.is_granted(&world, "orders-prod", "2m").await;

    ana.does(&["connect", "orders-prod"]).await;
    let url = ana.does(&["url", "orders-prod"]).await;
    let rows = psql(url.trim(), COUNT).await;
    assert!(rows.parse::<u32>().is_ok_and(|rows| rows > 0), "the copied string gives rows: {rows}");

    world.sandbox.clock().advance(Duration::from_secs(130));
    let ended = ana.sees("access ended", |snapshot| match view(snapshot, "orders-prod") {
        view if matches!(view.gateway, Gateway::Closed { .. }) => view.grant.clone(),
        _ => None,
    });
    assert!(matches!(ended.await, Grant::Ended { reason: EndReason::Expired, .. }), "its time was up");
    assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new(), "the SSM session is terminated");
    let refusal = psql(url.trim(), COUNT).await;
    assert!(refusal.contains("Is the server running"), "nobody listens any more: {refusal}");
    ana.is_refused(&["connect", "orders-prod"], "not-granted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_connects_runs_psql_and_closes_again() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    let out = ana.does(&["connect", "billing-staging", "--", "psql", "-Atc", "SELECT current_user"]).await;
    assert_eq!(out.trim(), "app_ro");
    ana.sees("it is closed", |snapshot| {
        matches!(view(snapshot, "billing-staging").gateway, Gateway::Closed { cause: None }).then_some(())
    })
    .await;
    let ran = ana.run(&["connect", "billing-staging", "--", "sh", "-c", "exit 7"]).await;
    assert_eq!(ran.code, Some(7), "the command's own exit code: {}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_that_is_given_back_is_gone_at_once() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.is_granted(&world, "orders-prod", "1h").await;
    ana.does(&["connect", "orders-prod"]).await;
    ana.does(&["release", "orders-prod"]).await;
    let grant = ana.sees("it is released", |snapshot| view(snapshot, "orders-prod").grant.clone()).await;
    assert!(matches!(grant, Grant::Ended { reason: EndReason::Released, .. }), "{grant:?}");
    let policies = world.sandbox.inline_policies().to_string();
    assert!(!policies.contains("jit-rds-"), "the runbook removed the permission: {policies}");
    ana.is_refused(&["connect", "orders-prod"], "not-granted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quitting_leaves_no_session_no_file_and_no_process() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    assert_eq!(world.sandbox.open_sessions().len(), 1);
    ana.does(&["quit"]).await;
    assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new());
    assert!(!ana.socket().as_path().exists(), "the socket is removed");
    let gateways = ana.data_dir().join("run/gateways");
    let left = std::fs::read_dir(&gateways).map(|entries| entries.count()).unwrap_or_default();
    assert_eq!(left, 0, "no folder stays in {}", gateways.display());
}

/// What psql prints, rows or error.
pub(crate) async fn psql(url: &str, statement: &str) -> String {
    let output =
        tokio::process::Command::new("psql").args([url, "-Atc", statement]).env_remove("PGSERVICE").output().await;
    let output = output.expect("psql is installed by `cargo xtask setup`");
    let text = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8_lossy(&text).trim().to_owned()
}

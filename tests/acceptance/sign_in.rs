//! Signing in once a day is enough, and is needed once a day.

use std::time::Duration;

use model::Identity;

use crate::world::World;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_renewed_without_asking_anybody() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    world.sandbox.clock().advance(2 * HOUR);
    let rows = ana.does(&["connect", "billing-staging", "--", "psql", "-Atc", "SELECT 1"]).await;
    assert_eq!(rows.trim(), "1", "the first credentials have expired an hour ago");
    let calls = world.sandbox.calls();
    let renewals =
        calls.iter().filter(|call| call.operation == "AssumeRoleWithWebIdentity" && call.error.is_none()).count();
    assert!(renewals >= 2, "they were renewed, by the refresh token: {renewals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_ends_after_a_day_and_closes_what_it_opened() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    world.sandbox.clock().advance(13 * HOUR);
    ana.sees("the sign-in is over", |snapshot| matches!(snapshot.identity, Identity::SignedOut { .. }).then_some(()))
        .await;
    let refusal = ana.is_refused(&["connect", "billing-staging"], "not-signed-in").await;
    assert!(refusal.ends_with("/ Sign in first"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_forgets_the_person_and_ends_the_refresh_token() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    ana.does(&["sign-out"]).await;
    ana.sees("nobody is signed in", |snapshot| matches!(snapshot.identity, Identity::SignedOut { .. }).then_some(()))
        .await;
    ana.is_refused(&["connect", "billing-staging"], "not-signed-in").await;
    ana.does(&["quit"]).await;
    assert_eq!(
        world.sandbox.open_sessions(),
        Vec::<String>::new(),
        "the session was terminated while that was possible"
    );
}

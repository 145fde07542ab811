//! The owner of the state is killed in the middle: what was asked for is found again, what was opened can be opened again.

use model::{Gateway, Grant, RequestState};

use crate::world::{World, view};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_made_before_a_crash_is_found_again_with_its_grant() {
    let world = World::new().await;
    let ana = world.person("ana");
    let mut agent = ana.agent().await;
    ana.signs_in("acme").await;
    ana.does(&["request", "orders-prod", "--for", "1h", "--reason", "INC-42 stuck batch"]).await;
    let asked = ana.sees("it was asked for", |snapshot| view(snapshot, "orders-prod").request.clone()).await;
    assert!(matches!(asked.state, RequestState::Pending { broker_ref: Some(_), .. }), "{asked:?}");
    agent.kill().await.expect("it runs");

    world.sandbox.approve("ben").expect("the request still waits");
    ana.signs_in("acme").await;
    let found = ana.sees("access is granted", |snapshot| {
        let view = view(snapshot, "orders-prod");
        matches!(view.grant, Some(Grant::Active { .. })).then(|| view.request.clone())
    });
    assert_eq!(found.await.map(|request| request.id), Some(asked.id), "it is the same request, not a second one");
    ana.does(&["connect", "orders-prod"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_no_way_in_stays_and_the_port_is_the_same() {
    let world = World::new().await;
    let ana = world.person("ana");
    let mut agent = ana.agent().await;
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    let port = ana.sees("it is open", port_of).await;
    agent.kill().await.expect("it runs");

    let way_in = ana.data_dir().join("run/gateways/billing-staging");
    assert!(way_in.exists(), "a killed process cleans nothing");
    ana.signs_in("acme").await;
    assert!(!way_in.exists(), "the next one does so first");
    ana.does(&["connect", "billing-staging"]).await;
    assert_eq!(ana.sees("it is open", port_of).await, port, "clients keep their settings");
}

fn port_of(snapshot: &model::Snapshot) -> Option<u16> {
    match &view(snapshot, "billing-staging").gateway {
        Gateway::Open { connection, .. } => Some(connection.port),
        Gateway::Broken { .. } | Gateway::Closed { .. } | Gateway::Closing | Gateway::Opening { .. } => None,
    }
}

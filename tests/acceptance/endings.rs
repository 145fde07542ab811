//! The agent is asked to end by the system: no SSM session is left, whatever it was doing.

use std::time::Duration;

use model::Gateway;
use tokio::process::Child;

use crate::world::{World, signal, view};

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_to_end_closes_gateways_and_ends_their_sessions() {
    for name in ["TERM", "HUP", "INT"] {
        let world = World::new().await;
        let ana = world.person("ana");
        let mut agent = ana.agent().await;
        ana.signs_in("acme").await;
        ana.does(&["connect", "billing-staging"]).await;
        assert_eq!(world.sandbox.open_sessions().len(), 1);
        signal(name, &agent).await;
        assert_eq!(code(&mut agent).await, Some(0), "SIG{name} is a wish, not an accident");
        assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new(), "after SIG{name}");
        assert!(!ana.socket().as_path().exists(), "the socket is removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_still_opening_leaves_no_session_either() {
    let world = World::new().await;
    let ana = world.person("ana");
    let mut agent = ana.agent().await;
    ana.signs_in("acme").await;
    let connecting = ana.command(&["connect", "billing-staging"]).spawn().expect("daypass is built by --workspace");
    while world.sandbox.open_sessions().is_empty() {
        tokio::task::yield_now().await;
    }
    signal("TERM", &agent).await;
    assert_eq!(code(&mut agent).await, Some(0));
    assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new(), "the session that was just started is ended");
    drop(connecting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let world = World::new().await;
    let ana = world.person("ana");
    let mut agent = ana.agent().await;
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    world.sandbox.throttle("TerminateSession", 1_000);
    signal("TERM", &agent).await;
    ana.sees("it is closing", |snapshot| {
        matches!(view(snapshot, "billing-staging").gateway, Gateway::Closing).then_some(())
    })
    .await;
    signal("TERM", &agent).await;
    assert_eq!(code(&mut agent).await, Some(1), "it did not wait for AWS");
}

async fn code(agent: &mut Child) -> Option<i32> {
    let ended = tokio::time::timeout(Duration::from_secs(30), agent.wait()).await;
    ended.expect("it ends in time").expect("it can be waited for").code()
}

//! Two people: one asks, the other answers from a second installation.

use model::{Grant, RequestState};

use crate::world::{World, finished, view};

const ASKED: [&str; 6] = ["request", "ledger-prod", "--for", "1h", "--reason", "INC-42 stuck batch"];

#[tokio::test(flavor = "multi_thread")]
async fn a_colleague_sees_who_what_how_long_and_why_and_approves() {
    let world = World::new().await;
    let (ana, ben) = (world.person("ana"), world.person("ben"));
    ana.signs_in("acme").await;
    ben.signs_in("acme-approvers").await;
    ana.does(&ASKED).await;
    let review = ben.sees("a request waits", |snapshot| snapshot.reviews.first().cloned()).await;
    assert_eq!((review.requester.as_str(), review.target.as_str()), ("ana@acme.dev", "ledger-prod"));
    assert_eq!(
        (review.duration.as_str(), review.justification.as_str(), review.own),
        ("PT1H", "INC-42 stuck batch", false)
    );
    ben.does(&["review", &review.broker_ref, "--approve", "--comment", "go ahead"]).await;
    ana.sees("access is granted", |snapshot| {
        matches!(view(snapshot, "ledger-prod").grant, Some(Grant::Active { .. })).then_some(())
    })
    .await;
    ben.is_refused(&["review", &review.broker_ref, "--approve"], "unknown-request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_comes_with_the_colleagues_words() {
    let world = World::new().await;
    let (ana, ben) = (world.person("ana"), world.person("ben"));
    ana.signs_in("acme").await;
    ben.signs_in("acme-approvers").await;
    let asking =
        ana.command(&[&ASKED[..], &["--wait", "--json"]].concat()).spawn().expect("daypass is built by --workspace");
    let review = ben.sees("a request waits", |snapshot| snapshot.reviews.first().cloned()).await;
    ben.does(&["review", &review.broker_ref, "--deny", "--comment", "use the replica"]).await;
    let ran = finished(asking).await;
    assert_eq!(ran.code, Some(4), "denied has its own exit code: {}", ran.err);
    let state = ana.sees("it is denied", |snapshot| view(snapshot, "ledger-prod").request.clone()).await.state;
    assert!(
        matches!(&state, RequestState::Denied { comment: Some(comment), .. } if comment == "use the replica"),
        "{state:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_can_be_taken_back_and_a_second_one_does_not_pile_up() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&ASKED).await;
    let refusal = ana.is_refused(&ASKED, "request-pending").await;
    assert!(refusal.contains("ledger-prod"), "{refusal}");
    ana.does(&["cancel", "ledger-prod"]).await;
    let state = ana
        .sees("it is taken back", |snapshot| {
            let state = &view(snapshot, "ledger-prod").request.as_ref()?.state;
            matches!(state, RequestState::Cancelled).then(|| state.clone())
        })
        .await;
    assert_eq!(state, RequestState::Cancelled);
}

//! SSM sessions that outlive their gateway: found at the next start, offered, ended when a person says so.

use model::{LeftSession, LeftSessionState, SessionOrigin, Snapshot};
use sandbox::Sandbox;

use crate::world::{Person, World};

/// The newest of AWS's records of an operation: who asked for which session.
fn terminations(sandbox: &Sandbox) -> Vec<(String, String)> {
    let calls = sandbox.calls().into_iter().filter(|call| call.operation == "TerminateSession" && call.error.is_none());
    calls
        .map(|call| {
            let session = call.input["SessionId"].as_str().expect("it names a session").to_owned();
            (call.caller.expect("it is signed"), session)
        })
        .collect()
}

/// What was left, as soon as AWS was asked.
async fn left(person: &Person) -> Vec<LeftSession> {
    let looked = |snapshot: &Snapshot| {
        snapshot
            .left_sessions
            .looked_at
            .map(|_| (snapshot.left_sessions.unseen.clone(), snapshot.left_sessions.clone()))
    };
    let (unseen, left) = person.sees("AWS was asked for sessions", looked).await;
    assert_eq!(unseen, None, "every Region answered");
    left.sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_left_by_a_crash_is_found_offered_and_ended() {
    let world = World::new().await;
    let ana = world.person("ana");
    let mut agent = ana.agent().await;
    ana.signs_in("acme").await;
    assert_eq!(left(&ana).await, [], "nothing was left before");
    ana.does(&["connect", "billing-staging"]).await;
    let sessions = world.sandbox.open_sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(left(&ana).await, [], "what is in use is not offered");
    agent.kill().await.expect("it runs");

    ana.signs_in("acme").await;
    let [found] = left(&ana).await.try_into().expect("the crash left one");
    assert_eq!((found.id.to_string(), &found.origin), (sessions.concat(), &SessionOrigin::ThisComputer));
    assert_eq!(found.target.map(|target| target.to_string()).as_deref(), Some("billing-staging"));
    assert_eq!(found.state, LeftSessionState::Open);
    let told = ana.does(&["sessions"]).await;
    assert!(told.contains(&sessions.concat()) && told.contains("left open by this computer"), "{told}");
    assert!(ana.does(&["status"]).await.contains("1 SSM sessions left open"), "status says so too");
    assert_eq!(terminations(&world.sandbox), [], "nothing is ended unasked");

    ana.does(&["sessions", "end", "--all"]).await;
    assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new());
    let by_ana = "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev".to_owned();
    assert_eq!(terminations(&world.sandbox), [(by_ana, sessions.concat())], "AWS's journal shows who ended it");
    assert_eq!(ana.does(&["sessions"]).await.trim(), "no session was left open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_computer_is_shown_and_ended_only_by_its_name() {
    let world = World::new().await;
    let laptop = world.person("ana");
    laptop.signs_in("acme").await;
    laptop.does(&["connect", "billing-staging"]).await;
    let session = world.sandbox.open_sessions().concat();

    let desk = world.computer("ana", "ana-at-her-desk");
    desk.signs_in("acme").await;
    let [found] = left(&desk).await.try_into().expect("the laptop has one");
    assert_eq!((found.id.to_string(), found.origin), (session.clone(), SessionOrigin::Elsewhere));
    desk.does(&["sessions", "end", "--all"]).await;
    assert_eq!(world.sandbox.open_sessions().concat(), session, "another computer uses it");
    desk.is_refused(&["sessions", "end", "ben@acme.dev-1"], "unknown-session").await;
    desk.does(&["sessions", "end", &session]).await;
    assert_eq!(world.sandbox.open_sessions(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_aws_did_not_end_at_a_disconnect_is_offered_at_once() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    let session = world.sandbox.open_sessions().concat();
    world.sandbox.throttle("TerminateSession", 1_000);
    ana.does(&["disconnect", "billing-staging"]).await;
    let found = ana.sees("it is offered", |snapshot| snapshot.left_sessions.sessions.first().cloned()).await;
    assert_eq!((found.id.to_string(), found.origin), (session, SessionOrigin::ThisComputer));
    assert!(matches!(found.state, LeftSessionState::Failed { .. }), "{:?}", found.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sign_in_nothing_is_said_about_sessions() {
    let world = World::new().await;
    world.person("ana").is_refused(&["sessions"], "not-signed-in").await;
}

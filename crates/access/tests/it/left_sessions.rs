//! SSM sessions that no Gateway uses: found, offered, and ended only when a person asks.

use access::{Access, Effect, Event, FoundSession, Refusal};
use model::{Command, LeftSession, LeftSessionState, Notice, SessionId, SessionOrigin};

use crate::{
    session_reference::{found, regions, session},
    world::{World, orders, region, trouble},
};

fn started(world: &mut World, id: &SessionId) {
    world.tell(Event::SessionStarted { session: id.clone(), target: orders() });
}

fn listed(world: &mut World, sessions: &[FoundSession]) {
    let regions = regions();
    world.answer(Event::SessionsListed { regions, found: sessions.to_vec(), unseen: None });
}

fn left(world: &World) -> Vec<LeftSession> {
    world.access.snapshot().left_sessions.sessions
}

/// A session was started, the process died, and ana is signed in again.
fn after_a_crash(id: &SessionId) -> World {
    let mut world = World::connected("1h");
    started(&mut world, id);
    let mut again = World::restarted([8; 32], world.now, world.saved());
    again.sign_in();
    again
}

fn end(id: &SessionId) -> Command {
    Command::EndSession { session: id.clone() }
}

#[test]
fn a_session_is_written_down_when_it_starts_and_struck_when_it_ends() {
    let (mut world, id) = (World::connected("1h"), session("a"));
    let written = |world: &World| {
        let saved = serde_json::to_string(&world.saved()).expect("what is saved can be written");
        saved.contains(id.as_str())
    };
    started(&mut world, &id);
    assert!(written(&world), "it is on the disk before anything else happens");
    world.tell(Event::SessionEnded { session: id.clone() });
    assert!(!written(&world), "what is over needs no note");
}

#[test]
fn sessions_are_looked_for_as_soon_as_somebody_is_signed_in() {
    let mut world = World::new();
    assert_eq!(world.access.snapshot().left_sessions.looked_at, None);
    world.sign_in();
    assert!(world.asked().iter().any(|effect| matches!(effect, Effect::WatchSessions { .. })));
    listed(&mut world, &[]);
    assert_eq!(world.access.snapshot().left_sessions.looked_at, Some(world.now.wall));
}

#[test]
fn a_session_left_by_a_crash_is_offered_and_told_of_once() {
    let id = session("a");
    let mut world = after_a_crash(&id);
    listed(&mut world, &[found(id.clone())]);
    let [shown] = left(&world).try_into().expect("it is the only one");
    assert_eq!(shown.id, id);
    assert_eq!((shown.target, shown.origin), (Some(orders()), SessionOrigin::ThisComputer));
    assert_eq!((shown.state, shown.since), (LeftSessionState::Open, Some(world.now.wall)));
    assert_eq!(world.notices(), [Notice::SessionsLeft { count: 1 }]);
    let asked = world.asked();
    assert!(!asked.iter().any(|effect| matches!(effect, Effect::EndSession { .. })), "nobody asked for its end");
    listed(&mut world, &[found(id)]);
    assert_eq!(world.notices(), []);
}

#[test]
fn a_session_that_ended_meanwhile_is_not_offered() {
    let id = session("a");
    let mut world = after_a_crash(&id);
    listed(&mut world, &[]);
    assert_eq!((left(&world), world.notices()), (vec![], vec![]));
    let saved = serde_json::to_string(&world.saved()).expect("what is saved can be written");
    assert!(!saved.contains(id.as_str()), "its note is struck");
}

#[test]
fn a_session_from_elsewhere_is_shown_quietly_and_only_if_daypass_started_it() {
    let mut world = World::signed_in();
    let by_hand = FoundSession { ours: false, ..found(session("shell")) };
    listed(&mut world, &[found(session("laptop")), by_hand]);
    let shown: Vec<_> = left(&world).into_iter().map(|left| (left.id, left.origin)).collect();
    assert_eq!(shown, [(session("laptop"), SessionOrigin::Elsewhere)]);
    assert_eq!(world.notices(), [], "most likely it is in use there");
}

#[test]
fn the_session_of_an_open_gateway_is_in_use_and_not_offered() {
    let (mut world, id) = (World::connected("1h"), session("a"));
    started(&mut world, &id);
    listed(&mut world, &[found(id.clone())]);
    assert_eq!(left(&world), []);
    assert_eq!(world.refused(end(&id)), Refusal::SessionInUse { session: id.clone() });
    // Made before it ended, heard after.
    world.tell(Event::SessionEnded { session: id.clone() });
    listed(&mut world, &[found(id)]);
    assert_eq!(left(&world), []);
}

#[test]
fn a_session_that_aws_lists_before_its_start_is_known_is_offered_no_longer_once_it_is() {
    let (mut world, id) = (World::connected("1h"), session("a"));
    listed(&mut world, &[found(id.clone())]);
    started(&mut world, &id);
    assert_eq!((left(&world), world.notices()), (vec![], vec![]));
}

#[test]
fn ending_what_was_left_ends_this_computers_sessions_and_no_others() {
    let (ours, other) = (session("a"), session("laptop"));
    let mut world = after_a_crash(&ours);
    listed(&mut world, &[found(ours.clone()), found(other.clone())]);
    world.asked();
    world.must(Command::EndLeftSessions);
    assert_eq!(world.asked(), [Effect::EndSession { session: ours.clone(), region: region() }]);
    world.must(Command::EndLeftSessions);
    assert_eq!(world.asked(), [], "it is being ended already");
    let states: Vec<_> = left(&world).into_iter().map(|left| (left.id, left.state)).collect();
    assert_eq!(states, [(ours.clone(), LeftSessionState::Ending), (other.clone(), LeftSessionState::Open)]);
    world.answer(Event::SessionEnded { session: ours });
    assert!(left(&world).into_iter().map(|left| left.id).eq([other.clone()]), "the other one goes on");
    world.must(end(&other));
    assert_eq!(world.asked(), [Effect::EndSession { session: other, region: region() }]);
}

#[test]
fn a_session_that_could_not_be_ended_says_why_and_can_be_tried_again() {
    let id = session("a");
    let mut world = after_a_crash(&id);
    listed(&mut world, &[found(id.clone())]);
    world.must(end(&id));
    world.answer(Event::SessionNotEnded { session: id.clone(), cause: trouble("aws-unreachable") });
    let failed = LeftSessionState::Failed { cause: trouble("aws-unreachable") };
    assert_eq!(left(&world).first().map(|left| left.state.clone()), Some(failed.clone()));
    listed(&mut world, &[found(id.clone())]);
    assert_eq!(left(&world).first().map(|left| left.state.clone()), Some(failed), "a look changes nothing");
    world.asked();
    world.must(end(&id));
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_session_that_aws_did_not_end_with_its_gateway_is_offered_at_once() {
    let (mut world, id) = (World::connected("1h"), session("a"));
    started(&mut world, &id);
    world.notices();
    world.tell(Event::SessionLeft { session: id.clone(), cause: trouble("aws-unreachable") });
    assert_eq!(left(&world).into_iter().map(|left| left.id).collect::<Vec<_>>(), [id]);
    assert_eq!(world.notices(), [Notice::SessionsLeft { count: 1 }]);
}

#[test]
fn what_cannot_be_looked_for_is_offered_as_it_was_written_down() {
    let id = session("a");
    let mut world = after_a_crash(&id);
    let unseen = Some(trouble("not-authorized"));
    world.answer(Event::SessionsListed { regions: vec![], found: vec![], unseen: unseen.clone() });
    let shown = world.access.snapshot().left_sessions;
    assert_eq!(shown.unseen, unseen);
    assert_eq!(shown.sessions.into_iter().map(|left| left.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn a_persons_sessions_are_their_own() {
    let id = session("a");
    let mut world = after_a_crash(&id);
    listed(&mut world, &[found(id.clone())]);
    world.must(Command::SignOut);
    assert_eq!(left(&world), []);
    assert_eq!(world.refused(end(&id)).code(), "not-signed-in");
    world.must(Command::SignIn { identity_provider: None });
    let ben = crate::answers::signed_in_as("ben@acme.dev", crate::world::at(36_000));
    world.answer(ben);
    listed(&mut world, &[]);
    assert_eq!(left(&world), [], "ben is not shown what ana left");
    world.must(Command::SignOut);
    world.must(Command::SignIn { identity_provider: None });
    world.answer(crate::world::signed_in(crate::world::at(36_000)));
    listed(&mut world, &[found(id)]);
    let origins: Vec<_> = left(&world).into_iter().map(|left| left.origin).collect();
    assert_eq!(origins, [SessionOrigin::ThisComputer], "and what he does not see is not struck");
}

#[test]
fn a_session_that_nobody_knows_is_not_ended() {
    let mut world = World::signed_in();
    listed(&mut world, &[]);
    assert_eq!(world.refused(end(&session("a"))), Refusal::UnknownSession { session: session("a") });
}

#[test]
fn a_note_is_forgotten_after_a_week() {
    let (mut world, id) = (World::connected("1h"), session("a"));
    started(&mut world, &id);
    let mut late = world.now;
    late.wall = crate::world::at(8 * 86_400);
    let mut access = Access::new([9; 32], late, world.saved());
    let Some((_, Effect::Save { saved })) = access.poll_effect() else { panic!("the change is written") };
    assert!(!serde_json::to_string(&saved).expect("it can be written").contains(id.as_str()));
}

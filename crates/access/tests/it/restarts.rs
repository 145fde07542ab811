//! What a crash does not lose.

use access::{Access, Effect, Event};
use model::{Command, EndReason, Grant, Notice, Progress, RequestState, RoleName};

use crate::world::{HOUR, MINUTE, World, at, orders, request, signed_in, start};

const READ: RoleName = RoleName::ReadOnly;

/// The process dies and starts again from what was written, through JSON as the agent keeps it.
fn crash(world: &World) -> World {
    let json = serde_json::to_string(&world.saved()).expect("what is saved can be written");
    let saved = serde_json::from_str(&json).expect("what was written can be read");
    assert_eq!(world.saved(), saved, "nothing is lost on the way to the disk");
    World::restarted([8; 32], world.now, saved)
}

#[test]
fn a_request_that_was_not_placed_is_placed_again_under_its_id() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    let mut again = crash(&world);
    assert_eq!(again.asked(), [], "nothing is asked of AWS before somebody is signed in");
    again.sign_in();
    let asked = again.asked();
    assert!(
        asked.iter().any(|effect| matches!(effect, Effect::PlaceRequest { request } if request.id == id)),
        "{asked:?}"
    );
}

#[test]
fn a_request_that_was_placed_is_watched_again() {
    let mut world = World::signed_in();
    let request = world.request(READ, "1h");
    world.place();
    let mut again = crash(&world);
    again.sign_in();
    let watch = Effect::WatchRequest { request, broker_ref: "exec-1".to_owned(), target: orders() };
    assert!(again.asked().contains(&watch));
    again.grant(HOUR);
    assert!(matches!(again.view().grant, Some(Grant::Active { .. })));
}

#[test]
fn a_grant_is_usable_again_and_told_no_second_time() {
    let mut again = crash(&World::connected("1h"));
    again.sign_in();
    again.grant(HOUR);
    assert_eq!(again.notices(), []);
    again.open(orders());
}

#[test]
fn a_grant_that_ended_meanwhile_ends_first_thing() {
    let world = World::connected("1h");
    let mut late = start();
    late.wall = at(7200);
    let mut again = Access::new([8; 32], late, world.saved());
    let ended = Notice::AccessEnded { target: orders(), reason: EndReason::Expired };
    assert_eq!(again.poll_notice(), Some(ended));
    assert!(matches!(again.poll_effect(), Some((_, Effect::Save { .. }))));
}

#[test]
fn the_measured_skew_holds_over_a_restart() {
    let mut world = World::signed_in();
    world.tell(Event::ClockSkewMeasured { seconds: -3600 });
    world.request(READ, "1h");
    world.place();
    world.progress(Progress::Granted { by: None, expires_at: at(0) });
    let again = crash(&world);
    assert_eq!(again.view().grant, Some(Grant::Active { role: READ, expires_at: at(3600) }));
}

#[test]
fn a_grant_that_was_being_given_back_is_given_back() {
    let mut world = World::granted(READ, "1h");
    world.must(Command::ReleaseGrant { target: orders() });
    let mut again = crash(&world);
    again.sign_in();
    assert!(again.asked().iter().any(|effect| matches!(effect, Effect::EndGrant { .. })));
}

#[test]
fn a_request_that_was_being_taken_back_is_taken_back() {
    let mut world = World::signed_in();
    let request = world.request(READ, "1h");
    world.must(Command::CancelRequest { request });
    let mut again = crash(&world);
    again.sign_in();
    again.place();
    assert!(again.asked().iter().any(|effect| matches!(effect, Effect::WithdrawRequest { .. })));
}

#[test]
fn a_warning_is_not_given_again() {
    let mut world = World::granted(READ, "1h");
    world.pass(55 * MINUTE);
    assert_eq!(world.notices().len(), 1);
    let mut again = crash(&world);
    again.pass(MINUTE);
    assert_eq!(again.notices(), []);
}

#[test]
fn a_request_that_waits_is_shown_before_anybody_is_signed_in() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    world.place();
    let shown = crash(&world).view().request.expect("it is not lost").state;
    assert!(matches!(shown, RequestState::Pending { broker_ref: Some(_), .. }));
}

#[test]
fn signing_out_and_in_again_carries_on() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    world.must(Command::SignOut);
    world.asked();
    world.place();
    assert_eq!(world.asked(), [], "the fact is kept, and nothing is asked without a person");
    world.must(Command::SignIn { identity_provider: None });
    world.answer(signed_in(at(36_000)));
    assert!(world.asked().iter().any(|effect| matches!(effect, Effect::WatchRequest { .. })));
}

#[test]
fn ids_are_not_used_twice_even_with_the_seed_of_an_earlier_start() {
    let mut world = World::signed_in();
    let first = world.request(READ, "1h");
    let mut again = World::restarted([7; 32], world.now, world.saved());
    again.sign_in();
    again.must(request(crate::world::billing(), RoleName::ReadWrite, "1h"));
    assert_ne!(again.view_of(&crate::world::billing()).request.expect("it is shown").id, first);
}

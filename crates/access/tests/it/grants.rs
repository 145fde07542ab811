//! How access ends.

use access::{CloseReason, Effect, Event, Refusal};
use model::{Command, EndReason, Gateway, Grant, Notice, Progress, RoleName};

use crate::world::{HOUR, MINUTE, World, at, billing, orders, request, signed_in, trouble};

const READ: RoleName = RoleName::ReadOnly;

fn ended(reason: EndReason) -> Vec<Notice> {
    vec![Notice::AccessEnded { target: orders(), reason }]
}

fn soon(expires_at: i64) -> Notice {
    Notice::EndsSoon { target: orders(), expires_at: at(expires_at) }
}

fn close() -> Effect {
    Effect::CloseGateway { target: orders(), reason: CloseReason::GrantEnded }
}

fn release() -> Command {
    Command::ReleaseGrant { target: orders() }
}

#[test]
fn a_grant_ends_on_time_without_a_word_from_the_broker() {
    let mut world = World::connected("2m");
    world.pass(2 * MINUTE);
    assert_eq!(world.asked(), [close()]);
    assert_eq!(world.notices(), ended(EndReason::Expired), "and two minutes are too short for a warning");
    assert_eq!(world.view().grant, Some(Grant::Ended { role: READ, at: at(120), reason: EndReason::Expired }));
}

#[test]
fn a_command_after_the_end_finds_it_ended_also_if_nobody_woke_up() {
    let mut world = World::granted(READ, "1h");
    world.now.wall = at(3600);
    let refusal = world.refused(Command::OpenGateway { target: orders(), role: None });
    assert_eq!(refusal, Refusal::NotGranted { target: orders(), role: READ });
    assert_eq!(world.asked(), [], "not even for a moment");
}

#[test]
fn the_end_is_written_down() {
    let mut world = World::connected("2m");
    let before = world.saved();
    world.pass(2 * MINUTE);
    assert!(matches!(world.everything_asked().as_slice(), [Effect::Save { .. }, Effect::CloseGateway { .. }]));
    assert_ne!(world.saved(), before);
}

#[test]
fn the_end_is_warned_of_at_ten_and_at_two_minutes() {
    let mut world = World::granted(READ, "1h");
    let mut told = Vec::new();
    for minute in 1..60 {
        world.pass(MINUTE);
        told.extend(world.notices().into_iter().map(|notice| (minute, notice)));
    }
    assert_eq!(told, [(50, soon(3600)), (58, soon(3600))]);
}

#[test]
fn a_grant_of_ten_minutes_is_warned_of_once() {
    let mut world = World::granted(READ, "10m");
    world.pass(9 * MINUTE);
    assert_eq!(world.notices(), [soon(600)]);
}

#[test]
fn waking_up_shortly_before_the_end_warns_once() {
    let mut world = World::granted(READ, "1h");
    world.jump(59 * MINUTE);
    assert_eq!(world.notices(), [soon(3600)]);
}

#[test]
fn waking_up_after_the_end_does_not_warn_of_it() {
    let mut world = World::connected("1h");
    world.jump(5 * HOUR);
    assert_eq!(world.notices(), ended(EndReason::Expired));
    assert_eq!(world.asked(), [close()]);
}

#[test]
fn a_clock_that_is_set_forward_is_noticed_within_half_a_minute() {
    let mut world = World::connected("1h");
    world.set_clock(2 * 3600);
    let (wake, _) = world.access.poll_timeout().expect("a grant ends");
    assert!(wake - world.now.mono <= MINUTE / 2, "setting a clock wakes nobody");
    world.pass(MINUTE / 2);
    assert_eq!(world.notices(), ended(EndReason::Expired));
}

#[test]
fn a_clock_that_is_set_back_does_not_revive_what_ended() {
    let mut world = World::granted(READ, "1h");
    world.jump(HOUR);
    world.notices();
    world.set_clock(-2 * 3600);
    world.wake();
    assert!(matches!(world.view().grant, Some(Grant::Ended { .. })));
    assert_eq!(world.notices(), []);
}

#[test]
fn a_clock_that_is_behind_aws_does_not_lengthen_a_grant() {
    let mut world = World::signed_in();
    world.tell(Event::ClockSkewMeasured { seconds: 600 });
    world.request(READ, "1h");
    world.place();
    world.progress(Progress::Granted { by: None, expires_at: at(600 + 3600) });
    assert_eq!(
        world.view().grant,
        Some(Grant::Active { role: READ, expires_at: at(3600) }),
        "shown on the local clock"
    );
    world.tell(Event::ClockSkewMeasured { seconds: 1200 });
    assert_eq!(world.view().grant, Some(Grant::Active { role: READ, expires_at: at(3000) }));
    world.pass(50 * MINUTE);
    assert!(matches!(world.view().grant, Some(Grant::Ended { .. })));
}

#[test]
fn a_broker_that_ends_a_grant_early_has_revoked_it() {
    for reported in [EndReason::Revoked, EndReason::Expired] {
        let mut world = World::connected("1h");
        world.progress(Progress::Ended { reason: reported });
        assert_eq!(world.notices(), ended(EndReason::Revoked), "nobody gave it back and its time was not up");
        assert_eq!(world.asked(), [close()]);
    }
}

#[test]
fn a_broker_that_gives_up_on_a_grant_has_revoked_it() {
    let mut world = World::connected("1h");
    world.progress(Progress::Failed { cause: trouble("runbook-failed") });
    assert_eq!(world.notices(), ended(EndReason::Revoked));
    assert_eq!(world.asked(), [close()]);
}

#[test]
fn giving_back_closes_the_gateway_before_it_ends_the_grant() {
    let mut world = World::connected("1h");
    let request = world.view().request.expect("there is a request").id;
    world.must(release());
    assert_eq!(world.asked(), [close()]);
    world.answer(Event::GatewayClosed { target: orders() });
    let end = Effect::EndGrant { request: request.clone(), broker_ref: "exec-1".to_owned(), target: orders() };
    assert_eq!(world.asked(), [end]);
    world.answer(Event::GrantReleased { request });
    assert_eq!(world.notices(), ended(EndReason::Released));
    assert_eq!(world.view().grant, Some(Grant::Ended { role: READ, at: at(0), reason: EndReason::Released }));
}

#[test]
fn what_is_being_given_back_cannot_be_used() {
    let mut world = World::granted(READ, "1h");
    world.must(release());
    let refused = Refusal::GrantBeingReleased { target: orders(), role: READ };
    assert_eq!(world.refused(Command::OpenGateway { target: orders(), role: None }), refused);
    assert_eq!(world.refused(request(orders(), READ, "1h")), refused);
    world.must(release());
    assert_eq!(world.asked().len(), 1, "asking twice ends it once");
}

#[test]
fn a_grant_that_cannot_be_given_back_stays_usable_and_says_why() {
    let mut world = World::granted(READ, "1h");
    world.must(release());
    let request = world.view().request.expect("there is a request").id;
    world.answer(Event::ReleaseFailed { request, cause: trouble("throttled") });
    assert_eq!(world.access.snapshot().warnings, [trouble("throttled")]);
    world.open(orders());
    world.must(release());
    assert_eq!(world.access.snapshot().warnings, []);
}

#[test]
fn the_broker_confirming_the_end_counts_as_given_back() {
    let mut world = World::granted(READ, "1h");
    world.must(release());
    world.progress(Progress::Ended { reason: EndReason::Revoked });
    let request = world.view().request.expect("there is a request").id;
    world.answer(Event::GrantReleased { request });
    assert_eq!(world.notices(), ended(EndReason::Released), "once");
}

#[test]
fn there_must_be_something_to_give_back() {
    let mut world = World::signed_in();
    assert_eq!(world.refused(release()), Refusal::NoGrant { target: orders() });
    world.request(READ, "1h");
    world.place();
    world.progress(Progress::Approved { by: None });
    assert_eq!(world.refused(release()), Refusal::GrantProvisioning { target: orders(), role: READ });
}

#[test]
fn standing_access_outlives_a_grant_that_is_given_back() {
    let mut world = World::signed_in();
    world.must(request(billing(), RoleName::ReadWrite, "1h"));
    let id = world.view_of(&billing()).request.expect("there is a request").id;
    world.answer(Event::RequestPlaced { request: id.clone(), broker_ref: "exec-2".to_owned(), lapses_at: None });
    world.answer(Event::RequestProgressed {
        request: id,
        progress: Progress::Granted { by: None, expires_at: at(3600) },
    });
    world.must(Command::OpenGateway { target: billing(), role: Some(READ) });
    world.asked();
    world.must(Command::ReleaseGrant { target: billing() });
    assert!(matches!(world.asked().as_slice(), [Effect::EndGrant { .. }]));
    assert!(matches!(world.view_of(&billing()).gateway, Gateway::Opening { role: READ, .. }));
}

#[test]
fn an_extended_grant_lasts_until_its_new_end_and_warns_again() {
    let mut world = World::connected("10m");
    world.pass(9 * MINUTE);
    world.notices();
    world.progress(Progress::Granted { by: None, expires_at: at(1800) });
    world.pass(2 * MINUTE);
    assert_eq!(world.view().grant, Some(Grant::Active { role: READ, expires_at: at(1800) }));
    world.pass(10 * MINUTE);
    assert_eq!(world.notices(), [soon(1800)]);
}

#[test]
fn a_grant_that_was_over_before_it_was_heard_of_opens_nothing() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    world.place();
    world.asked();
    world.progress(Progress::Granted { by: None, expires_at: at(0) });
    assert_eq!((world.asked(), world.notices()), (vec![], ended(EndReason::Expired)));
}

#[test]
fn a_grant_ends_while_nobody_is_signed_in() {
    let mut world = World::granted(READ, "1h");
    world.must(Command::SignOut);
    world.pass(HOUR);
    world.tell(signed_in(at(36_000)));
    assert!(matches!(world.view().grant, Some(Grant::Ended { .. })));
    assert_eq!(world.notices().last(), ended(EndReason::Expired).last());
}

//! Answering colleagues.

use access::{Effect, Event, Refusal};
use model::{Command, Decision, Notice};

use crate::world::{World, at, review, trouble};

fn approve(broker_ref: &str) -> Command {
    Command::ReviewRequest {
        broker_ref: broker_ref.to_owned(),
        decision: Decision::Approve,
        comment: Some("fine".to_owned()),
    }
}

fn listed(world: &mut World, reviews: &[(&str, bool)]) {
    let reviews = reviews.iter().map(|(broker_ref, own)| review(broker_ref, *own)).collect();
    world.answer(Event::ReviewsListed { reviews });
}

fn waiting(world: &World) -> Vec<String> {
    world.access.snapshot().reviews.into_iter().map(|review| review.broker_ref).collect()
}

#[test]
fn a_colleagues_request_is_told_once_and_ones_own_never() {
    let mut world = World::signed_in();
    listed(&mut world, &[("exec-1", false), ("exec-2", true)]);
    listed(&mut world, &[("exec-2", true)]);
    listed(&mut world, &[("exec-1", false), ("exec-2", true)]);
    assert_eq!(world.notices(), [Notice::ReviewWanted { review: review("exec-1", false) }]);
    assert_eq!(waiting(&world), ["exec-1", "exec-2"]);
}

#[test]
fn an_answer_goes_to_the_broker_and_leaves_the_list() {
    let mut world = World::signed_in();
    listed(&mut world, &[("exec-1", false)]);
    world.must(approve("exec-1"));
    world.must(approve("exec-1"));
    let (broker_ref, comment) = ("exec-1".to_owned(), Some("fine".to_owned()));
    let submit = Effect::SubmitReview { broker_ref: broker_ref.clone(), decision: Decision::Approve, comment };
    assert_eq!(world.asked(), [submit], "a double click is one answer");
    world.answer(Event::ReviewSubmitted { broker_ref });
    assert_eq!(waiting(&world), [""; 0]);
    listed(&mut world, &[("exec-1", false)]);
    assert_eq!(waiting(&world), [""; 0], "a list made just before the answer does not bring it back");
}

#[test]
fn nobody_answers_their_own_request_or_one_that_does_not_wait() {
    let mut world = World::signed_in();
    listed(&mut world, &[("exec-2", true)]);
    assert_eq!(world.refused(approve("exec-2")), Refusal::OwnReview { broker_ref: "exec-2".to_owned() });
    assert_eq!(world.refused(approve("exec-9")), Refusal::UnknownReview { broker_ref: "exec-9".to_owned() });
    assert_eq!(World::new().refused(approve("exec-1")).code(), "not-signed-in");
    assert_eq!(world.asked(), []);
}

#[test]
fn an_answer_that_is_not_taken_says_why_until_the_next_try() {
    let mut world = World::signed_in();
    listed(&mut world, &[("exec-1", false)]);
    world.must(approve("exec-1"));
    world.answer(Event::ReviewRefused { broker_ref: "exec-1".to_owned(), cause: trouble("already-approved") });
    assert_eq!((world.access.snapshot().warnings, waiting(&world).len()), (vec![trouble("already-approved")], 1));
    world.must(approve("exec-1"));
    assert_eq!(world.access.snapshot().warnings, []);
}

#[test]
fn signing_out_clears_the_list_and_ends_the_watch() {
    let mut world = World::signed_in();
    listed(&mut world, &[("exec-1", false)]);
    world.must(Command::SignOut);
    assert_eq!(waiting(&world), [""; 0]);
    listed(&mut world, &[("exec-3", false)]);
    assert_eq!(waiting(&world), [""; 0], "the watch was abandoned");
}

#[test]
fn a_review_is_shown_on_the_local_clock() {
    let mut world = World::signed_in();
    world.tell(Event::ClockSkewMeasured { seconds: 60 });
    listed(&mut world, &[("exec-1", false)]);
    assert_eq!(world.access.snapshot().reviews[0].requested_at, at(-60));
}

//! Asking for access.

use access::{Effect, Event, Refusal};
use model::{Command, Grant, Notice, Progress, RequestId, RequestState, RoleName, TargetId};

use crate::world::{HOUR, World, at, billing, length, orders, request, trouble};

const READ: RoleName = RoleName::ReadOnly;
const WRITE: RoleName = RoleName::ReadWrite;

fn state(world: &World) -> RequestState {
    world.view().request.expect("there is a request").state
}

#[test]
fn a_request_is_written_down_before_the_broker_hears_of_it() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    let asked = world.everything_asked();
    assert!(
        matches!(asked.as_slice(), [Effect::Save { .. }, Effect::PlaceRequest { .. }]),
        "a crash in between must not lose it: {asked:?}"
    );
}

#[test]
fn a_placed_request_is_watched() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    world.asked();
    world.place();
    let watch = Effect::WatchRequest { request: id, broker_ref: "exec-1".to_owned(), target: orders() };
    assert_eq!(world.asked(), [watch]);
    assert_eq!(
        state(&world),
        RequestState::Pending { broker_ref: Some("exec-1".to_owned()), lapses_at: Some(at(3600)) }
    );
}

#[test]
fn every_refusal_names_the_input_and_the_next_step() {
    let unknown = TargetId::new("order-prod").expect("a slug");
    let far = TargetId::new("warehouse").expect("a slug");
    let empty = Command::RequestAccess {
        target: orders(),
        role: READ,
        duration: length("1h"),
        justification: "  ".to_owned(),
        ticket: None,
        connect_when_approved: false,
    };
    let table = [
        (request(unknown, READ, "1h"), "unknown-target", "`order-prod`", "Did you mean `orders-prod`?"),
        (request(far, READ, "1h"), "unknown-target", "`warehouse`", "List the databases"),
        (request(orders(), READ, "3h"), "duration-not-allowed", "3h", "2m, 10m, 1h, 4h"),
        (request(billing(), READ, "1h"), "no-request-needed", "billing-staging", "Connect"),
        (empty, "justification-missing", "orders-prod", "Say in a few words"),
    ];
    let mut world = World::signed_in();
    for (command, code, input, next_step) in table {
        let view = world.refused(command).view();
        assert_eq!(view.code, code);
        assert!(view.message.contains(input), "`{}` must name {input}", view.message);
        assert!(view.hint.contains(next_step), "`{}` must say {next_step}", view.hint);
    }
    assert_eq!(world.asked(), [], "what is refused has no effect");
}

#[test]
fn a_role_that_is_not_offered_is_refused_with_those_that_are() {
    let mut world = World::signed_in();
    let mut entries = crate::world::catalog();
    entries[0].entitlements.pop();
    world.tell(Event::CatalogLoaded { identity_providers: Vec::new(), entries });
    let refusal = world.refused(request(orders(), WRITE, "1h"));
    assert_eq!(refusal, Refusal::RoleNotOffered { target: orders(), role: WRITE, offered: vec![READ] });
}

#[test]
fn nobody_asks_without_signing_in() {
    let refusal = World::new().refused(request(orders(), READ, "1h"));
    assert_eq!(refusal, Refusal::NotSignedIn { asked: "requesting orders-prod".to_owned() });
}

#[test]
fn a_second_request_waits_for_the_first() {
    let mut world = World::signed_in();
    let first = world.request(READ, "1h");
    let refusal = world.refused(request(orders(), WRITE, "1h"));
    assert_eq!(refusal, Refusal::RequestPending { request: first, target: orders() });
}

#[test]
fn what_is_granted_cannot_be_asked_for_again() {
    let mut world = World::granted(READ, "1h");
    let refusal = world.refused(request(orders(), READ, "1h"));
    assert_eq!(refusal, Refusal::GrantActive { target: orders(), role: READ, expires_at: at(3600) });
    world.must(request(orders(), WRITE, "1h"));
}

#[test]
fn a_request_that_is_denied_is_told_with_the_words_of_the_approver() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    world.place();
    let (by, comment) = (Some("eva".to_owned()), Some("use the replica".to_owned()));
    world.progress(Progress::Denied { by: by.clone(), comment: comment.clone() });
    let told = Notice::RequestDenied { request: id, target: orders(), by: by.clone(), comment: comment.clone() };
    assert_eq!(world.notices(), [told]);
    assert_eq!(state(&world), RequestState::Denied { by, comment });
}

#[test]
fn a_request_that_nobody_answers_lapses() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    world.place();
    world.progress(Progress::Lapsed);
    assert_eq!(world.notices(), [Notice::RequestLapsed { request: id, target: orders() }]);
    assert_eq!(state(&world), RequestState::Expired);
}

#[test]
fn a_request_that_the_broker_does_not_take_fails_with_its_cause() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    let request = id.clone();
    world.answer(Event::RequestRefused { request, cause: trouble("runbook-missing") });
    let told = Notice::RequestFailed { request: id, target: orders(), cause: trouble("runbook-missing") };
    assert_eq!(world.notices(), [told]);
    assert_eq!(state(&world), RequestState::Failed { cause: trouble("runbook-missing") });
    world.must(request_again());
}

#[test]
fn an_answer_that_comes_twice_is_told_once() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    world.place();
    let watch = world.newest(|effect| matches!(effect, Effect::WatchRequest { .. }));
    let request = world.view().request.expect("there is a request").id;
    for _ in 0..3 {
        world.answer_as(watch, Event::RequestProgressed { request: request.clone(), progress: Progress::Lapsed });
    }
    assert_eq!(world.notices().len(), 1);
}

#[test]
fn a_request_is_taken_back_at_the_broker() {
    let mut world = World::signed_in();
    let id = world.request(READ, "1h");
    world.place();
    world.asked();
    world.must(Command::CancelRequest { request: id.clone() });
    let withdraw = Effect::WithdrawRequest { request: id, broker_ref: "exec-1".to_owned(), target: orders() };
    assert_eq!(world.asked(), [withdraw]);
    assert!(matches!(state(&world), RequestState::Pending { .. }), "it waits until the broker agrees");
    world.progress(Progress::Cancelled);
    assert_eq!((state(&world), world.notices()), (RequestState::Cancelled, vec![]));
}

#[test]
fn a_request_that_is_taken_back_on_its_way_is_withdrawn_when_it_arrives() {
    let mut world = World::signed_in();
    let request = world.request(READ, "1h");
    world.must(Command::CancelRequest { request });
    world.asked();
    world.place();
    assert!(matches!(world.asked().as_slice(), [Effect::WatchRequest { .. }, Effect::WithdrawRequest { .. }]));
}

#[test]
fn a_request_that_cannot_be_taken_back_goes_on_and_says_why() {
    let mut world = World::signed_in();
    let request = world.request(READ, "1h");
    world.place();
    world.must(Command::CancelRequest { request: request.clone() });
    let withdraw = world.newest(|effect| matches!(effect, Effect::WithdrawRequest { .. }));
    world.answer_as(withdraw, Event::ReleaseFailed { request: request.clone(), cause: trouble("throttled") });
    assert_eq!(world.access.snapshot().warnings, [trouble("throttled")]);
    world.asked();
    world.must(Command::CancelRequest { request });
    assert!(matches!(world.asked().as_slice(), [Effect::WithdrawRequest { .. }]), "a second try is a new one");
    assert_eq!(world.access.snapshot().warnings, []);
}

#[test]
fn only_a_request_that_waits_can_be_taken_back() {
    let mut world = World::granted(READ, "1h");
    let request = world.view().request.expect("there is a request").id;
    let refusal = world.refused(Command::CancelRequest { request: request.clone() });
    assert_eq!(refusal, Refusal::RequestAnswered { request, target: orders() });
    let request = RequestId::new("00000000-0000-4000-8000-000000000000").expect("a UUID");
    let refusal = world.refused(Command::CancelRequest { request: request.clone() });
    assert_eq!(refusal, Refusal::UnknownRequest { request });
}

#[test]
fn approval_is_shown_before_access_is_in_force() {
    let mut world = World::signed_in();
    world.request(READ, "1h");
    world.place();
    world.progress(Progress::Approved { by: Some("eva".to_owned()) });
    assert_eq!(world.view().grant, Some(Grant::Provisioning { role: READ }));
    assert_eq!(world.notices(), [], "there is nothing to connect to yet");
    let refusal = world.refused(Command::OpenGateway { target: orders(), role: None });
    assert_eq!(refusal, Refusal::GrantProvisioning { target: orders(), role: READ });
}

#[test]
fn access_is_told_once_when_it_is_in_force() {
    let mut world = World::signed_in();
    let request = world.request(READ, "1h");
    world.place();
    world.progress(Progress::Approved { by: Some("eva".to_owned()) });
    let granted = Progress::Granted { by: None, expires_at: at(3600) };
    world.progress(granted.clone());
    world.progress(granted);
    let by = Some("eva".to_owned());
    let told = Notice::RequestApproved { request, target: orders(), role: READ, by, expires_at: at(3600) };
    assert_eq!(world.notices(), [told]);
    assert_eq!(world.view().grant, Some(Grant::Active { role: READ, expires_at: at(3600) }));
}

#[test]
fn the_gateway_opens_by_itself_only_if_that_was_asked_for() {
    for connect_when_approved in [true, false] {
        let mut world = World::signed_in();
        let mut command = request(orders(), READ, "1h");
        if let Command::RequestAccess { connect_when_approved: connect, .. } = &mut command {
            *connect = connect_when_approved;
        }
        world.must(command);
        world.place();
        world.asked();
        world.grant(HOUR);
        let open = Effect::OpenGateway { target: orders(), role: READ, fresh_grant: true };
        assert_eq!(world.asked(), if connect_when_approved { vec![open] } else { vec![] });
    }
}

#[test]
fn finished_requests_do_not_pile_up() {
    let mut world = World::signed_in();
    for _ in 0..50 {
        world.must(request_again());
        let request = world.view().request.expect("there is a request").id;
        world.answer(Event::RequestRefused { request, cause: trouble("runbook-missing") });
    }
    let written = serde_json::to_string(&world.saved()).expect("it can be written");
    assert_eq!(
        written.matches("runbook-missing").count(),
        2,
        "the newest request alone, with code and message: {written}"
    );
}

fn request_again() -> Command {
    request(orders(), READ, "1h")
}

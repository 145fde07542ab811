//! Signing in and out.

use access::{CloseReason, Effect, Event, Refusal};
use model::{Command, Identity, IdentityProvider, IdentityProviderId, Notice};

use crate::world::{HOUR, World, acme, at, billing, catalog, connection, identity, orders, signed_in, trouble};

fn sign_in() -> Command {
    Command::SignIn { identity_provider: None }
}

fn open_billing(world: &mut World) {
    world.open(billing());
    world.answer(Event::GatewayOpened { target: billing(), connection: connection() });
    world.asked();
}

#[test]
fn signing_in_shows_the_page_and_then_the_person() {
    let mut world = World::new();
    world.must(sign_in());
    assert_eq!(world.asked(), [Effect::BeginSignIn { identity_provider: acme().id }]);
    world.answer(Event::SignInStarted { authorize_url: "https://id.acme.dev/authorize".to_owned() });
    let page = Some("https://id.acme.dev/authorize".to_owned());
    let signing_in = Identity::SigningIn { identity_provider: acme().id, authorize_url: page };
    assert_eq!(world.access.snapshot().identity, signing_in);
    world.answer(signed_in(at(3600)));
    assert_eq!(world.access.snapshot().identity, identity(at(3600)));
    assert_eq!(world.asked(), [Effect::WatchReviews { until: at(3600) }, Effect::WatchSessions { until: at(3600) }]);
}

#[test]
fn the_identity_provider_must_be_one_of_the_catalogs() {
    let other = IdentityProviderId::new("other").expect("a slug");
    let mut world = World::new();
    let refusal = world.refused(Command::SignIn { identity_provider: Some(other.clone()) });
    assert_eq!(
        refusal,
        Refusal::UnknownIdentityProvider { identity_provider: other.clone(), offered: vec![acme().id] }
    );
    let two = vec![acme(), IdentityProvider { id: other.clone(), name: "Other".to_owned() }];
    world.tell(Event::CatalogLoaded { identity_providers: two, entries: catalog() });
    assert_eq!(world.refused(sign_in()), Refusal::IdentityProviderNotNamed { offered: vec![acme().id, other] });
    world.tell(Event::CatalogLoaded { identity_providers: Vec::new(), entries: catalog() });
    assert_eq!(world.refused(sign_in()), Refusal::NoIdentityProvider);
}

#[test]
fn asking_twice_to_sign_in_opens_one_page() {
    let mut world = World::new();
    world.must(sign_in());
    world.must(sign_in());
    assert_eq!(world.asked().len(), 1, "one browser page for one wish");
}

#[test]
fn a_second_person_cannot_sign_in_over_the_first() {
    let refusal = World::signed_in().refused(sign_in());
    assert_eq!(refusal, Refusal::AlreadySignedIn { subject: "ana@acme.dev".to_owned() });
}

#[test]
fn an_answer_to_a_cancelled_sign_in_signs_nobody_in() {
    let mut world = World::new();
    world.must(sign_in());
    world.must(Command::CancelSignIn);
    assert_eq!(world.asked().last(), Some(&Effect::AbandonSignIn));
    world.answer(signed_in(at(3600)));
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: None });
}

#[test]
fn a_sign_in_that_fails_is_told_and_stays_visible_until_the_next() {
    let mut world = World::new();
    world.must(sign_in());
    world.answer(Event::SignInFailed { cause: trouble("access-denied") });
    assert_eq!(world.notices(), [Notice::SignInFailed { cause: trouble("access-denied") }]);
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: Some(trouble("access-denied")) });
    world.must(sign_in());
    world.must(Command::CancelSignIn);
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: None });
}

#[test]
fn a_restored_sign_in_needs_no_browser_but_loses_to_a_sign_out() {
    let mut world = World::new();
    world.tell(signed_in(at(3600)));
    assert_eq!(world.access.snapshot().identity, identity(at(3600)));
    let mut late = World::new();
    late.must(Command::SignOut);
    late.tell(signed_in(at(3600)));
    assert_eq!(late.access.snapshot().identity, Identity::SignedOut { cause: None }, "a person said no before it came");
}

#[test]
fn a_keychain_without_a_usable_sign_in_disturbs_nobody() {
    let mut world = World::new();
    world.tell(Event::SignInFailed { cause: trouble("refresh-token-expired") });
    assert_eq!(world.notices(), []);
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: Some(trouble("refresh-token-expired")) });
}

#[test]
fn signing_out_closes_gateways_before_secrets_are_forgotten() {
    let mut world = World::signed_in();
    open_billing(&mut world);
    world.must(Command::SignOut);
    assert_eq!(world.asked(), [Effect::CloseGateway { target: billing(), reason: CloseReason::SignedOut }]);
    world.answer(Event::GatewayClosed { target: billing() });
    assert_eq!(world.asked(), [Effect::ForgetSecrets], "ending the SSM session took the credentials");
    assert_eq!(world.notices(), [], "a person who signs out knows");
}

#[test]
fn secrets_are_forgotten_after_ten_seconds_even_if_a_gateway_hangs() {
    let mut world = World::signed_in();
    open_billing(&mut world);
    world.must(Command::SignOut);
    world.asked();
    world.pass(std::time::Duration::from_secs(9));
    assert_eq!(world.asked(), []);
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(world.asked(), [Effect::ForgetSecrets]);
}

#[test]
fn signing_in_again_does_not_lose_its_new_secrets_to_the_old_sign_out() {
    let mut world = World::signed_in();
    open_billing(&mut world);
    world.must(Command::SignOut);
    world.asked();
    world.must(sign_in());
    assert_eq!(world.asked(), [Effect::ForgetSecrets, Effect::BeginSignIn { identity_provider: acme().id }]);
    world.answer(Event::GatewayClosed { target: billing() });
    assert_eq!(world.asked(), []);
}

#[test]
fn a_sign_in_that_ends_by_itself_raises_one_notice_for_all_gateways() {
    let mut world = World::connected("4h");
    open_billing(&mut world);
    world.tell(signed_in(world.now.wall + HOUR));
    world.asked();
    world.pass(HOUR);
    let closed = |target| Effect::CloseGateway { target, reason: CloseReason::SignedOut };
    assert_eq!(world.asked(), [closed(billing()), closed(orders())]);
    assert_eq!(world.notices(), [Notice::SignInNeeded { targets: vec![billing(), orders()] }]);
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: None });
}

#[test]
fn a_sign_in_that_ends_while_nothing_is_open_says_nothing() {
    let mut world = World::signed_in();
    world.pass(12 * HOUR);
    assert_eq!(world.notices(), []);
    assert_eq!(world.access.snapshot().identity, Identity::SignedOut { cause: None });
}

#[test]
fn a_renewed_sign_in_moves_the_end_and_keeps_gateways_open() {
    let mut world = World::signed_in();
    open_billing(&mut world);
    world.tell(signed_in(at(86_400)));
    assert_eq!(
        world.asked(),
        [Effect::WatchReviews { until: at(86_400) }, Effect::WatchSessions { until: at(86_400) }]
    );
    world.pass(13 * HOUR);
    assert!(matches!(world.view_of(&billing()).gateway, model::Gateway::Open { .. }));
}

#[test]
fn another_person_does_not_inherit_gateways_or_grants() {
    let mut world = World::connected("4h");
    let ben =
        Event::SignedIn { identity_provider: acme().id, subject: "ben@acme.dev".to_owned(), expires_at: at(36_000) };
    world.tell(ben);
    assert_eq!(world.asked()[0], Effect::CloseGateway { target: orders(), reason: CloseReason::SignedOut });
    let view = world.view();
    assert_eq!((view.request, view.grant), (None, None));
    let refusal = world.refused(Command::OpenGateway { target: orders(), role: None });
    assert_eq!(refusal.code(), "not-granted");
}

#[test]
fn quitting_waits_for_gateways_to_close() {
    let mut world = World::connected("1h");
    world.must(Command::Quit);
    assert_eq!(world.asked(), [Effect::CloseGateway { target: orders(), reason: CloseReason::Quitting }]);
    assert_eq!(world.refused(sign_in()), Refusal::Quitting);
    world.answer(Event::GatewayClosed { target: orders() });
    assert_eq!(world.asked(), [Effect::Quit]);
    world.must(Command::Quit);
    assert_eq!(world.asked(), [], "once is enough");
}

#[test]
fn quitting_does_not_wait_for_ever() {
    let mut world = World::connected("1h");
    world.must(Command::Quit);
    world.asked();
    world.pass(std::time::Duration::from_secs(10));
    assert_eq!(world.asked(), [Effect::Quit]);
}

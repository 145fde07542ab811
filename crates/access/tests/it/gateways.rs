//! Opening, breaking, healing and closing Gateways.

use std::time::Duration;

use access::{CatalogEntry, CloseReason, Effect, Event, Refusal};
use model::{Command, Gateway, Notice, OpeningStep, RoleName, TargetId};

use crate::world::{
    MINUTE, World, acme, billing, catalog, connection, entitlement, on_request, opened, orders, step, trouble,
};

const READ: RoleName = RoleName::ReadOnly;
const WRITE: RoleName = RoleName::ReadWrite;

fn open(target: TargetId, role: Option<RoleName>) -> Command {
    Command::OpenGateway { target, role }
}

fn broke(world: &mut World) {
    world.answer(Event::GatewayBroke { target: orders(), cause: trouble("network-changed") });
}

fn catalog_of(entries: Vec<CatalogEntry>) -> Event {
    Event::CatalogLoaded { identity_providers: vec![acme()], entries }
}

#[test]
fn nothing_opens_without_a_grant_or_standing_access() {
    let mut world = World::signed_in();
    assert_eq!(world.refused(open(orders(), Some(READ))), Refusal::NotGranted { target: orders(), role: READ });
    assert_eq!(world.refused(open(billing(), Some(WRITE))), Refusal::NotGranted { target: billing(), role: WRITE });
    let unknown = TargetId::new("nowhere").expect("a slug");
    assert_eq!(world.refused(open(unknown, None)).code(), "unknown-target");
    assert_eq!(World::new().refused(open(billing(), None)).code(), "not-signed-in");
    assert_eq!(world.asked(), []);
}

#[test]
fn a_chosen_port_is_kept_for_a_target_that_there_is() {
    let mut world = World::new();
    world.must(Command::ChoosePort { target: orders(), port: 15_433 });
    assert_eq!(world.asked(), [Effect::KeepPort { target: orders(), port: 15_433 }]);
    let unknown = TargetId::new("nowhere").expect("a slug");
    assert_eq!(world.refused(Command::ChoosePort { target: unknown, port: 15_433 }).code(), "unknown-target");
    assert_eq!(world.asked(), []);
}

#[test]
fn standing_access_opens_as_read_only_when_no_role_is_named() {
    let mut world = World::signed_in();
    world.open(billing());
    assert_eq!(world.asked(), [Effect::OpenGateway { target: billing(), role: READ, fresh_grant: false }]);
}

#[test]
fn the_granted_role_opens_when_no_role_is_named() {
    let mut world = World::granted(WRITE, "1h");
    world.open(orders());
    assert_eq!(world.asked(), [Effect::OpenGateway { target: orders(), role: WRITE, fresh_grant: true }]);
}

#[test]
fn of_two_granted_roles_the_one_last_used_opens_and_reading_before_writing() {
    let mut world = World::granted(WRITE, "1h");
    world.request(READ, "1h");
    world.place();
    world.grant(crate::world::HOUR);
    world.asked();
    let opened_role = |world: &mut World| {
        world.open(orders());
        let Gateway::Opening { role, .. } = world.view().gateway else { panic!("it must be opening") };
        world.must(Command::CloseGateway { target: orders() });
        world.answer(Event::GatewayClosed { target: orders() });
        role
    };
    assert_eq!(opened_role(&mut world), READ);
    world.must(open(orders(), Some(WRITE)));
    world.must(Command::CloseGateway { target: orders() });
    world.answer(Event::GatewayClosed { target: orders() });
    assert_eq!(opened_role(&mut world), WRITE);
}

#[test]
fn a_grant_is_fresh_for_a_minute() {
    let mut world = World::granted(READ, "1h");
    world.pass(MINUTE);
    world.open(orders());
    assert_eq!(world.asked(), [Effect::OpenGateway { target: orders(), role: READ, fresh_grant: false }]);
}

#[test]
fn opening_shows_each_step_with_its_time() {
    let mut world = World::granted(READ, "1h");
    world.open(orders());
    let begun = Gateway::Opening { role: READ, step: OpeningStep::BindPort, done: vec![] };
    assert_eq!(world.view().gateway, begun);
    let bound = step(OpeningStep::BindPort, 3);
    world.answer(Event::GatewayStepped { target: orders(), step: OpeningStep::ProveLogin, done: Some(bound) });
    assert_eq!(world.view().gateway, Gateway::Opening { role: READ, step: OpeningStep::ProveLogin, done: vec![bound] });
    world.jump(Duration::from_millis(250));
    world.answer(opened(orders()));
    let open = Gateway::Open {
        role: READ,
        opened_at: world.now.wall,
        connections: 0,
        done: vec![bound, step(OpeningStep::ProveLogin, 250)],
        connection: connection(),
    };
    assert_eq!(world.view().gateway, open);
}

#[test]
fn opening_what_is_open_changes_nothing() {
    let mut world = World::connected("1h");
    world.open(orders());
    world.must(open(orders(), Some(READ)));
    assert_eq!(world.asked(), []);
    let refusal = world.refused(open(orders(), Some(WRITE)));
    assert_eq!(refusal, Refusal::GatewayOpenAs { target: orders(), open: READ, asked: WRITE });
}

#[test]
fn a_gateway_that_does_not_open_says_why_until_the_next_attempt() {
    let mut world = World::granted(READ, "1h");
    world.open(orders());
    let cause = trouble("port-in-use");
    world.answer(Event::GatewayFailed { target: orders(), cause: cause.clone() });
    assert_eq!(world.view().gateway, Gateway::Closed { cause: Some(cause.clone()) });
    assert_eq!(world.notices(), [Notice::GatewayFailed { target: orders(), cause }]);
    world.open(orders());
    assert!(matches!(world.view().gateway, Gateway::Opening { .. }));
}

#[test]
fn a_tunnel_that_heals_in_time_is_nobodys_concern() {
    let mut world = World::connected("1h");
    broke(&mut world);
    assert!(matches!(world.view().gateway, Gateway::Broken { .. }));
    world.pass(Duration::from_secs(19));
    world.answer(Event::GatewayHealed { target: orders() });
    world.pass(MINUTE);
    assert_eq!(world.notices(), []);
    assert!(matches!(world.view().gateway, Gateway::Open { .. }));
}

#[test]
fn a_tunnel_that_does_not_heal_in_twenty_seconds_is_told_once() {
    let mut world = World::connected("1h");
    broke(&mut world);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.notices(), [Notice::GatewayBroken { target: orders(), cause: trouble("network-changed") }]);
    broke(&mut world);
    world.pass(MINUTE);
    assert_eq!(world.notices(), [], "it is still the same break");
}

#[test]
fn an_interruption_is_told_and_not_again_while_it_is_the_same() {
    let mut world = World::connected("1h");
    let interrupt = |world: &mut World, code| {
        world.answer(Event::GatewayInterrupted { target: orders(), cause: trouble(code) });
        assert!(matches!(world.view().gateway, Gateway::Open { .. }), "it stays open");
        world.notices().len()
    };
    assert_eq!(interrupt(&mut world, "database-unreachable"), 1);
    assert_eq!(interrupt(&mut world, "database-unreachable"), 0, "a pool that tries again tells nothing new");
    assert_eq!(interrupt(&mut world, "session-idle"), 1);
    world.pass(10 * MINUTE);
    assert_eq!(interrupt(&mut world, "session-idle"), 1, "it happened again");
}

#[test]
fn connections_are_counted_while_open() {
    let mut world = World::connected("1h");
    world.answer(Event::ConnectionsChanged { target: orders(), connections: 3 });
    assert!(matches!(world.view().gateway, Gateway::Open { connections: 3, .. }));
}

#[test]
fn disconnecting_closes_the_gateway_and_keeps_the_grant() {
    let mut world = World::connected("1h");
    let grant = world.view().grant;
    world.must(Command::CloseGateway { target: orders() });
    assert_eq!(world.asked(), [Effect::CloseGateway { target: orders(), reason: CloseReason::Disconnected }]);
    assert_eq!((world.view().gateway, world.view().grant), (Gateway::Closing, grant));
    world.must(Command::CloseGateway { target: orders() });
    assert_eq!(world.asked(), [], "closing twice is no error");
}

#[test]
fn opening_while_it_closes_opens_once_it_is_closed() {
    let mut world = World::connected("1h");
    world.must(Command::CloseGateway { target: orders() });
    world.asked();
    world.open(orders());
    assert_eq!(world.asked(), [], "the port is still bound");
    world.answer(Event::GatewayClosed { target: orders() });
    assert!(matches!(world.asked().as_slice(), [Effect::OpenGateway { .. }]));
}

#[test]
fn what_was_to_open_after_closing_stays_closed_if_the_grant_ended_meanwhile() {
    let mut world = World::connected("2m");
    world.pass(2 * MINUTE - Duration::from_secs(5));
    world.must(Command::CloseGateway { target: orders() });
    world.open(orders());
    world.pass(Duration::from_secs(5));
    world.asked();
    world.answer(Event::GatewayClosed { target: orders() });
    assert_eq!(world.asked(), []);
}

#[test]
fn a_gateway_that_never_says_it_closed_can_be_opened_again_after_ten_seconds() {
    let mut world = World::connected("1h");
    world.must(Command::CloseGateway { target: orders() });
    world.open(orders());
    world.asked();
    world.pass(Duration::from_secs(10));
    assert!(matches!(world.asked().as_slice(), [Effect::OpenGateway { .. }]));
}

#[test]
fn answers_to_an_abandoned_opening_are_ignored() {
    let mut world = World::granted(READ, "1h");
    world.open(orders());
    world.must(Command::CloseGateway { target: orders() });
    let cause = trouble("too-late");
    for late in [opened(orders()), Event::GatewayFailed { target: orders(), cause }] {
        world.answer(late);
        assert_eq!(world.view().gateway, Gateway::Closing);
    }
    assert_eq!(world.notices(), []);
}

#[test]
fn a_catalog_that_takes_standing_access_away_closes_the_gateway() {
    let mut world = World::signed_in();
    world.open(billing());
    world.asked();
    let mut entries = catalog();
    entries[1].entitlements = vec![entitlement(READ, on_request(&["1h"]))];
    world.tell(catalog_of(entries));
    let close = Effect::CloseGateway { target: billing(), reason: CloseReason::GrantEnded };
    assert_eq!(world.asked(), [close]);
}

#[test]
fn a_target_that_leaves_the_catalog_is_closed_and_can_still_be_answered_for() {
    let mut world = World::connected("1h");
    world.tell(catalog_of(Vec::new()));
    assert_eq!(world.asked(), [Effect::CloseGateway { target: orders(), reason: CloseReason::GrantEnded }]);
    world.must(Command::CloseGateway { target: orders() });
    world.answer(Event::GatewayClosed { target: orders() });
    assert_eq!(world.access.snapshot().targets, []);
}

#[test]
fn an_unreadable_catalog_keeps_the_old_one_and_warns() {
    let mut world = World::connected("1h");
    world.tell(Event::CatalogUnreadable { cause: trouble("catalog-line-3") });
    assert_eq!(world.access.snapshot().warnings, [trouble("catalog-line-3")]);
    assert!(matches!(world.view().gateway, Gateway::Open { .. }));
    world.tell(catalog_of(catalog()));
    assert_eq!(world.access.snapshot().warnings, []);
}

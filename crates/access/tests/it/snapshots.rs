//! Whole snapshots.

use access::Event;
use model::{Command, Gateway, Grant, Identity, LimitKind, RequestState, RoleName, SecretsKeptIn, Snapshot};

use crate::world::{HOUR, Row, World, acme, at, catalog, connection, identity, signed_in, step};

const READ: RoleName = RoleName::ReadOnly;

fn snapshot(identity: Identity, orders: Row, billing: Row) -> Snapshot {
    Snapshot {
        identity,
        identity_providers: vec![acme()],
        targets: vec![billing.build(), orders.build()],
        reviews: Vec::new(),
        left_sessions: model::LeftSessions::default(),
        secrets_kept_in: SecretsKeptIn::Keychain,
        clock_skew_seconds: 0,
        warnings: Vec::new(),
    }
}

fn orders() -> Row {
    Row::new(catalog().remove(0))
}

fn billing() -> Row {
    Row::new(catalog().remove(1))
}

fn keychain(mut world: World) -> World {
    world.tell(Event::SecretsKept { kept_in: SecretsKeptIn::Keychain });
    world
}

#[test]
fn before_anybody_signs_in_the_catalog_is_shown_by_name() {
    let world = keychain(World::new());
    assert_eq!(world.access.snapshot(), snapshot(Identity::SignedOut { cause: None }, orders(), billing()));
}

#[test]
fn a_granted_and_open_target_shows_what_ends_first() {
    let world = keychain(World::connected("1h"));
    let request = world.view().request.expect("there is a request").id;
    let open = Gateway::Open {
        role: READ,
        opened_at: at(0),
        connections: 0,
        done: vec![step(model::OpeningStep::BindPort, 0)],
        connection: connection(),
    };
    let orders = orders()
        .request(request, RequestState::Approved { by: Some("eva".to_owned()) })
        .grant(Grant::Active { role: READ, expires_at: at(3600) })
        .gateway(open)
        .limit(LimitKind::Grant, at(3600));
    let billing = billing().limit(LimitKind::SignIn, at(43_200));
    assert_eq!(world.access.snapshot(), snapshot(identity(at(43_200)), orders, billing));
}

#[test]
fn a_sign_in_that_ends_before_the_grant_is_the_limit() {
    let mut world = World::granted(READ, "4h");
    world.tell(signed_in(world.now.wall + HOUR));
    let limit = world.view().binding_limit.expect("it can be used");
    assert_eq!((limit.kind, limit.expires_at), (LimitKind::SignIn, at(3600)));
}

#[test]
fn a_grant_has_its_limit_also_without_a_sign_in() {
    let mut world = World::granted(READ, "1h");
    world.must(Command::SignOut);
    let limit = world.view().binding_limit.expect("it is in force");
    assert_eq!((limit.kind, limit.expires_at), (LimitKind::Grant, at(3600)));
}

#[test]
fn a_target_that_cannot_be_used_has_no_limit() {
    assert_eq!(World::signed_in().view().binding_limit, None);
}

#[test]
fn every_instant_is_on_the_local_clock() {
    let mut world = keychain(World::connected("1h"));
    world.tell(Event::ClockSkewMeasured { seconds: 100 });
    let request = world.view().request.expect("there is a request");
    assert_eq!(request.requested_at, at(-100));
    assert_eq!(world.view().grant, Some(Grant::Active { role: READ, expires_at: at(3500) }));
    assert_eq!(world.view().binding_limit.map(|limit| limit.expires_at), Some(at(3500)));
    assert_eq!(world.access.snapshot().identity, identity(at(43_100)));
}

#[test]
fn a_clock_that_is_far_off_is_warned_of() {
    for (skew, direction) in [(600, "behind"), (-600, "ahead of")] {
        let mut world = World::new();
        world.tell(Event::ClockSkewMeasured { seconds: skew });
        let warnings = world.access.snapshot().warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, "clock-off");
        assert!(warnings[0].message.contains("600 seconds") && warnings[0].message.contains(direction));
        world.tell(Event::ClockSkewMeasured { seconds: 2 });
        assert_eq!(world.access.snapshot().warnings, []);
    }
}

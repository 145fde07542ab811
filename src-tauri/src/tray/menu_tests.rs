//! Whole menus, compared as values.

use std::time::Duration;

use model::{
    AccessRequest, AccountId, Bastion, BindingLimit, Command, ConnectionForm, ConnectionStrings, Decision, Endpoint,
    Engine, Entitlement, Environment, ErrorView, Gate, Gateway, Grant, Identity, IdentityProvider, IdentityProviderId,
    LeftSession, LeftSessionState, LeftSessions, LimitKind, OpeningStep, PendingReview, Region, RequestId,
    RequestState, RoleName, SecretsKeptIn, SessionId, SessionOrigin, Snapshot, Target, TargetId, TargetView, WallTime,
};

use super::menu::{Entry, Look, item, menu, submenu, words};
use crate::action::Action;

#[test]
fn signed_out_the_menu_offers_to_sign_in_and_no_databases() {
    let snapshot =
        Snapshot { identity: Identity::SignedOut { cause: None }, ..snapshot(vec![standing("billing-staging")]) };
    let expected = vec![
        words("Not signed in"),
        item("Sign in", Action::Ask(Command::SignIn { identity_provider: None })),
        Entry::Separator,
        open_daypass(),
        quit(),
    ];
    let menu = menu(&snapshot, now());
    assert_eq!(menu.entries, expected);
    assert_eq!((menu.look, menu.changes_in), (Look::SignedOut, None), "nothing ticks");
}

#[test]
fn several_places_to_sign_in_are_each_named() {
    let place = |id: &str, name: &str| IdentityProvider { id: provider(id), name: name.to_owned() };
    let identity_providers = vec![place("acme", "Acme"), place("acme-approvers", "Acme approvers")];
    let snapshot = Snapshot { identity: Identity::SignedOut { cause: None }, identity_providers, ..snapshot(vec![]) };
    let ask = |id: &str| Action::Ask(Command::SignIn { identity_provider: Some(provider(id)) });
    let expected = [item("Sign in at Acme", ask("acme")), item("Sign in at Acme approvers", ask("acme-approvers"))];
    assert_eq!(menu(&snapshot, now()).entries.get(1..3), Some(expected.as_slice()));
}

#[test]
fn while_signing_in_the_page_can_be_opened_again_or_given_up() {
    let identity = Identity::SigningIn {
        identity_provider: provider("acme"),
        authorize_url: Some("https://id.acme.dev".to_owned()),
    };
    let expected = vec![
        words("Signing in at Acme: finish in the browser"),
        item("Open the page again", Action::OpenSignInPage),
        item("Cancel signing in", Action::Ask(Command::CancelSignIn)),
        Entry::Separator,
        open_daypass(),
        quit(),
    ];
    assert_eq!(menu(&Snapshot { identity, ..snapshot(vec![]) }, now()).entries, expected);
}

#[test]
fn every_state_of_a_database_has_a_mark_words_and_clicks() {
    let targets = vec![
        open("orders-prod", 42 * 60 + 5),
        standing("billing-staging"),
        locked("ledger-prod"),
        waiting("users-prod"),
    ];
    let expected = vec![
        words("ana@acme.dev · Acme · 7 h 12 min"),
        Entry::Separator,
        submenu(
            "● orders-prod · read-only · 42 min",
            vec![
                item("Copy connection string", Action::Copy(id("orders-prod"), ConnectionForm::Url)),
                item("Copy psql command", Action::Copy(id("orders-prod"), ConnectionForm::Psql)),
                item("Copy password", Action::CopyPassword(id("orders-prod"))),
                show_target("orders-prod"),
                item("Disconnect", Action::Ask(Command::CloseGateway { target: id("orders-prod") })),
                item("Give access back", Action::Ask(Command::ReleaseGrant { target: id("orders-prod") })),
            ],
        ),
        item(
            "○ billing-staging · connect",
            Action::Ask(Command::OpenGateway { target: id("billing-staging"), role: None }),
        ),
        item("◌ ledger-prod · request access…", Action::ShowWindow(Some(id("ledger-prod")))),
        submenu(
            "◔ users-prod · waiting for approval, 3 min",
            vec![
                item("Cancel request", Action::Ask(Command::CancelRequest { request: request_id() })),
                show_target("users-prod"),
            ],
        ),
        Entry::Separator,
        open_daypass(),
        item("Sign out", Action::Ask(Command::SignOut)),
        quit(),
    ];
    let menu = menu(&snapshot(targets), now());
    assert_eq!(menu.entries, expected);
    assert_eq!(menu.look, Look::Connected);
    assert_eq!(menu.headline.as_deref(), Some("orders-prod 42 min"));
    assert_eq!(menu.changes_in, Some(Duration::from_millis(5_001)), "the 42 becomes a 41 in five seconds");
}

#[test]
fn sessions_that_this_computer_left_can_be_ended_from_the_menu() {
    let left = |name: &str, origin, state| LeftSession {
        id: SessionId::new(name).expect("a session id"),
        region: Region::new("eu-west-1").expect("a Region"),
        target: None,
        since: None,
        origin,
        state,
    };
    let with = |sessions| {
        let left_sessions = LeftSessions { sessions, ..LeftSessions::default() };
        menu(&Snapshot { left_sessions, ..snapshot(vec![]) }, now()).entries
    };
    let ours = left("ana-1", SessionOrigin::ThisComputer, LeftSessionState::Open);
    let one = item("▲ 1 session was left open · end it", Action::Ask(Command::EndLeftSessions));
    assert_eq!(with(vec![ours.clone()]).get(2), Some(&one));
    let several = item("▲ 2 sessions were left open · end them", Action::Ask(Command::EndLeftSessions));
    assert_eq!(with(vec![ours.clone(), ours]).get(2), Some(&several));
    let quiet = vec![
        left("ana-2", SessionOrigin::Elsewhere, LeftSessionState::Open),
        left("ana-3", SessionOrigin::ThisComputer, LeftSessionState::Ending),
    ];
    assert_eq!(with(quiet), with(vec![]), "nothing is to be done about these here");
}

#[test]
fn a_gateway_that_opens_shows_its_step_and_can_be_cancelled() {
    let opening = Gateway::Opening { role: RoleName::ReadOnly, step: OpeningStep::OpenTunnel, done: vec![] };
    let cancel = item("Cancel", Action::Ask(Command::CloseGateway { target: id("orders-prod") }));
    let expected = submenu("◔ orders-prod · opening the tunnel", vec![cancel]);
    assert_eq!(row(TargetView { gateway: opening, ..standing("orders-prod") }), expected);
}

#[test]
fn granted_access_that_is_not_used_can_be_used_or_given_back() {
    let gateway = Gateway::Closed { cause: None };
    let connect = Action::Ask(Command::OpenGateway { target: id("orders-prod"), role: Some(RoleName::ReadOnly) });
    let expected = submenu(
        "○ orders-prod · read-only · 42 min",
        vec![
            item("Connect", connect),
            item("Give access back", Action::Ask(Command::ReleaseGrant { target: id("orders-prod") })),
        ],
    );
    assert_eq!(row(TargetView { gateway, ..open("orders-prod", 42 * 60) }), expected);
}

#[test]
fn a_colleagues_request_can_be_answered_from_the_menu() {
    let mine = PendingReview { own: true, ..review("e-1") };
    let snapshot = Snapshot { reviews: vec![mine, review("e-2")], ..snapshot(vec![]) };
    let answer =
        |decision| Action::Ask(Command::ReviewRequest { broker_ref: "e-2".to_owned(), decision, comment: None });
    let expected = submenu(
        "1 request to review",
        vec![submenu(
            "ben: read-write on ledger-prod, 1 h",
            vec![
                words("“INC-42 stuck batch”"),
                item("Approve", answer(Decision::Approve)),
                item("Deny", answer(Decision::Deny)),
                item("Details…", Action::ShowWindow(None)),
            ],
        )],
    );
    let menu = menu(&snapshot, now());
    assert!(menu.entries.contains(&expected), "{:#?}", menu.entries);
    assert_eq!(menu.look, Look::Attention);
}

#[test]
fn in_the_last_two_minutes_seconds_tick_and_the_icon_asks_for_attention() {
    let menu = menu(&snapshot(vec![open("orders-prod", 119)]), now());
    assert_eq!(menu.headline.as_deref(), Some("orders-prod 1 min 59 s"));
    assert_eq!((menu.look, menu.changes_in), (Look::Attention, Some(Duration::from_millis(1))));
}

#[test]
fn a_countdown_changes_words_and_not_the_shape_of_the_menu() {
    let snapshot = snapshot(vec![open("orders-prod", 90)]);
    let (before, after) = (menu(&snapshot, now()), menu(&snapshot, now() + Duration::from_secs(1)));
    assert_ne!(before.entries, after.entries);
    assert!(before.has_shape_of(&after), "an open menu stays open");
    let elsewhere = menu(&super::menu_tests::snapshot(vec![open("orders-test", 90)]), now());
    assert!(!before.has_shape_of(&elsewhere), "the same words for another database do something else");
}

#[test]
fn of_many_databases_those_in_use_come_first_and_the_rest_is_in_the_window() {
    let mut targets: Vec<TargetView> = (10..40).map(|number| standing(&format!("db-{number}"))).collect();
    targets.push(open("zebra", 600));
    let entries = menu(&snapshot(targets), now()).entries;
    let rows: Vec<&Entry> = entries.iter().skip(2).take_while(|entry| **entry != Entry::Separator).collect();
    assert_eq!(rows.len(), 13);
    assert!(matches!(rows.get(11), Some(Entry::Submenu { label, .. }) if label.starts_with("● zebra")));
    assert_eq!(rows.last(), Some(&&item("More databases…", Action::ShowWindow(None))));
}

#[test]
fn what_is_wrong_is_said_in_the_menu() {
    let warnings = vec![ErrorView::new("catalog-broken", "line 3 of the catalog is no TOML", "correct it")];
    let menu = menu(&Snapshot { warnings, ..snapshot(vec![]) }, now());
    assert!(menu.entries.contains(&item("▲ line 3 of the catalog is no TOML", Action::ShowWindow(None))));
    assert_eq!(menu.look, Look::Attention);
}

fn row(view: TargetView) -> Entry {
    let entries = menu(&snapshot(vec![view]), now()).entries;
    entries.into_iter().nth(2).expect("who, a separator, then the row")
}

fn open_daypass() -> Entry {
    item("Open Daypass", Action::ShowWindow(None))
}

fn quit() -> Entry {
    item("Quit", Action::Ask(Command::Quit))
}

fn show_target(target: &str) -> Entry {
    item("Details…", Action::ShowWindow(Some(id(target))))
}

fn now() -> WallTime {
    WallTime::from_unix_seconds(1_800_000_000)
}

fn snapshot(targets: Vec<TargetView>) -> Snapshot {
    Snapshot {
        identity: Identity::SignedIn {
            identity_provider: provider("acme"),
            subject: "ana@acme.dev".to_owned(),
            expires_at: now() + Duration::from_secs(7 * 3_600 + 12 * 60 + 40),
        },
        identity_providers: vec![IdentityProvider { id: provider("acme"), name: "Acme".to_owned() }],
        targets,
        reviews: vec![],
        left_sessions: LeftSessions::default(),
        secrets_kept_in: SecretsKeptIn::Keychain,
        clock_skew_seconds: 0,
        warnings: vec![],
    }
}

fn standing(name: &str) -> TargetView {
    TargetView {
        target: target(name),
        entitlements: vec![Entitlement {
            role: RoleName::ReadOnly,
            database_user: "app_ro".to_owned(),
            secret: None,
            gate: Gate::Standing,
        }],
        request: None,
        grant: None,
        gateway: Gateway::Closed { cause: None },
        binding_limit: None,
    }
}

fn locked(name: &str) -> TargetView {
    let durations = vec!["1h".parse().expect("a duration")];
    let gate = Gate::OnRequest { runbook: "Runbook".to_owned(), durations, approvers: "leads".to_owned() };
    let entitlement = Entitlement { role: RoleName::ReadOnly, database_user: "app_ro".to_owned(), secret: None, gate };
    TargetView { entitlements: vec![entitlement], ..standing(name) }
}

fn open(name: &str, seconds_left: u64) -> TargetView {
    let expires_at = now() + Duration::from_secs(seconds_left);
    let connection = ConnectionStrings {
        host: "127.0.0.1".to_owned(),
        port: 54_321,
        user: "app_ro".to_owned(),
        database: "shop".to_owned(),
        socket: None,
        environment: vec![],
        texts: vec![],
    };
    TargetView {
        grant: Some(Grant::Active { role: RoleName::ReadOnly, expires_at }),
        gateway: Gateway::Open { role: RoleName::ReadOnly, opened_at: now(), connections: 0, done: vec![], connection },
        binding_limit: Some(BindingLimit { kind: LimitKind::Grant, expires_at }),
        ..locked(name)
    }
}

fn waiting(name: &str) -> TargetView {
    let request = AccessRequest {
        id: request_id(),
        target: id(name),
        role: RoleName::ReadOnly,
        duration: "1h".parse().expect("a duration"),
        justification: "a look".to_owned(),
        ticket: None,
        requested_at: WallTime::from_unix_seconds(now().unix_seconds() - 190),
        state: RequestState::Pending { broker_ref: None, lapses_at: None },
    };
    TargetView { request: Some(request), ..locked(name) }
}

fn review(broker_ref: &str) -> PendingReview {
    PendingReview {
        broker_ref: broker_ref.to_owned(),
        requester: "ben".to_owned(),
        target: "ledger-prod".to_owned(),
        role: "read-write".to_owned(),
        duration: "PT1H".to_owned(),
        justification: "INC-42 stuck batch".to_owned(),
        requested_at: now(),
        own: false,
    }
}

fn target(name: &str) -> Target {
    Target {
        id: id(name),
        engine: Engine::Postgres,
        endpoint: Endpoint { host: format!("{name}.rds.amazonaws.com"), port: 5432 },
        region: Region::new("eu-west-1").expect("a Region"),
        account: AccountId::new("111122223333").expect("an account"),
        database: "shop".to_owned(),
        rds_identifier: name.to_owned(),
        environment: Environment::Production,
        bastion: Bastion::Instance("i-0da7a9a55ba5710e1".to_owned()),
        document: model::SessionDocument::default(),
        local_port: None,
    }
}

fn id(name: &str) -> TargetId {
    TargetId::new(name).expect("a slug")
}

fn provider(name: &str) -> IdentityProviderId {
    IdentityProviderId::new(name).expect("a slug")
}

fn request_id() -> RequestId {
    RequestId::new("6f3f8f5e-0f0e-4b5e-9d0e-3f1c2b1a0d9e").expect("a UUID")
}

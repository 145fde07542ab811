//! A world on virtual time around one `Access`: what it asked for, what it told, and verbs to answer with.

use std::time::Duration;

use access::{Access, CatalogEntry, Effect, EffectId, Event, Refusal, Saved};
use jiff::SignedDuration;
use model::{
    AccessDuration, Bastion, BindingLimit, Command, ConnectionStrings, Endpoint, Engine, Entitlement, Environment,
    ErrorView, Gate, Gateway, Grant, Identity, IdentityProvider, IdentityProviderId, LimitKind, MonoTime, Notice, Now,
    OpeningStep, PendingReview, Progress, Region, RequestId, RequestState, RoleName, StepTime, Target, TargetId,
    TargetView, WallTime,
};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// 2026-03-02T09:00:00Z
pub(crate) const START: i64 = 1_772_442_000;

pub(crate) struct World {
    pub(crate) access: Access,
    pub(crate) now: Now,
    log: Vec<(EffectId, Effect)>,
    seen: usize,
}

impl World {
    /// Nobody is signed in; the Catalog is loaded.
    pub(crate) fn new() -> Self {
        Self::restarted([7; 32], start(), Saved::default())
    }

    /// A start from what was saved, with the Catalog loaded.
    pub(crate) fn restarted(seed: [u8; 32], now: Now, saved: Saved) -> Self {
        let mut world = Self { access: Access::new(seed, now, saved), now, log: Vec::new(), seen: 0 };
        world.tell(Event::CatalogLoaded { identity_providers: vec![acme()], entries: catalog() });
        world
    }

    /// Ana is signed in for twelve hours, and nothing else has happened.
    pub(crate) fn signed_in() -> Self {
        let mut world = Self::new();
        world.sign_in();
        world.asked();
        world
    }

    /// Ana holds the Role on `orders-prod` for so long, and has been told.
    pub(crate) fn granted(role: RoleName, duration: &str) -> Self {
        let mut world = Self::signed_in();
        world.request(role, duration);
        world.place();
        world.grant(length(duration).as_std());
        world.asked();
        world.notices();
        world
    }

    /// The same, with the Gateway open.
    pub(crate) fn connected(duration: &str) -> Self {
        let mut world = Self::granted(RoleName::ReadOnly, duration);
        world.open(orders());
        world.answer(opened(orders()));
        world.asked();
        world
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Refusal> {
        let outcome = self.access.command(command, self.now);
        self.collect();
        outcome
    }

    pub(crate) fn must(&mut self, command: Command) {
        self.command(command).expect("the command is allowed in this test");
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        self.command(command).expect_err("the command is refused in this test")
    }

    /// Something that nobody asked for.
    pub(crate) fn tell(&mut self, event: Event) {
        self.access.event(None, event, self.now);
        self.collect();
    }

    pub(crate) fn answer_as(&mut self, id: EffectId, event: Event) {
        self.access.event(Some(id), event, self.now);
        self.collect();
    }

    /// The answer to the newest effect that can have it.
    pub(crate) fn answer(&mut self, event: Event) {
        let newest = self.log.iter().rev().find(|(_, effect)| fits(effect, &event)).map(|(id, _)| *id);
        self.answer_as(newest.expect("the effect that is answered was asked for"), event);
    }

    pub(crate) fn newest(&self, wanted: impl Fn(&Effect) -> bool) -> EffectId {
        self.log.iter().rev().find(|(_, effect)| wanted(effect)).expect("such an effect was asked for").0
    }

    /// Everything asked for since the last look, without what is only written down.
    pub(crate) fn asked(&mut self) -> Vec<Effect> {
        let (new, kept) = (self.everything_asked(), |effect: &Effect| !matches!(effect, Effect::Save { .. }));
        new.into_iter().filter(kept).collect()
    }

    pub(crate) fn everything_asked(&mut self) -> Vec<Effect> {
        let new = self.log.iter().skip(self.seen).map(|(_, effect)| effect.clone()).collect();
        self.seen = self.log.len();
        new
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.access.poll_notice()).collect()
    }

    pub(crate) fn saved(&self) -> Saved {
        let newest = self.log.iter().rev().find_map(|(_, effect)| saved_by(effect));
        newest.cloned().unwrap_or_default()
    }

    /// Time passes on both clocks, and the machine is woken whenever it wanted to be.
    pub(crate) fn pass(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while let Some((at, reason)) = self.access.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at > self.now.mono, "a timer that is due at once would spin: {reason}");
            self.jump(at - self.now.mono);
        }
        self.jump(end - self.now.mono);
    }

    /// The computer sleeps: time passes on both clocks, and nothing wakes before the end.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.now = Now { mono: self.now.mono + by, wall: self.now.wall + by };
        self.wake();
    }

    /// Somebody sets the calendar clock.
    pub(crate) fn set_clock(&mut self, by_seconds: i64) {
        self.now.wall = self.now.wall.shifted(SignedDuration::from_secs(by_seconds));
    }

    pub(crate) fn wake(&mut self) {
        self.access.handle_timeout(self.now);
        self.collect();
    }

    pub(crate) fn sign_in(&mut self) {
        self.tell(signed_in(self.now.wall + 12 * HOUR));
    }

    pub(crate) fn request(&mut self, role: RoleName, duration: &str) -> RequestId {
        self.must(request(orders(), role, duration));
        self.view().request.expect("the request is shown").id
    }

    pub(crate) fn place(&mut self) {
        let request = self.view().request.expect("there is a request").id;
        self.answer(Event::RequestPlaced {
            request,
            broker_ref: "exec-1".to_owned(),
            lapses_at: Some(self.now.wall + HOUR),
        });
    }

    pub(crate) fn progress(&mut self, progress: Progress) {
        let request = self.view().request.expect("there is a request").id;
        self.answer(Event::RequestProgressed { request, progress });
    }

    pub(crate) fn grant(&mut self, length: Duration) {
        self.progress(Progress::Granted { by: Some("eva".to_owned()), expires_at: self.now.wall + length });
    }

    pub(crate) fn open(&mut self, target: TargetId) {
        self.must(Command::OpenGateway { target, role: None });
    }

    pub(crate) fn view(&self) -> TargetView {
        self.view_of(&orders())
    }

    pub(crate) fn view_of(&self, target: &TargetId) -> TargetView {
        self.access.snapshot().targets.into_iter().find(|view| view.target.id == *target).expect("the Target is shown")
    }

    fn collect(&mut self) {
        self.log.extend(std::iter::from_fn(|| self.access.poll_effect()));
    }
}

pub(crate) fn saved_by(effect: &Effect) -> Option<&Saved> {
    if let Effect::Save { saved } = effect { Some(saved) } else { None }
}

fn fits(effect: &Effect, event: &Event) -> bool {
    match effect {
        Effect::BeginSignIn { .. } => {
            matches!(event, Event::SignInStarted { .. } | Event::SignedIn { .. } | Event::SignInFailed { .. })
        }
        Effect::CloseGateway { target, .. } => {
            matches!(event, Event::GatewayClosed { target: closed } if closed == target)
        }
        Effect::EndSession { .. } => matches!(event, Event::SessionEnded { .. } | Event::SessionNotEnded { .. }),
        Effect::EndGrant { .. } => matches!(event, Event::GrantReleased { .. } | Event::ReleaseFailed { .. }),
        Effect::OpenGateway { .. } => matches!(
            event,
            Event::GatewayStepped { .. }
                | Event::GatewayOpened { .. }
                | Event::GatewayFailed { .. }
                | Event::GatewayBroke { .. }
                | Event::GatewayHealed { .. }
                | Event::GatewayInterrupted { .. }
                | Event::ConnectionsChanged { .. }
        ),
        Effect::PlaceRequest { .. } => matches!(event, Event::RequestPlaced { .. } | Event::RequestRefused { .. }),
        Effect::SubmitReview { .. } => matches!(event, Event::ReviewSubmitted { .. } | Event::ReviewRefused { .. }),
        Effect::WatchRequest { .. } => matches!(event, Event::RequestProgressed { .. }),
        Effect::WatchReviews { .. } => matches!(event, Event::ReviewsListed { .. }),
        Effect::WatchSessions { .. } => matches!(event, Event::SessionsListed { .. }),
        Effect::WithdrawRequest { .. } => matches!(event, Event::ReleaseFailed { .. }),
        Effect::AbandonSignIn
        | Effect::ForgetSecrets
        | Effect::KeepPort { .. }
        | Effect::Quit
        | Effect::Save { .. } => false,
    }
}

pub(crate) fn start() -> Now {
    Now { mono: MonoTime(Duration::from_secs(1000)), wall: WallTime::from_unix_seconds(START) }
}

/// So many seconds after the start, on this computer's clock.
pub(crate) fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_seconds(START + seconds)
}

pub(crate) fn orders() -> TargetId {
    TargetId::new("orders-prod").expect("a slug")
}

pub(crate) fn billing() -> TargetId {
    TargetId::new("billing-staging").expect("a slug")
}

pub(crate) fn region() -> Region {
    Region::new("eu-west-1").expect("a Region")
}

pub(crate) fn length(text: &str) -> AccessDuration {
    text.parse().expect("a duration")
}

pub(crate) fn acme() -> IdentityProvider {
    IdentityProvider { id: IdentityProviderId::new("acme").expect("a slug"), name: "Acme".to_owned() }
}

/// `orders-prod`: both Roles on request. `billing-staging`: reading is standing, writing on request.
pub(crate) fn catalog() -> Vec<CatalogEntry> {
    vec![
        CatalogEntry {
            target: target(orders(), Environment::Production),
            entitlements: vec![
                entitlement(RoleName::ReadOnly, on_request(&["2m", "10m", "1h", "4h"])),
                entitlement(RoleName::ReadWrite, on_request(&["1h"])),
            ],
        },
        CatalogEntry {
            target: target(billing(), Environment::Staging),
            entitlements: vec![
                entitlement(RoleName::ReadWrite, on_request(&["1h"])),
                entitlement(RoleName::ReadOnly, Gate::Standing),
            ],
        },
    ]
}

fn target(id: TargetId, environment: Environment) -> Target {
    let name = id.as_str().to_owned();
    Target {
        endpoint: Endpoint { host: format!("{name}.internal"), port: 5432 },
        engine: Engine::Postgres,
        region: region(),
        account: model::AccountId::new("123456789012").expect("12 digits"),
        database: "shop".to_owned(),
        rds_identifier: name,
        environment,
        bastion: Bastion::Instance("i-0123456789abcdef0".to_owned()),
        document: model::SessionDocument::default(),
        local_port: None,
        id,
    }
}

pub(crate) fn entitlement(role: RoleName, gate: Gate) -> Entitlement {
    Entitlement { role, database_user: format!("app_{}", role.as_str().replace('-', "_")), secret: None, gate }
}

pub(crate) fn on_request(durations: &[&str]) -> Gate {
    Gate::OnRequest {
        runbook: "Daypass-TemporaryAccess".to_owned(),
        durations: durations.iter().map(|text| length(text)).collect(),
        approvers: "payments-leads".to_owned(),
    }
}

pub(crate) fn request(target: TargetId, role: RoleName, duration: &str) -> Command {
    Command::RequestAccess {
        target,
        role,
        duration: length(duration),
        justification: "INC-42 stuck batch".to_owned(),
        ticket: None,
        connect_when_approved: false,
    }
}

pub(crate) fn signed_in(expires_at: WallTime) -> Event {
    Event::SignedIn { identity_provider: acme().id, subject: "ana@acme.dev".to_owned(), expires_at }
}

pub(crate) fn opened(target: TargetId) -> Event {
    Event::GatewayOpened { target, connection: connection() }
}

pub(crate) fn connection() -> ConnectionStrings {
    ConnectionStrings {
        host: "127.0.0.1".to_owned(),
        port: 15432,
        user: "app_read_only".to_owned(),
        database: "shop".to_owned(),
        socket: None,
        environment: Vec::new(),
        texts: Vec::new(),
    }
}

pub(crate) fn trouble(code: &str) -> ErrorView {
    ErrorView::new(code, format!("{code} happened"), "Try again")
}

pub(crate) fn review(broker_ref: &str, own: bool) -> PendingReview {
    PendingReview {
        broker_ref: broker_ref.to_owned(),
        requester: if own { "ana@acme.dev" } else { "ben@acme.dev" }.to_owned(),
        target: "ledger-prod".to_owned(),
        role: "read-write".to_owned(),
        duration: "PT1H".to_owned(),
        justification: "INC-42 stuck batch".to_owned(),
        requested_at: at(0),
        own,
    }
}

/// A whole [`TargetView`], from one of which nothing is known.
pub(crate) struct Row(TargetView);

impl Row {
    pub(crate) fn new(entry: CatalogEntry) -> Self {
        Self(TargetView {
            target: entry.target,
            entitlements: entry.entitlements,
            request: None,
            grant: None,
            gateway: Gateway::Closed { cause: None },
            binding_limit: None,
        })
    }

    pub(crate) fn request(mut self, id: RequestId, state: RequestState) -> Self {
        self.0.request = Some(model::AccessRequest {
            id,
            target: self.0.target.id.clone(),
            role: RoleName::ReadOnly,
            duration: length("1h"),
            justification: "INC-42 stuck batch".to_owned(),
            ticket: None,
            requested_at: at(0),
            state,
        });
        self
    }

    pub(crate) fn grant(mut self, grant: Grant) -> Self {
        self.0.grant = Some(grant);
        self
    }

    pub(crate) fn gateway(mut self, gateway: Gateway) -> Self {
        self.0.gateway = gateway;
        self
    }

    pub(crate) fn limit(mut self, kind: LimitKind, expires_at: WallTime) -> Self {
        self.0.binding_limit = Some(BindingLimit { kind, expires_at });
        self
    }

    pub(crate) fn build(self) -> TargetView {
        self.0
    }
}

pub(crate) fn identity(expires_at: WallTime) -> Identity {
    Identity::SignedIn { identity_provider: acme().id, subject: "ana@acme.dev".to_owned(), expires_at }
}

pub(crate) fn step(step: OpeningStep, milliseconds: u32) -> StepTime {
    StepTime { step, milliseconds }
}

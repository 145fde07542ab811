//! Random histories of commands, answers, stray answers, crashes and clocks, with the rules checked after every step.
//! `PROPTEST_CASES=1000000 cargo nextest run -p access histories` runs for as long as one likes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use access::{Access, CatalogEntry, Effect, EffectId, Event, Saved};
use jiff::SignedDuration;
use model::{Command, Decision, Gateway, Grant, Identity, Notice, Now, RoleName, TargetId, WallTime};
use proptest::{prelude::*, sample::Index, test_runner::RngAlgorithm};

use crate::{
    answers::{answer_to, is_answered_once, later, signed_in_as, supersedes},
    reference::{Asked, Reference, State},
    session_reference::{Sessions, session},
    world::{acme, billing, catalog, entitlement, length, on_request, orders, start, trouble},
};

const READ: RoleName = RoleName::ReadOnly;

#[derive(Clone, Debug)]
enum Move {
    Answer {
        effect: Index,
        outcome: u8,
        recent: bool,
    },
    /// So many seconds after anything else looked at the clocks.
    Ask {
        late: u64,
        command: Command,
    },
    CancelNewest(TargetId),
    Catalog(u8),
    Crash,
    Pass {
        seconds: u64,
    },
    Restored {
        person: &'static str,
        seconds: i64,
    },
    /// A Gateway's, or another computer's.
    SessionStarts {
        here: bool,
    },
    SessionEnds {
        which: Index,
        left: bool,
    },
    SetClock {
        seconds: i64,
    },
    SignInLost,
    Skew {
        seconds: i32,
    },
    Wait,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_history_keeps_the_rules_and_ends_by_itself(seed: u8, moves in prop::collection::vec(any_move(), 1..80)) {
        let mut history = History::new([seed; 32]);
        for next in moves {
            history.step(next);
        }
        history.must_end_by_itself();
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    }
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => (any::<Index>(), any::<u8>(), any::<bool>())
            .prop_map(|(effect, outcome, recent)| Move::Answer { effect, outcome, recent }),
        10 => (prop_oneof![3 => Just(0), 1 => 0..5000_u64], any_command()).prop_map(|(late, command)| Move::Ask { late, command }),
        1 => any_target().prop_map(Move::CancelNewest),
        1 => (0..4_u8).prop_map(Move::Catalog),
        1 => Just(Move::Crash),
        4 => (0..5000_u64).prop_map(|seconds| Move::Pass { seconds }),
        2 => (any_person(), -100..80_000_i64).prop_map(|(person, seconds)| Move::Restored { person, seconds }),
        2 => prop::bool::weighted(0.8).prop_map(|here| Move::SessionStarts { here }),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(which, left)| Move::SessionEnds { which, left }),
        1 => (-8000..8000_i64).prop_map(|seconds| Move::SetClock { seconds }),
        1 => Just(Move::SignInLost),
        1 => (-900..900_i32).prop_map(|seconds| Move::Skew { seconds }),
        4 => Just(Move::Wait),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let role = || prop_oneof![Just(READ), Just(RoleName::ReadWrite)];
    let request =
        (any_target(), role(), 0..4_usize, any::<bool>()).prop_map(|(target, role, at, connect_when_approved)| {
            Command::RequestAccess {
                target,
                role,
                duration: length(["2m", "10m", "1h", "4h"][at]),
                justification: "INC-42".to_owned(),
                ticket: Some(" ".to_owned()),
                connect_when_approved,
            }
        });
    prop_oneof![
        6 => request,
        4 => (any_target(), prop::option::of(role())).prop_map(|(target, role)| Command::OpenGateway { target, role }),
        2 => any_target().prop_map(|target| Command::CloseGateway { target }),
        2 => any_target().prop_map(|target| Command::ReleaseGrant { target }),
        1 => Just(Command::ReviewRequest { broker_ref: "exec-7".to_owned(), decision: Decision::Deny, comment: None }),
        1 => Just(Command::EndLeftSessions),
        1 => (0..6_u8).prop_map(|at| Command::EndSession { session: session(&format!("s{at}")) }),
        2 => Just(Command::SignIn { identity_provider: None }),
        1 => Just(Command::CancelSignIn),
        1 => Just(Command::SignOut),
    ]
}

fn any_target() -> impl Strategy<Value = TargetId> {
    prop_oneof![Just(orders()), Just(billing())]
}

fn any_person() -> impl Strategy<Value = &'static str> {
    prop_oneof![7 => Just("ana@acme.dev"), 1 => Just("ben@acme.dev")]
}

/// The Catalog of the tests, and what can become of it.
fn catalogs(which: u8) -> Vec<CatalogEntry> {
    let mut entries = catalog();
    match which {
        0 => entries[1].entitlements = vec![entitlement(READ, on_request(&["1h"]))],
        1 => entries.truncate(1),
        _ => {}
    }
    entries
}

struct History {
    access: Access,
    now: Now,
    skew: i32,
    who: Option<String>,
    /// Until the latest input: what was due opens before a command takes effect.
    who_before: Option<String>,
    seed: [u8; 32],
    reference: Reference,
    sessions: Sessions,
    saved: Saved,
    /// Of this process.
    log: Vec<(EffectId, Effect)>,
    /// How long the log was before the person changed, and before one signed in where nobody was.
    person_since: usize,
    signed_in_since: usize,
    /// What the effects say is open.
    live: BTreeMap<TargetId, RoleName>,
    answered: BTreeSet<EffectId>,
    told: BTreeSet<String>,
    ends_told: usize,
}

impl History {
    fn new(seed: [u8; 32]) -> Self {
        let now = start();
        let mut history = Self {
            access: Access::new(seed, now, Saved::default()),
            now,
            skew: 0,
            who: None,
            who_before: None,
            seed,
            reference: Reference::default(),
            sessions: Sessions::default(),
            saved: Saved::default(),
            log: Vec::new(),
            person_since: 0,
            signed_in_since: 0,
            live: BTreeMap::new(),
            answered: BTreeSet::new(),
            told: BTreeSet::new(),
            ends_told: 0,
        };
        history.step(Move::Catalog(3));
        history.step(Move::Restored { person: "ana@acme.dev", seconds: 40_000 });
        history
    }

    fn step(&mut self, next: Move) {
        let (who, length) = (self.who.clone(), self.log.len());
        match next {
            Move::Answer { effect, outcome, recent } if !self.log.is_empty() => {
                let among = if recent { self.log.len().min(4) } else { self.log.len() };
                self.answer(self.log.len() - 1 - effect.index(among), outcome);
            }
            Move::Answer { .. } | Move::Wait => self.wait(),
            Move::Ask { late, command } => self.ask(late, command),
            Move::CancelNewest(target) => self.cancel_newest(&target),
            Move::Catalog(which) => self.load(catalogs(which)),
            Move::Crash => self.crash(),
            Move::Pass { seconds } => self.pass(Duration::from_secs(seconds)),
            Move::Restored { person, seconds } => self.hear(None, signed_in_as(person, later(self.aws_now(), seconds))),
            Move::SessionStarts { here } => self.start_session(here),
            Move::SessionEnds { which, left } => self.end_session(&which, left),
            Move::SetClock { seconds } => self.now.wall = self.now.wall.shifted(SignedDuration::from_secs(seconds)),
            Move::SignInLost => self.hear(None, Event::SignInFailed { cause: trouble("refresh-token-expired") }),
            Move::Skew { seconds } => {
                self.skew = seconds;
                self.hear(None, Event::ClockSkewMeasured { seconds });
            }
        }
        self.pass(Duration::ZERO);
        if self.who != who {
            self.person_since = length.min(self.log.len());
            if who.is_none() {
                self.signed_in_since = self.person_since;
            }
        }
        self.check();
    }
}

/// What happens.
impl History {
    fn wait(&mut self) {
        if let Some((at, _)) = self.access.poll_timeout() {
            self.pass(at - self.now.mono);
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = Now { mono: self.now.mono + by, wall: self.now.wall + by };
        self.access.handle_timeout(self.now);
        self.reference.expire(self.aws_now());
        self.collect();
    }

    fn load(&mut self, entries: Vec<CatalogEntry>) {
        self.reference.load(&entries);
        self.hear(None, Event::CatalogLoaded { identity_providers: vec![acme()], entries });
    }

    /// The process dies after it carried everything out, and starts again with another seed.
    fn crash(&mut self) {
        self.seed[0] = self.seed[0].wrapping_add(1);
        self.access = Access::new(self.seed, self.now, self.saved.clone());
        self.skew = self.access.snapshot().clock_skew_seconds;
        self.reference.expire(self.aws_now());
        self.sessions.crash();
        self.log.clear();
        self.answered.clear();
        self.live.clear();
        self.told.retain(|told| !told.starts_with("review"));
        (self.person_since, self.signed_in_since) = (0, 0);
        self.collect();
        self.load(catalog());
    }

    fn start_session(&mut self, here: bool) {
        let who = self.who.clone();
        if here {
            let session = self.sessions.start(who.as_deref());
            self.hear(None, Event::SessionStarted { session: session.clone(), target: orders() });
            if who.is_some() {
                self.must_be_saved(session.as_str());
            }
        } else {
            self.sessions.start_elsewhere("ana@acme.dev");
        }
    }

    fn end_session(&mut self, which: &Index, left: bool) {
        let live: Vec<_> = self.sessions.live.iter().cloned().collect();
        if live.is_empty() {
            return;
        }
        let session = which.get(&live).clone();
        if left {
            self.sessions.leave(&session);
            self.hear(None, Event::SessionLeft { session, cause: trouble("aws-unreachable") });
        } else {
            self.sessions.end(&session);
            self.hear(None, Event::SessionEnded { session });
        }
    }

    fn list_sessions(&mut self, at: usize, slow: bool) {
        let (id, effect) = self.log[at].clone();
        let Some(who) = self.who.clone().filter(|_| !self.is_stale(at)) else { return };
        let newest = self.log.iter().rev().find(|(_, effect)| matches!(effect, Effect::WatchSessions { .. }));
        assert_eq!(newest.map(|(newest, _)| *newest), Some(id), "{effect:?} is the watch in force");
        let listed = self.sessions.list(&who, slow);
        self.hear(Some(id), listed);
        self.sessions.check(Some(&who), &self.access.snapshot().left_sessions, !slow);
    }

    fn cancel_newest(&mut self, target: &TargetId) {
        let newest = self.reference.shown(None, target).next().map(|asked| asked.id.clone());
        if let Some(request) = newest {
            self.ask(0, Command::CancelRequest { request });
        }
    }

    fn ask(&mut self, late: u64, command: Command) {
        let by = Duration::from_secs(late);
        self.now = Now { mono: self.now.mono + by, wall: self.now.wall + by };
        self.reference.expire(self.aws_now());
        let (before, effects, who) = (self.access.snapshot(), self.log.len(), self.who.clone());
        self.sessions.ask(&command, &before.left_sessions);
        let outcome = self.access.command(command.clone(), self.now);
        self.collect();
        if late == 0 && outcome.is_err() {
            assert_eq!(
                (self.access.snapshot(), self.log.len()),
                (before, effects),
                "{command:?} is refused and changes nothing"
            );
        }
        if let Command::OpenGateway { target, role: Some(role) } = &command
            && self.who == who
            && who.as_ref().is_some_and(|who| self.reference.may_use(who, target, *role))
            && self.live.get(target).is_none_or(|live| live == role)
        {
            assert_eq!(outcome, Ok(()), "what is allowed is done: {command:?}");
        }
        match (command, outcome, who) {
            (Command::RequestAccess { target, role, .. }, Ok(()), Some(asker)) => self.requested(asker, target, role),
            (Command::ReleaseGrant { target }, Ok(()), Some(who)) => self.reference.release(&who, &target),
            (Command::RequestAccess { .. } | Command::ReleaseGrant { .. }, Ok(()), None) => {
                panic!("nobody is signed in")
            }
            _ => {}
        }
    }

    fn requested(&mut self, asker: String, target: TargetId, role: RoleName) {
        let views = self.access.snapshot().targets;
        let view = views.into_iter().find(|view| view.target.id == target).expect("a Target of the Catalog");
        let id = view.request.expect("the request is shown").id;
        assert!(self.reference.requests.iter().all(|asked| asked.id != id), "{id} is used twice");
        self.reference.requests.push(Asked { id, asker, target, role, state: State::Waiting });
    }

    fn hear(&mut self, id: Option<EffectId>, event: Event) {
        self.access.event(id, event, self.now);
        self.reference.expire(self.aws_now());
        self.collect();
    }

    fn answer(&mut self, at: usize, outcome: u8) {
        let (id, effect) = self.log[at].clone();
        if let Effect::WatchSessions { .. } = effect {
            return self.list_sessions(at, outcome.is_multiple_of(4));
        }
        let Some(event) = answer_to(&effect, outcome, self.aws_now()) else { return };
        let (before, effects) = (self.access.snapshot(), self.log.len());
        let (is_stale, is_answered) = (self.is_stale(at), !self.answered.insert(id));
        let repeats = is_answered && is_answered_once(&effect);
        if !is_stale && !repeats {
            self.apply(&effect, &event);
        }
        self.hear(Some(id), event.clone());
        if is_stale || repeats {
            assert_eq!(
                (self.access.snapshot(), self.log.len()),
                (before, effects),
                "{event:?} answers what was abandoned"
            );
        }
    }

    fn apply(&mut self, effect: &Effect, event: &Event) {
        match event {
            Event::GatewayFailed { target, .. } => _ = self.live.remove(target),
            Event::GatewayClosed { target } if matches!(effect, Effect::OpenGateway { .. }) => {
                _ = self.live.remove(target)
            }
            Event::GrantReleased { request } => self.reference.end(request),
            Event::ReleaseFailed { request, .. } if matches!(effect, Effect::EndGrant { .. }) => {
                self.reference.release_failed(request);
            }
            Event::RequestProgressed { request, progress } => self.reference.progress(request, progress),
            Event::RequestRefused { request, .. } => self.reference.close(request),
            Event::SessionEnded { session } => self.sessions.end(session),
            Event::CatalogLoaded { .. }
            | Event::CatalogUnreadable { .. }
            | Event::ClockSkewMeasured { .. }
            | Event::ConnectionsChanged { .. }
            | Event::GatewayBroke { .. }
            | Event::GatewayClosed { .. }
            | Event::GatewayHealed { .. }
            | Event::GatewayInterrupted { .. }
            | Event::GatewayOpened { .. }
            | Event::GatewayStepped { .. }
            | Event::ReleaseFailed { .. }
            | Event::RequestPlaced { .. }
            | Event::ReviewRefused { .. }
            | Event::ReviewSubmitted { .. }
            | Event::ReviewsListed { .. }
            | Event::SecretsKept { .. }
            | Event::SessionLeft { .. }
            | Event::SessionNotEnded { .. }
            | Event::SessionsListed { .. }
            | Event::SessionStarted { .. }
            | Event::SignedIn { .. }
            | Event::SignInFailed { .. }
            | Event::SignInStarted { .. } => {}
        }
    }

    /// Whether an effect was abandoned for sure.
    fn is_stale(&self, at: usize) -> bool {
        let (_, effect) = &self.log[at];
        let newer = self.log.iter().skip(at + 1).any(|(_, later)| supersedes(later, effect));
        let of_an_earlier_person = match effect {
            Effect::WatchRequest { .. } => at < self.person_since || self.who.is_none(),
            Effect::EndGrant { .. } | Effect::PlaceRequest { .. } | Effect::WithdrawRequest { .. } => {
                at < self.signed_in_since
            }
            Effect::AbandonSignIn
            | Effect::BeginSignIn { .. }
            | Effect::CloseGateway { .. }
            | Effect::EndSession { .. }
            | Effect::ForgetSecrets
            | Effect::KeepPort { .. }
            | Effect::OpenGateway { .. }
            | Effect::Quit
            | Effect::Save { .. }
            | Effect::SubmitReview { .. }
            | Effect::WatchReviews { .. }
            | Effect::WatchSessions { .. } => false,
        };
        newer || of_an_earlier_person
    }

    /// After everything that can end has had the time to.
    fn must_end_by_itself(&mut self) {
        self.pass(Duration::from_secs(15 * 86_400));
        for _ in 0..5 {
            self.wait();
        }
        self.check();
        assert_eq!(self.access.poll_timeout(), None, "nothing is left to end");
        assert_eq!(self.live, BTreeMap::new(), "nothing is left open");
        assert_eq!(self.who, None, "nobody is left signed in");
    }
}

/// What is looked at.
impl History {
    fn collect(&mut self) {
        self.look_who_is_signed_in();
        while let Some((id, effect)) = self.access.poll_effect() {
            assert!(self.log.last().is_none_or(|(last, _)| *last < id), "ids only grow");
            self.check_effect(&effect);
            self.log.push((id, effect));
        }
        while let Some(notice) = self.access.poll_notice() {
            self.check_notice(notice);
        }
    }

    fn look_who_is_signed_in(&mut self) {
        let identity = self.access.snapshot().identity;
        let now = if let Identity::SignedIn { subject, .. } = identity { Some(subject) } else { None };
        self.who_before = std::mem::replace(&mut self.who, now);
    }

    fn check_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Save { saved } => self.saved = saved.clone(),
            Effect::PlaceRequest { request } => self.must_be_saved(request.id.as_str()),
            Effect::WatchRequest { broker_ref, .. } | Effect::WithdrawRequest { broker_ref, .. } => {
                self.must_be_saved(broker_ref)
            }
            Effect::EndGrant { request, .. } => {
                self.must_be_saved(request.as_str());
                self.must_be_saved("\"releasing\"");
            }
            Effect::OpenGateway { target, role, fresh_grant } => {
                assert!(!self.live.contains_key(target), "{target} is open already");
                let mut persons = self.who.iter().chain(&self.who_before);
                let may_use = persons.any(|who| self.reference.may_use(who, target, *role));
                assert!(may_use, "{target} opens as {role} without a right");
                if *fresh_grant {
                    self.must_be_saved("\"active\"");
                }
                self.live.insert(target.clone(), *role);
            }
            Effect::CloseGateway { target, .. } => {
                assert!(self.live.remove(target).is_some(), "{target} is not open");
            }
            Effect::EndSession { session, .. } => {
                assert!(!self.sessions.live.contains(session), "{session} is in use");
                assert!(self.sessions.to_end.contains(session), "{session} ends although nobody asked for it");
            }
            Effect::ForgetSecrets => assert_eq!(self.who, None, "secrets of a person who is signed in are needed"),
            Effect::AbandonSignIn
            | Effect::BeginSignIn { .. }
            | Effect::KeepPort { .. }
            | Effect::Quit
            | Effect::SubmitReview { .. }
            | Effect::WatchReviews { .. }
            | Effect::WatchSessions { .. } => {}
        }
    }

    fn must_be_saved(&self, text: &str) {
        let saved = serde_json::to_string(&self.saved).expect("what is saved can be written");
        assert!(saved.contains(text), "{text} must be written before anything rests on it: {saved}");
    }

    fn check_notice(&mut self, notice: Notice) {
        let once = match notice {
            Notice::AccessEnded { .. } => {
                self.ends_told += 1;
                return;
            }
            Notice::RequestApproved { request, expires_at, .. } => {
                assert!(expires_at > self.now.wall, "what is over is not told as new");
                format!("approved {request}")
            }
            Notice::RequestDenied { request, .. }
            | Notice::RequestFailed { request, .. }
            | Notice::RequestLapsed { request, .. } => format!("closed {request}"),
            Notice::ReviewWanted { review } => format!("review {}", review.broker_ref),
            Notice::EndsSoon { .. }
            | Notice::GatewayBroken { .. }
            | Notice::GatewayFailed { .. }
            | Notice::GatewayInterrupted { .. }
            | Notice::SessionsLeft { .. }
            | Notice::SignInFailed { .. }
            | Notice::SignInNeeded { .. } => return,
        };
        assert!(self.told.insert(once.clone()), "{once} is told twice");
    }

    fn check(&mut self) {
        let (snapshot, who) = (self.access.snapshot(), &self.who);
        if let Identity::SignedIn { expires_at, .. } = &snapshot.identity {
            assert!(self.now.wall < *expires_at, "a sign-in ends on time");
        }
        for (target, role) in &self.live {
            let may_use = who.as_ref().is_some_and(|who| self.reference.may_use(who, target, *role));
            assert!(may_use, "{target} is open as {role} without a right");
        }
        self.sessions.check(who.as_deref(), &snapshot.left_sessions, false);
        for view in &snapshot.targets {
            let shown: Vec<&Asked> = self.reference.shown(who.as_deref(), &view.target.id).collect();
            let newest = shown.first().map(|asked| &asked.id);
            assert_eq!(view.request.as_ref().map(|request| &request.id), newest, "no request is lost");
            let in_force = shown.iter().find_map(|asked| Some((asked.role, asked.state.end()?)));
            assert_eq!(
                in_force_by(view.grant.as_ref()),
                in_force.map(|(role, end)| (role, self.to_local(end))),
                "{shown:?}"
            );
            assert_eq!(role_of(&view.gateway), self.live.get(&view.target.id).copied(), "the view shows what is open");
        }
        assert_eq!(self.ends_told, self.reference.ended, "every end is told once");
        if let Some((at, reason)) = self.access.poll_timeout() {
            assert!(at > self.now.mono, "a timer that is due at once would spin: {reason}");
        }
    }

    fn aws_now(&self) -> WallTime {
        self.now.wall.shifted(SignedDuration::from_secs(self.skew.into()))
    }

    fn to_local(&self, aws: WallTime) -> WallTime {
        aws.shifted(SignedDuration::from_secs(-i64::from(self.skew)))
    }
}

fn in_force_by(grant: Option<&Grant>) -> Option<(RoleName, WallTime)> {
    if let Some(Grant::Active { role, expires_at }) = grant { Some((*role, *expires_at)) } else { None }
}

fn role_of(gateway: &Gateway) -> Option<RoleName> {
    match gateway {
        Gateway::Broken { role, .. } | Gateway::Open { role, .. } | Gateway::Opening { role, .. } => Some(*role),
        Gateway::Closed { .. } | Gateway::Closing => None,
    }
}

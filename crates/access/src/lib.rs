//! The one state machine that decides who may reach what, and until when.
//!
//! Absent on purpose: IO, async, randomness, and every way to read a clock. `now` comes in as an argument; what must be done
//! in the world goes out as an [`Effect`], what the world answered comes back as an [`Event`] with the effect's [`EffectId`].
//!
//! The loop of whoever drives it: hand over a [`Command`], an [`Event`] or the time, carry out [`Access::poll_effect`] until
//! it is empty, tell [`Access::poll_notice`] until it is empty, show [`Access::snapshot`], and wait until
//! [`Access::poll_timeout`] at the latest. After every input the same rules are applied in the same order
//! (`Access::settle`), so that no order of commands and events leads around them.

mod catalog;
mod clock;
mod effect;
mod event;
mod gateways;
mod grants;
mod identity;
mod left_sessions;
mod limits;
mod outbox;
mod refusal;
mod requests;
mod reviews;
mod saved;
mod seeded_ids;
mod snapshot;
mod trouble;

use std::collections::BTreeMap;

use model::{Command, MonoTime, Notice, Now, SecretsKeptIn, TargetId};

pub use effect::{CloseReason, Effect, EffectId};
pub use event::{CatalogEntry, Event, FoundSession};
pub use refusal::Refusal;
pub use saved::Saved;

use catalog::Catalog;
use clock::Clock;
use gateways::Gateway;
use identity::{Identity, Subject};
use left_sessions::Sessions;
use outbox::{Errand, Outbox};
use requests::Wish;
use reviews::Reviews;
use seeded_ids::SeededIds;
use trouble::Troubles;

/// A smaller change of the measured skew is not worth a write.
const SKEW_WORTH_SAVING: u32 = 5;

/// Who is signed in, what they may reach, and until when. It never fails and never panics, whatever it is told.
#[derive(Debug)]
pub struct Access {
    book: Saved,
    catalog: Catalog,
    clock: Clock,
    ending: Ending,
    gateways: BTreeMap<TargetId, Gateway>,
    identity: Identity,
    ids: SeededIds,
    outbox: Outbox,
    reviews: Reviews,
    secrets_kept_in: SecretsKeptIn,
    sessions: Sessions,
    troubles: Troubles,
    written: Saved,
}

/// How far quitting has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    NotAsked,
    Asked,
    Carried,
}

impl Access {
    /// Starts from what was saved; a Grant whose time was up meanwhile ends at once. Request ids are made from `seed`, which
    /// must be new for each start.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Now, saved: Saved) -> Self {
        let mut access = Self {
            book: saved.clone(),
            catalog: Catalog::default(),
            clock: Clock::new(now, saved.clock_skew_seconds),
            ending: Ending::NotAsked,
            gateways: BTreeMap::new(),
            identity: Identity::Unrestored,
            ids: SeededIds::new(seed),
            outbox: Outbox::default(),
            reviews: Reviews::default(),
            secrets_kept_in: SecretsKeptIn::Memory { why: "the keychain has not answered yet".to_owned() },
            sessions: Sessions::default(),
            troubles: Troubles::new(),
            written: saved,
        };
        access.settle();
        access
    }

    /// Carries out what a person asks. Asking for what is already so is no error.
    ///
    /// # Errors
    /// [`Refusal`] says why nothing was done, and what to do instead.
    pub fn command(&mut self, command: Command, now: Now) -> Result<(), Refusal> {
        self.clock.advance(now);
        self.settle();
        let outcome = self.obey(command);
        self.settle();
        outcome
    }

    /// Hears what the world answered, with the id of the effect it answers. None: nothing was asked (the Catalog, the clock
    /// skew, where secrets are kept, a session that started or ended, a sign-in that was restored, renewed or lost without a
    /// person). An answer to an effect
    /// that was abandoned is ignored.
    pub fn event(&mut self, id: Option<EffectId>, event: Event, now: Now) {
        self.clock.advance(now);
        self.settle();
        if self.is_expected(id, &event) {
            self.hear(id, event);
            self.settle();
        }
    }

    /// Lets time pass. Whatever `now` says is taken as it is: clocks are set, and computers sleep.
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock.advance(now);
        self.settle();
    }

    /// When to call [`Access::handle_timeout`] at the latest, and why. What ends by the calendar is looked at every 30 seconds,
    /// since setting a clock wakes nobody.
    pub fn poll_timeout(&mut self) -> Option<(MonoTime, &'static str)> {
        self.deadlines().min()
    }

    /// What must be done next, in this order. A `Save` is to be finished before any effect after it begins.
    pub fn poll_effect(&mut self) -> Option<(EffectId, Effect)> {
        self.outbox.next_effect()
    }

    /// What the person should be told next.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.outbox.next_notice()
    }

    fn obey(&mut self, command: Command) -> Result<(), Refusal> {
        if self.ending != Ending::NotAsked && command != Command::Quit {
            return Err(Refusal::Quitting);
        }
        match command {
            Command::CancelSignIn => self.cancel_sign_in(),
            Command::CancelRequest { request } => self.cancel_request(&request)?,
            Command::ChoosePort { target, port } => {
                self.catalog.entry(&target)?;
                self.emit(Effect::KeepPort { target, port });
            }
            Command::CloseGateway { target } => self.close_gateway(&target)?,
            Command::EndLeftSessions => self.end_left_sessions()?,
            Command::EndSession { session } => self.end_session(&session)?,
            Command::OpenGateway { target, role } => self.open_gateway(target, role)?,
            Command::Quit => self.quit(),
            Command::ReleaseGrant { target } => self.release_grant(&target)?,
            Command::RequestAccess { target, role, duration, justification, ticket, connect_when_approved } => {
                self.request_access(target, Wish { role, duration, justification, ticket, connect_when_approved })?;
            }
            Command::ReviewRequest { broker_ref, decision, comment } => {
                self.review_request(broker_ref, decision, comment)?
            }
            Command::SignIn { identity_provider } => self.begin_sign_in(identity_provider)?,
            Command::SignOut => self.sign_out(),
        }
        Ok(())
    }

    /// Whether an event answers something that is still awaited, or may come unasked.
    fn is_expected(&self, id: Option<EffectId>, event: &Event) -> bool {
        let errands = match event {
            Event::CatalogLoaded { .. }
            | Event::CatalogUnreadable { .. }
            | Event::ClockSkewMeasured { .. }
            | Event::SecretsKept { .. }
            | Event::SessionEnded { .. }
            | Event::SessionLeft { .. }
            | Event::SessionStarted { .. } => return true,
            Event::SignedIn { .. } | Event::SignInFailed { .. } if id.is_none() => return true,
            Event::SignedIn { .. } | Event::SignInFailed { .. } | Event::SignInStarted { .. } => vec![Errand::SignIn],
            Event::ConnectionsChanged { target, .. }
            | Event::GatewayBroke { target, .. }
            | Event::GatewayFailed { target, .. }
            | Event::GatewayHealed { target }
            | Event::GatewayInterrupted { target, .. }
            | Event::GatewayOpened { target, .. }
            | Event::GatewayStepped { target, .. } => vec![Errand::Open(target.clone())],
            Event::GatewayClosed { target } => vec![Errand::Close(target.clone()), Errand::Open(target.clone())],
            Event::GrantReleased { request } => vec![Errand::End(request.clone())],
            Event::ReleaseFailed { request, .. } => {
                vec![Errand::End(request.clone()), Errand::Withdraw(request.clone())]
            }
            Event::RequestPlaced { request, .. } | Event::RequestRefused { request, .. } => {
                vec![Errand::Place(request.clone())]
            }
            Event::RequestProgressed { request, .. } => {
                vec![Errand::Watch(request.clone()), Errand::Withdraw(request.clone())]
            }
            Event::ReviewRefused { broker_ref, .. } | Event::ReviewSubmitted { broker_ref } => {
                vec![Errand::Review(broker_ref.clone())]
            }
            Event::ReviewsListed { .. } => vec![Errand::Reviews],
            Event::SessionNotEnded { session, .. } => vec![Errand::EndSession(session.clone())],
            Event::SessionsListed { .. } => vec![Errand::Sessions],
        };
        errands.iter().any(|errand| self.outbox.answers(id, errand))
    }

    fn hear(&mut self, id: Option<EffectId>, event: Event) {
        match event {
            Event::CatalogLoaded { identity_providers, entries } => self.catalog_loaded(identity_providers, entries),
            Event::CatalogUnreadable { cause } => self.catalog_unreadable(cause),
            Event::ClockSkewMeasured { seconds } => self.skew_measured(seconds),
            Event::ConnectionsChanged { target, connections } => self.connections_changed(&target, connections),
            Event::GatewayBroke { target, cause } => self.gateway_broke(&target, cause),
            Event::GatewayClosed { target } => self.gateway_closed(target),
            Event::GatewayFailed { target, cause } => self.gateway_failed(target, cause),
            Event::GatewayHealed { target } => self.gateway_healed(&target),
            Event::GatewayInterrupted { target, cause } => self.gateway_interrupted(target, cause),
            Event::GatewayOpened { target, connection } => self.gateway_opened(&target, connection),
            Event::GatewayStepped { target, step, done } => self.gateway_stepped(&target, step, done),
            Event::GrantReleased { request } => self.grant_released(&request),
            Event::ReleaseFailed { request, cause } => {
                if self.outbox.answers(id, &Errand::End(request.clone())) {
                    self.release_failed(&request, cause);
                } else {
                    self.withdrawal_failed(&request, cause);
                }
            }
            Event::RequestPlaced { request, broker_ref, lapses_at } => {
                self.request_placed(&request, broker_ref, lapses_at)
            }
            Event::RequestProgressed { request, progress } => self.progressed(&request, progress),
            Event::RequestRefused { request, cause } => self.request_refused(&request, cause),
            Event::ReviewRefused { broker_ref, cause } => self.review_refused(broker_ref, cause),
            Event::ReviewSubmitted { broker_ref } => self.review_submitted(broker_ref),
            Event::ReviewsListed { reviews } => self.reviews_listed(reviews),
            Event::SecretsKept { kept_in } => self.secrets_kept_in = kept_in,
            Event::SessionEnded { session } => self.session_ended(session),
            Event::SessionLeft { session, cause } => self.session_left(&session, cause),
            Event::SessionNotEnded { session, cause } => self.session_not_ended(&session, cause),
            Event::SessionsListed { regions, found, unseen } => self.sessions_listed(&regions, found, unseen),
            Event::SessionStarted { session, target } => self.session_started(session, target),
            Event::SignedIn { identity_provider, subject, expires_at } => {
                self.signed_in(id.is_some(), Subject { identity_provider, name: subject }, expires_at);
            }
            Event::SignInFailed { cause } => self.sign_in_failed(id.is_some(), cause),
            Event::SignInStarted { authorize_url } => self.sign_in_started(authorize_url),
        }
    }

    /// The rules, after every input: what is over ends first, then what depended on it closes, then what is still wanted goes on.
    fn settle(&mut self) {
        self.expire_grants();
        self.expire_sign_in();
        self.close_forbidden_gateways();
        self.time_gateways();
        self.forget_when_closed();
        if self.ending == Ending::NotAsked {
            self.pursue_releases();
            self.pursue_requests();
        }
        self.book.prune();
        self.forget_old_notes();
        self.save();
        self.end_when_closed();
    }

    fn skew_measured(&mut self, seconds: i32) {
        self.clock.correct(seconds);
        if seconds.abs_diff(self.book.clock_skew_seconds) >= SKEW_WORTH_SAVING {
            self.book.clock_skew_seconds = seconds;
        }
    }

    fn quit(&mut self) {
        if self.ending == Ending::NotAsked {
            self.cancel_sign_in();
            self.ending = Ending::Asked;
        }
    }

    fn end_when_closed(&mut self) {
        if self.ending == Ending::Asked && self.all_gateways_are_closed() {
            self.ending = Ending::Carried;
            self.emit(Effect::Quit);
        }
    }

    /// Sends an effect that nothing answers. What it rests on is written first.
    fn emit(&mut self, effect: Effect) -> EffectId {
        self.save();
        self.outbox.push(effect)
    }

    fn ask(&mut self, errand: Errand, effect: Effect) {
        let id = self.emit(effect);
        self.outbox.expect_answer(errand, id);
    }

    fn ask_once(&mut self, errand: Errand, effect: Effect) {
        if !self.outbox.is_awaited(&errand) {
            self.ask(errand, effect);
        }
    }

    fn save(&mut self) {
        if self.book != self.written {
            self.written = self.book.clone();
            self.outbox.push(Effect::Save { saved: self.written.clone() });
        }
    }
}

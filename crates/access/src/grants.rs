//! What was granted, until it is over. A Grant ends when AWS's clock says so, whatever its broker says.

use std::time::Duration;

use jiff::SignedDuration;
use model::{EndReason, ErrorView, Notice, Progress, RequestId, RoleName, TargetId, WallTime};
use serde::{Deserialize, Serialize};

use crate::{
    Access, Effect, Refusal,
    identity::Subject,
    outbox::Errand,
    requests::{Request, Stage},
    trouble::Trouble,
};

/// How close to its end a Grant must be for a broker's `Expired` to be believed.
const EXPIRY_SLACK: Duration = Duration::from_secs(60);

/// Instants are on AWS's clock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "grant", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(crate) enum Grant {
    Active {
        term: Term,
    },
    Ended {
        at: WallTime,
        reason: EndReason,
    },
    Provisioning,
    /// Its holder gives it back: not usable any more, not yet ended at the broker.
    Releasing {
        term: Term,
    },
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Term {
    pub(crate) granted_at: WallTime,
    pub(crate) expires_at: WallTime,
    pub(crate) warning: Option<Warning>,
}

/// The next warning before the end. A Grant that began later than a warning's time never gives it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Warning {
    TenMinutes,
    TwoMinutes,
}

impl Warning {
    fn ahead_by(self) -> Duration {
        match self {
            Self::TenMinutes => Duration::from_secs(600),
            Self::TwoMinutes => Duration::from_secs(120),
        }
    }

    fn first_within(remaining: Duration) -> Option<Self> {
        [Self::TenMinutes, Self::TwoMinutes].into_iter().find(|warning| remaining > warning.ahead_by())
    }
}

impl Term {
    /// `length` is what was asked for: what remains may look longer to a clock that is behind.
    fn new(granted_at: WallTime, expires_at: WallTime, length: Duration) -> Self {
        Self { granted_at, expires_at, warning: Warning::first_within(granted_at.until(expires_at).min(length)) }
    }

    fn move_end(&mut self, now: WallTime, expires_at: WallTime) {
        self.expires_at = expires_at;
        self.warning = Warning::first_within(now.until(expires_at));
    }

    /// When the next warning is due.
    pub(crate) fn warns_at(&self) -> Option<WallTime> {
        let ahead = self.warning?.ahead_by();
        Some(self.expires_at.shifted(SignedDuration::try_from(ahead).map_or(SignedDuration::ZERO, |ahead| -ahead)))
    }
}

impl Grant {
    /// The time it covers, until it is over.
    pub(crate) fn term(&self) -> Option<&Term> {
        match self {
            Self::Active { term } | Self::Releasing { term } => Some(term),
            Self::Ended { .. } | Self::Provisioning => None,
        }
    }

    fn term_mut(&mut self) -> Option<&mut Term> {
        match self {
            Self::Active { term } | Self::Releasing { term } => Some(term),
            Self::Ended { .. } | Self::Provisioning => None,
        }
    }

    /// The Grant as others see it, with its instants as `shown` turns them. One that is being released is still in force.
    pub(crate) fn view(&self, role: RoleName, shown: impl Fn(WallTime) -> WallTime) -> model::Grant {
        match self {
            Self::Active { term } | Self::Releasing { term } => {
                model::Grant::Active { role, expires_at: shown(term.expires_at) }
            }
            Self::Ended { at, reason } => model::Grant::Ended { role, at: shown(*at), reason: *reason },
            Self::Provisioning => model::Grant::Provisioning { role },
        }
    }
}

impl Access {
    pub(crate) fn progressed(&mut self, id: &RequestId, progress: Progress) {
        match progress {
            Progress::Approved { by } => self.approve(id, by),
            Progress::Granted { by, expires_at } => self.grant(id, by, expires_at),
            Progress::Denied { by, comment } => self.decline(id, Stage::Denied { by, comment }),
            Progress::Cancelled => self.decline(id, Stage::Cancelled),
            Progress::Lapsed => self.decline(id, Stage::Lapsed),
            Progress::Failed { cause } => self.decline(id, Stage::Failed { cause }),
            Progress::Ended { reason } => self.ended_at_broker(id, reason),
        }
    }

    fn approve(&mut self, id: &RequestId, by: Option<String>) {
        if let Some(request) = self.book.request_mut(id)
            && let Stage::Waiting { broker_ref, .. } = &request.stage
        {
            request.stage = Stage::Granted { broker_ref: broker_ref.clone(), by, grant: Grant::Provisioning };
            self.outbox.abandon(&Errand::Withdraw(id.clone()));
        }
    }

    fn grant(&mut self, id: &RequestId, by: Option<String>, expires_at: WallTime) {
        let now = self.clock.aws();
        let Some(request) = self.book.request_mut(id) else { return };
        let term = Term::new(now, expires_at, request.wish.duration.as_std());
        let (broker_ref, by, wanted) = match &mut request.stage {
            Stage::Waiting { broker_ref, withdrawn, .. } => (broker_ref.clone(), by, !*withdrawn),
            Stage::Granted { broker_ref, by: earlier, grant: Grant::Provisioning } => {
                (broker_ref.clone(), by.or(earlier.take()), true)
            }
            Stage::Granted { grant: Grant::Active { term: running } | Grant::Releasing { term: running }, .. } => {
                if running.expires_at != expires_at {
                    running.move_end(now, expires_at);
                }
                return;
            }
            Stage::Granted { grant: Grant::Ended { .. }, .. }
            | Stage::Cancelled
            | Stage::Denied { .. }
            | Stage::Failed { .. }
            | Stage::Lapsed
            | Stage::Unplaced { .. } => return,
        };
        request.stage = Stage::Granted { broker_ref, by: by.clone(), grant: Grant::Active { term } };
        let connect = std::mem::take(&mut request.wish.connect_when_approved) && wanted;
        let (target, role) = (request.target.clone(), request.wish.role);
        self.outbox.abandon(&Errand::Withdraw(id.clone()));
        if !self.clock.has_passed(expires_at) {
            let expires_at = self.clock.to_local(expires_at);
            self.outbox.tell(Notice::RequestApproved {
                request: id.clone(),
                target: target.clone(),
                role,
                by,
                expires_at,
            });
            if connect {
                self.connect_if_closed(&target, role);
            }
        }
    }

    /// A broker that no longer stands behind a Grant has ended it.
    fn decline(&mut self, id: &RequestId, stage: Stage) {
        match self.book.request(id).and_then(Request::grant) {
            Some(Grant::Active { .. } | Grant::Releasing { .. }) => self.ended_at_broker(id, EndReason::Revoked),
            Some(Grant::Ended { .. }) => {}
            Some(Grant::Provisioning) | None => self.close_request(id, stage),
        }
    }

    fn ended_at_broker(&mut self, id: &RequestId, reported: EndReason) {
        let Some(request) = self.book.request_mut(id) else { return };
        if let Stage::Waiting { broker_ref, .. } = &request.stage {
            request.stage = Stage::Granted { broker_ref: broker_ref.clone(), by: None, grant: Grant::Provisioning };
        }
        let reason = match request.grant() {
            None | Some(Grant::Ended { .. }) => return,
            Some(Grant::Provisioning) => reported,
            Some(Grant::Releasing { .. }) => EndReason::Released,
            Some(Grant::Active { term }) => match reported {
                EndReason::Expired if self.clock.until(term.expires_at) > EXPIRY_SLACK => EndReason::Revoked,
                EndReason::Expired | EndReason::Released | EndReason::Revoked => reported,
            },
        };
        self.end_grant(id, self.clock.aws(), reason);
    }

    pub(crate) fn grant_released(&mut self, id: &RequestId) {
        if self.book.request(id).and_then(Request::grant).is_some_and(|grant| grant.term().is_some()) {
            self.end_grant(id, self.clock.aws(), EndReason::Released);
        }
    }

    /// The broker would not end it: it stays in force until its time is up, or until the person tries again.
    pub(crate) fn release_failed(&mut self, id: &RequestId, cause: ErrorView) {
        self.outbox.abandon(&Errand::End(id.clone()));
        if let Some(grant) = self.book.request_mut(id).and_then(Request::grant_mut)
            && let Grant::Releasing { term } = *grant
        {
            *grant = Grant::Active { term };
            self.troubles.insert(Trouble::Request(id.clone()), cause);
        }
    }

    pub(crate) fn release_grant(&mut self, target: &TargetId) -> Result<(), Refusal> {
        self.catalog.entry(target)?;
        let holder = self.signed_in_to(&format!("giving {target} back"))?.clone();
        let mut refusal = Some(Refusal::NoGrant { target: target.clone() });
        for request in
            self.book.requests.iter_mut().filter(|request| request.asker == holder && request.target == *target)
        {
            let role = request.wish.role;
            match request.grant_mut() {
                Some(grant @ Grant::Active { .. }) => {
                    if let Some(term) = grant.term().copied() {
                        *grant = Grant::Releasing { term };
                    }
                    refusal = None;
                    self.troubles.remove(&Trouble::Request(request.id.clone()));
                }
                Some(Grant::Releasing { .. }) => refusal = None,
                Some(Grant::Provisioning) => {
                    refusal = refusal.map(|_| Refusal::GrantProvisioning { target: target.clone(), role });
                }
                Some(Grant::Ended { .. }) | None => {}
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Ends released Grants at their broker, each once the Gateway that used it is closed.
    pub(crate) fn pursue_releases(&mut self) {
        let Some(who) = self.who().cloned() else { return };
        let mut due = Vec::new();
        for request in self.book.requests.iter().filter(|request| request.asker == who) {
            if let Stage::Granted { broker_ref, grant: Grant::Releasing { .. }, .. } = &request.stage
                && self.gateway_has_let_go(request)
            {
                due.push(Effect::EndGrant {
                    request: request.id.clone(),
                    broker_ref: broker_ref.clone(),
                    target: request.target.clone(),
                });
            }
        }
        for effect in due {
            if let Effect::EndGrant { request, .. } = &effect {
                self.ask_once(Errand::End(request.clone()), effect);
            }
        }
    }

    /// Ends what is over by AWS's clock, and warns of what soon will be.
    pub(crate) fn expire_grants(&mut self) {
        let clock = self.clock;
        let mut over = Vec::new();
        for request in &mut self.book.requests {
            let (id, target) = (request.id.clone(), request.target.clone());
            let Some(term) = request.grant_mut().and_then(Grant::term_mut) else { continue };
            if clock.has_passed(term.expires_at) {
                over.push((id, term.expires_at));
            } else if term.warns_at().is_some_and(|at| clock.has_passed(at)) {
                term.warning = Warning::first_within(clock.until(term.expires_at));
                self.outbox.tell(Notice::EndsSoon { target, expires_at: clock.to_local(term.expires_at) });
            }
        }
        for (id, at) in over {
            self.end_grant(&id, at, EndReason::Expired);
        }
    }

    fn end_grant(&mut self, id: &RequestId, at: WallTime, reason: EndReason) {
        for errand in [Errand::End(id.clone()), Errand::Watch(id.clone()), Errand::Withdraw(id.clone())] {
            self.outbox.abandon(&errand);
        }
        self.troubles.remove(&Trouble::Request(id.clone()));
        let Some(request) = self.book.request_mut(id) else { return };
        let target = request.target.clone();
        if let Some(grant) = request.grant_mut() {
            *grant = Grant::Ended { at, reason };
            self.outbox.tell(Notice::AccessEnded { target, reason });
        }
    }

    pub(crate) fn refuse_second_grant(
        &self,
        asker: &Subject,
        target: &TargetId,
        role: RoleName,
    ) -> Result<(), Refusal> {
        for request in self.book.requests_of(asker, target).filter(|request| request.wish.role == role) {
            let target = target.clone();
            match request.grant() {
                Some(Grant::Active { term }) => {
                    return Err(Refusal::GrantActive {
                        target,
                        role,
                        expires_at: self.clock.to_local(term.expires_at),
                    });
                }
                Some(Grant::Provisioning) => return Err(Refusal::GrantProvisioning { target, role }),
                Some(Grant::Releasing { .. }) => return Err(Refusal::GrantBeingReleased { target, role }),
                Some(Grant::Ended { .. }) | None => {}
            }
        }
        Ok(())
    }

    /// The usable Grants a person holds for a Target, newest first.
    pub(crate) fn active_terms<'a>(
        &'a self,
        holder: &'a Subject,
        target: &'a TargetId,
    ) -> impl Iterator<Item = (RoleName, &'a Term)> {
        self.book.requests_of(holder, target).filter_map(|request| match request.grant()? {
            Grant::Active { term } => Some((request.wish.role, term)),
            Grant::Ended { .. } | Grant::Provisioning | Grant::Releasing { .. } => None,
        })
    }
}

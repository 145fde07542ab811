//! Asking for access, until somebody answered.

use model::{
    AccessDuration, AccessRequest, ErrorView, Gate, Notice, RequestId, RequestState, RoleName, TargetId, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::{Access, Effect, Refusal, grants::Grant, identity::Subject, outbox::Errand, trouble::Trouble};

/// One ask, and everything that came of it. Instants are on AWS's clock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) asker: Subject,
    pub(crate) wish: Wish,
    pub(crate) target: TargetId,
    pub(crate) requested_at: WallTime,
    pub(crate) stage: Stage,
}

/// What the person said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wish {
    pub(crate) role: RoleName,
    pub(crate) duration: AccessDuration,
    pub(crate) justification: String,
    pub(crate) ticket: Option<String>,
    pub(crate) connect_when_approved: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(crate) enum Stage {
    /// Kept here, and perhaps already at the broker. `withdrawn`: the person took it back meanwhile.
    Unplaced {
        withdrawn: bool,
    },
    Waiting {
        broker_ref: String,
        lapses_at: Option<WallTime>,
        withdrawn: bool,
    },
    Granted {
        broker_ref: String,
        by: Option<String>,
        grant: Grant,
    },
    Cancelled,
    Denied {
        by: Option<String>,
        comment: Option<String>,
    },
    Failed {
        cause: ErrorView,
    },
    Lapsed,
}

impl Request {
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match &self.stage {
            Stage::Granted { grant, .. } => Some(grant),
            Stage::Cancelled
            | Stage::Denied { .. }
            | Stage::Failed { .. }
            | Stage::Lapsed
            | Stage::Unplaced { .. }
            | Stage::Waiting { .. } => None,
        }
    }

    pub(crate) fn grant_mut(&mut self) -> Option<&mut Grant> {
        match &mut self.stage {
            Stage::Granted { grant, .. } => Some(grant),
            Stage::Cancelled
            | Stage::Denied { .. }
            | Stage::Failed { .. }
            | Stage::Lapsed
            | Stage::Unplaced { .. }
            | Stage::Waiting { .. } => None,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Unplaced { .. } | Stage::Waiting { .. })
    }

    pub(crate) fn is_finished(&self) -> bool {
        match &self.stage {
            Stage::Unplaced { .. } | Stage::Waiting { .. } => false,
            Stage::Granted { grant, .. } => matches!(grant, Grant::Ended { .. }),
            Stage::Cancelled | Stage::Denied { .. } | Stage::Failed { .. } | Stage::Lapsed => true,
        }
    }

    /// The request as others see it, with its instants as `shown` turns them.
    pub(crate) fn view(&self, shown: impl Fn(WallTime) -> WallTime) -> AccessRequest {
        let state = match self.stage.clone() {
            Stage::Unplaced { .. } => RequestState::Pending { broker_ref: None, lapses_at: None },
            Stage::Waiting { broker_ref, lapses_at, .. } => {
                RequestState::Pending { broker_ref: Some(broker_ref), lapses_at: lapses_at.map(&shown) }
            }
            Stage::Granted { by, .. } => RequestState::Approved { by },
            Stage::Cancelled => RequestState::Cancelled,
            Stage::Denied { by, comment } => RequestState::Denied { by, comment },
            Stage::Failed { cause } => RequestState::Failed { cause },
            Stage::Lapsed => RequestState::Expired,
        };
        AccessRequest {
            id: self.id.clone(),
            target: self.target.clone(),
            role: self.wish.role,
            duration: self.wish.duration,
            justification: self.wish.justification.clone(),
            ticket: self.wish.ticket.clone(),
            requested_at: shown(self.requested_at),
            state,
        }
    }
}

impl Access {
    pub(crate) fn request_access(&mut self, target: TargetId, mut wish: Wish) -> Result<(), Refusal> {
        wish.justification = wish.justification.trim().to_owned();
        wish.ticket = wish.ticket.map(|ticket| ticket.trim().to_owned()).filter(|ticket| !ticket.is_empty());
        let asker = self.may_ask(&target, &wish)?.clone();
        let mut id = self.ids.next_id();
        while self.book.request(&id).is_some() {
            id = self.ids.next_id();
        }
        let requested_at = self.clock.aws();
        self.book.requests.push(Request {
            id,
            asker,
            wish,
            target,
            requested_at,
            stage: Stage::Unplaced { withdrawn: false },
        });
        Ok(())
    }

    fn may_ask(&self, target: &TargetId, wish: &Wish) -> Result<&Subject, Refusal> {
        let (role, duration) = (wish.role, wish.duration);
        self.catalog.entry(target)?;
        let asker = self.signed_in_to(&format!("requesting {target}"))?;
        match &self.catalog.entitlement(target, role)?.gate {
            Gate::Standing => return Err(Refusal::NoRequestNeeded { target: target.clone(), role }),
            Gate::OnRequest { durations, .. } if !durations.contains(&duration) => {
                return Err(Refusal::DurationNotAllowed {
                    target: target.clone(),
                    role,
                    duration,
                    allowed: durations.clone(),
                });
            }
            Gate::OnRequest { .. } => {}
        }
        if wish.justification.is_empty() {
            return Err(Refusal::JustificationMissing { target: target.clone() });
        }
        if let Some(pending) = self.book.requests_of(asker, target).find(|request| request.is_pending()) {
            return Err(Refusal::RequestPending { request: pending.id.clone(), target: target.clone() });
        }
        self.refuse_second_grant(asker, target, role)?;
        Ok(asker)
    }

    pub(crate) fn cancel_request(&mut self, id: &RequestId) -> Result<(), Refusal> {
        let unknown = Refusal::UnknownRequest { request: id.clone() };
        let asker = self.signed_in_to(&format!("cancelling {id}"))?.clone();
        let request = self.book.request_mut(id).filter(|request| request.asker == asker).ok_or(unknown)?;
        match &mut request.stage {
            Stage::Unplaced { withdrawn } | Stage::Waiting { withdrawn, .. } => *withdrawn = true,
            Stage::Cancelled => {}
            Stage::Denied { .. } | Stage::Failed { .. } | Stage::Granted { .. } | Stage::Lapsed => {
                return Err(Refusal::RequestAnswered { request: id.clone(), target: request.target.clone() });
            }
        }
        self.troubles.remove(&Trouble::Request(id.clone()));
        Ok(())
    }

    pub(crate) fn request_placed(&mut self, id: &RequestId, broker_ref: String, lapses_at: Option<WallTime>) {
        self.outbox.abandon(&Errand::Place(id.clone()));
        if let Some(request) = self.book.request_mut(id)
            && let Stage::Unplaced { withdrawn } = request.stage
        {
            request.stage = Stage::Waiting { broker_ref, lapses_at, withdrawn };
        }
    }

    pub(crate) fn request_refused(&mut self, id: &RequestId, cause: ErrorView) {
        self.outbox.abandon(&Errand::Place(id.clone()));
        let withdrawn =
            self.book.request(id).is_some_and(|request| request.stage == Stage::Unplaced { withdrawn: true });
        self.close_request(id, if withdrawn { Stage::Cancelled } else { Stage::Failed { cause } });
    }

    /// Settles a request that led to no Grant, and tells the person unless it was their own doing.
    pub(crate) fn close_request(&mut self, id: &RequestId, stage: Stage) {
        let Some(request) = self.book.request_mut(id).filter(|request| !request.is_finished()) else { return };
        request.stage = stage.clone();
        let (request, target) = (request.id.clone(), request.target.clone());
        for errand in [Errand::Watch(request.clone()), Errand::Withdraw(request.clone())] {
            self.outbox.abandon(&errand);
        }
        self.troubles.remove(&Trouble::Request(request.clone()));
        match stage {
            Stage::Denied { by, comment } => self.outbox.tell(Notice::RequestDenied { request, target, by, comment }),
            Stage::Failed { cause } => self.outbox.tell(Notice::RequestFailed { request, target, cause }),
            Stage::Lapsed => self.outbox.tell(Notice::RequestLapsed { request, target }),
            Stage::Cancelled | Stage::Granted { .. } | Stage::Unplaced { .. } | Stage::Waiting { .. } => {}
        }
    }

    /// The broker would not take a request back: it goes on waiting.
    pub(crate) fn withdrawal_failed(&mut self, id: &RequestId, cause: ErrorView) {
        self.outbox.abandon(&Errand::Withdraw(id.clone()));
        if let Some(request) = self.book.request_mut(id)
            && let Stage::Waiting { withdrawn, .. } = &mut request.stage
        {
            *withdrawn = false;
            self.troubles.insert(Trouble::Request(id.clone()), cause);
        }
    }

    /// Carries on with every request of the person who is signed in: right after it was made, and again after a restart.
    pub(crate) fn pursue_requests(&mut self) {
        let Some(who) = self.who().cloned() else { return };
        let mine: Vec<Request> = self
            .book
            .requests
            .iter()
            .filter(|request| request.asker == who && !request.is_finished())
            .filter(|request| self.catalog.entries.contains_key(&request.target))
            .cloned()
            .collect();
        for request in mine {
            self.pursue(request);
        }
    }

    fn pursue(&mut self, request: Request) {
        let (id, target) = (request.id.clone(), request.target.clone());
        match &request.stage {
            Stage::Unplaced { .. } => {
                let request = request.view(|aws| self.clock.to_local(aws));
                self.ask_once(Errand::Place(id), Effect::PlaceRequest { request });
            }
            Stage::Waiting { broker_ref, withdrawn, .. } => {
                self.watch(&id, broker_ref, &target);
                if *withdrawn {
                    let broker_ref = broker_ref.clone();
                    self.ask_once(
                        Errand::Withdraw(id.clone()),
                        Effect::WithdrawRequest { request: id, broker_ref, target },
                    );
                }
            }
            Stage::Granted { broker_ref, .. } => self.watch(&id, broker_ref, &target),
            Stage::Cancelled | Stage::Denied { .. } | Stage::Failed { .. } | Stage::Lapsed => {}
        }
    }

    fn watch(&mut self, id: &RequestId, broker_ref: &str, target: &TargetId) {
        let (request, broker_ref, target) = (id.clone(), broker_ref.to_owned(), target.clone());
        self.ask_once(Errand::Watch(id.clone()), Effect::WatchRequest { request, broker_ref, target });
    }
}

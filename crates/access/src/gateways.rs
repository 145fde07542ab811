//! The listeners, one a Target. Nothing opens without a [`Permit`], and what is open without one is closed.

use std::time::Duration;

use model::{
    ConnectionStrings, ErrorView, Gate, MonoTime, Notice, OpeningStep, RoleName, StepTime, TargetId, WallTime,
};

use crate::{Access, CloseReason, Effect, Ending, Refusal, grants::Grant, outbox::Errand, requests::Request};

/// IAM takes moments to know a new policy everywhere.
const FRESH: Duration = Duration::from_secs(60);
/// A broken tunnel that heals within it is nobody's concern.
const HEALS_WITHIN: Duration = Duration::from_secs(20);
/// After this long a Gateway counts as closed without an answer.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);

/// The same trouble of a Gateway is not told again within it.
const TOLD_FOR: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Gateway {
    Broken {
        live: Live,
        cause: ErrorView,
        /// When the person is told, unless it has healed; none once they were.
        tell_at: Option<MonoTime>,
    },
    Closed {
        cause: Option<ErrorView>,
    },
    Closing {
        give_up_at: MonoTime,
        /// What to open afterwards.
        then: Option<RoleName>,
    },
    Open(Live),
    Opening {
        role: RoleName,
        step: OpeningStep,
        began_at: MonoTime,
        done: Vec<StepTime>,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Live {
    pub(crate) role: RoleName,
    pub(crate) opened_at: WallTime,
    pub(crate) connections: u32,
    pub(crate) done: Vec<StepTime>,
    pub(crate) connection: ConnectionStrings,
    /// The code of the interruption told last, and until when it is not told again.
    interrupted: Option<(String, MonoTime)>,
}

/// The proof that a Target may be used as a Role at this moment. Only [`Access::permit`] makes one.
#[derive(Debug)]
pub(crate) struct Permit {
    target: TargetId,
    role: RoleName,
    fresh_grant: bool,
}

impl Gateway {
    /// The Role it serves or is about to serve.
    pub(crate) fn live_role(&self) -> Option<RoleName> {
        match self {
            Self::Broken { live, .. } | Self::Open(live) => Some(live.role),
            Self::Opening { role, .. } => Some(*role),
            Self::Closed { .. } | Self::Closing { .. } => None,
        }
    }

    pub(crate) fn view(&self) -> model::Gateway {
        match self.clone() {
            Self::Broken { live: Live { role, connection, .. }, cause, .. } => {
                model::Gateway::Broken { role, cause, connection }
            }
            Self::Closed { cause } => model::Gateway::Closed { cause },
            Self::Closing { .. } => model::Gateway::Closing,
            Self::Open(Live { role, opened_at, connections, done, connection, .. }) => {
                model::Gateway::Open { role, opened_at, connections, done, connection }
            }
            Self::Opening { role, step, done, .. } => model::Gateway::Opening { role, step, done },
        }
    }
}

impl Access {
    pub(crate) fn open_gateway(&mut self, target: TargetId, role: Option<RoleName>) -> Result<(), Refusal> {
        self.catalog.entry(&target)?;
        self.signed_in_to(&format!("opening {target}"))?;
        if let Some(open) = self.gateways.get(&target).and_then(Gateway::live_role) {
            return match role {
                Some(asked) if asked != open => Err(Refusal::GatewayOpenAs { target, open, asked }),
                Some(_) | None => Ok(()),
            };
        }
        let permit = self.permit(&target, role.unwrap_or_else(|| self.usable_role(&target)))?;
        self.book.roles.insert(target, permit.role);
        self.open(permit);
        Ok(())
    }

    pub(crate) fn connect_if_closed(&mut self, target: &TargetId, role: RoleName) {
        if self.gateways.get(target).and_then(Gateway::live_role).is_none()
            && let Ok(permit) = self.permit(target, role)
        {
            self.open(permit);
        }
    }

    /// The Role that is meant when none is named: that of a Grant before a standing one, the one last used before read-only,
    /// read-only before read-write. When nothing can be used it is the first to ask for.
    pub(crate) fn usable_role(&self, target: &TargetId) -> RoleName {
        let granted: Vec<RoleName> =
            self.who().into_iter().flat_map(|who| self.active_terms(who, target)).map(|(role, _)| role).collect();
        let last = self.book.roles.get(target).copied().filter(|role| granted.contains(role));
        let standing = self.offered_roles(target, |gate| *gate == Gate::Standing).min();
        let first = self.offered_roles(target, |_| true).min();
        last.or(granted.into_iter().min()).or(standing).or(first).unwrap_or(RoleName::ReadOnly)
    }

    fn offered_roles(&self, target: &TargetId, wanted: fn(&Gate) -> bool) -> impl Iterator<Item = RoleName> {
        let entitlements =
            self.catalog.entries.get(target).map(|entry| entry.entitlements.as_slice()).unwrap_or_default();
        entitlements.iter().filter(move |entitlement| wanted(&entitlement.gate)).map(|entitlement| entitlement.role)
    }

    /// Whether the person who is signed in may use a Target as a Role right now.
    pub(crate) fn permit(&self, target: &TargetId, role: RoleName) -> Result<Permit, Refusal> {
        if self.ending != Ending::NotAsked {
            return Err(Refusal::Quitting);
        }
        let who = self.signed_in_to(&format!("opening {target}"))?;
        let standing = self.catalog.entitlement(target, role)?.gate == Gate::Standing;
        let granted = self.active_terms(who, target).find(|(granted, _)| *granted == role);
        match granted {
            Some((_, term)) => {
                let fresh_grant = term.granted_at.until(self.clock.aws()) < FRESH && !standing;
                Ok(Permit { target: target.clone(), role, fresh_grant })
            }
            None if standing => Ok(Permit { target: target.clone(), role, fresh_grant: false }),
            None => Err(self.why_not_granted(target, role)),
        }
    }

    fn why_not_granted(&self, target: &TargetId, role: RoleName) -> Refusal {
        let mine = self.who().into_iter().flat_map(|who| self.book.requests_of(who, target));
        let target = target.clone();
        match mine.filter(|request| request.wish.role == role).find(|request| !request.is_finished()) {
            None => Refusal::NotGranted { target, role },
            Some(request) => match request.grant() {
                None => Refusal::RequestPending { request: request.id.clone(), target },
                Some(Grant::Provisioning) => Refusal::GrantProvisioning { target, role },
                Some(Grant::Releasing { .. }) => Refusal::GrantBeingReleased { target, role },
                Some(Grant::Active { .. } | Grant::Ended { .. }) => Refusal::NotGranted { target, role },
            },
        }
    }

    fn open(&mut self, Permit { target, role, fresh_grant }: Permit) {
        if let Some(Gateway::Closing { then, .. }) = self.gateways.get_mut(&target) {
            *then = Some(role);
            return;
        }
        let began_at = self.clock.mono();
        self.gateways
            .insert(target.clone(), Gateway::Opening { role, step: OpeningStep::BindPort, began_at, done: Vec::new() });
        self.ask(Errand::Open(target.clone()), Effect::OpenGateway { target, role, fresh_grant });
    }

    pub(crate) fn close_gateway(&mut self, target: &TargetId) -> Result<(), Refusal> {
        if !self.gateways.contains_key(target) {
            self.catalog.entry(target)?;
        }
        self.close(target, CloseReason::Disconnected);
        Ok(())
    }

    pub(crate) fn close(&mut self, target: &TargetId, reason: CloseReason) {
        let give_up_at = self.clock.mono() + CLOSES_WITHIN;
        match self.gateways.get_mut(target) {
            None | Some(Gateway::Closed { .. }) => {}
            Some(Gateway::Closing { then, .. }) => *then = None,
            Some(gateway @ (Gateway::Broken { .. } | Gateway::Open(_) | Gateway::Opening { .. })) => {
                *gateway = Gateway::Closing { give_up_at, then: None };
                self.outbox.abandon(&Errand::Open(target.clone()));
                self.ask(Errand::Close(target.clone()), Effect::CloseGateway { target: target.clone(), reason });
            }
        }
    }

    pub(crate) fn gateway_stepped(&mut self, target: &TargetId, next: OpeningStep, finished: Option<StepTime>) {
        let now = self.clock.mono();
        if let Some(Gateway::Opening { step, began_at, done, .. }) = self.gateways.get_mut(target) {
            if *step != next {
                (*step, *began_at) = (next, now);
            }
            done.extend(finished.filter(|finished| done.iter().all(|earlier| earlier.step != finished.step)));
        }
    }

    pub(crate) fn gateway_opened(&mut self, target: &TargetId, connection: ConnectionStrings) {
        let (now, opened_at) = (self.clock.mono(), self.clock.local());
        if let Some(gateway) = self.gateways.get_mut(target)
            && let Gateway::Opening { role, step, began_at, done } = gateway
        {
            let mut done = std::mem::take(done);
            if done.iter().all(|earlier| earlier.step != *step) {
                let milliseconds = u32::try_from((now - *began_at).as_millis()).unwrap_or(u32::MAX);
                done.push(StepTime { step: *step, milliseconds });
            }
            *gateway =
                Gateway::Open(Live { role: *role, opened_at, connections: 0, done, connection, interrupted: None });
        }
    }

    pub(crate) fn gateway_failed(&mut self, target: TargetId, cause: ErrorView) {
        self.outbox.abandon(&Errand::Open(target.clone()));
        self.gateways.insert(target.clone(), Gateway::Closed { cause: Some(cause.clone()) });
        self.outbox.tell(Notice::GatewayFailed { target, cause });
    }

    pub(crate) fn gateway_broke(&mut self, target: &TargetId, why: ErrorView) {
        let tell_at = Some(self.clock.mono() + HEALS_WITHIN);
        if let Some(gateway) = self.gateways.get_mut(target) {
            match gateway {
                Gateway::Open(live) => *gateway = Gateway::Broken { live: live.clone(), cause: why, tell_at },
                Gateway::Broken { cause, .. } => *cause = why,
                Gateway::Closed { .. } | Gateway::Closing { .. } | Gateway::Opening { .. } => {}
            }
        }
    }

    pub(crate) fn gateway_healed(&mut self, target: &TargetId) {
        if let Some(gateway) = self.gateways.get_mut(target)
            && let Gateway::Broken { live, .. } = gateway
        {
            *gateway = Gateway::Open(live.clone());
        }
    }

    pub(crate) fn gateway_interrupted(&mut self, target: TargetId, cause: ErrorView) {
        let now = self.clock.mono();
        if let Some(Gateway::Broken { live, .. } | Gateway::Open(live)) = self.gateways.get_mut(&target) {
            let known = live.interrupted.as_ref().is_some_and(|(code, until)| *code == cause.code && now < *until);
            if !known {
                live.interrupted = Some((cause.code.clone(), now + TOLD_FOR));
                self.outbox.tell(Notice::GatewayInterrupted { target, cause });
            }
        }
    }

    pub(crate) fn connections_changed(&mut self, target: &TargetId, count: u32) {
        if let Some(Gateway::Broken { live, .. } | Gateway::Open(live)) = self.gateways.get_mut(target) {
            live.connections = count;
        }
    }

    /// It is closed; what was asked for meanwhile opens if it still may.
    pub(crate) fn gateway_closed(&mut self, target: TargetId) {
        self.outbox.abandon(&Errand::Close(target.clone()));
        self.outbox.abandon(&Errand::Open(target.clone()));
        let earlier = self.gateways.insert(target.clone(), Gateway::Closed { cause: None });
        if let Some(Gateway::Closing { then: Some(role), .. }) = earlier {
            self.connect_if_closed(&target, role);
        }
    }

    /// Closes what nobody may use any more.
    pub(crate) fn close_forbidden_gateways(&mut self) {
        let live = self.gateways.iter().filter_map(|(target, gateway)| Some((target.clone(), gateway.live_role()?)));
        for (target, role) in live.collect::<Vec<_>>() {
            if self.permit(&target, role).is_err() {
                self.close(&target, self.close_reason());
            }
        }
    }

    fn close_reason(&self) -> CloseReason {
        match (self.ending, self.who()) {
            (Ending::Asked | Ending::Carried, _) => CloseReason::Quitting,
            (Ending::NotAsked, None) => CloseReason::SignedOut,
            (Ending::NotAsked, Some(_)) => CloseReason::GrantEnded,
        }
    }

    /// Gives up on Gateways that do not close, and tells of those that do not heal.
    pub(crate) fn time_gateways(&mut self) {
        let now = self.clock.mono();
        let mut given_up = Vec::new();
        for (target, gateway) in &mut self.gateways {
            match gateway {
                Gateway::Closing { give_up_at, .. } if *give_up_at <= now => given_up.push(target.clone()),
                Gateway::Broken { cause, tell_at, .. } => {
                    if tell_at.take_if(|at| *at <= now).is_some() {
                        self.outbox.tell(Notice::GatewayBroken { target: target.clone(), cause: cause.clone() });
                    }
                }
                Gateway::Closed { .. } | Gateway::Closing { .. } | Gateway::Open(_) | Gateway::Opening { .. } => {}
            }
        }
        for target in given_up {
            self.gateway_closed(target);
        }
    }

    pub(crate) fn live_targets(&self) -> Vec<TargetId> {
        let live = self.gateways.iter().filter(|(_, gateway)| gateway.live_role().is_some());
        live.map(|(target, _)| target.clone()).collect()
    }

    pub(crate) fn all_gateways_are_closed(&self) -> bool {
        self.gateways.values().all(|gateway| matches!(gateway, Gateway::Closed { .. }))
    }

    /// Whether a Grant can be ended without cutting clients off in the middle.
    pub(crate) fn gateway_has_let_go(&self, request: &Request) -> bool {
        match self.gateways.get(&request.target) {
            Some(Gateway::Closing { .. }) => false,
            Some(gateway) => {
                gateway.live_role() != Some(request.wish.role)
                    || self.permit(&request.target, request.wish.role).is_ok()
            }
            None => true,
        }
    }
}

//! What ends access first, and when the machine must look again.

use model::{BindingLimit, Gate, LimitKind, MonoTime, RoleName, TargetId};

use crate::{
    Access,
    gateways::Gateway,
    grants::Grant,
    identity::{Identity, Subject},
    requests::Request,
};

impl Access {
    /// What ends the use of a Target first, as the Role that is open, else as the one that would be opened.
    pub(crate) fn binding_limit(&self, target: &TargetId) -> Option<BindingLimit> {
        let open = self.gateways.get(target).and_then(Gateway::live_role);
        let role = open.unwrap_or_else(|| self.usable_role(target));
        let (kind, expires_at) = match &self.identity {
            Identity::SignedIn { who, expires_at } => {
                let granted = self.grant_limit(who, target, role);
                if granted.is_none() && !self.is_standing(target, role) {
                    return None;
                }
                let sign_in = (LimitKind::SignIn, *expires_at);
                granted.filter(|(_, end)| *end <= *expires_at).unwrap_or(sign_in)
            }
            Identity::SignedOut { .. } | Identity::SigningIn { .. } | Identity::Unrestored => {
                let shown = self.shown_grant(target)?;
                (LimitKind::Grant, shown.grant().and_then(Grant::term)?.expires_at)
            }
        };
        Some(BindingLimit { kind, expires_at: self.clock.to_local(expires_at) })
    }

    fn grant_limit(&self, who: &Subject, target: &TargetId, role: RoleName) -> Option<(LimitKind, model::WallTime)> {
        if self.is_standing(target, role) {
            return None;
        }
        let ends =
            self.active_terms(who, target).filter(|(granted, _)| *granted == role).map(|(_, term)| term.expires_at);
        ends.max().map(|end| (LimitKind::Grant, end))
    }

    fn is_standing(&self, target: &TargetId, role: RoleName) -> bool {
        self.catalog.entitlement(target, role).is_ok_and(|entitlement| entitlement.gate == Gate::Standing)
    }

    /// Every moment at which something must happen by itself, with its reason.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (MonoTime, &'static str)> {
        let sign_in = match &self.identity {
            Identity::SignedIn { expires_at, .. } => Some((self.clock.wake_for(*expires_at), "the sign-in ends")),
            Identity::SignedOut { .. } | Identity::SigningIn { .. } | Identity::Unrestored => None,
        };
        let terms = self.book.requests.iter().filter_map(Request::grant).filter_map(Grant::term);
        let grants = terms.flat_map(|term| {
            let warning = term.warns_at().map(|at| (self.clock.wake_for(at), "a grant ends soon"));
            [Some((self.clock.wake_for(term.expires_at), "a grant ends")), warning].into_iter().flatten()
        });
        let gateways = self.gateways.values().filter_map(|gateway| match gateway {
            Gateway::Broken { tell_at, .. } => tell_at.map(|at| (at, "a tunnel is not healed")),
            Gateway::Closing { give_up_at, .. } => Some((*give_up_at, "a gateway does not close")),
            Gateway::Closed { .. } | Gateway::Open(_) | Gateway::Opening { .. } => None,
        });
        sign_in.into_iter().chain(grants).chain(gateways)
    }
}

//! The projection that every Shell renders. Instants are turned to this computer's clock here, and nowhere later.

use model::{Snapshot, TargetId, TargetView};

use crate::{Access, CatalogEntry, gateways::Gateway, grants::Grant, identity::Identity, requests::Request};

impl Access {
    /// Everything that is true at the latest `now`. Complete, without secrets, with absolute instants on this computer's clock.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            identity: self.shown_identity(),
            identity_providers: self.catalog.identity_providers.clone(),
            targets: self.catalog.entries.values().map(|entry| self.target_view(entry)).collect(),
            reviews: self.reviews.list.iter().map(|review| self.shown_review(review)).collect(),
            left_sessions: self.shown_sessions(),
            secrets_kept_in: self.secrets_kept_in.clone(),
            clock_skew_seconds: self.clock.skew_seconds(),
            warnings: self.warnings(),
        }
    }

    fn shown_identity(&self) -> model::Identity {
        match self.identity.clone() {
            Identity::SignedOut { cause, .. } => model::Identity::SignedOut { cause },
            Identity::Unrestored => model::Identity::SignedOut { cause: None },
            Identity::SigningIn { identity_provider, authorize_url } => {
                model::Identity::SigningIn { identity_provider, authorize_url }
            }
            Identity::SignedIn { who, expires_at } => model::Identity::SignedIn {
                identity_provider: who.identity_provider,
                subject: who.name,
                expires_at: self.clock.to_local(expires_at),
            },
        }
    }

    fn target_view(&self, CatalogEntry { target, entitlements }: &CatalogEntry) -> TargetView {
        let clock = self.clock;
        let grant = self.shown_grant(&target.id);
        TargetView {
            target: target.clone(),
            entitlements: entitlements.clone(),
            request: self.shown_requests(&target.id).next().map(|request| request.view(|aws| clock.to_local(aws))),
            grant: grant.and_then(|request| Some(request.grant()?.view(request.wish.role, |aws| clock.to_local(aws)))),
            gateway: self.gateways.get(&target.id).map_or(model::Gateway::Closed { cause: None }, Gateway::view),
            binding_limit: self.binding_limit(&target.id),
        }
    }

    /// The newest Grant in force, else the newest on its way, else the newest that is over.
    pub(crate) fn shown_grant<'a>(&'a self, target: &'a TargetId) -> Option<&'a Request> {
        self.shown_requests(target).filter(|request| request.grant().is_some()).min_by_key(|request| {
            match request.grant() {
                Some(Grant::Active { .. } | Grant::Releasing { .. }) => 0,
                Some(Grant::Provisioning) => 1,
                Some(Grant::Ended { .. }) | None => 2,
            }
        })
    }

    /// The requests of the person who is signed in, else everybody's; newest first.
    fn shown_requests<'a>(&'a self, target: &'a TargetId) -> impl Iterator<Item = &'a Request> {
        let who = self.who();
        let of_target = self.book.requests.iter().rev().filter(move |request| request.target == *target);
        of_target.filter(move |request| who.is_none_or(|who| request.asker == *who))
    }
}

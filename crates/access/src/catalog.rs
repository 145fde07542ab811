//! The Targets there are and how they may be had.

use std::collections::BTreeMap;

use model::{Entitlement, ErrorView, Gate, IdentityProvider, RoleName, TargetId};

use crate::{Access, CatalogEntry, Refusal, trouble::Trouble};

/// Below this likeness a suggestion is a guess.
const LIKENESS: f64 = 0.8;

#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) entries: BTreeMap<TargetId, CatalogEntry>,
    pub(crate) identity_providers: Vec<IdentityProvider>,
}

impl Catalog {
    pub(crate) fn entry(&self, target: &TargetId) -> Result<&CatalogEntry, Refusal> {
        self.entries
            .get(target)
            .ok_or_else(|| Refusal::UnknownTarget { target: target.clone(), nearest: self.nearest(target).cloned() })
    }

    pub(crate) fn entitlement(&self, target: &TargetId, role: RoleName) -> Result<&Entitlement, Refusal> {
        let entitlements = &self.entry(target)?.entitlements;
        let mut of_role = entitlements.iter().filter(|entitlement| entitlement.role == role);
        let first = of_role.next();
        let standing = first.into_iter().chain(of_role).find(|entitlement| entitlement.gate == Gate::Standing);
        standing.or(first).ok_or_else(|| Refusal::RoleNotOffered {
            target: target.clone(),
            role,
            offered: entitlements.iter().map(|entitlement| entitlement.role).collect(),
        })
    }

    fn nearest(&self, target: &TargetId) -> Option<&TargetId> {
        let likeness = |known: &TargetId| strsim::jaro_winkler(known.as_str(), target.as_str());
        self.entries
            .keys()
            .map(|known| (likeness(known), known))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    }
}

impl Access {
    pub(crate) fn catalog_loaded(&mut self, identity_providers: Vec<IdentityProvider>, entries: Vec<CatalogEntry>) {
        let entries = entries.into_iter().map(|entry| (entry.target.id.clone(), entry)).collect();
        self.catalog = Catalog { entries, identity_providers };
        self.troubles.remove(&Trouble::Catalog);
    }

    pub(crate) fn catalog_unreadable(&mut self, cause: ErrorView) {
        self.troubles.insert(Trouble::Catalog, cause);
    }
}

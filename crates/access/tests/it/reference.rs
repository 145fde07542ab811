//! What must be true of requests and Grants, kept in the simplest way: from what was said, without timers or effects.

use std::collections::BTreeMap;

use model::{Gate, Progress, RequestId, RoleName, TargetId, WallTime};

/// All requests ever made, in the order of asking.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) requests: Vec<Asked>,
    /// How many Grants are over.
    pub(crate) ended: usize,
    /// The Catalog: each Role, and whether nobody has to grant it.
    pub(crate) offered: BTreeMap<TargetId, BTreeMap<RoleName, bool>>,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) asker: String,
    pub(crate) target: TargetId,
    pub(crate) role: RoleName,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Waiting,
    Provisioning,
    Active { end: WallTime },
    Releasing { end: WallTime },
    Over,
}

impl State {
    pub(crate) fn end(self) -> Option<WallTime> {
        match self {
            Self::Active { end } | Self::Releasing { end } => Some(end),
            Self::Waiting | Self::Provisioning | Self::Over => None,
        }
    }
}

impl Reference {
    pub(crate) fn load(&mut self, entries: &[access::CatalogEntry]) {
        let roles = |entry: &access::CatalogEntry| {
            entry
                .entitlements
                .iter()
                .map(|entitlement| (entitlement.role, entitlement.gate == Gate::Standing))
                .collect()
        };
        self.offered = entries.iter().map(|entry| (entry.target.id.clone(), roles(entry))).collect();
    }

    pub(crate) fn expire(&mut self, aws_now: WallTime) {
        for asked in &mut self.requests {
            if asked.state.end().is_some_and(|end| end <= aws_now) {
                asked.state = State::Over;
                self.ended += 1;
            }
        }
    }

    pub(crate) fn progress(&mut self, id: &RequestId, progress: &Progress) {
        match progress {
            Progress::Approved { .. } => {
                let state = self.state_mut(id);
                if *state == State::Waiting {
                    *state = State::Provisioning;
                }
            }
            Progress::Granted { expires_at, .. } => {
                let (state, end) = (self.state_mut(id), *expires_at);
                match state {
                    State::Over => {}
                    State::Releasing { .. } => *state = State::Releasing { end },
                    State::Waiting | State::Provisioning | State::Active { .. } => *state = State::Active { end },
                }
            }
            Progress::Ended { .. } => self.end(id),
            Progress::Cancelled | Progress::Denied { .. } | Progress::Failed { .. } | Progress::Lapsed => {
                self.close(id)
            }
        }
    }

    /// It led to nothing, or what it led to is over.
    pub(crate) fn close(&mut self, id: &RequestId) {
        let state = self.state_mut(id);
        let had_an_end = state.end().is_some();
        *state = State::Over;
        self.ended += usize::from(had_an_end);
    }

    /// What it led to is over.
    pub(crate) fn end(&mut self, id: &RequestId) {
        let state = self.state_mut(id);
        let was_over = *state == State::Over;
        *state = State::Over;
        self.ended += usize::from(!was_over);
    }

    pub(crate) fn release(&mut self, asker: &str, target: &TargetId) {
        for asked in self.requests.iter_mut().filter(|asked| asked.asker == asker && asked.target == *target) {
            if let State::Active { end } = asked.state {
                asked.state = State::Releasing { end };
            }
        }
    }

    pub(crate) fn release_failed(&mut self, id: &RequestId) {
        let state = self.state_mut(id);
        if let State::Releasing { end } = *state {
            *state = State::Active { end };
        }
    }

    pub(crate) fn may_use(&self, who: &str, target: &TargetId, role: RoleName) -> bool {
        let standing = self.offered.get(target).and_then(|roles| roles.get(&role));
        let granted = self.requests.iter().any(|asked| {
            asked.asker == who
                && asked.target == *target
                && asked.role == role
                && matches!(asked.state, State::Active { .. })
        });
        standing.is_some_and(|standing| *standing || granted)
    }

    /// The requests that a view of the Target shows, newest first.
    pub(crate) fn shown<'a>(&'a self, who: Option<&'a str>, target: &'a TargetId) -> impl Iterator<Item = &'a Asked> {
        let of_target = self.requests.iter().rev().filter(move |asked| asked.target == *target);
        of_target.filter(move |asked| who.is_none_or(|who| asked.asker == who))
    }

    fn state_mut(&mut self, id: &RequestId) -> &mut State {
        &mut self.requests.iter_mut().find(|asked| asked.id == *id).expect("only known requests are answered").state
    }
}

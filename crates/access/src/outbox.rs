//! What goes out, and which answers are still awaited.

use std::collections::{BTreeMap, VecDeque};

use model::{Notice, RequestId, SessionId, TargetId};

use crate::{Effect, EffectId};

/// Something the world was asked for. There is one of each at most: asking again abandons the earlier one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Errand {
    Close(TargetId),
    End(RequestId),
    EndSession(SessionId),
    Open(TargetId),
    Place(RequestId),
    Review(String),
    Reviews,
    Sessions,
    SignIn,
    Watch(RequestId),
    Withdraw(RequestId),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    awaited: BTreeMap<Errand, EffectId>,
    effects: VecDeque<(EffectId, Effect)>,
    last_id: u64,
    notices: VecDeque<Notice>,
}

impl Outbox {
    pub(crate) fn push(&mut self, effect: Effect) -> EffectId {
        self.last_id += 1;
        let id = EffectId(self.last_id);
        self.effects.push_back((id, effect));
        id
    }

    pub(crate) fn expect_answer(&mut self, errand: Errand, id: EffectId) {
        self.awaited.insert(errand, id);
    }

    pub(crate) fn is_awaited(&self, errand: &Errand) -> bool {
        self.awaited.contains_key(errand)
    }

    pub(crate) fn answers(&self, id: Option<EffectId>, errand: &Errand) -> bool {
        id.is_some() && self.awaited.get(errand).copied() == id
    }

    pub(crate) fn abandon(&mut self, errand: &Errand) {
        self.awaited.remove(errand);
    }

    pub(crate) fn abandon_unless(&mut self, kept: impl Fn(&Errand) -> bool) {
        self.awaited.retain(|errand, _| kept(errand));
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    pub(crate) fn next_effect(&mut self) -> Option<(EffectId, Effect)> {
        self.effects.pop_front()
    }

    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}

//! SSM sessions over their whole life: started for a Gateway, ended with it, or left behind. What was left is offered for
//! ending and never ended unasked, since another computer of the same person may be using it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use model::{
    ErrorView, LeftSession, LeftSessionState, LeftSessions, Notice, Region, SessionId, SessionOrigin, TargetId,
    WallTime,
};
use serde::{Deserialize, Serialize};

use crate::{Access, Effect, FoundSession, Refusal, identity::Subject, outbox::Errand};

/// AWS ends an idle session after an hour at most, so that a note this old is of no more use.
const NOTES_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session that this computer started and did not see end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    id: SessionId,
    owner: Subject,
    region: Region,
    target: TargetId,
    /// On AWS's clock.
    started_at: WallTime,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    /// Of Gateways of this process.
    live: BTreeSet<SessionId>,
    /// Started since the latest list; the next one may have been made just before.
    new: BTreeSet<SessionId>,
    /// Ended here; a list made just before may still name them.
    ended: BTreeSet<SessionId>,
    left: BTreeMap<SessionId, LeftSession>,
    told: BTreeSet<SessionId>,
    /// On AWS's clock.
    looked_at: Option<WallTime>,
    unseen: Option<ErrorView>,
}

impl Access {
    pub(crate) fn end_session(&mut self, id: &SessionId) -> Result<(), Refusal> {
        self.signed_in_to(&format!("ending {id}"))?;
        if self.sessions.live.contains(id) {
            return Err(Refusal::SessionInUse { session: id.clone() });
        }
        let left = self.sessions.left.get_mut(id).ok_or_else(|| Refusal::UnknownSession { session: id.clone() })?;
        left.state = LeftSessionState::Ending;
        let region = left.region.clone();
        self.ask_once(Errand::EndSession(id.clone()), Effect::EndSession { session: id.clone(), region });
        Ok(())
    }

    pub(crate) fn end_left_sessions(&mut self) -> Result<(), Refusal> {
        self.signed_in_to("ending sessions")?;
        let ours: Vec<SessionId> = self.shown_sessions().of_this_computer().map(|session| session.id.clone()).collect();
        ours.iter().try_for_each(|id| self.end_session(id))
    }

    /// A Gateway has a session: it is written down, so that it is known after a crash.
    pub(crate) fn session_started(&mut self, id: SessionId, target: TargetId) {
        if !self.sessions.live.insert(id.clone()) {
            return;
        }
        self.sessions.new.insert(id.clone());
        self.sessions.left.remove(&id);
        let (started_at, region) =
            (self.clock.aws(), self.catalog.entries.get(&target).map(|entry| &entry.target.region));
        if let (Some(owner), Some(region)) = (self.who().cloned(), region.cloned()) {
            self.book.sessions.push(Note { id, owner, region, target, started_at });
        }
    }

    /// It is over at AWS as well.
    pub(crate) fn session_ended(&mut self, id: SessionId) {
        self.outbox.abandon(&Errand::EndSession(id.clone()));
        self.book.sessions.retain(|note| note.id != id);
        self.sessions.live.remove(&id);
        self.sessions.left.remove(&id);
        self.sessions.ended.insert(id);
    }

    /// No Gateway uses it any more, but AWS could not be made to end it.
    pub(crate) fn session_left(&mut self, id: &SessionId, cause: ErrorView) {
        self.sessions.live.remove(id);
        let note = self.book.sessions.iter().find(|note| note.id == *id && Some(&note.owner) == self.who());
        if let Some(note) = note {
            let left = LeftSession { state: LeftSessionState::Failed { cause }, ..note.left() };
            self.sessions.left.insert(id.clone(), left);
            self.tell_of_left_sessions();
        }
    }

    pub(crate) fn session_not_ended(&mut self, id: &SessionId, cause: ErrorView) {
        self.outbox.abandon(&Errand::EndSession(id.clone()));
        if let Some(left) = self.sessions.left.get_mut(id) {
            left.state = LeftSessionState::Failed { cause };
        }
    }

    /// What AWS lists in `regions`. What was noted there and is not listed has ended; what was noted elsewhere may be open.
    pub(crate) fn sessions_listed(&mut self, regions: &[Region], found: Vec<FoundSession>, unseen: Option<ErrorView>) {
        let Some(who) = self.who().cloned() else { return };
        let listed: BTreeSet<SessionId> = found.iter().map(|found| found.id.clone()).collect();
        let Sessions { live, new, .. } = &self.sessions;
        self.book.sessions.retain(|note| {
            note.owner != who
                || live.contains(&note.id)
                || new.contains(&note.id)
                || listed.contains(&note.id)
                || !regions.contains(&note.region)
        });
        let noted = self.book.sessions.iter().filter(|note| note.owner == who).map(Note::left);
        let noted: BTreeMap<SessionId, LeftSession> = noted.map(|left| (left.id.clone(), left)).collect();
        let elsewhere = found.into_iter().filter(|found| found.ours && !noted.contains_key(&found.id));
        let elsewhere: Vec<LeftSession> = elsewhere.map(FoundSession::into_left).collect();
        let mut left = noted;
        left.extend(elsewhere.into_iter().map(|left| (left.id.clone(), left)));
        let Sessions { live, new, ended, left: before, .. } = &mut self.sessions;
        left.retain(|id, _| !live.contains(id) && !ended.contains(id));
        for (id, session) in &mut left {
            if let Some(known) = before.get(id) {
                session.state = known.state.clone();
            }
        }
        // The next list is made after this one was heard.
        new.clear();
        ended.retain(|id| listed.contains(id));
        *before = left;
        (self.sessions.looked_at, self.sessions.unseen) = (Some(self.clock.aws()), unseen);
        self.tell_of_left_sessions();
    }

    /// The list is a person's own, and is made anew for the next one.
    pub(crate) fn forget_left_sessions(&mut self) {
        let Sessions { left, looked_at, unseen, .. } = &mut self.sessions;
        left.clear();
        (*looked_at, *unseen) = (None, None);
    }

    pub(crate) fn forget_old_notes(&mut self) {
        let (now, live) = (self.clock.aws(), &self.sessions.live);
        self.book.sessions.retain(|note| live.contains(&note.id) || note.started_at.shifted(NOTES_KEPT) > now);
    }

    pub(crate) fn shown_sessions(&self) -> LeftSessions {
        let Sessions { left, looked_at, unseen, .. } = &self.sessions;
        let shown = |left: &LeftSession| LeftSession {
            since: left.since.map(|since| self.clock.to_local(since)),
            ..left.clone()
        };
        LeftSessions {
            looked_at: looked_at.map(|at| self.clock.to_local(at)),
            unseen: unseen.clone(),
            sessions: left.values().map(shown).collect(),
        }
    }

    /// Told once for each that this computer left; one from elsewhere is most likely in use there.
    fn tell_of_left_sessions(&mut self) {
        let Sessions { left, told, .. } = &mut self.sessions;
        let ours = left.values().filter(|session| session.origin == SessionOrigin::ThisComputer);
        let new = ours.filter(|session| told.insert(session.id.clone())).count();
        if let Ok(count @ 1..) = u32::try_from(new) {
            self.outbox.tell(Notice::SessionsLeft { count });
        }
    }
}

impl Note {
    fn left(&self) -> LeftSession {
        LeftSession {
            id: self.id.clone(),
            region: self.region.clone(),
            target: Some(self.target.clone()),
            since: Some(self.started_at),
            origin: SessionOrigin::ThisComputer,
            state: LeftSessionState::Open,
        }
    }
}

impl FoundSession {
    fn into_left(self) -> LeftSession {
        let Self { id, region, target, since, ours: _ } = self;
        LeftSession { id, region, target, since, origin: SessionOrigin::Elsewhere, state: LeftSessionState::Open }
    }
}

//! What must be true of SSM sessions, kept in the simplest way.

use std::collections::{BTreeMap, BTreeSet};

use access::{Event, FoundSession};
use model::{Command, LeftSessions, Region, SessionId, SessionOrigin};

use crate::world::{orders, region};

/// Every session there ever was, as AWS knows it and as this computer does.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    started: usize,
    /// Open at AWS: whose.
    open: BTreeMap<SessionId, String>,
    /// Of this process's Gateways.
    pub(crate) live: BTreeSet<SessionId>,
    /// Written down, and not struck.
    noted: BTreeSet<SessionId>,
    /// A person asked for their end.
    pub(crate) to_end: BTreeSet<SessionId>,
    /// What was open when AWS made its latest list but one.
    earlier: Option<(String, Vec<FoundSession>)>,
}

impl Sessions {
    /// A Gateway gets a session.
    pub(crate) fn start(&mut self, who: Option<&str>) -> SessionId {
        self.started += 1;
        let id = session(&format!("s{}", self.started));
        self.open.insert(id.clone(), who.unwrap_or("nobody").to_owned());
        self.live.insert(id.clone());
        if who.is_some() {
            self.noted.insert(id.clone());
        }
        id
    }

    /// Another computer gets one.
    pub(crate) fn start_elsewhere(&mut self, who: &str) {
        self.started += 1;
        self.open.insert(session(&format!("s{}", self.started)), who.to_owned());
    }

    /// A person asks for an end.
    pub(crate) fn ask(&mut self, command: &Command, shown: &LeftSessions) {
        if let Command::EndSession { session } = command {
            self.to_end.insert(session.clone());
        }
        if *command == Command::EndLeftSessions {
            self.to_end.extend(shown.of_this_computer().map(|left| left.id.clone()));
        }
    }

    pub(crate) fn end(&mut self, id: &SessionId) {
        self.open.remove(id);
        self.live.remove(id);
        self.noted.remove(id);
    }

    /// AWS does not end it, and its Gateway is done with it.
    pub(crate) fn leave(&mut self, id: &SessionId) {
        self.live.remove(id);
    }

    pub(crate) fn crash(&mut self) {
        self.live.clear();
        self.earlier = None;
    }

    /// AWS's list for somebody; a slow one was made before the latest.
    pub(crate) fn list(&mut self, who: &str, slow: bool) -> Event {
        let mine = self.open.iter().filter(|(_, owner)| *owner == who);
        let fresh: Vec<FoundSession> = mine.map(|(id, _)| found(id.clone())).collect();
        let earlier = self.earlier.replace((who.to_owned(), fresh.clone()));
        let found = earlier.filter(|(owner, _)| slow && owner == who).map_or(fresh, |(_, found)| found);
        Event::SessionsListed { regions: vec![region()], found, unseen: None }
    }

    /// `complete`: AWS's newest list has just been heard.
    pub(crate) fn check(&self, who: Option<&str>, shown: &LeftSessions, complete: bool) {
        for left in &shown.sessions {
            let id = &left.id;
            assert!(!self.live.contains(id), "{id} is in use here");
            assert!(self.open.contains_key(id), "{id} is over");
            assert_eq!(self.open.get(id).map(String::as_str), who, "{id} is somebody else's");
            let ours = left.origin == SessionOrigin::ThisComputer;
            assert_eq!(ours, self.noted.contains(id), "{id} is known by what was written down");
        }
        if complete {
            let shown: BTreeSet<&SessionId> = shown.sessions.iter().map(|left| &left.id).collect();
            let mine = self.open.iter().filter(|(_, owner)| Some(owner.as_str()) == who).map(|(id, _)| id);
            let left: BTreeSet<&SessionId> = mine.filter(|id| !self.live.contains(*id)).collect();
            assert_eq!(shown, left, "every session without a Gateway is shown");
        }
    }
}

pub(crate) fn session(end: &str) -> SessionId {
    SessionId::new(format!("ana@acme.dev-{end}")).expect("a session id")
}

pub(crate) fn found(id: SessionId) -> FoundSession {
    FoundSession { id, region: region(), target: Some(orders()), since: None, ours: true }
}

/// The Region of every Target here.
pub(crate) fn regions() -> Vec<Region> {
    vec![region()]
}

//! What survives the process.

use std::collections::BTreeMap;

use model::{RequestId, RoleName, TargetId};
use serde::{Deserialize, Serialize};

use crate::{identity::Subject, left_sessions::Note, requests::Request};

/// Everything that is read back by [`crate::Access::new`]: requests, what was granted for them, the Role last used on each
/// Target, and the SSM sessions that were not seen to end. Instants in it are on AWS's clock. It holds no secret; its JSON form is the agent's to keep and nobody's to read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Saved {
    pub(crate) clock_skew_seconds: i32,
    /// Oldest first.
    pub(crate) requests: Vec<Request>,
    pub(crate) roles: BTreeMap<TargetId, RoleName>,
    pub(crate) sessions: Vec<Note>,
}

impl Saved {
    pub(crate) fn request(&self, id: &RequestId) -> Option<&Request> {
        self.requests.iter().find(|request| request.id == *id)
    }

    pub(crate) fn request_mut(&mut self, id: &RequestId) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == *id)
    }

    /// A person's requests for a Target, newest first.
    pub(crate) fn requests_of<'a>(
        &'a self,
        asker: &'a Subject,
        target: &'a TargetId,
    ) -> impl Iterator<Item = &'a Request> {
        self.requests.iter().rev().filter(move |request| request.asker == *asker && request.target == *target)
    }

    /// Drops what nobody will see again: a finished request stays only as the newest of its person and Target, or as the
    /// newest that led to a Grant.
    pub(crate) fn prune(&mut self) {
        let kept: Vec<bool> =
            self.requests.iter().map(|request| !request.is_finished() || self.is_newest(request)).collect();
        let mut kept = kept.into_iter();
        self.requests.retain(|_| kept.next().unwrap_or(true));
    }

    fn is_newest(&self, request: &Request) -> bool {
        let mut same = self.requests_of(&request.asker, &request.target);
        let newest = same.next();
        let newest_grant = newest.into_iter().chain(same).find(|other| other.grant().is_some());
        [newest, newest_grant].into_iter().flatten().any(|shown| shown.id == request.id)
    }
}

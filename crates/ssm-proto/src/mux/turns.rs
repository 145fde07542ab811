//! Which stream sends next.

use std::collections::VecDeque;

use super::StreamId;

/// Streams with bytes to send, each once.
///
/// Those that had nothing to send until now, like a small query's, have every other turn; the rest go round. So a stream that
/// asks for little waits for two frames of the others at most, however many there are, and nobody starves.
#[derive(Debug, Default)]
pub(super) struct Turns {
    fresh: VecDeque<StreamId>,
    rest: VecDeque<StreamId>,
    fresh_had_last: bool,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.rest.is_empty()
    }

    /// The stream had nothing to send and has something now.
    pub(super) fn begin(&mut self, id: StreamId) {
        self.fresh.push_back(id);
    }

    /// The stream has had its turn and has more to send.
    pub(super) fn go_on(&mut self, id: StreamId) {
        self.rest.push_back(id);
    }

    pub(super) fn next(&mut self) -> Option<StreamId> {
        self.fresh_had_last = self.rest.is_empty() || (!self.fresh_had_last && !self.fresh.is_empty());
        if self.fresh_had_last { self.fresh.pop_front() } else { self.rest.pop_front() }
    }

    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.rest.clear();
    }
}

//! One stream's two queues and how far each direction is closed.

use std::time::Instant;

use bytes::BytesMut;

#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Written here, not yet in a frame.
    pub(super) unsent: BytesMut,
    /// Received, not yet read here.
    pub(super) unread: BytesMut,
    /// A write was cut short.
    pub(super) wants_room: bool,
    /// Finished here; FIN goes out then, unless the far end's comes first.
    pub(super) linger_until: Option<Instant>,
    /// Bytes have come from the far end.
    pub(super) answered: bool,
    /// Nothing more comes, and nothing more is taken.
    pub(super) far_finished: bool,
    /// Unread bytes were dropped.
    pub(super) overflowed: bool,
}

impl Stream {
    pub(super) fn takes_bytes(&self) -> bool {
        !self.far_finished && !self.overflowed && self.linger_until.is_none()
    }

    /// The far end has neither said anything nor closed.
    pub(super) fn may_be_refused(&self) -> bool {
        !self.answered && !self.far_finished
    }

    pub(super) fn end(&mut self) {
        self.far_finished = true;
        self.linger_until = None;
        self.unsent = BytesMut::new();
    }

    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
        self.linger_until = None;
        self.unsent = BytesMut::new();
        self.unread = BytesMut::new();
    }
}

//! A connection after its login.

use db_proto::postgres::{ErrorResponse, Replies};

use super::super::{ending::Ending, splice::Dialogue};

/// `admin_shutdown`: what a server says when it ends a connection.
const ADMIN_SHUTDOWN: &str = "57P01";
/// `warning`.
const WARNING: &str = "01000";

/// Follows what the server says.
pub(super) struct PostgresDialogue {
    replies: Replies,
}

impl PostgresDialogue {
    pub(super) fn new(transaction_status: u8) -> Self {
        Self { replies: Replies::new(transaction_status) }
    }
}

impl Dialogue for PostgresDialogue {
    fn walk(&mut self, bytes: &[u8]) -> bool {
        self.replies.walk(bytes)
    }

    fn is_between_messages(&self) -> bool {
        self.replies.is_between_messages()
    }

    fn is_outside_transaction(&self) -> bool {
        self.replies.transaction_status() == b'I'
    }

    fn notice(&self, ending: &Ending) -> Vec<u8> {
        ErrorResponse::warning(WARNING, ending.notice.clone()).with_hint(ending.hint.clone()).to_notice()
    }

    fn farewell(&self, ending: &Ending) -> Vec<u8> {
        ErrorResponse::fatal(ADMIN_SHUTDOWN, ending.cause.clone()).with_hint(ending.hint.clone()).to_error()
    }
}

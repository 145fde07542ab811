//! What a server says after the login, understood as far as the end of a connection needs.

const HEADER: usize = 5;
const LENGTH_FIELD: usize = 4;
const READY_FOR_QUERY: u8 = b'Z';

/// Walks the headers of a server's messages and reads the one byte of ReadyForQuery; every other body is skipped unread.
#[derive(Clone, Debug)]
pub struct Replies {
    header: [u8; HEADER],
    /// Bytes of the header that have arrived; `HEADER` within a body.
    have: usize,
    /// Bytes of the body that are yet to come.
    left: usize,
    status: u8,
    lost: bool,
}

impl Replies {
    /// Of a session whose login ended with this status.
    pub fn new(transaction_status: u8) -> Self {
        Self { header: [0; HEADER], have: 0, left: 0, status: transaction_status, lost: false }
    }

    /// Goes on with `bytes`, cut anywhere. Returns whether they end with a whole ReadyForQuery.
    pub fn walk(&mut self, mut bytes: &[u8]) -> bool {
        let mut ready = false;
        while let (Some((first, rest)), false) = (bytes.split_first(), self.lost) {
            if self.have < HEADER {
                if let Some(place) = self.header.get_mut(self.have) {
                    *place = *first;
                }
                (self.have, bytes) = (self.have + 1, rest);
                if self.have == HEADER {
                    self.read_length();
                }
                ready = false;
            } else {
                if self.kind() == READY_FOR_QUERY {
                    self.status = *first;
                    ready = true;
                }
                let (_, rest) = bytes.split_at(self.left.min(bytes.len()));
                (self.left, bytes) = (self.left - (bytes.len() - rest.len()), rest);
            }
            if self.have == HEADER && self.left == 0 {
                self.have = 0;
            }
        }
        ready && self.is_between_messages()
    }

    /// Whether the next byte begins a message. Never again once a length made no sense.
    pub fn is_between_messages(&self) -> bool {
        self.have == 0 && !self.lost
    }

    /// As of the last ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one.
    pub fn transaction_status(&self) -> u8 {
        self.status
    }

    fn kind(&self) -> u8 {
        let [kind, ..] = self.header;
        kind
    }

    fn read_length(&mut self) {
        let [_, length @ ..] = self.header;
        let body = usize::try_from(u32::from_be_bytes(length)).ok().and_then(|length| length.checked_sub(LENGTH_FIELD));
        let body = body.filter(|length| self.kind() != READY_FOR_QUERY || *length == 1);
        self.lost = body.is_none();
        self.left = body.unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + LENGTH_FIELD).expect("short");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn the_status_is_that_of_the_last_ready_for_query() {
        let mut replies = Replies::new(b'I');
        assert!(replies.is_between_messages());
        assert!(!replies.walk(&message(b'C', b"BEGIN\0")));
        assert!(replies.walk(&message(b'Z', b"T")));
        assert_eq!(replies.transaction_status(), b'T');
        assert!(
            !replies.walk(&[message(b'Z', b"I"), message(b'D', b"Z\0\0\0\x05E")].concat()),
            "more has come behind it"
        );
        assert_eq!(replies.transaction_status(), b'I', "a row that looks like a message is skipped");
        assert!(!replies.walk(b"D\0\0"));
        assert!(!replies.is_between_messages());
    }

    #[test]
    fn a_length_that_makes_no_sense_silences_for_good() {
        let mut replies = Replies::new(b'I');
        replies.walk(b"Z\0\0\0\x03I");
        replies.walk(&message(b'Z', b"T"));
        assert!(!replies.is_between_messages());
        assert_eq!(replies.transaction_status(), b'I');
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(bodies in vec((any::<u8>(), vec(any::<u8>(), 0..20)), 0..20), cut in 1_usize..9, status in b'A'..=b'Z') {
            let mut bytes: Vec<u8> =
                bodies.iter().filter(|(kind, _)| *kind != b'Z').flat_map(|(kind, body)| message(*kind, body)).collect();
            bytes.extend(message(b'Z', &[status]));
            let mut replies = Replies::new(b'?');
            let last = bytes.chunks(cut).map(|piece| replies.walk(piece)).last();
            prop_assert_eq!(last, Some(true));
            prop_assert!(replies.is_between_messages());
            prop_assert_eq!(replies.transaction_status(), status);
        }
    }
}

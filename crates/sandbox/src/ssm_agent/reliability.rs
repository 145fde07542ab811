//! Sequence numbers, acknowledgements and resending, as the SSM agent does them: only the oldest message is resent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ssm_proto::frame::Frame;
use tokio::time::Instant;

/// Messages kept for resending, and messages kept out of order.
const MOST_MESSAGES: usize = 100_000;
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
const CLOCK_GRANULARITY: Duration = Duration::from_millis(10);

/// Both directions of one data channel.
pub(super) struct Reliability {
    next_sent: i64,
    unacknowledged: VecDeque<Sent>,
    expected: i64,
    out_of_order: BTreeMap<i64, Frame>,
    round_trip: Duration,
    variation: Duration,
    timeout: Duration,
}

struct Sent {
    sequence_number: i64,
    encoded: Bytes,
    last_sent: Instant,
}

/// What to do with a data message that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Its turn: process it, acknowledge it, call [`Reliability::processed`].
    Expected,
    /// Early and kept, or late and had already: acknowledge it.
    Acknowledge,
    /// Early, and there is no room.
    Ignore,
}

impl Reliability {
    pub(super) fn new() -> Self {
        Self {
            next_sent: 0,
            unacknowledged: VecDeque::new(),
            expected: 0,
            out_of_order: BTreeMap::new(),
            round_trip: FIRST_ROUND_TRIP,
            variation: Duration::ZERO,
            timeout: FIRST_TIMEOUT,
        }
    }

    /// The number of the next message to send.
    pub(super) fn next_sequence_number(&self) -> i64 {
        self.next_sent
    }

    /// Keeps a message that was sent (or stored unsent during a pause) until it is acknowledged. Beyond the bound it
    /// is forgotten at once: lost if it was not delivered.
    pub(super) fn sent(&mut self, encoded: Bytes, now: Instant) {
        if self.unacknowledged.len() < MOST_MESSAGES {
            self.unacknowledged.push_back(Sent { sequence_number: self.next_sent, encoded, last_sent: now });
        }
        self.next_sent += 1;
    }

    /// Whether everything sent has arrived.
    pub(super) fn all_acknowledged(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Takes an acknowledgement. A resent message is a sample of the round trip too, as in the original.
    pub(super) fn acknowledged(&mut self, sequence_number: i64, now: Instant) {
        let Some(at) = self.unacknowledged.iter().position(|sent| sent.sequence_number == sequence_number) else {
            return;
        };
        if let Some(sent) = self.unacknowledged.remove(at) {
            self.sample(now.saturating_duration_since(sent.last_sent));
        }
    }

    /// The oldest unacknowledged message, if its time is over. Those behind it wait for their turn as the oldest.
    pub(super) fn resend(&mut self, now: Instant) -> Option<Bytes> {
        let timeout = self.timeout;
        let head = self.unacknowledged.front_mut()?;
        if now.saturating_duration_since(head.last_sent) <= timeout {
            return None;
        }
        head.last_sent = now;
        Some(head.encoded.clone())
    }

    /// Judges a data message by its number; an early one is kept.
    pub(super) fn arrival(&mut self, frame: &Frame) -> Arrival {
        let number = frame.sequence_number;
        if number == self.expected {
            Arrival::Expected
        } else if number < self.expected {
            Arrival::Acknowledge
        } else if self.out_of_order.len() < MOST_MESSAGES {
            self.out_of_order.insert(number, frame.clone());
            Arrival::Acknowledge
        } else {
            Arrival::Ignore
        }
    }

    /// The expected message is done with; the next may have come before.
    pub(super) fn processed(&mut self) {
        self.expected += 1;
    }

    /// The message whose turn it is, if it came early.
    pub(super) fn kept(&self) -> Option<Frame> {
        self.out_of_order.get(&self.expected).cloned()
    }

    /// Like [`Reliability::processed`], for a message that was kept.
    pub(super) fn processed_kept(&mut self) {
        self.out_of_order.remove(&self.expected);
        self.expected += 1;
    }

    fn sample(&mut self, sample: Duration) {
        self.variation = self.variation * 3 / 4 + self.round_trip.abs_diff(sample) / 4;
        self.round_trip = self.round_trip * 7 / 8 + sample / 8;
        self.timeout = (self.round_trip + CLOCK_GRANULARITY.max(self.variation * 4)).min(LONGEST_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use ssm_proto::frame::{MessageType, PayloadType};

    use super::*;

    fn message(sequence_number: i64) -> Frame {
        Frame {
            message_type: MessageType::InputStreamData,
            sequence_number,
            flags: 0,
            message_id: [7; 16],
            created_at_ms: 1,
            payload_type: Some(PayloadType::Output),
            payload: Bytes::from_static(b"x"),
        }
    }

    fn send(reliability: &mut Reliability, text: &'static str, now: Instant) {
        reliability.sent(Bytes::from_static(text.as_bytes()), now);
    }

    #[tokio::test]
    async fn only_the_oldest_message_is_resent() {
        let start = Instant::now();
        let mut reliability = Reliability::new();
        send(&mut reliability, "zero", start);
        send(&mut reliability, "one", start);
        assert_eq!(reliability.resend(start + FIRST_TIMEOUT), None, "its time is not over");
        let late = start + Duration::from_millis(201);
        assert_eq!(reliability.resend(late).as_deref(), Some(&b"zero"[..]));
        assert_eq!(reliability.resend(late), None, "the one behind waits");
        reliability.acknowledged(0, late);
        assert_eq!(reliability.resend(late + LONGEST_TIMEOUT * 2).as_deref(), Some(&b"one"[..]));
    }

    #[tokio::test]
    async fn the_timeout_follows_the_round_trip_up_to_a_second() {
        let mut now = Instant::now();
        let mut reliability = Reliability::new();
        for number in 0..100 {
            send(&mut reliability, "fast", now);
            now += Duration::from_millis(2);
            reliability.acknowledged(number, now);
        }
        assert!(reliability.timeout < Duration::from_millis(20), "{:?}", reliability.timeout);
        for number in 100..140 {
            send(&mut reliability, "slow", now);
            now += Duration::from_secs(5);
            reliability.acknowledged(number, now);
        }
        assert_eq!(reliability.timeout, LONGEST_TIMEOUT);
    }

    #[test]
    fn early_messages_are_kept_and_late_ones_acknowledged_again() {
        let mut reliability = Reliability::new();
        assert_eq!(reliability.arrival(&message(1)), Arrival::Acknowledge);
        assert_eq!(reliability.kept(), None, "0 is missing");
        assert_eq!(reliability.arrival(&message(0)), Arrival::Expected);
        reliability.processed();
        assert_eq!(reliability.kept(), Some(message(1)));
        reliability.processed_kept();
        assert_eq!(reliability.arrival(&message(0)), Arrival::Acknowledge, "a lost acknowledgement is repaired");
        assert_eq!(reliability.kept(), None);
    }

    #[tokio::test]
    async fn an_unknown_acknowledgement_changes_nothing() {
        let now = Instant::now();
        let mut reliability = Reliability::new();
        send(&mut reliability, "zero", now);
        reliability.acknowledged(5, now);
        assert!(!reliability.all_acknowledged());
        reliability.acknowledged(0, now);
        assert!(reliability.all_acknowledged());
    }
}

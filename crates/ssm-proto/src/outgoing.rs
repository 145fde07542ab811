//! Our data messages until the SSM agent has acknowledged them.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    round_trip::RoundTrip,
    window::{Sample, Window},
};

/// Bytes that may be unacknowledged. The SSM agent stops reading at 4 MiB that its destination does not take, and then does not
/// notice either that its websocket is gone: whoever would is the reader that stands still (`websocketchannel.go`).
const UNACKED_LIMIT: usize = 2 * 1024 * 1024;
/// Sequence number of the first message behind the HandshakeResponse.
const FIRST_DATA: i64 = 1;
/// The SSM agent leaves the first stream bytes unacknowledged until it has looked up its own network: these find the moment.
const FIRST_DATA_INTERVALS: [Duration; 4] =
    [Duration::from_millis(15), Duration::from_millis(30), Duration::from_millis(60), Duration::from_millis(120)];
const FIRST_DATA_REPEAT: Duration = Duration::from_millis(200);
/// Messages sent before the first stream bytes are acknowledged: until then the SSM agent only piles up what follows them.
const FIRST_MESSAGES: usize = 64;

#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Sequence number of the front of `queue`.
    first: i64,
    queue: VecDeque<Unacked>,
    /// When each message on its way is to be sent again.
    due: BTreeSet<(Instant, i64)>,
    /// Messages given up for lost, the oldest first.
    lost: BTreeSet<i64>,
    unacked_bytes: usize,
    flying_bytes: usize,
    /// Of the first stream bytes. Those behind them are acknowledged earlier, when they are only kept.
    data_acknowledged: bool,
    trip: RoundTrip,
    window: Window,
}

#[derive(Debug)]
struct Unacked {
    /// The whole message; `None` once acknowledged.
    frame: Option<Bytes>,
    sent_at: Instant,
    transmissions: u32,
    /// `None` if it is not on its way.
    due_at: Option<Instant>,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            first: 0,
            queue: VecDeque::new(),
            due: BTreeSet::new(),
            lost: BTreeSet::new(),
            unacked_bytes: 0,
            flying_bytes: 0,
            data_acknowledged: false,
            trip: RoundTrip::default(),
            window: Window::new(UNACKED_LIMIT),
        }
    }

    pub(crate) fn next_sequence(&self) -> i64 {
        self.first + i64::try_from(self.queue.len()).expect("the queue is bounded by UNACKED_LIMIT")
    }

    pub(crate) fn has_room(&self) -> bool {
        let begun = self.data_acknowledged || self.queue.len() < FIRST_MESSAGES;
        begun && self.unacked_bytes < UNACKED_LIMIT && self.flying_bytes < self.window.size()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn unacked_bytes(&self) -> usize {
        self.unacked_bytes
    }

    /// Keeps the message before it is sent, so that its acknowledgement cannot arrive first.
    pub(crate) fn keep(&mut self, frame: Bytes, now: Instant) {
        let sequence = self.next_sequence();
        self.unacked_bytes += frame.len();
        self.queue.push_back(Unacked { frame: Some(frame), sent_at: now, transmissions: 0, due_at: None });
        self.launch(sequence, now);
    }

    pub(crate) fn acknowledge(&mut self, sequence: i64, now: Instant) {
        let Some(unacked) = Self::find(self.first, &mut self.queue, sequence) else { return };
        let Some(frame) = unacked.frame.take() else { return };
        let (bytes, flying, sent_at) = (frame.len(), self.flying_bytes, unacked.sent_at);
        let sent_once = unacked.transmissions == 1;
        self.unacked_bytes -= bytes;
        if let Some(due_at) = unacked.due_at.take() {
            self.due.remove(&(due_at, sequence));
            self.flying_bytes -= bytes;
        }
        self.lost.remove(&sequence);
        if sent_once {
            let trip = now.saturating_duration_since(sent_at);
            self.trip.measure(trip);
            self.window.acknowledged(Sample { bytes, flying, sent_at, trip }, now);
        }
        while self.queue.front().is_some_and(|unacked| unacked.frame.is_none()) {
            self.queue.pop_front();
            self.first += 1;
        }
        self.data_acknowledged |= self.first > FIRST_DATA;
    }

    /// The next message that is to be sent again.
    pub(crate) fn poll_resend(&mut self, now: Instant) -> Option<Bytes> {
        if self.flying_bytes >= self.window.size() {
            return None;
        }
        let sequence = self.lost.pop_first()?;
        self.launch(sequence, now)
    }

    /// Sends the oldest message although sending is paused: if the end of the pause was lost, its acknowledgement ends it.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Bytes> {
        self.lost.remove(&self.first);
        self.launch(self.first, now)
    }

    /// A new websocket: whatever is unacknowledged may have been lost with the old one.
    pub(crate) fn reconnected(&mut self) {
        self.trip.start_over();
        self.due.clear();
        self.flying_bytes = 0;
        for (sequence, unacked) in (self.first..).zip(&mut self.queue) {
            unacked.due_at = None;
            if unacked.frame.is_some() {
                self.lost.insert(sequence);
            }
        }
        self.window.start_over(self.unacked_bytes + 1);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Marks everything overdue for sending again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut last_sent_at = None;
        while let Some((at, sequence)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let Some(unacked) = Self::find(self.first, &mut self.queue, sequence) else { continue };
            unacked.due_at = None;
            self.flying_bytes -= unacked.frame.as_ref().map_or(0, Bytes::len);
            self.lost.insert(sequence);
            last_sent_at = last_sent_at.max(Some(unacked.sent_at));
        }
        if let Some(sent_at) = last_sent_at
            && self.data_acknowledged
            && self.trip.timed_out(sent_at, now)
        {
            self.window.timed_out();
        }
    }

    fn launch(&mut self, sequence: i64, now: Instant) -> Option<Bytes> {
        let due_at = now + self.patience(sequence);
        let unacked = Self::find(self.first, &mut self.queue, sequence)?;
        let frame = unacked.frame.clone()?;
        match unacked.due_at.replace(due_at) {
            Some(earlier) => drop(self.due.remove(&(earlier, sequence))),
            None => self.flying_bytes += frame.len(),
        }
        unacked.sent_at = now;
        unacked.transmissions += 1;
        self.due.insert((due_at, sequence));
        Some(frame)
    }

    fn patience(&mut self, sequence: i64) -> Duration {
        let timeout = self.trip.timeout();
        if self.data_acknowledged || sequence != FIRST_DATA {
            return timeout;
        }
        let transmissions =
            Self::find(self.first, &mut self.queue, sequence).map_or(0, |unacked| unacked.transmissions);
        let fast = usize::try_from(transmissions).ok().and_then(|nth| FIRST_DATA_INTERVALS.get(nth));
        fast.copied().unwrap_or_else(|| timeout.max(FIRST_DATA_REPEAT))
    }

    fn find(first: i64, queue: &mut VecDeque<Unacked>, sequence: i64) -> Option<&mut Unacked> {
        usize::try_from(sequence.checked_sub(first)?).ok().and_then(|place| queue.get_mut(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::start_of_time;

    const TRIP: Duration = Duration::from_millis(100);

    /// A queue whose round trip was measured, and the moment after that.
    fn measured() -> (Outgoing, Instant) {
        let (mut outgoing, mut now) = (Outgoing::new(), start_of_time());
        for sequence in 0..20 {
            outgoing.keep(Bytes::from_static(b"message"), now);
            now += TRIP;
            outgoing.acknowledge(sequence, now);
        }
        (outgoing, now)
    }

    #[test]
    fn an_acknowledgement_of_a_message_that_was_sent_twice_measures_no_round_trip() {
        let (mut outgoing, now) = measured();
        outgoing.keep(Bytes::from_static(b"message"), now);
        let overdue = outgoing.next_timeout().expect("a message is on its way");
        outgoing.handle_timeout(overdue);
        assert!(outgoing.poll_resend(overdue).is_some(), "it counts as lost");
        let before = outgoing.trip.clone();
        // Of which of the two transmissions it speaks, nobody knows.
        outgoing.acknowledge(20, overdue + Duration::from_millis(1));
        assert_eq!(outgoing.trip, before);

        outgoing.keep(Bytes::from_static(b"message"), overdue);
        outgoing.acknowledge(21, overdue + Duration::from_millis(50));
        assert_ne!(outgoing.trip, before, "one that was sent once does measure it");
    }
}

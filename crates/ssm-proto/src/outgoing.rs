//! Our data messages until the SSM agent has acknowledged them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::round_trip::{RoundTrip, Window};

/// Bytes that may be unacknowledged. The SSM agent stops reading at 4 MiB that its destination does not take.
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
    /// Every transmission in the order of time; those that no longer matter are removed from the front.
    flights: VecDeque<Flight>,
    resend: VecDeque<i64>,
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
    first_sent_at: Instant,
    transmissions: u32,
    awaits_resend: bool,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    sequence: i64,
    transmission: u32,
    at: Instant,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            first: 0,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            resend: VecDeque::new(),
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

    /// Keeps the message before it is sent, so that its acknowledgement cannot arrive first.
    pub(crate) fn keep(&mut self, frame: Bytes, now: Instant) {
        let sequence = self.next_sequence();
        self.unacked_bytes += frame.len();
        self.flying_bytes += frame.len();
        let unacked = Unacked { frame: Some(frame), first_sent_at: now, transmissions: 1, awaits_resend: false };
        self.queue.push_back(unacked);
        self.flights.push_back(Flight { sequence, transmission: 1, at: now });
    }

    pub(crate) fn acknowledge(&mut self, sequence: i64, now: Instant) {
        let Some(unacked) = Self::find(self.first, &mut self.queue, sequence) else { return };
        let Some(frame) = unacked.frame.take() else { return };
        let sample = (unacked.transmissions == 1).then(|| now.saturating_duration_since(unacked.first_sent_at));
        self.unacked_bytes -= frame.len();
        if !unacked.awaits_resend {
            self.flying_bytes -= frame.len();
        }
        if let Some(sample) = sample {
            self.trip.measure(sample, now);
            self.window.acknowledged(frame.len(), sample, &self.trip, now);
        }
        while self.queue.front().is_some_and(|unacked| unacked.frame.is_none()) {
            self.queue.pop_front();
            self.first += 1;
        }
        self.data_acknowledged |= self.first > FIRST_DATA;
        self.drop_settled_flights();
    }

    /// The next message that is to be sent again.
    pub(crate) fn poll_resend(&mut self, now: Instant) -> Option<Bytes> {
        while self.flying_bytes < self.window.size() {
            let sequence = self.resend.pop_front()?;
            if let Some(frame) = self.send_again(sequence, now) {
                return Some(frame);
            }
        }
        None
    }

    /// Sends the oldest message although sending is paused: if the end of the pause was lost, its acknowledgement ends it.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Bytes> {
        self.send_again(self.first, now)
    }

    /// A new websocket: whatever is unacknowledged may have been lost with the old one.
    pub(crate) fn reconnected(&mut self) {
        self.trip.start_over();
        self.flights.clear();
        self.resend.clear();
        self.flying_bytes = 0;
        for (sequence, unacked) in (self.first..).zip(&mut self.queue) {
            unacked.awaits_resend = unacked.frame.is_some();
            if unacked.awaits_resend {
                self.resend.push_back(sequence);
            }
        }
        self.window.make_room(self.unacked_bytes + 1);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let due = |flight: &Flight| flight.at + self.patience(flight.transmission);
        if self.data_acknowledged {
            self.flights.front().map(due)
        } else {
            self.flights.iter().filter(|flight| self.is_live(flight)).map(due).min()
        }
    }

    /// Marks everything overdue for sending again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut overdue = 0;
        let mut place = 0;
        while let Some(flight) = self.flights.get(place).copied() {
            let due = flight.at + self.patience(flight.transmission) <= now;
            if !self.is_live(&flight) || due {
                self.flights.remove(place);
                overdue += usize::from(self.mark_for_resend(&flight));
            } else if self.data_acknowledged {
                break;
            } else {
                place += 1;
            }
        }
        if overdue > 0 && self.data_acknowledged {
            self.trip.back_off();
            self.window.timed_out();
        }
    }

    fn mark_for_resend(&mut self, flight: &Flight) -> bool {
        if !self.is_live(flight) {
            return false;
        }
        let Some(unacked) = Self::find(self.first, &mut self.queue, flight.sequence) else { return false };
        unacked.awaits_resend = true;
        self.flying_bytes -= unacked.frame.as_ref().map_or(0, Bytes::len);
        self.resend.push_back(flight.sequence);
        true
    }

    fn send_again(&mut self, sequence: i64, now: Instant) -> Option<Bytes> {
        let unacked = Self::find(self.first, &mut self.queue, sequence)?;
        let frame = unacked.frame.clone()?;
        if unacked.awaits_resend {
            self.flying_bytes += frame.len();
        }
        unacked.awaits_resend = false;
        unacked.transmissions += 1;
        self.flights.push_back(Flight { sequence, transmission: unacked.transmissions, at: now });
        Some(frame)
    }

    fn patience(&self, transmission: u32) -> Duration {
        if self.data_acknowledged {
            return self.trip.timeout();
        }
        let fast = usize::try_from(transmission - 1).ok().and_then(|nth| FIRST_DATA_INTERVALS.get(nth));
        fast.copied().unwrap_or_else(|| self.trip.timeout().max(FIRST_DATA_REPEAT))
    }

    fn is_live(&self, flight: &Flight) -> bool {
        let place = usize::try_from(flight.sequence - self.first).ok();
        place.and_then(|place| self.queue.get(place)).is_some_and(|unacked| {
            unacked.frame.is_some() && !unacked.awaits_resend && unacked.transmissions == flight.transmission
        })
    }

    fn drop_settled_flights(&mut self) {
        while let Some(flight) = self.flights.front().copied() {
            if self.is_live(&flight) {
                break;
            }
            self.flights.pop_front();
        }
    }

    fn find(first: i64, queue: &mut VecDeque<Unacked>, sequence: i64) -> Option<&mut Unacked> {
        usize::try_from(sequence.checked_sub(first)?).ok().and_then(|place| queue.get_mut(place))
    }
}

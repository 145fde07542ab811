//! How long an acknowledgement takes, how long to wait for one, and how much may be on its way meanwhile.

use std::time::{Duration, Instant};

const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
/// The channel rides on TCP: a late acknowledgement is far more likely than a lost one.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_ESTIMATE: Duration = Duration::from_secs(2);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: u32 = 6;
/// The shortest round trip is forgotten after this long, since the path may have changed.
const SHORTEST_TRIP_KEPT: Duration = Duration::from_secs(30);

/// Round-trip estimate after RFC 6298 with exponential back-off.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    shortest: Option<(Duration, Instant)>,
    back_off: u32,
}

impl RoundTrip {
    /// `sample` belongs to a message that was sent only once (Karn's rule).
    pub(crate) fn measure(&mut self, sample: Duration, now: Instant) {
        self.back_off = 0;
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
        if self.shortest.is_none_or(|(shortest, at)| sample <= shortest || now - at > SHORTEST_TRIP_KEPT) {
            self.shortest = Some((sample, now));
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        let estimate = self
            .smoothed
            .map_or(FIRST_TIMEOUT, |smoothed| smoothed + (self.variation * 4).max(Duration::from_millis(10)));
        let estimate = estimate.clamp(SHORTEST_TIMEOUT, LONGEST_ESTIMATE);
        (estimate * 2_u32.pow(self.back_off)).min(LONGEST_TIMEOUT)
    }

    pub(crate) fn back_off(&mut self) {
        self.back_off = (self.back_off + 1).min(LONGEST_BACK_OFF);
    }

    /// A new websocket may take another way.
    pub(crate) fn start_over(&mut self) {
        *self = Self::default();
    }

    fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(FIRST_TIMEOUT)
    }

    fn shortest(&self) -> Duration {
        self.shortest.map_or(Duration::ZERO, |(shortest, _)| shortest)
    }
}

const FIRST_WINDOW: usize = 16 * 1024;
const SMALLEST_WINDOW: usize = 64 * 1024;
/// What may wait in queues between us and the SSM agent's acknowledgement, beyond the bare round trip.
const QUEUE_DELAY: Duration = Duration::from_millis(40);

/// How many bytes may be on their way.
///
/// Neither the SSM agent nor smux v1 has flow control, so this is the only thing that keeps a bulk upload from filling every
/// buffer on the way in front of a small query. It grows by what is acknowledged and shrinks when acknowledgements slow down.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    limit: usize,
    shrunk_at: Option<Instant>,
}

impl Window {
    pub(crate) fn new(limit: usize) -> Self {
        Self { size: FIRST_WINDOW.min(limit), limit, shrunk_at: None }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn acknowledged(&mut self, bytes: usize, sample: Duration, trip: &RoundTrip, now: Instant) {
        let shortest = trip.shortest();
        if sample <= shortest + QUEUE_DELAY.max(shortest) {
            self.size = (self.size + bytes).max(SMALLEST_WINDOW).min(self.limit);
        } else if self.shrunk_at.is_none_or(|at| now - at > trip.smoothed()) {
            self.shrunk_at = Some(now);
            self.shrink_to(self.size / 8 * 7);
        }
    }

    pub(crate) fn timed_out(&mut self) {
        self.shrink_to(self.size / 2);
    }

    /// So that all `bytes` can be sent again at once.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        self.size = self.size.max(bytes).min(self.limit);
    }

    fn shrink_to(&mut self, size: usize) {
        self.size = size.max(SMALLEST_WINDOW.min(self.size));
    }
}

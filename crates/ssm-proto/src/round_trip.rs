//! How long an acknowledgement takes, and how long to wait for one.

use std::time::{Duration, Instant};

const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
/// The channel rides on TCP: a late acknowledgement is far more likely than a lost one.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_ESTIMATE: Duration = Duration::from_secs(2);
/// An SSM agent that was cut off and is back is found after this long at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_BACK_OFF: u32 = 5;

/// Round-trip estimate after RFC 6298 with exponential back-off.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    back_off: u32,
    backed_off_at: Option<Instant>,
}

impl RoundTrip {
    /// `sample` belongs to a message that was sent only once (Karn's rule).
    pub(crate) fn measure(&mut self, sample: Duration) {
        self.back_off = 0;
        // A machine that slept meanwhile would be remembered for minutes.
        let sample = sample.min(LONGEST_ESTIMATE);
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
    }

    pub(crate) fn timeout(&self) -> Duration {
        let estimate = self
            .smoothed
            .map_or(FIRST_TIMEOUT, |smoothed| smoothed + (self.variation * 4).max(Duration::from_millis(10)));
        let estimate = estimate.clamp(SHORTEST_TIMEOUT, LONGEST_ESTIMATE);
        (estimate * 2_u32.pow(self.back_off)).min(LONGEST_TIMEOUT)
    }

    /// Nobody acknowledged what was last sent at `sent_at`. Messages lost together count once: whether this was the first
    /// to be missed since the last back-off.
    pub(crate) fn timed_out(&mut self, sent_at: Instant, now: Instant) -> bool {
        let is_new = self.backed_off_at.is_none_or(|at| sent_at >= at);
        if is_new {
            self.back_off = (self.back_off + 1).min(LONGEST_BACK_OFF);
            self.backed_off_at = Some(now);
        }
        is_new
    }

    /// A new websocket may take another way.
    pub(crate) fn start_over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::start_of_time;

    #[test]
    fn messages_lost_together_back_off_once() {
        let (mut trip, start) = (RoundTrip::default(), start_of_time());
        trip.measure(Duration::from_millis(20));
        let before = trip.timeout();
        let lost = (0..100).map(|ms| start + Duration::from_millis(ms));
        let episodes = lost.filter(|sent_at| trip.timed_out(*sent_at, *sent_at + before)).count();
        assert_eq!((episodes, trip.timeout()), (1, before * 2));
        let second = start + Duration::from_millis(200);
        assert!(trip.timed_out(second, second + before * 2), "it was sent after the back-off");
    }

    #[test]
    fn a_silent_agent_is_tried_every_three_seconds_at_most() {
        let (mut trip, mut now) = (RoundTrip::default(), start_of_time());
        for _ in 0..40 {
            trip.measure(Duration::from_secs(90));
            trip.timed_out(now, now + Duration::from_secs(1));
            now += Duration::from_secs(1);
        }
        assert_eq!(trip.timeout(), LONGEST_TIMEOUT);
    }
}

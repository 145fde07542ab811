//! How much may be on its way to the SSM agent.

use std::time::{Duration, Instant};

/// At the start, when every message times out, and while the bare round trip is measured. One of these takes 130 ms at
/// 1 Mbit/s.
const SMALLEST: usize = 16 * 1024;
/// What may wait in queues between us and the SSM agent's acknowledgement, beyond the bare round trip: at least this, or
/// half the round trip.
const QUEUE_DELAY: Duration = Duration::from_millis(40);
/// The bare round trip is measured anew after this long: the path may have changed.
const BARE_TRIP_KEPT: Duration = Duration::from_secs(30);

/// How many bytes may be on their way.
///
/// Neither the SSM agent nor smux v1 has flow control, so this is the only thing that keeps a bulk upload from filling every
/// buffer on the way in front of a small query. It grows by what is acknowledged and shrinks when acknowledgements slow down.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    limit: usize,
    /// Nothing has been too much yet, so that the size doubles in each round trip.
    opening: bool,
    shrunk_at: Option<Instant>,
    /// Round trip with nothing in front, and when it was measured.
    bare_trip: Option<(Duration, Instant)>,
    /// Since when the queues are left to empty, to measure the bare round trip.
    measuring_since: Option<Instant>,
}

/// A message that was sent once and is acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) bytes: usize,
    /// On their way when it was acknowledged, itself included.
    pub(crate) flying: usize,
    pub(crate) sent_at: Instant,
    pub(crate) trip: Duration,
}

impl Window {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            size: SMALLEST.min(limit),
            limit,
            opening: true,
            shrunk_at: None,
            bare_trip: None,
            measuring_since: None,
        }
    }

    pub(crate) fn size(&self) -> usize {
        if self.measuring_since.is_some() { self.size.min(SMALLEST) } else { self.size }
    }

    pub(crate) fn acknowledged(&mut self, sample: Sample, now: Instant) {
        let bare = self.bare_trip(&sample, now);
        let longest = bare + QUEUE_DELAY.max(bare / 2);
        if sample.trip > longest {
            self.shrink(&sample, longest, now);
        } else if self.measuring_since.is_none() && sample.flying * 2 >= self.size {
            let more = if self.opening { sample.bytes } else { sample.bytes.div_ceil(8) };
            self.size = (self.size + more).min(self.limit);
        }
    }

    /// A message was given up for lost.
    pub(crate) fn timed_out(&mut self) {
        self.measuring_since = None;
        self.shrink_to(self.size / 2);
    }

    /// A new websocket may take another way; all `bytes` are to be sent again at once.
    pub(crate) fn start_over(&mut self, bytes: usize) {
        self.bare_trip = None;
        self.measuring_since = None;
        self.shrunk_at = None;
        self.opening = true;
        self.size = self.size.max(bytes).min(self.limit);
    }

    /// While a bulk copy runs there is always something in front, so that now and then the window closes to measure.
    fn bare_trip(&mut self, sample: &Sample, now: Instant) -> Duration {
        let (mut bare, mut at) = self.bare_trip.unwrap_or((sample.trip, now));
        if sample.trip <= bare || self.measuring_since.is_some_and(|since| sample.sent_at >= since) {
            (bare, at) = (sample.trip, now);
            self.measuring_since = None;
        } else if now.saturating_duration_since(at) > BARE_TRIP_KEPT && self.measuring_since.is_none() {
            self.measuring_since = Some(now);
        }
        self.bare_trip = Some((bare, at));
        bare
    }

    /// Once in a round trip, towards the size that would have taken `longest`.
    fn shrink(&mut self, sample: &Sample, longest: Duration, now: Instant) {
        if self.shrunk_at.is_some_and(|at| sample.sent_at < at) {
            return;
        }
        self.shrunk_at = Some(now);
        let per_mille = longest.as_micros() * 1000 / sample.trip.as_micros().max(1);
        let fitting = self.size / 1000 * usize::try_from(per_mille).unwrap_or(1000);
        let [half, most] = [self.size / 2, self.size / 8 * 7];
        self.shrink_to(fitting.clamp(half, most));
    }

    fn shrink_to(&mut self, size: usize) {
        self.opening = false;
        self.size = size.max(SMALLEST.min(self.limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::start_of_time;

    const LIMIT: usize = 2 * 1024 * 1024;

    #[test]
    fn it_doubles_with_each_round_trip_while_acknowledgements_keep_their_pace() {
        let (mut window, mut now) = (Window::new(LIMIT), start_of_time());
        for _ in 0..7 {
            let before = window.size();
            round(&mut window, Duration::from_millis(40), &mut now);
            assert_eq!(window.size(), (2 * before).min(LIMIT));
        }
        assert_eq!(window.size(), LIMIT, "and never grows beyond its limit");
    }

    #[test]
    fn small_messages_far_apart_do_not_widen_it() {
        let (mut window, mut now) = (Window::new(LIMIT), start_of_time());
        for _ in 0..10_000 {
            let sample = Sample { bytes: 300, flying: 300, sent_at: now, trip: Duration::from_millis(40) };
            now += Duration::from_millis(40);
            window.acknowledged(sample, now);
        }
        assert_eq!(window.size(), SMALLEST, "nobody has seen whether more would fit");
    }

    #[test]
    fn it_halves_at_most_once_in_a_round_trip_when_acknowledgements_slow_down() {
        let (mut window, mut now) = (Window::new(LIMIT), start_of_time());
        for _ in 0..7 {
            round(&mut window, Duration::from_millis(40), &mut now);
        }
        round(&mut window, Duration::from_secs(2), &mut now);
        assert_eq!(window.size(), LIMIT / 2);
        round(&mut window, Duration::from_millis(90), &mut now);
        assert!((LIMIT / 5 * 2..LIMIT / 2).contains(&window.size()), "{}", window.size());
        for _ in 0..10 {
            round(&mut window, Duration::from_secs(2), &mut now);
        }
        assert_eq!(window.size(), SMALLEST);
    }

    #[test]
    fn a_bulk_copy_that_goes_on_does_not_make_its_own_queue_the_measure() {
        let (mut window, mut now) = (Window::new(LIMIT), start_of_time());
        round(&mut window, Duration::from_millis(20), &mut now);
        let start = now;
        while now < start + Duration::from_secs(600) {
            // 1 MB/s: what is on its way waits for what is in front.
            let queue = Duration::from_micros(u64::try_from(window.size()).expect("small"));
            round(&mut window, Duration::from_millis(20) + queue, &mut now);
            assert!(window.size() < 200_000, "{} bytes after {:?}", window.size(), now - start);
        }
    }

    /// A full window is sent and acknowledged message by message.
    fn round(window: &mut Window, trip: Duration, now: &mut Instant) {
        let (sent_at, size) = (*now, window.size());
        *now += trip;
        for at in (0..size).step_by(1024) {
            let bytes = 1024.min(size - at);
            window.acknowledged(Sample { bytes, flying: window.size(), sent_at, trip }, *now);
        }
    }
}

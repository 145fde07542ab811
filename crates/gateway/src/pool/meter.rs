//! How much moved lately.

use std::time::{Duration, Instant};

const SLOTS: u64 = 8;
type Slots = [u64; 8];
const SLOT: Duration = Duration::from_millis(125);

/// Counts the bytes of the last second.
#[derive(Debug)]
pub(super) struct Meter {
    origin: Instant,
    /// Number of the slot written last, counted from `origin`.
    latest: u64,
    slots: Slots,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { origin: now, latest: 0, slots: Slots::default() }
    }

    pub(super) fn add(&mut self, bytes: usize, now: Instant) {
        let slot = self.slot(now).max(self.latest);
        for passed in (self.latest + 1..=slot).take(self.slots.len()) {
            *self.at(passed) = 0;
        }
        if slot - self.latest >= SLOTS {
            self.slots = Slots::default();
        }
        self.latest = slot;
        *self.at(slot) += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// Bytes of the last second.
    pub(super) fn total(&self, now: Instant) -> u64 {
        self.total_in(self.slot(now))
    }

    /// When `total` falls to `limit` or below if nothing more moves; at once if it is not above.
    pub(super) fn falls_to(&self, limit: u64, now: Instant) -> Instant {
        let slot = self.slot(now);
        let quiet = (slot..=slot + SLOTS).find(|later| self.total_in(*later) <= limit).unwrap_or(slot + SLOTS);
        if quiet == slot { now } else { self.origin + SLOT * u32::try_from(quiet).unwrap_or(u32::MAX) }
    }

    fn total_in(&self, slot: u64) -> u64 {
        let oldest = (slot + 1).saturating_sub(SLOTS);
        (oldest..=self.latest).filter_map(|slot| self.slots.get(place(slot))).sum()
    }

    fn slot(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.origin).as_millis() / SLOT.as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    fn at(&mut self, slot: u64) -> &mut u64 {
        &mut self.slots[place(slot)]
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS).expect("below SLOTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_for_a_second() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        meter.add(100, now);
        meter.add(50, now + Duration::from_millis(500));
        assert_eq!(meter.total(now + Duration::from_millis(900)), 150);
        assert_eq!(meter.total(now + Duration::from_millis(1100)), 50);
        assert_eq!(meter.total(now + Duration::from_secs(60)), 0);
        assert_eq!(meter.falls_to(50, now + Duration::from_millis(600)), now + Duration::from_secs(1));
        meter.add(7, now + Duration::from_secs(60));
        assert_eq!(meter.total(now + Duration::from_secs(60)), 7, "what is older than a second is gone");
    }
}

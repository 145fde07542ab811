//! Both clocks at the latest input, and AWS's beside them.

use std::time::Duration;

use jiff::SignedDuration;
use model::{MonoTime, Now, WallTime};

/// How often the calendar clock is looked at while something ends by it: a clock that is set forward wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: Now,
    skew_seconds: i32,
}

impl Clock {
    pub(crate) fn new(now: Now, skew_seconds: i32) -> Self {
        Self { now, skew_seconds }
    }

    pub(crate) fn advance(&mut self, now: Now) {
        self.now = now;
    }

    pub(crate) fn correct(&mut self, skew_seconds: i32) {
        self.skew_seconds = skew_seconds;
    }

    pub(crate) fn skew_seconds(&self) -> i32 {
        self.skew_seconds
    }

    pub(crate) fn mono(&self) -> MonoTime {
        self.now.mono
    }

    /// This computer's calendar clock, as people see it.
    pub(crate) fn local(&self) -> WallTime {
        self.now.wall
    }

    /// AWS's clock.
    pub(crate) fn aws(&self) -> WallTime {
        self.now.wall.shifted(SignedDuration::from_secs(i64::from(self.skew_seconds)))
    }

    /// What this computer's clock says at an instant that AWS named.
    pub(crate) fn to_local(self, aws: WallTime) -> WallTime {
        aws.shifted(SignedDuration::from_secs(-i64::from(self.skew_seconds)))
    }

    pub(crate) fn has_passed(&self, aws: WallTime) -> bool {
        self.aws() >= aws
    }

    /// How long until an instant that AWS named; zero when it has passed.
    pub(crate) fn until(&self, aws: WallTime) -> Duration {
        self.aws().until(aws)
    }

    /// When to wake for an instant that AWS named.
    pub(crate) fn wake_for(&self, aws: WallTime) -> MonoTime {
        self.now.mono + self.until(aws).min(LOOK_AGAIN)
    }
}

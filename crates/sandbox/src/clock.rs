//! The one clock of a sandbox: every token, certificate and policy is judged by it, and tests move it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// The time a sandbox believes in: a base (the machine's clock, or an instant that stands still) plus an offset.
///
/// Clones share the offset, so moving one moves them all.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Base,
    offset: Arc<watch::Sender<SignedDuration>>,
}

impl Clock {
    /// Follows the machine's clock.
    pub fn real() -> Self {
        Self::over(Base::Machine)
    }

    /// Stands at `start` until it is moved.
    pub fn fixed(start: Timestamp) -> Self {
        Self::over(Base::Still(start))
    }

    /// The present instant. An offset that would leave the calendar stops at its end.
    pub fn now(&self) -> Timestamp {
        let base = match self.base {
            Base::Machine => Timestamp::now(),
            Base::Still(start) => start,
        };
        base.saturating_add(*self.offset.borrow()).unwrap_or(base)
    }

    /// Moves the clock forward and wakes everybody in [`Clock::wait_until`].
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Puts the clock `offset` away from its base, before it when negative, and wakes everybody in
    /// [`Clock::wait_until`].
    pub fn set_offset(&self, offset: SignedDuration) {
        self.offset.send_replace(offset);
    }

    /// How far the clock is from its base.
    pub fn offset(&self) -> SignedDuration {
        *self.offset.borrow()
    }

    /// Returns as soon as [`Clock::now`] has reached `deadline`, by itself or because the clock was moved.
    pub async fn wait_until(&self, deadline: Timestamp) {
        let mut moves = self.offset.subscribe();
        loop {
            moves.mark_unchanged();
            let left = deadline.duration_since(self.now());
            if left <= SignedDuration::ZERO {
                return;
            }
            tokio::select! {
                () = self.base_passes(left) => {}
                _ = moves.changed() => {}
            }
        }
    }

    /// Tokio's timers do not count the time a laptop sleeps, so a long wait looks at the wall in between.
    async fn base_passes(&self, left: SignedDuration) {
        const LONGEST_NAP: Duration = Duration::from_secs(5);
        match self.base {
            Base::Machine => tokio::time::sleep(left.unsigned_abs().min(LONGEST_NAP)).await,
            Base::Still(_) => std::future::pending().await,
        }
    }

    fn over(base: Base) -> Self {
        Self { base, offset: Arc::new(watch::Sender::new(SignedDuration::ZERO)) }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

#[derive(Clone, Copy, Debug)]
enum Base {
    Machine,
    Still(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-11-22T09:00:00Z".parse().expect("a literal instant parses")
    }

    #[test]
    fn clones_share_their_offset() {
        let clock = Clock::fixed(start());
        let twin = clock.clone();
        twin.advance(Duration::from_secs(90));
        assert_eq!(clock.now(), start() + SignedDuration::from_secs(90), "both are the same clock");
        clock.set_offset(SignedDuration::from_mins(-10));
        assert_eq!(clock.now(), start() - SignedDuration::from_mins(10), "an offset may lie in the past");
        assert_eq!(twin.offset(), SignedDuration::from_mins(-10));
    }

    #[test]
    fn an_offset_beyond_the_calendar_does_not_panic() {
        let clock = Clock::fixed(start());
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert!(clock.now() > start());
    }

    #[tokio::test]
    async fn moving_the_clock_wakes_the_waiters_whose_time_has_come() {
        let clock = Clock::fixed(start());
        let early = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(start() + SignedDuration::from_secs(60)).await }
        });
        let late = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(start() + SignedDuration::from_secs(120)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(60));
        early.await.expect("the waiter does not panic");
        assert!(!late.is_finished(), "its instant is still ahead");
        clock.advance(Duration::from_secs(60));
        late.await.expect("the waiter does not panic");
    }

    #[tokio::test]
    async fn an_instant_that_has_passed_is_not_waited_for() {
        Clock::fixed(start()).wait_until(start()).await;
        Clock::real().wait_until(start() - SignedDuration::from_hours(9_000)).await;
    }
}
